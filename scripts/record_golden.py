"""Derive the golden numbers under ``tests/reference/golden`` from the full recordings of the public reference code.

    python scripts/record_golden.py ../shared/parity tests/reference/golden

Writes ``golden.npz`` (a few coordinates of a few arrays, enough to replay losses, optimizers, scheduler and mask
reduction without a model) and ``evaluator_trace.json`` (the decisions of the evaluator loop). The same input gives the
same bytes.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

# By case: condition-token positions of the foreground and background prompt, and the text updates whose losses are
# taken (first, second, around the middle, last).
CASES = {
    "house128_multi": ((2,), (2, 3, 4, 5), (0, 1, 18, 19, 37)),
    "girl128_edge": ((2, 3), (2,), (0, 1, 8, 9, 17)),
}
# AdamW treats every coordinate alone, so some of them replay as well as all.
COORDINATES = slice(0, 4)
UNCONDITIONAL_TOKENS = (0, 1, 76)
CORNER = (..., slice(6, 8), slice(6, 8))


def main() -> None:
    """Parse arguments and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, help="folder with module_io.npz, pipeline/ and the case folders")
    parser.add_argument("output", type=Path, help="folder to write to")
    arguments = parser.parse_args()
    golden: dict[str, Any] = {**scheduler(arguments.recordings)}
    for case in CASES:
        parts = text(arguments.recordings, case) | unconditional(arguments.recordings, case)
        golden |= {f"{case}_{name}": values for name, values in parts.items()}
    np.savez_compressed(arguments.output / "golden.npz", **golden)
    traces = json.loads((arguments.recordings / "evaluator_trace.json").read_text(encoding="utf-8"))
    lines = ",\n".join(json.dumps(decisions(trace)) for trace in traces)
    (arguments.output / "evaluator_trace.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def scheduler(recordings: Path) -> dict[str, np.ndarray]:
    """Single DDIM steps at a few latent cells; the recording took its second latent for the noise."""
    with np.load(recordings / "module_io.npz") as arrays:
        return {
            "step_timesteps": arrays["sched_step_t"],
            "step_latents": arrays["latents"][CORNER],
            "step_results": arrays["sched_step_out"][CORNER],
        }


def text(recordings: Path, case: str) -> dict[str, np.ndarray]:
    """Masks, attention and losses of some text updates, and what AdamW made of the gradients of all of them."""
    foreground, background, updates = CASES[case]
    chosen = list(updates)
    initial = initial_words(recordings, case)
    with np.load(recordings / case / "iter00.npz") as arrays:
        return {
            "original_mask": np.packbits(arrays["original_mask"]),
            "latent_mask": arrays["latent_mask"][0, :1],
            "attention_mask": arrays["attn_mask"],
            "updates": np.array(updates),
            "maps_foreground": arrays["attn_map_fg"][chosen].reshape(len(chosen), -1, 77)[..., list(foreground)],
            "maps_background": arrays["attn_map_bg"][chosen].reshape(len(chosen), -1, 77)[..., list(background)],
            "text_mse": arrays["text_mse"][chosen],
            "text_loss": arrays["text_loss"][chosen],
            "initial_foreground": initial[0][:, COORDINATES],
            "initial_background": initial[1][:, COORDINATES],
            "gradient_foreground": arrays["text_grad_fg"][..., COORDINATES],
            "gradient_background": arrays["text_grad_bg"][..., COORDINATES],
            "gradient_weights": arrays["text_grad_w"],
            "words_foreground": arrays["text_opt_fg"][..., COORDINATES],
            "words_background": arrays["text_opt_bg"][..., COORDINATES],
            "words_weights": arrays["text_opt_w"],
        }


def initial_words(recordings: Path, case: str) -> list[np.ndarray]:
    """Token plus position embeddings of the condition tokens of both prompts, before any update."""
    settings = json.loads((recordings / case / "case.json").read_text(encoding="utf-8"))
    weights = load_file(recordings / "pipeline" / "text_encoder" / "model.safetensors")
    tokens, places = (
        next(values for name, values in weights.items() if name.endswith(f"{kind}_embedding.weight"))
        for kind in ("token", "position")
    )
    words = []
    for prompt, positions in zip(("foreground_prompt", "background_prompt"), CASES[case][:2], strict=True):
        numbers = settings["recorded_token_ids"][settings[prompt]]
        words.append(np.stack([tokens[numbers[position]] + places[position] for position in positions]))
    return words


def unconditional(recordings: Path, case: str) -> dict[str, np.ndarray]:
    """Timesteps, loss terms of null-text, and what AdamW made of its gradients."""
    tokens = list(UNCONDITIONAL_TOKENS)
    with np.load(recordings / case / "iter00.npz") as arrays:
        return {
            "timesteps": arrays["timesteps"],
            "null_mse": arrays["uncond_mse"],
            "null_loss": arrays["uncond_loss"],
            "null_initial": arrays["uncond_init"][0, tokens, COORDINATES],
            "null_gradient": arrays["uncond_grad"][:, tokens, COORDINATES],
            "null_embedding": arrays["uncond_opt"][:, tokens, COORDINATES],
        }


def decisions(trace: dict[str, Any]) -> dict[str, Any]:
    """What the evaluator loop decided, its images named by attempt: 0 is the composite, then one each run."""
    by_kind = {
        kind: [event[1:] for event in trace["events"] if event[0] == kind]
        for kind in ("run", "invert", "random.choice")
    }
    attempts = [trace["start_grey"], *(run[-1] for run in by_kind["run"])]
    return {
        "name": trace["name"],
        "prompts": trace["prompts"],
        "iterations": trace["iterations"],
        "scores": trace["scores"],
        "descriptions": [int(run[0].removeprefix("fg")) for run in by_kind["run"]],
        "starts": [attempts.index(inverted[1]) for inverted in by_kind["invert"]],
        "choices": by_kind["random.choice"],
        "best": attempts.index(trace["final_grey"]),
    }


if __name__ == "__main__":
    main()
