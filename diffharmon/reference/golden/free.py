"""Free-running comparison: one whole iteration of the method from a golden input, every stage against its arrays."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from diffharmon.embedding.text_refine import attention_mask
from diffharmon.images import resize, to_uint8
from diffharmon.method.canvas import Canvas
from diffharmon.method.diffusion import Diffusion
from diffharmon.reference.golden.cases import GoldenCase
from diffharmon.reference.golden.table import Row, largest, pixels, relative
from diffharmon.types import Attempt, Event, Watcher

EARLY = 12  # updates of the unconditional embedding after which a free run is still exact
SHORT = 28  # updates after which a free run still ends near the golden one; longer ones are chaotic


class Recorder(Watcher):
    """Records what each stage reports, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Record an event."""
        self.events.append(event)

    def values(self, stage: str, name: str) -> Tensor:
        """Stack a named value over all events of a stage that report it."""
        return torch.stack(
            [torch.as_tensor(e.values[name]) for e in self.events if e.stage == stage and name in e.values]
        )


def free_rows(method: Diffusion, case: GoldenCase, iteration: int, label: str) -> list[Row]:
    """Run one iteration from the golden input and compare all that is comparable."""
    golden = case.golden(iteration)
    canvas = method.canvas(case.composite)
    current = canvas.target.image if iteration == 0 else case.blend(iteration - 1)
    recorder = Recorder()
    description = method.describer.describe(case.composite)
    attempt = method.attempt(canvas, current, description, iteration, watch=recorder)
    rows = mask_rows(method, canvas, golden, label)
    rows += inversion_rows(method, canvas, current, recorder, golden, label)
    rows += text_rows(recorder, golden, label)
    rows += late_rows(recorder, attempt, golden, label)
    return rows


def mask_rows(method: Diffusion, canvas: Canvas, golden: Mapping[str, np.ndarray], label: str) -> list[Row]:
    """Masks and timesteps, which must be exact."""
    side = golden["attn_mask"].shape[-1]
    cells = golden["latent_mask"][0, :1]
    background = to_uint8(canvas.target.image).permute(1, 2, 0).numpy()
    exact: dict[str, tuple[Tensor | np.ndarray, np.ndarray]] = {
        "timesteps": (method.sampler.schedule(method.backbone).timesteps, golden["timesteps"]),
        "original mask": (canvas.mask, golden["original_mask"]),
        "latent mask": (canvas.latent_mask, cells),
        "attention mask": (attention_mask(canvas.latent_mask, (side, side), antialias=False), golden["attn_mask"]),
        "resized composite": (background, golden["bg_image"]),
    }
    return [Row(label, name, largest(value, array), 0.0, "largest") for name, (value, array) in exact.items()]


def inversion_rows(
    method: Diffusion,
    canvas: Canvas,
    current: Tensor,
    recorder: Recorder,
    golden: Mapping[str, np.ndarray],
    label: str,
) -> list[Row]:
    """The encoded image, the empty prompt and the inversion."""
    seen = canvas.seen_from(current)
    image = resize(seen.image, canvas.size, "lanczos", seen.alpha)
    with torch.no_grad():
        latent = method.encode(image, canvas.original.name)
        empty = method.backbone.embed([""]).tokens
    inverted = recorder.values("inversion", "latent")
    return [
        Row(label, "vae_latents", relative(latent, golden["vae_latents"]), 2e-5),
        Row(label, "uncond_init", relative(empty, golden["uncond_init"]), 1e-5),
        Row(label, "inversion_latents", relative(inverted, golden["inversion_latents"][1:]), 2e-5),
    ]


def text_rows(recorder: Recorder, golden: Mapping[str, np.ndarray], label: str) -> list[Row]:
    """Losses, gradients, moved embeddings and latents of the text refinement."""
    rows = [
        Row(label, "text_loss", largest(recorder.values("text", "loss"), golden["text_loss"]), 5e-5, "largest"),
        Row(label, "text_latents", relative(recorder.values("text", "latent"), golden["text_latents"][:, 0]), 1e-4),
        Row(label, "text_emb", relative(recorder.values("text", "embedding"), golden["text_emb"]), 1e-5),
    ]
    for short, name in (("fg", "foreground"), ("bg", "background")):
        for kind, ours, tolerance in (("opt", "words", 1e-5), ("grad", "gradient", 1e-3)):
            error = relative(recorder.values("text", f"{ours}_{name}"), golden[f"text_{kind}_{short}"])
            rows.append(Row(label, f"text_{kind}_{short}", error, tolerance))
    if golden["text_opt_w"].shape[-1] > 1:
        # With one background token the gradient of its weight is rounding noise, which AdamW blows up.
        error = relative(recorder.values("text", "words_weights"), golden["text_opt_w"])
        rows.append(Row(label, "text_opt_w", error, 1e-5))
    return rows


def late_rows(recorder: Recorder, attempt: Attempt, golden: Mapping[str, np.ndarray], label: str) -> list[Row]:
    """Null-text optimization, edit and result, as far as a free run stays comparable.

    Optimizing at guidance 2.5 is chaotic: rounding grows about tenfold every five to ten updates, so a long free run
    parts from the golden one on any machine. Its later steps are compared teacher-forced.
    """
    optimized, updates = recorder.values("unconditional", "embedding"), len(golden["uncond_opt"])
    comparable = updates if updates <= EARLY else 20 if updates <= SHORT else 15
    tolerance = 1e-4 if updates <= SHORT else 1e-3
    error = relative(optimized[:comparable], golden["uncond_opt"][:comparable])
    rows = [Row(label, f"uncond_opt (updates 0-{comparable - 1})", error, tolerance)]
    if updates > SHORT:
        return rows
    end = 1e-4 if updates <= EARLY else 5e-2
    rows += [
        Row(label, "uncond_opt (all)", relative(optimized, golden["uncond_opt"]), end),
        Row(
            label,
            "uncond_latents",
            relative(recorder.values("unconditional", "denoised"), golden["uncond_latents"]),
            end,
        ),
        Row(label, "p2p_latents", relative(recorder.values("edit", "latents"), golden["p2p_latents"]), end),
    ]
    if updates <= EARLY and attempt.edited is not None and attempt.edited.source is not None:
        branches = as_bytes([attempt.edited.source, attempt.edited.edited])
        rows += pixels(branches, golden["final_images"], label, "images")
        rows += pixels(as_bytes([attempt.image])[0], golden["blend"], label, "blend")
    return rows


def as_bytes(pictures: Sequence[Tensor]) -> np.ndarray:
    """Stack images in [0, 1] as 8-bit arrays, channels last."""
    return np.stack([to_uint8(picture).permute(1, 2, 0).numpy() for picture in pictures])
