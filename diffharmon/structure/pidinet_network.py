"""PiDiNet, a small learned edge detector (Su et al., "Pixel Difference Networks for Efficient Edge Detection", 2021).

A pixel-difference convolution weighs differences of neighbouring pixels instead of pixels. Angular and radial
differences equal a plain convolution whose kernel is built from the learned 3 x 3 weights, and are computed so; the
difference to the centre is taken as it stands, which loses less to rounding. The class follows the published
``carv4`` configuration with dilation and spatial attention modules, at any width, and its parameter names are those
of the published checkpoints.
"""

from collections.abc import Mapping
from itertools import cycle, islice

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# The eight neighbours of a 3 x 3 window, clockwise from the top left corner, as row-major indices.
RING = (0, 1, 2, 5, 8, 7, 6, 3)
# The same neighbours row by row, and where they lie in a 5 x 5 window at distance one and two from its centre.
NEAR = (6, 7, 8, 11, 13, 16, 17, 18)
FAR = (0, 2, 4, 10, 14, 20, 22, 24)
ORDER = ("central", "angular", "radial", "vanilla")


def angular_kernel(weight: Float[Tensor, "o i 3 3"]) -> Float[Tensor, "o i 3 3"]:
    """Weigh each ring neighbour's difference to the next one clockwise; the centre takes no part."""
    flat = weight.flatten(2)
    ring = flat[:, :, RING]
    kernel = torch.zeros_like(flat)
    kernel[:, :, RING] = ring - ring.roll(1, dims=2)
    return kernel.view_as(weight)


def radial_kernel(weight: Float[Tensor, "o i 3 3"]) -> Float[Tensor, "o i 5 5"]:
    """Weigh, in eight directions, the difference of the pixel at distance two to the one at distance one.

    The published weights keep these eight values in the last eight of nine places, row by row; the first is unused.
    """
    outputs, inputs = weight.shape[:2]
    values = weight.flatten(2)[:, :, 1:]
    kernel = weight.new_zeros(outputs, inputs, 25)
    kernel[:, :, FAR] = values
    kernel[:, :, NEAR] = -values
    return kernel.view(outputs, inputs, 5, 5)


def vanilla_kernel(weight: Float[Tensor, "o i 3 3"]) -> Float[Tensor, "o i 3 3"]:
    """Weigh the pixels themselves."""
    return weight


KERNELS = {
    "central": vanilla_kernel,
    "angular": angular_kernel,
    "radial": radial_kernel,
    "vanilla": vanilla_kernel,
}


class DifferenceConvolution(nn.Module):
    """A 3 x 3 pixel-difference convolution without bias that keeps the image size."""

    def __init__(self, kind: str, inputs: int, outputs: int, groups: int = 1) -> None:
        super().__init__()
        self.kind = kind
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(outputs, inputs // groups, 3, 3))
        nn.init.kaiming_normal_(self.weight)

    def forward(self, image: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        """Convolve with zero padding."""
        kernel = KERNELS[self.kind](self.weight)
        result = F.conv2d(image, kernel, padding=kernel.shape[-1] // 2, groups=self.groups)
        if self.kind == "central":
            centre = self.weight.sum(dim=(2, 3), keepdim=True)
            result = result - F.conv2d(image, centre, groups=self.groups)
        return result


class Block(nn.Module):
    """Depthwise difference convolution, ReLU, pointwise convolution and a shortcut; optionally halves the image."""

    def __init__(self, kind: str, inputs: int, outputs: int, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if halve else nn.Identity()
        self.conv1 = DifferenceConvolution(kind, inputs, inputs, groups=inputs)
        self.conv2 = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o y x"]:
        """Transform the features."""
        if self.halve:
            features = F.max_pool2d(features, 2)
        return self.conv2(F.relu(self.conv1(features))) + self.shortcut(features)


class DilationModule(nn.Module):
    """Sum of four dilated convolutions after ReLU and a pointwise reduction (the paper's CDCM)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 1)
        self.conv2_1, self.conv2_2, self.conv2_3, self.conv2_4 = (
            nn.Conv2d(outputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
            for dilation in (5, 7, 9, 11)
        )

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        """Gather context at four scales."""
        reduced = self.conv1(F.relu(features))
        return self.conv2_1(reduced) + self.conv2_2(reduced) + self.conv2_3(reduced) + self.conv2_4(reduced)


class SpatialAttention(nn.Module):
    """Multiplies the features by a learned map in [0, 1] (the paper's CSAM)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, 4, 1)
        self.conv2 = nn.Conv2d(4, 1, 3, padding=1, bias=False)

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b i h w"]:
        """Weigh the features."""
        return features * torch.sigmoid(self.conv2(self.conv1(F.relu(features))))


class Reduction(nn.Module):
    """Pointwise convolution to one edge map."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 1, 1)

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b 1 h w"]:
        """Reduce to one channel."""
        return self.conv(features)


class PiDiNetNetwork(nn.Module):
    """Edge maps of four scales and their fusion.

    Args:
        width: Channels of the first stage; the published networks have 20 (tiny), 30 (small) and 60.
        dilation: Channels of the dilation modules; 8, 12 and 24 in the published networks.
    """

    def __init__(self, width: int = 20, dilation: int = 8) -> None:
        super().__init__()
        kinds = islice(cycle(ORDER), 16)
        self.init_block = DifferenceConvolution(next(kinds), 3, width)
        widths = (width, 2 * width, 4 * width, 4 * width)
        inputs = width
        self.stages = []
        for stage, outputs in enumerate(widths, start=1):
            names = []
            for number in range(1, 4 if stage == 1 else 5):
                halve = stage > 1 and number == 1
                names.append(f"block{stage}_{number}")
                self.add_module(names[-1], Block(next(kinds), inputs, outputs, halve))
                inputs = outputs
            self.stages.append(names)
        self.dilations = nn.ModuleList(DilationModule(channels, dilation) for channels in widths)
        self.attentions = nn.ModuleList(SpatialAttention(dilation) for _ in widths)
        self.conv_reduces = nn.ModuleList(Reduction(dilation) for _ in widths)
        self.classifier = nn.Conv2d(4, 1, 1)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "PiDiNetNetwork":
        """Build the network of a published checkpoint's ``state_dict``, frozen.

        Raises:
            KeyError: If the tensors from which the widths are read are missing.
            RuntimeError: If the tensors do not fit the architecture.
        """
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
        width = state["init_block.weight"].shape[0]
        network = cls(width, state["dilations.0.conv1.weight"].shape[0])
        network.load_state_dict(state)
        return network.eval().requires_grad_(False)

    def maps(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 5 h w"]:
        """Return the edge probabilities of the four scales and, last, of their fusion.

        Args:
            image: RGB normalised with ImageNet's mean and standard deviation; sides of at least 8 pixels.
        """
        features = self.init_block(image)
        logits = []
        heads = zip(self.stages, self.dilations, self.attentions, self.conv_reduces, strict=True)
        for names, dilation, attention, reduction in heads:
            for name in names:
                features = self.get_submodule(name)(features)
            edges = reduction(attention(dilation(features)))
            logits.append(F.interpolate(edges, image.shape[-2:], mode="bilinear", align_corners=False))
        scales = torch.cat(logits, dim=1)
        return torch.sigmoid(torch.cat([scales, self.classifier(scales)], dim=1))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Return the fused edge probability in [0, 1] of a normalised image."""
        return self.maps(image)[:, -1:]
