"""Models that learn from inputs alone, and the noise that one of them learns to find."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer_client.layers import Samples

NOISE_DOMAIN = "fedmarket/noise/1"

FEWEST_STEPS = 25
"""Below this the last step's variance would exceed the signal's."""

TIME_VALUES = 32
"""How many sines and cosines tell a denoiser the step."""


class Autoencoder(nn.Module):
    """Narrows a sample to a code and widens it again (Hinton and Salakhutdinov 2006, doi:10.1126/science.1127647).

    Args:
        features: values of a sample, in and out.
        hidden: neurons of the encoder's layers; the decoder has them backwards.
        code: values of the code.
    """

    def __init__(self, features: int, hidden: tuple[int, ...], code: int) -> None:
        super().__init__()
        self.samples = Samples((features,))
        self.encoder = perceptron((features, *hidden, code))
        self.decoder = perceptron((code, *reversed(hidden), features))

    def forward(self, batch: Tensor) -> Tensor:
        """(N, features) to (N, features)."""
        reconstruction: Tensor = self.decoder(self.encoder(self.samples(batch)))
        return reconstruction


class Denoiser(nn.Module):
    """Tells the noise in a sample (Ho et al. 2020, arXiv:2006.11239), here by a perceptron that is told the step.

    Args:
        features: values of a sample, in and out.
        hidden: neurons of its layers.
        steps: T; step 0 is nearly clean, step T - 1 nearly noise alone.
    """

    def __init__(self, features: int, hidden: tuple[int, ...], steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.samples = Samples((features,))
        self.layers = perceptron((features + TIME_VALUES, *hidden, features))

    def forward(self, batch: Tensor, times: Tensor) -> Tensor:
        """(N, features) and the steps, int64 (N,), to the noise, (N, features)."""
        noise: Tensor = self.layers(torch.cat([self.samples(batch), _embedded(times, batch.dtype)], dim=1))
        return noise


def perceptron(widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers from the first width to the last, rectified in between."""
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def signal_shares(steps: int) -> NDArray[np.float64]:
    """How much of the variance is still the sample's after each step: the paper's mean alpha, float64 (steps,).

    Its variances grow evenly from 10^-4 to 0.02 over 1,000 steps; fewer steps are the larger for it.
    """
    variances = np.linspace(1e-4, 0.02, steps) * (1000 / steps)
    return np.cumprod(1 - variances, dtype=np.float64)


def draw_noise(inputs: NDArray[np.float32], steps: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw a step and standard normal noise for every sample, from the seed and the sample alone.

    Neither the order of the samples nor how they are cut into batches matters, nor the machine: SHAKE-256 of the
    seed and the sample's bytes gives the step, uniform, and, by Box and Muller (1958), the noise.

    Args:
        inputs: float32 (n, features).
        steps: T.
        seed: any integer; another one gives other noise.

    Returns:
        Steps, int64 (n,) in 0..T - 1, and noise, float64 (n, features).
    """
    samples, features = inputs.shape
    pairs = -(-features // 2)
    prefix = f"{NOISE_DOMAIN}:{seed}:".encode()
    rows = np.ascontiguousarray(inputs, dtype="<f4")
    drawn = b"".join(hashlib.shake_256(prefix + row.tobytes()).digest(8 + 8 * pairs) for row in rows)
    words = np.frombuffer(drawn, dtype="<u4").reshape(samples, 2 + 2 * pairs)
    # Never 0, whose logarithm is infinite.
    radius = np.sqrt(-2 * np.log((words[:, 2 : 2 + pairs] + 1.0) / 2**32))
    angle = words[:, 2 + pairs :] * (2 * math.pi / 2**32)
    noise = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    times = words[:, :2].copy().view("<u8")[:, 0] % np.uint64(steps)
    return times.astype(np.int64), noise[:, :features]


def _embedded(times: Tensor, dtype: torch.dtype) -> Tensor:
    """Sines and cosines of a step at falling frequencies (Vaswani et al. 2017, arXiv:1706.03762): (N, TIME_VALUES)."""
    half = TIME_VALUES // 2
    frequencies = 10_000.0 ** (-torch.arange(half, device=times.device, dtype=dtype) / half)
    angles = times.to(dtype)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
