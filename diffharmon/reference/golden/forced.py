"""Teacher-forced comparison: every step starts from golden values, so chaos has no time to grow."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from diffharmon.embedding.null_text import NullText
from diffharmon.method.diffusion import Diffusion
from diffharmon.reference.golden.cases import GoldenCase
from diffharmon.reference.golden.free import as_bytes
from diffharmon.reference.golden.table import Row, pixels, relative
from diffharmon.sampler.loops import edit_step
from diffharmon.structure.combine import combine
from diffharmon.types import Conditioning, Event, Inversion, StructureGuidance, Text, Trajectory

Golden = Mapping[str, np.ndarray]


def forced_rows(method: Diffusion, case: GoldenCase, iteration: int, label: str) -> list[Row]:
    """Compare null-text updates, optimizer replay and edit, each from golden values."""
    golden = case.golden(iteration)
    canvas = method.canvas(case.composite)
    current = canvas.target.image if iteration == 0 else case.blend(iteration - 1)
    seen = canvas.seen_from(current)
    guide = combine(method.structure, method.structure_source(canvas, seen), canvas.size)
    schedule = method.sampler.schedule(method.backbone)
    trajectory = Trajectory(schedule, torch.from_numpy(golden["inversion_latents"][::-1, 0].copy()))
    image = torch.zeros(3, *canvas.size)
    inversion = Inversion(image, canvas.mask, canvas.latent_mask, trajectory, guide)
    conditioning = golden_conditioning(method, case, golden)
    rows = null_rows(method, inversion, conditioning, golden, label, case.settings["size"] >= 512)
    rows.append(Row(label, "AdamW replay", replay_error(method, golden), 1e-5))
    return rows + edit_comparison(method, trajectory, conditioning, guide, golden, label)


def golden_conditioning(method: Diffusion, case: GoldenCase, golden: Golden) -> Conditioning:
    """The embeddings that the reference's edit used."""
    description = method.describer.describe(case.composite)
    foreground, background = map(Text, torch.from_numpy(golden["text_emb"]).unbind(dim=1))
    optimizer = null_text(method)
    ends = np.cumsum([optimizer.updates(step) for step in range(len(foreground))]) - 1
    unconditional = Text(torch.from_numpy(golden["uncond_opt"][ends]))
    words = method.backbone.words(description)
    return Conditioning(foreground, background, unconditional, description, words)


def null_text(method: Diffusion) -> NullText:
    """The null-text optimizer of the method."""
    optimizer = method.embedding["unconditional"]
    assert isinstance(optimizer, NullText)
    return optimizer


def null_rows(
    method: Diffusion, inversion: Inversion, conditioning: Conditioning, golden: Golden, label: str, large: bool
) -> list[Row]:
    """Loss terms and gradient of every update from the golden embedding and latent before it."""
    optimizer, backbone, schedule = null_text(method), method.backbone, inversion.trajectory.schedule
    embeddings = torch.from_numpy(np.concatenate([golden["uncond_init"], golden["uncond_opt"]]))
    latents = torch.from_numpy(np.concatenate([golden["inversion_latents"][-1:], golden["uncond_latents"]]))
    errors: dict[str, list[float]] = {"reconstruction": [], "sobel": [], "pidinet": [], "gradient": []}
    columns = {"reconstruction": (0, optimizer.reconstruction), "pidinet": (1, 0.1), "sobel": (2, 1.0)}
    update = 0
    for step in range(len(conditioning.foreground)):
        for inner in range(optimizer.updates(step)):
            with_text = optimizer.predict_text(backbone, schedule, conditioning, latents[step], step)
            if inner == 0:
                with_text = optimizer.first_prediction(backbone, schedule, conditioning, latents[step], step, with_text)
            unconditional = Text(embeddings[update, None].requires_grad_())
            with torch.enable_grad():
                terms, _ = optimizer.terms(backbone, inversion, latents[step], unconditional, with_text, step)
                (gradient,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), [unconditional.tokens])
            for name, term in terms.items():
                column, weight = columns[name]
                errors[name].append(relative(term / weight, golden["uncond_mse"][update, column]))
            errors["gradient"].append(relative(gradient, golden["uncond_grad"][update]))
            update += 1
    short = update <= 12
    tolerances = {"reconstruction": 1e-5, "sobel": 1e-4 if large else 1e-5, "pidinet": 1e-4 if large else 1e-5}
    tolerances["gradient"] = 1e-4 if short else 5e-3
    return [
        Row(label, f"forced: null-text {name}, worst update", max(values), tolerances[name])
        for name, values in errors.items()
        if values
    ]


def replay_error(method: Diffusion, golden: Golden) -> float:
    """Feed the golden gradients to the optimizer and compare where it goes."""
    optimizer = null_text(method)
    embedding = torch.from_numpy(golden["uncond_init"].copy()).requires_grad_()
    adam = torch.optim.AdamW([embedding], lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay)
    reached: list[Tensor] = []
    for gradient in golden["uncond_grad"]:
        embedding.grad = torch.from_numpy(gradient)[None]
        adam.step()
        reached.append(embedding.detach().clone())
    return relative(torch.cat(reached), golden["uncond_opt"])


def edit_comparison(
    method: Diffusion,
    trajectory: Trajectory,
    conditioning: Conditioning,
    guide: StructureGuidance,
    golden: Golden,
    label: str,
) -> list[Row]:
    """The edit from golden embeddings: each step from golden latents, and the whole."""
    backbone = method.backbone
    reached: list[Event] = []
    whole = method.sampler.edit(backbone, trajectory, conditioning, method.guidance, guide.rules, reached.append)
    starts = torch.from_numpy(golden["p2p_latents"])
    errors = []
    for step in range(1, len(starts)):
        with backbone.attention(guide.rules, method.guidance.rows, len(starts)) as store, torch.no_grad():
            store.step = step
            after = edit_step(backbone, trajectory.schedule, starts[step - 1], conditioning, method.guidance, step)
        errors.append(relative(after, golden["p2p_latents"][step]))
    latents = torch.stack([torch.as_tensor(event.values["latents"]) for event in reached])
    rows = [
        Row(label, "forced: edit, worst step", max(errors, default=0.0), 1e-5),
        Row(label, "forced: edit, whole", relative(latents, golden["p2p_latents"]), 1e-4),
    ]
    with torch.no_grad():
        source, edited = method.decode(whole)
    return rows + pixels(as_bytes([source, edited]), golden["final_images"], label, "forced: images")
