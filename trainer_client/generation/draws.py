"""Noise that everybody draws alike: from the task's seed, the sample's number and its prompt, and nothing else."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from market.protocol.generation import Prompt
from trainer_client.generative import normal, normal_words

DOMAIN = "fedmarket/generation/1"


def draw_normal(seed: int, sample: int, prompt: Prompt, purpose: str, values: int) -> NDArray[np.float32]:
    """Standard normal values, float32 (values,).

    Args:
        seed: the task's.
        sample: its number in the task, from 0.
        prompt: the sample's.
        purpose: what they are for; others are drawn for something else.
        values: how many.
    """
    words = draw_words(seed, sample, prompt, purpose, normal_words(values))
    drawn: NDArray[np.float32] = normal(words[None], values)[0].astype(np.float32)
    return drawn


def draw_gumbel(seed: int, sample: int, prompt: Prompt, purpose: str, values: int) -> NDArray[np.float64]:
    """Values of the standard Gumbel distribution, float64 (values,).

    Added to log probabilities, the largest sum falls on each as often as it is probable (Maddison et al. 2014,
    arXiv:1411.0030).
    """
    uniform = (draw_words(seed, sample, prompt, purpose, values) + 0.5) / 2**32
    return np.asarray(-np.log(-np.log(uniform)), dtype=np.float64)


def draw_words(seed: int, sample: int, prompt: Prompt, purpose: str, count: int) -> NDArray[np.uint32]:
    """SHAKE-256 of all that the noise may depend on, as little-endian words: uint32 (count,)."""
    told = json.dumps([DOMAIN, seed, sample, prompt, purpose], ensure_ascii=True, separators=(",", ":"))
    return np.frombuffer(hashlib.shake_256(told.encode()).digest(4 * count), dtype="<u4")
