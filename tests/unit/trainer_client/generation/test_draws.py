from __future__ import annotations

import hashlib

import numpy as np
import pytest

from trainer_client.generation.draws import draw_gumbel, draw_normal, draw_words


def test_noise_is_what_anyone_computes_from_what_it_depends_on() -> None:
    told = b'["fedmarket/generation/1",7,2,"caf\\u00e9","start"]'
    expected = np.frombuffer(hashlib.shake_256(told).digest(12), "<u4")
    assert (draw_words(7, 2, "café", "start", 3) == expected).all()
    pair = expected[:2].astype(np.float64)
    radius = np.sqrt(-2 * np.log((pair[0] + 1) / 2**32))
    angle = 2 * np.pi * pair[1] / 2**32
    found = draw_normal(7, 2, "café", "start", 2)
    np.testing.assert_allclose(found, [radius * np.cos(angle), radius * np.sin(angle)], rtol=1e-6)


@pytest.mark.parametrize("other", [(8, 0, 1, "a"), (7, 1, 1, "a"), (7, 0, 2, "a"), (7, 0, "1", "a"), (7, 0, None, "a")])
def test_another_seed_number_or_prompt_has_other_noise(other: tuple[int, int, int | str | None, str]) -> None:
    assert (draw_normal(7, 0, 1, "a", 6) != draw_normal(*other, 6)).all()


def test_noise_of_many_samples_is_normal_and_gumbel() -> None:
    normal = np.stack([draw_normal(0, number, None, "start", 8) for number in range(500)])
    assert abs(normal.mean()) < 0.08
    assert abs(normal.std() - 1) < 0.06
    assert np.abs(np.corrcoef(normal.T) - np.eye(8)).max() < 0.25
    gumbel = np.concatenate([draw_gumbel(0, number, None, "token", 8) for number in range(500)])
    assert abs(gumbel.mean() - np.euler_gamma) < 0.1
    assert abs(gumbel.std() - np.pi / 6**0.5) < 0.1
