"""The price of a run: its calls, FLOPs, memory and hours, in words."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig

from diffharmon.config.batch import batch_of
from diffharmon.errors import ConfigError
from diffharmon.pricing.counting import Call, Count, count_calls
from diffharmon.pricing.flops import Model, model_for

# TFLOP/s. GPUs: 40 % of the data sheets' dense bfloat16 peaks (989, 312, 165), assumed, not measured. A thread of a CPU
# in bfloat16: the seconds of experiments/cost, whose calls are 39 TFLOP.
DEVICES = {"h100": 396.0, "a100": 125.0, "4090": 66.0, "cpu": 0.13}
COLUMNS = ("stage", "calls", "samples", "with gradient", "TFLOP", "peak GiB")


@dataclass(frozen=True)
class Price:
    """What one job costs at most.

    Attributes:
        images: How many images it does.
        count: The calls of one image.
        flops: FLOPs of one image by stage; empty where the model's sizes are not known.
        peaks: Bytes at the highest point of each stage, weights included.
        batch: How many images are harmonized side by side.
    """

    images: int
    count: Count
    flops: Mapping[str, float]
    peaks: Mapping[str, int]
    batch: int = 1

    @property
    def tera(self) -> float | None:
        """TFLOP of all images; None where they are not known."""
        known = self.flops or not self.count.passes
        return self.images * sum(self.flops.values()) / 1e12 if known else None

    def to_json(self) -> dict[str, Any]:
        """Return what a sweep adds up."""
        samples = self.images * self.count.number(samples=True)
        return {"images": self.images, "samples": samples, "tflop": self.tera}


def price_of(config: DictConfig, images: int) -> Price:
    """Price a job without loading its weights.

    Args:
        config: A validated configuration.
        images: How many images it does.

    Raises:
        ConfigError: The calls cannot be counted.
    """
    count = count_calls(config)
    model = model_for(config.backbone) if count.passes else None
    if model is None:
        return Price(images, count, {}, {})
    total = count.total
    flops = {s: float(sum(n * model.work(call).flops for call, n in calls.items())) for s, calls in total.items()}
    offload = str(config.backbone.offload)
    wanted = batch_of(config)
    batch = min(wanted, images)
    lanes = batch if wanted == 1 else batch * count.descriptions  # descriptions of an image go side by side as well
    peaks = {
        stage: peak(model, [together(call, lanes) for call in calls]) + resident(model, stage, calls, offload)
        for stage, calls in total.items()
    }
    return Price(images, count, flops, peaks, batch)


def together(call: Call, lanes: int) -> Call:
    """Return a call as it is made for several lanes: the network's for all of them, others for one at a time."""
    return replace(call, rows=lanes * call.rows) if call.part == "network" else call


def resident(model: Model, stage: str, calls: Mapping[Call, int], offload: str) -> int:
    """Return the bytes of weights on the device in a stage; the stage of the text optimizes through its encoder."""
    gradient = any(call.gradient for call in calls if call.part == "network")
    return model.weights(offload, gradient, text=gradient and stage == "text")


def peak(model: Model, calls: list[Call]) -> int:
    """Return the bytes of a stage at its highest point: where it decodes under a gradient, the network's wait too."""
    works = {call: model.work(call) for call in calls}
    waiting = max((work.kept for call, work in works.items() if call.part == "network"), default=0)
    return max(work.peak + (waiting if call.gradient and call.part == "decoder" else 0) for call, work in works.items())


def speed_of(device: str | float) -> float:
    """Return a device's TFLOP/s: that of a name, or the number itself.

    Raises:
        ConfigError: Neither a known name nor a positive number.
    """
    if str(device) in DEVICES:
        return DEVICES[str(device)]
    try:
        speed = float(device)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ConfigError(f"device: expected {', '.join(DEVICES)} or a number of TFLOP/s, got {device}")
    return speed


def table(price: Price) -> list[list[str]]:
    """Lay out what the stages of one image cost."""
    rows = [list(COLUMNS)]
    for stage, calls in price.count.total.items():
        network = {call: number for call, number in calls.items() if call.part == "network"}
        samples = sum(number * call.rows for call, number in network.items())
        gradient = sum(number * call.rows for call, number in network.items() if call.gradient)
        known = stage in price.flops
        rows.append([stage, str(sum(network.values())), str(samples), str(gradient)])
        rows[-1] += [f"{price.flops[stage] / 1e12:.3g}", f"{price.peaks[stage] / 2**30:.1f}"] if known else ["–", "–"]
    return rows


def sentence(price: Price, device: str | float | None = None) -> str:
    """Say in one line what a job costs at most."""
    count = price.count
    parts = [f"at most {count.passes} passes an image", f"{count.number()} network calls"]
    parts.append(f"{count.number(samples=True)} samples in them")
    images = f"{price.images} images" + (f", {price.batch} at a time" if price.batch > 1 else "")
    text = f"{', '.join(parts)}; {images}" if count.passes else f"no network call; {images}"
    return f"{text}: {total_line(price.to_json(), device)}"


def total_line(total: dict[str, Any], device: str | float | None) -> str:
    """Say what all images cost: samples, FLOPs and, on a device, hours."""
    text = f"{total['samples']} network samples"
    if total["tflop"] is None:
        return f"{text}; FLOPs are not known: the model's sizes are not on this machine (backbone.path=FOLDER)"
    if not total["samples"]:
        return text
    text += f", {total['tflop'] / 1000:.3g} PFLOP"
    if device is None:
        return text
    speed = speed_of(device)
    return f"{text}, {total['tflop'] / speed / 3600:.3g} hours at {speed:g} TFLOP/s ({device})"
