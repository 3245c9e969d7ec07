# The page and the commands in a container.
#   docker build -t diffharmon .
#   docker run --rm -p 127.0.0.1:7860:7860 diffharmon
#   docker run --rm -v "$PWD:/photos" diffharmon diffharmon dataset=single dataset.image=composite.png dataset.mask=mask.png
# With a GPU (docker run --gpus all ...), on a base whose CUDA is one that torch was built for:
#   docker build -t diffharmon --build-arg BASE=nvidia/cuda:13.0.1-base-ubuntu24.04 .
# PACKAGES is an address of packages besides pip's own, such as that of torch's builds without CUDA, which are smaller.
ARG BASE=python:3.12-slim
FROM ${BASE}
ARG PACKAGES=""
ARG DEBIAN_FRONTEND=noninteractive

# What a base already has is left alone: images of CUDA come without Python.
# hadolint ignore=DL3008
RUN python3 -c 'import ensurepip, venv' 2>/dev/null || { \
        apt-get update \
        && apt-get install -y --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; }

# First what changes rarely: a build after a change of the code takes the packages from the cache.
WORKDIR /opt/diffharmon
COPY constraints.txt ./
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c constraints.txt ${PACKAGES:+--extra-index-url "$PACKAGES"} torch
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY diffharmon diffharmon
RUN /opt/venv/bin/pip install --no-cache-dir -c constraints.txt ${PACKAGES:+--extra-index-url "$PACKAGES"} \
        ".[app,exr,heif,jxl,psd]"

# Not root; photos and results are in the folder that is mounted, downloaded models in the home folder.
RUN useradd --create-home --uid 10001 harmonizer && mkdir /photos && chown harmonizer /photos
USER 10001
WORKDIR /photos
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 7860
# Inside the container all addresses, since only what -p names is reached from outside.
CMD ["diffharmon-app", "--host", "0.0.0.0"]
