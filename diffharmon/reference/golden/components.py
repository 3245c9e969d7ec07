"""Comparison component by component: ``module_io.npz`` holds inputs and outputs of each part of the reference."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.backbone.tokens import tokenize
from diffharmon.embedding.text_refine import attention_mask
from diffharmon.images import read_image, resize
from diffharmon.reference.edges import ReferenceEdgeLoss
from diffharmon.reference.golden.table import Row, largest, relative
from diffharmon.reference.stable_diffusion import ReferenceStableDiffusion
from diffharmon.sampler.ddim import DDIM
from diffharmon.structure.pidinet import PiDiNet
from diffharmon.structure.sobel import Sobel
from diffharmon.types import Composite

LABEL = "module_io"
Golden = Mapping[str, np.ndarray]


def component_rows(pipeline: Path, cases: Path, pidinet: Path | None) -> list[Row]:
    """Compare tokenizer, text encoder, UNet, autoencoder, scheduler, preprocessing, edges and mask reduction."""
    with np.load(cases / "module_io.npz") as arrays:
        golden = dict(arrays)
    size = golden["vae_decode"].shape[-1]
    backbone = ReferenceStableDiffusion(path=str(pipeline), size=size, channels_last=True)
    with torch.no_grad():
        rows = text_and_unet(backbone, golden)
        rows += autoencoder(backbone, golden, cases)
    rows += scheduler(backbone, golden)
    rows += masks(golden)
    return rows + edges(backbone, golden, pidinet)


def tensor(golden: Golden, name: str) -> Tensor:
    """A golden array as a tensor of its own."""
    return torch.from_numpy(golden[name].copy())


def text_and_unet(backbone: StableDiffusion, golden: Golden) -> list[Row]:
    """Token ids, text embeddings, and the UNet at several timesteps on two latents and two prompts."""
    ids = tensor(golden, "prompt_ids")
    prompts = backbone.tokenizer.batch_decode(ids, skip_special_tokens=True)
    prompts = [prompt.replace("!", "").strip() for prompt in prompts]
    text = backbone.embed(prompts).tokens
    latents = tensor(golden, "latents")
    used = tensor(golden, "text_emb")[: len(latents)]
    outputs = [backbone.network(latents, t, encoder_hidden_states=used).sample for t in tensor(golden, "unet_t")]
    return [
        Row(LABEL, "token ids", largest(tokenize(backbone.tokenizer, prompts), golden["prompt_ids"]), 0.0, "largest"),
        Row(LABEL, "text encoder", relative(text, golden["text_emb"]), 1e-5),
        Row(LABEL, "UNet", relative(torch.stack(outputs), golden["unet_out"]), 1e-5),
    ]


def autoencoder(backbone: StableDiffusion, golden: Golden, cases: Path) -> list[Row]:
    """Preprocessing of an input photo, encoding with the reference's noise, decoding and cutting to 8 bits."""
    photo = read_image(cases / "inputs" / "girl_comp.png").image
    image = resize(photo, (backbone.size, backbone.size))
    latents = backbone.encode(image[None], torch.Generator().manual_seed(8888))
    decoded = backbone.decode(tensor(golden, "vae_latents"))
    cut = (decoded.clamp(0, 1) * 255).floor().permute(0, 2, 3, 1)
    return [
        Row(LABEL, "preprocess", largest(image * 2 - 1, golden["pre_girl128"][0]), 1e-6, "largest"),
        Row(LABEL, "autoencoder, encode and sample", relative(latents, golden["vae_latents"]), 2e-5),
        Row(LABEL, "autoencoder, decode", relative(decoded * 2 - 1, golden["vae_decode"]), 1e-5),
        Row(LABEL, "8-bit image", largest(cut, golden["latent2image_uint8"]), 1.0, "largest"),
    ]


def scheduler(backbone: StableDiffusion, golden: Golden) -> list[Row]:
    """Noise levels, timesteps of every number of steps, and single denoising steps."""
    ddim = DDIM(steps=10).schedule(backbone).scheduler
    rows = [
        Row(LABEL, "alphas_cumprod", relative(ddim.alphas_cumprod, golden["alphas_cumprod"]), 1e-6),
        Row(
            LABEL,
            "final_alpha_cumprod",
            relative(ddim.final_alpha_cumprod, golden["final_alpha_cumprod"]),
            1e-6,
        ),
    ]
    for name in golden:
        if name.startswith("timesteps_"):
            one = DDIMScheduler.from_config(ddim.config)
            one.set_timesteps(int(name.removeprefix("timesteps_")))
            rows.append(Row(LABEL, name, largest(one.timesteps, golden[name]), 0.0, "largest"))
    # The recording took the second latent for the noise.
    latent, noise = tensor(golden, "latents")[:, None]
    stepped = [ddim.step(noise, int(t), latent).prev_sample for t in tensor(golden, "sched_step_t")]
    rows.append(Row(LABEL, "denoising step", relative(torch.stack(stepped), golden["sched_step_out"]), 1e-5))
    return rows


def masks(golden: Golden) -> list[Row]:
    """Reduction of latent masks to attention cells, as the reference's library version did it and with antialiasing."""
    rows = []
    for name in golden:
        if name.startswith("maskred_in_"):
            side = name.removeprefix("maskred_in_")
            given = tensor(golden, name).float()
            cells = golden[f"maskred_out_{side}"].shape[-1]
            for kind, antialias in (("out", False), ("antialias", True)):
                reduced = attention_mask(given, (cells, cells), antialias)[0]
                expected = golden[f"maskred_{kind}_{side}"]
                error = largest(reduced, (expected > 100 / 255).astype(np.float32))
                rows.append(
                    Row(LABEL, f"mask {side} ({'' if antialias else 'not '}antialiased)", error, 0.0, "largest")
                )
    return rows


def edges(backbone: StableDiffusion, golden: Golden, pidinet: Path | None) -> list[Row]:
    """Sobel and learned edges, the edge loss, and its gradient through the decoder down to the latents."""
    photo = tensor(golden, "pre_girl128")
    composite = Composite("girl", "parity", photo[0] / 2 + 0.5, tensor(golden, "edge_mask")[0])
    part = ReferenceEdgeLoss(Sobel(), reference_range="signed")
    loss = part.guide(composite, (backbone.size, backbone.size)).losses["edges"]
    latent = tensor(golden, "vae_latents").requires_grad_()
    value = loss(backbone.decode(latent).clamp(0, 1))
    (gradient,) = torch.autograd.grad(value, [latent])
    rows = [
        Row(LABEL, "Sobel on [-1, 1]", relative(Sobel()(photo), golden["sobel_pm1"]), 1e-6),
        Row(LABEL, "Sobel on [0, 1]", relative(Sobel()(photo / 2 + 0.5), golden["sobel_01"]), 1e-6),
        Row(LABEL, "edge loss", relative(value, golden["edge_loss"]), 1e-5),
        Row(LABEL, "edge loss, gradient to the latents", relative(gradient, golden["edge_grad_latents"]), 1e-5),
    ]
    if pidinet is None:
        return rows
    network = PiDiNet(weights=str(pidinet)).network
    with torch.no_grad():
        error = relative(network.maps(tensor(golden, "pre_pid_girl128")), golden["pidinet_out5"])
    return [*rows, Row(LABEL, "PiDiNet", error, 1e-6)]
