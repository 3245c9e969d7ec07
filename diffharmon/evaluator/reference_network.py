"""The public code's harmony network: a ResNet-50 whose stem takes image and mask, with two classes.

Parameters carry the names of its published file ``HarmonizationDetect/exp/bestModel.pth``: the encoder is the sequence
of torchvision's ResNet-50 from its first batch norm on (He et al., CVPR 2016; the stride is in the 3 x 3 convolution).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

LAYERS = (3, 4, 6, 3)  # bottlenecks in each of ResNet-50's stages
WIDTH = 64
EXPANSION = 4


class Bottleneck(nn.Module):
    """A residual block of three convolutions, 1 x 1, 3 x 3 and 1 x 1."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        reshaped = stride != 1 or inputs != outputs
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if reshaped
            else None
        )

    def forward(self, values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """Add the convolutions' output to the input, itself brought to the output's shape where that differs."""
        kept = values if self.downsample is None else self.downsample(values)
        changed = self.relu(self.bn1(self.conv1(values)))
        changed = self.relu(self.bn2(self.conv2(changed)))
        return self.relu(self.bn3(self.conv3(changed)) + kept)


class ReferenceNetwork(nn.Module):
    """Logits of "composite" and "harmonious" for images with their masks.

    Args:
        layers: Bottlenecks in each stage; every stage but the first halves the resolution.
        width: Channels of the stem; ResNet-50 has 64.
    """

    def __init__(self, layers: tuple[int, ...] = LAYERS, width: int = WIDTH) -> None:
        super().__init__()
        self.inp_encoder = nn.Conv2d(4, width, 7, stride=2, padding=3, bias=False)
        stages: list[nn.Module] = []
        channels = width
        for number, depth in enumerate(layers):
            inner = width * 2**number
            blocks = []
            for position in range(depth):
                blocks.append(Bottleneck(channels, inner, 2 if number and not position else 1))
                channels = EXPANSION * inner
            stages.append(nn.Sequential(*blocks))
        stem = [nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1)]
        self.encoder = nn.Sequential(*stem, *stages)
        self.classify_fc = nn.Linear(channels, 2)

    def forward(self, images: Float[Tensor, "b 3 h w"], masks: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 2"]:
        """Classify images in [-1, 1] with masks in [0, 1]."""
        features = self.encoder(self.inp_encoder(torch.cat((images, masks), dim=1)))
        return self.classify_fc(features.mean((2, 3)))
