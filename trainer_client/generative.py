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
CONDITION_DOMAIN = "fedmarket/condition/1"

UNTOLD = 0.1
"""How often a conditional denoiser learns a sample without being told its class (Ho and Salimans 2022)."""

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


class ConditionalDenoiser(nn.Module):
    """A denoiser that is told the sample's class, or that there is none (Ho and Salimans 2022, arXiv:2207.12598).

    Args:
        features: values of a sample, in and out.
        hidden: neurons of its layers.
        steps: T, as of ``Denoiser``.
        classes: labels are 0..classes - 1; ``classes`` itself stands for none.
    """

    def __init__(self, features: int, hidden: tuple[int, ...], steps: int, classes: int) -> None:
        super().__init__()
        self.steps = steps
        self.classes = classes
        self.samples = Samples((features,))
        self.condition = nn.Embedding(classes + 1, TIME_VALUES)
        self.layers = perceptron((features + 2 * TIME_VALUES, *hidden, features))

    def forward(self, batch: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """(N, features), the steps and the labels, both int64 (N,), to the noise, (N, features)."""
        told = torch.cat([self.samples(batch), _embedded(times, batch.dtype), self.condition(labels)], dim=1)
        noise: Tensor = self.layers(told)
        return noise


class VariationalAutoencoder(nn.Module):
    """Codes a sample as a normal distribution, and widens a draw of it (Kingma and Welling 2013, arXiv:1312.6114).

    Args:
        features: values of a sample, each the probability of a yes, in 0..1.
        hidden: neurons of the encoder's layers; the decoder has them backwards.
        code: values of the code.
    """

    def __init__(self, features: int, hidden: tuple[int, ...], code: int) -> None:
        super().__init__()
        self.code = code
        self.samples = Samples((features,))
        self.encoder = perceptron((features, *hidden, 2 * code))
        self.decoder = perceptron((code, *reversed(hidden), features))

    def encode(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """(N, features) to the means and the logarithms of the variances of the codes, both (N, code)."""
        mean, log_variance = self.encoder(self.samples(batch)).chunk(2, dim=1)
        return mean, log_variance

    def forward(self, codes: Tensor) -> Tensor:
        """Codes, (N, code), to the log odds of the sample's values, (N, features)."""
        odds: Tensor = self.decoder(codes)
        return odds


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


def draw_noise(
    inputs: NDArray[np.float32], steps: int, seed: int, values: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw a step and standard normal noise for every sample, from the seed and the sample alone.

    Neither the order of the samples nor how they are cut into batches matters, nor the machine: SHAKE-256 of the
    seed and the sample's bytes gives the step, uniform, and, by Box and Muller (1958), the noise.

    Args:
        inputs: float32 (n, features).
        steps: T.
        seed: any integer; another one gives other noise.
        values: of the noise of a sample; as many as its own if left out.

    Returns:
        Steps, int64 (n,) in 0..T - 1, and noise, float64 (n, values).
    """
    count = inputs.shape[1] if values is None else values
    drawn = _words(f"{NOISE_DOMAIN}:{seed}:", inputs, 2 + normal_words(count))
    times = drawn[:, :2].copy().view("<u8")[:, 0] % np.uint64(steps)
    return times.astype(np.int64), normal(drawn[:, 2:], count)


def draw_told(inputs: NDArray[np.float32], seed: int) -> NDArray[np.bool_]:
    """Draw whether a conditional denoiser is told each sample's class, bool (n,), from the seed and the sample alone.

    Args:
        inputs: float32 (n, features).
        seed: any integer.
    """
    drawn = _words(f"{CONDITION_DOMAIN}:{seed}:", inputs, 1)[:, 0]
    return drawn >= UNTOLD * 2**32


def normal_words(values: int) -> int:
    """How many random 32-bit words so many normal values take."""
    return 2 * -(-values // 2)


def normal(words: NDArray[np.uint32], values: int) -> NDArray[np.float64]:
    """Turn random words into standard normal values (Box and Muller 1958): (n, normal_words(values)) to (n, values)."""
    pairs = words.shape[1] // 2
    # Never 0, whose logarithm is infinite.
    radius = np.sqrt(-2 * np.log((words[:, :pairs] + 1.0) / 2**32))
    angle = words[:, pairs:] * (2 * math.pi / 2**32)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :values]


def _words(prefix: str, inputs: NDArray[np.float32], count: int) -> NDArray[np.uint32]:
    """SHAKE-256 of the prefix and each sample's bytes: (n, count)."""
    rows = np.ascontiguousarray(inputs, dtype="<f4")
    drawn = b"".join(hashlib.shake_256(prefix.encode() + row.tobytes()).digest(4 * count) for row in rows)
    return np.frombuffer(drawn, dtype="<u4").reshape(len(inputs), count)


def _embedded(times: Tensor, dtype: torch.dtype) -> Tensor:
    """Sines and cosines of a step at falling frequencies (Vaswani et al. 2017, arXiv:1706.03762): (N, TIME_VALUES)."""
    half = TIME_VALUES // 2
    # A narrow type would not tell step 999 from step 1000.
    exact = torch.promote_types(dtype, torch.float32)
    frequencies = 10_000.0 ** (-torch.arange(half, device=times.device, dtype=exact) / half)
    angles = times.to(exact)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(dtype)
