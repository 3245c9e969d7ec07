"""What the reader of light measures: colour statistics of the five regions and their differences."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffharmon.condition.cielab import rgb_to_lab
from diffharmon.condition.reader.regions import REGIONS

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_SCALE = 25.0  # CIELAB units that count as one
_SAMPLED = 1500  # colours of a region that its quantiles are taken from
# Pairs of regions whose difference is measured: near - foreground, outer - inner edge, far - foreground, far - near.
_PAIRS = ((3, 0), (2, 1), (4, 0), (4, 3))
_EACH = 6 + 3 * len(_QUANTILES)
COUNT = len(REGIONS) * _EACH + 6 * len(_PAIRS) + len(REGIONS)


def statistics(image: Float[Tensor, "3 s s"], parts: Bool[Tensor, "5 s s"]) -> Float[Tensor, "k"]:
    """Measure one picture.

    Returns:
        For each region mean (/ 25), log(1 + standard deviation) and five quantiles (/ 25) in CIELAB; the differences
        of mean and log-deviation between pairs of regions; the log of each region's share of the frame.
    """
    lab = rgb_to_lab(image.permute(1, 2, 0))
    rows: list[Tensor] = []
    moments = []
    for part in parts:
        colours = lab[part]
        mean, spread = colours.mean(0), (colours.std(0, unbiased=False) + 1).log()
        ordered = colours[:: max(1, len(colours) // _SAMPLED)].sort(0).values
        quantiles = ordered[[int(q * (len(ordered) - 1)) for q in _QUANTILES]]
        moments.append((mean, spread))
        rows += [mean / _SCALE, spread, (quantiles / _SCALE).flatten()]
    for first, second in _PAIRS:
        rows += [(moments[first][0] - moments[second][0]) / _SCALE, moments[first][1] - moments[second][1]]
    rows.append(torch.log(parts.flatten(1).float().mean(1) + 1e-3))
    return torch.cat(rows)


def foreground_mean(measured: Float[Tensor, "b k"]) -> Float[Tensor, "b 3"]:
    """Pick the foreground's mean colour, in CIELAB, out of the statistics."""
    return measured[:, :3] * _SCALE


def near_difference(measured: Float[Tensor, "b k"]) -> Float[Tensor, "b 6"]:
    """Pick out what separates the near background from the foreground: shift and log-spread in CIELAB."""
    start = len(REGIONS) * _EACH
    return torch.cat([measured[:, start : start + 3] * _SCALE, measured[:, start + 3 : start + 6]], 1)
