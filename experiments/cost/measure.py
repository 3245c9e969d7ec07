"""What one iteration costs on a model of Stable Diffusion 2's shape, with random weights built from config.

    python experiments/cost/measure.py [--folder DIR] [--steps 2] [--device cpu] [--dtype bfloat16]

Builds the pipeline once (865.9 M parameters of UNet, about 3 GB on disk), runs `experiment=paper` without learned edges
on the demo composite for one short iteration, and prints seconds and network calls by stage and the peak memory.
Results are noise: only cost is looked at.
"""

import argparse
import json
import resource
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffharmon.config import composed
from diffharmon.files import ASSETS
from diffharmon.run import execute, quiet_libraries


def build(folder: Path) -> None:
    """Write a pipeline of Stable Diffusion 2 base's shape; its tokenizer is the embedded model's."""
    tokenizer = CLIPTokenizer.from_pretrained(ASSETS / "tiny" / "tokenizer", model_max_length=77)
    torch.set_default_dtype(torch.bfloat16)
    unet = UNet2DConditionModel(
        sample_size=64,
        cross_attention_dim=1024,
        attention_head_dim=(5, 10, 20, 20),
        use_linear_projection=True,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=23,
            num_attention_heads=16,
            hidden_act="gelu",
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=1,
        )
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    )
    torch.set_default_dtype(torch.float32)
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    print(f"built: UNet of {sum(p.numel() for p in unet.parameters()) / 1e6:.1f} M parameters")


def main() -> None:
    """Build where needed, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the pipeline is built or found")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu", "mps"])
    arguments = parser.parse_args()
    quiet_libraries()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="sd2-shaped-"))
    if not (folder / "model_index.json").is_file():
        build(folder)
    values = {
        "backbone.path": str(folder),
        "sampler.steps": arguments.steps,
        "backbone.dtype": arguments.dtype,
    }
    overrides = [
        "experiment=paper",
        "backbone=sd2_base",
        "dataset=demo",
        "describer=fixed",
        "describer.object=cup",
        "describer.foreground=dim",
        "describer.background=bright",
        "evaluator=none",
        f"trainer={arguments.device}",
        "~structure.pidinet",
        "method.descriptions=1",
        "method.policy.iterations=1",
        "embedding.text.updates=1",
    ]
    output = Path(tempfile.mkdtemp(prefix="cost-"))
    execute(composed(overrides, values), output)
    record = json.loads((output / "images" / "coffee" / "record.json").read_text())
    print("| stage | seconds | network calls | samples in them |\n|---|---|---|---|")
    for stage, cost in {**record["costs"], "total": record["total"]}.items():
        print(f"| {stage} | {cost['seconds']:.1f} | {cost['network_calls']} | {cost['network_samples']} |")
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"CPU seconds of the process, loading included: {used.ru_utime + used.ru_stime:.0f}")
    print(f"peak memory of the process: {used.ru_maxrss / 2**20:.1f} GiB")
    if torch.cuda.is_available():
        print(f"peak GPU memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    shutil.rmtree(output)


if __name__ == "__main__":
    main()
