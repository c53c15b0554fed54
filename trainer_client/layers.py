"""Layers that several models of the zoo are made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from market.protocol.errors import InvalidData


class Samples(nn.Module):
    """Takes a batch as it comes, flat or as images, and hands it on in the shape that the model works on.

    Args:
        shape: of one sample: (features,) or (channels, height, width).

    Raises:
        InvalidData: on a batch whose samples have neither this shape nor, flattened, this many values.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, batch: Tensor) -> Tensor:
        """(N, ...) to (N, *shape)."""
        values = math.prod(self.shape)
        found = tuple(batch.shape[1:])
        flat_or_same = batch.ndim == 2 or len(self.shape) == 1 or found == self.shape
        if not flat_or_same or math.prod(found) != values:
            raise InvalidData(
                f"samples of shape {found}: the model expects shape {self.shape}, flat or not, so {values} values"
            )
        return batch.reshape(len(batch), *self.shape)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2015, arXiv:1512.03385), with group normalisation.

    Group normalisation (Wu and He 2018, arXiv:1803.08494) instead of batch normalisation: the latter's running
    statistics describe one trainer's data and would travel with the update, averages of them over unlike data sets
    fit nobody, and an update added to a running variance can make it negative.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm1 = group_norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = group_norm(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels_out, ceil(H / stride), ceil(W / stride))."""
        inner = torch.relu(self.norm1(self.conv1(images)))
        return torch.relu(self.norm2(self.conv2(inner)) + self.shortcut(images))


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalise in up to eight groups of channels."""
    return nn.GroupNorm(math.gcd(8, channels), channels)
