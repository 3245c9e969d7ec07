# Every target sets up what it needs: a virtual environment in .venv, installed once under constraints.txt.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := app,dev,exr,figures,heif,jxl,lora,psd,gemini,google-genai,joblib,slurm,tensorboard
# uv does not read pip's configuration: wheels in pip's local folder are passed on to it.
FIND_LINKS = $(shell $(BIN)/python -m pip config get global.find-links 2>/dev/null)

.PHONY: help app demo test test-all gpu lint format type check parity studies clean
.DEFAULT_GOAL := help

help: ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || python3 -m venv $(VENV)
	@if command -v uv >/dev/null 2>&1; then \
		echo "installing with uv"; \
		UV_FIND_LINKS="$(FIND_LINKS)" uv pip install --python $(BIN)/python -c constraints.txt -e '.[$(EXTRAS)]'; \
	else \
		echo "installing with pip"; \
		$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[$(EXTRAS)]'; \
	fi
	touch $(STAMP)

demo: $(STAMP) ## Harmonize the demo composite with the embedded model; needs no network.
	HF_HUB_OFFLINE=1 $(BIN)/diffharmon experiment=demo

app: $(STAMP) ## Open the page to harmonize photos in a browser: make app ARGUMENTS="backbone=sd2_base".
	$(BIN)/diffharmon-app $(ARGUMENTS)

test: $(STAMP) ## Run the default tests.
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-all: $(STAMP) ## Run all tests, the slow ones too.
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not gpu and not weights'

gpu: $(STAMP) ## Test on the accelerator that is there, then measure calls at Stable Diffusion 2's size on it: outputs/gpu.md.
	mkdir -p outputs
	CUDA_VISIBLE_DEVICES=$${CUDA_VISIBLE_DEVICES-0} $(BIN)/python -m pytest -m gpu
	set -o pipefail; $(BIN)/python experiments/cost/device.py $(ARGUMENTS) | tee outputs/gpu.md

lint: $(STAMP) ## Check style.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: $(STAMP) ## Check types.
	$(BIN)/mypy diffharmon scripts

check: lint type test ## What continuous integration runs.

parity: $(STAMP) ## Compare with golden tensors of the public code: make parity GOLDEN=DIR.
	$(BIN)/python scripts/check_parity.py --pipeline $(GOLDEN)/pipeline --cases $(GOLDEN)

studies: $(STAMP) ## Rerun prepared sweeps on the built-in benchmark, and what each quirk of the public code changes.
	for sweep in baselines recomposers steps; do \
		$(BIN)/diffharmon sweep=$$sweep dataset=mini dataset.limit=8 describer=file \
			'describer.path=$${asset:mini/triples.jsonl}' hydra.sweep.dir=runs/studies/$$sweep || exit 1; \
		$(BIN)/diffharmon-report runs/studies/$$sweep || exit 1; \
	done
	$(BIN)/python experiments/quirks/measure.py sampler.steps=20

clean: ## Remove the environment and what runs left behind.
	rm -rf $(VENV) outputs multirun build dist *.egg-info
