from __future__ import annotations

import numpy as np

from trainer_client.calibration.deviations import deviations, pruned, rounded, with_noise

MODEL = np.random.default_rng(1).normal(0, 1 << 20, 4_000).astype(np.int64)


def test_a_rounded_model_has_few_values() -> None:
    assert len(np.unique(rounded(MODEL, 4))) <= 15
    assert np.abs(rounded(MODEL, 8) - MODEL).max() <= np.abs(MODEL).max() / 127 / 2 + 1


def test_noise_is_a_share_of_the_parameters_spread() -> None:
    assert 0.095 < np.std(with_noise(MODEL, 0.1, 0) - MODEL) / np.std(MODEL) < 0.105


def test_the_smallest_are_pruned() -> None:
    left = pruned(MODEL, 0.3)
    assert abs((left == 0).mean() - 0.3) < 0.01
    assert np.abs(left[left != 0]).min() >= np.abs(MODEL[left == 0]).max()


def test_no_deviation_is_the_model() -> None:
    for name, model in deviations(MODEL).items():
        assert model.dtype == np.int64, name
        assert (model != MODEL).any(), name
