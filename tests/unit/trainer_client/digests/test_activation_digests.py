"""The commitment to top activations: what rounding leaves as it is, and what another model does to it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from market.protocol.errors import InvalidData
from trainer_client.digests import hamming
from trainer_client.digests.activations import activation_digests, shares
from trainer_client.digests.simhash import simhash_digests
from trainer_client.text_transformer import TextTransformer

States = NDArray[np.float32]


def transformer(seed: int) -> TextTransformer:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TextTransformer(vocabulary=64, width=64, layers=2, heads=4, context=48)


def tokens(seed: int, samples: int = 20) -> torch.Tensor:
    return torch.randint(0, 64, (samples, 32), generator=torch.Generator().manual_seed(seed))


def states(model: TextTransformer, prompts: torch.Tensor, dtype: torch.dtype = torch.float32) -> States:
    """The last hidden states of a prefill."""
    kept: list[torch.Tensor] = []
    rounded = copy.deepcopy(model).to(dtype)
    rounded.norm.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        rounded(prompts)
    return kept[0].float().numpy()


def with_weights_of(model: TextTransformer, bits: int) -> TextTransformer:
    rounded = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in rounded.parameters():
            step = parameter.abs().max().clamp(min=1e-9) / (2 ** (bits - 1) - 1)
            parameter.copy_((parameter / step).round() * step)
    return rounded


def distances(a: States, b: States) -> NDArray[np.int64]:
    return hamming(activation_digests(a), activation_digests(b))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_the_precision_changes_few_bits(dtype: torch.dtype) -> None:
    model, prompts = transformer(0), tokens(0)
    assert distances(states(model, prompts), states(model, prompts, dtype)).max() <= 8


def test_a_prefill_has_the_digest_of_a_token_at_a_time() -> None:
    model, prompts = transformer(0), tokens(0, samples=3)
    grown = [states(model, prompts[:, : length + 1])[:, -1] for length in range(32)]
    assert distances(np.stack(grown, axis=1), states(model, prompts)).max() <= 2


def test_another_model_prompt_or_coarser_weights_change_many_bits() -> None:
    model, prompts = transformer(0), tokens(0)
    honest = states(model, prompts)
    assert distances(honest, states(transformer(1), prompts)).min() > 90
    assert distances(honest, states(model, tokens(1))).min() > 60
    assert distances(honest, states(with_weights_of(model, 4), prompts)).min() > 10


def test_one_other_token_changes_more_bits_than_rounding() -> None:
    model, prompts = transformer(0), tokens(0)
    other = prompts.clone()
    other[:, 10] = (other[:, 10] + 1) % 64
    rounding = distances(states(model, prompts), states(model, prompts, torch.bfloat16))
    assert np.median(distances(states(model, prompts), states(model, other))) > rounding.max()


def shares_read_literally(position: list[float], top: int) -> list[float]:
    kept = min(top, max(1, len(position) // 4))
    ranked = sorted(map(abs, position), reverse=True)
    cut = ranked[kept] if kept < len(position) else 0.0
    middle = ranked[(kept + 1) // 2 - 1]
    counted = []
    for value in position:
        above = abs(value) - cut
        size = 0.0 if above <= 0 else min(above / (middle - cut), 1.0) if middle > cut else 1.0
        counted.append(size if value >= 0 else -size)
    return counted


@given(st.lists(st.integers(-6, 6) | st.floats(-10, 10), min_size=1, max_size=40), st.integers(1, 12))
def test_activations_count_as_the_description_read_literally_says(position: list[float], top: int) -> None:
    counted = shares(np.array([[position]], np.float64), top)[0, 0]
    assert np.allclose(counted, shares_read_literally(position, top))
    assert np.abs(counted).max() <= 1


def test_the_digest_is_the_simhash_of_what_activations_count_for() -> None:
    random = np.random.default_rng(0)
    for positions, width in ((3, 5000), (90, 64), (7, 600)):
        activations = random.standard_normal((2, positions, width))
        vectors = shares(activations, 50).reshape(2, -1)
        assert np.array_equal(activation_digests(activations, top=50, seed=4), simhash_digests(vectors, seed=4))


def test_the_length_of_a_position_and_what_is_not_at_the_top_change_nothing() -> None:
    random = np.random.default_rng(1)
    activations = random.standard_normal((4, 6, 512))
    scaled = activations * random.integers(1, 9, (4, 6, 1))
    assert np.array_equal(activation_digests(activations), activation_digests(scaled))
    low = np.abs(activations) < np.median(np.abs(activations))
    assert np.array_equal(activation_digests(activations), activation_digests(np.where(low, 0, activations)))


def test_what_leaves_the_top_has_come_to_nothing_before() -> None:
    activations = np.random.default_rng(2).standard_normal((200, 1, 64))
    moved = activations * (1 + 1e-6 * np.random.default_rng(3).standard_normal(activations.shape))
    assert np.abs(shares(activations, 16) - shares(moved, 16)).max() < 1e-3


def test_one_activation_that_is_always_large_does_not_hide_another_prompt() -> None:
    activations = np.random.default_rng(4).standard_normal((2, 9, 512))
    activations[:, :, 17] = 1e4
    assert hamming(*activation_digests(activations)) > 90
    assert hamming(*simhash_digests(activations)) < 10


def test_samples_may_have_positions_of_their_own() -> None:
    random = np.random.default_rng(5)
    samples = [random.standard_normal((positions, 40)) for positions in (1, 7, 120)]
    together = activation_digests(samples)
    assert all(np.array_equal(together[index], activation_digests(samples[index][None])[0]) for index in range(3))
    assert activation_digests([]).shape == (0, 32)


def with_value(value: float) -> States:
    activations = np.ones((2, 5, 6), np.float32)
    activations[1, 3, 2] = value
    return activations


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (with_value(np.nan), "sample 1 has the activation nan at position 3, place 2"),
        (with_value(-np.inf), "sample 1 has the activation -inf at position 3, place 2"),
        (list(with_value(np.nan)), "sample 1 has the activation nan at position 3, place 2"),
        (np.ones((5, 6)), r"the shape \(5, 6\), expected \(n, positions, width\)"),
        (np.ones((1, 0, 6)), r"the shape \(1, 0, 6\)"),
        ([[[1.0, 2.0], [1.0]]], "sample 0 is no array"),
        ([np.ones(6)], r"the shape \(1, 6\)"),
        (np.ones((1, 5, 6), np.int32), "activations are of type int32, expected floats"),
    ],
)
def test_what_are_no_activations_is_named(wrong: Any, named: str) -> None:
    with pytest.raises(InvalidData, match=named):
        activation_digests(wrong)


@pytest.mark.parametrize("top", [0, 65537, 1.0, None])
def test_a_top_that_cannot_be_is_refused(top: Any) -> None:
    with pytest.raises(InvalidData, match="top"):
        activation_digests(np.ones((1, 2, 3)), top=top)
