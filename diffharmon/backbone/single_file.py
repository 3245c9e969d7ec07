"""Where a model lies: a hub id, a folder in diffusers' layout, or a single file that is converted to one."""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from huggingface_hub.constants import HF_HOME, HF_HUB_OFFLINE

from diffharmon.errors import ModelError
from diffharmon.results.provenance.weights import file_digest, folder_digest

# What the hub calls a model: OWNER/NAME, or NAME for its oldest ones.
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
EXPECTED = "a folder in diffusers' Stable Diffusion layout, a .safetensors file, or a hub id such as owner/model"


def diffusers_folder(path: str, config: str | None = None, pipeline: Any = StableDiffusionPipeline) -> str:
    """Return a hub id as it is, or the folder of a model in diffusers' layout.

    Of a single ``.safetensors`` file it is the folder of a converted copy.

    Args:
        path: Folder, file or hub id.
        config: Folder or hub id with the configuration of the model in a single file.
        pipeline: The pipeline's class, which converts a single file.

    Raises:
        ModelError: There is no such folder or file, or the file cannot be converted.
    """
    file = Path(path).expanduser()
    if path and file.is_dir():
        return str(file)
    if file.is_file():
        if file.suffix.lower() == ".ckpt":
            raise ModelError(f"{path} is a pickle, which can run code; expected {EXPECTED}")
        if file.suffix.lower() != ".safetensors":
            raise ModelError(f"backbone.path={path} is a file of another kind; expected {EXPECTED}")
        return str(converted(file, config, pipeline))
    if HUB_ID.fullmatch(path):
        return path
    raise ModelError(
        f"backbone.path={path or repr(path)} does not exist; expected {EXPECTED}; backbone=tiny needs no download"
    )


def converted(file: Path, config: str | None, pipeline: Any) -> Path:
    """Convert a single file to a folder in diffusers' layout.

    The folder lies in the cache of downloads (``HF_HOME``) under the digest of what it was made from, and is made once.
    Without ``config`` diffusers takes the kind of model from the file's keys and that kind's configuration from the
    hub, or from the cache when the hub cannot be reached.

    Raises:
        ModelError: The file cannot be converted.
    """
    given = Path(config).expanduser() if config else None
    source = folder_digest(given) if given is not None and given.is_dir() else (config or "found").replace("/", "--")
    folder = Path(HF_HOME) / "diffharmon" / f"{file_digest(file)}-{source}"
    if (folder / "model_index.json").is_file():
        return folder
    try:
        model = read_single_file(file, str(given) if given is not None and given.is_dir() else config, pipeline)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
            model.save_pretrained(Path(partial) / "model")
            os.replace(Path(partial) / "model", folder)
    except Exception as error:  # whatever a converter makes of a file that is no model
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(
            f"cannot convert the single file {file} to diffusers' layout: {reason}; expected a model for "
            f"{pipeline.__name__}, with backbone.config=FOLDER to read its configuration from where the hub cannot be "
            "reached"
        ) from error
    return folder


def read_single_file(file: Path, config: str | None, pipeline: Any) -> Any:
    """Read a single file as a pipeline of that class."""
    settings = {"safety_checker": None} if pipeline is StableDiffusionPipeline else {}
    return pipeline.from_single_file(str(file), config=config, local_files_only=HF_HUB_OFFLINE, **settings)
