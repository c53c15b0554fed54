from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer_client.generative import FEWEST_STEPS, draw_noise, draw_told, signal_shares
from trainer_client.models import build_model


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5), st.integers())
def test_noise_is_what_anyone_computes_from_the_seed_and_the_sample(sample: list[float], seed: int) -> None:
    inputs = np.array([sample], dtype=np.float32)
    times, noise = draw_noise(inputs, 1000, seed)

    pairs = (len(sample) + 1) // 2
    digest = hashlib.shake_256(b"fedmarket/noise/1:%d:" % seed + inputs.tobytes()).digest(8 + 8 * pairs)
    words = [int.from_bytes(digest[start : start + 4], "little") for start in range(8, len(digest), 4)]
    expected = []
    for wave in (math.cos, math.sin):
        for first, second in zip(words[:pairs], words[pairs:], strict=True):
            radius = math.sqrt(-2 * math.log((first + 1) / 2**32))
            expected.append(radius * wave(2 * math.pi * second / 2**32))
    assert times.tolist() == [int.from_bytes(digest[:8], "little") % 1000]
    np.testing.assert_allclose(noise[0], expected[: len(sample)], atol=1e-12)


def test_noise_is_standard_normal_and_steps_are_uniform() -> None:
    inputs = np.random.default_rng(0).normal(size=(4000, 5)).astype(np.float32)
    times, noise = draw_noise(inputs, 100, 0)
    # Five standard errors and more: of means 1/sqrt(20,000), of correlations 1/sqrt(4,000).
    assert abs(noise.mean()) < 0.04
    assert abs(noise.std() - 1) < 0.03
    assert np.abs(np.corrcoef(noise.T) - np.eye(5)).max() < 0.1
    assert abs(np.corrcoef(noise[:, 0], inputs[:, 0])[0, 1]) < 0.1
    assert abs(np.mean(np.abs(noise) < 1) - 0.6827) < 0.02
    assert (times.min(), times.max()) == (0, 99)
    assert abs(times.mean() - 49.5) < 2.5


def test_noise_can_have_another_number_of_values_than_the_sample() -> None:
    inputs = np.ones((3, 4), dtype=np.float32)
    inputs[:, 0] = range(3)
    times, noise = draw_noise(inputs, 100, 0, values=7)
    assert noise.shape == (3, 7)
    assert (times == draw_noise(inputs, 100, 0)[0]).all()


def test_whether_a_class_is_told_depends_on_the_seed_and_the_sample_alone() -> None:
    inputs = np.random.default_rng(0).normal(size=(4000, 2)).astype(np.float32)
    told = draw_told(inputs, 5)
    assert (draw_told(inputs[::-1], 5)[::-1] == told).all()
    assert (draw_told(inputs, 6) != told).any()
    assert abs(told.mean() - 0.9) < 0.03


def test_a_denoiser_tells_steps_apart_in_narrow_numbers_too() -> None:
    model = build_model("denoiser", {"features": 4, "hidden": [64]}, 0)
    narrow, sample, times = model.bfloat16(), torch.ones(2, 4).bfloat16(), torch.tensor([998, 999])
    exact = build_model("denoiser", {"features": 4, "hidden": [64]}, 0)(torch.ones(2, 4), times)
    torch.testing.assert_close(narrow(sample, times).float(), exact, atol=0.02, rtol=0)


def test_samples_that_differ_little_get_noise_that_differs_wholly() -> None:
    inputs = np.zeros((2, 4), dtype=np.float32)
    inputs[1, 3] = np.nextafter(np.float32(0), np.float32(1))
    _, noise = draw_noise(inputs, 100, 0)
    assert (noise[0] != noise[1]).all()


def test_the_schedule_is_the_papers_at_a_thousand_steps() -> None:
    shares = signal_shares(1000)
    assert shares[0] == pytest.approx(1 - 1e-4)
    assert shares[1] == pytest.approx((1 - 1e-4) * (1 - 1e-4 - (0.02 - 1e-4) / 999))
    assert shares[-1] == pytest.approx(4.0358e-5, rel=1e-4)


@given(st.integers(FEWEST_STEPS, 2000))
def test_the_signal_falls_from_nearly_all_to_nearly_none(steps: int) -> None:
    shares = signal_shares(steps)
    assert (np.diff(shares) < 0).all()
    assert shares[0] > 0.99
    assert 0 < shares[-1] < 1e-4


def test_a_denoiser_is_told_the_step() -> None:
    model = build_model("denoiser", {"features": 4, "hidden": [8]}, 0)
    sample = torch.ones(3, 4)
    outputs = model(sample, torch.tensor([0, 500, 999]))
    assert outputs.shape == (3, 4)
    assert len(torch.unique(outputs, dim=0)) == 3


def test_an_autoencoder_knows_of_a_sample_what_its_code_holds() -> None:
    model = build_model("autoencoder", {"features": 6, "hidden": [5], "code": 2}, 0).double()
    assert model.encoder(torch.ones(3, 6).double()).shape == (3, 2)
    jacobian = torch.autograd.functional.jacobian(lambda sample: model(sample[None])[0], torch.ones(6).double())
    assert int(torch.linalg.matrix_rank(jacobian, rtol=1e-9)) <= 2
