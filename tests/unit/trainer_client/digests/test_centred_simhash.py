from __future__ import annotations

import numpy as np
import pytest

from market.protocol.errors import InvalidData
from trainer_client.digests import digest_kind, hamming

KIND = digest_kind("simhash")


def test_a_value_added_to_all_entries_changes_no_centred_digest() -> None:
    vectors = np.random.default_rng(1).integers(0, 1000, (20, 64)).astype(np.float64)
    assert (hamming(KIND.digest(vectors, centre=1), KIND.digest(vectors + 3000, centre=1)) == 0).all()
    assert (hamming(KIND.digest(vectors), KIND.digest(vectors + 3000)) > 20).any()


def test_centred_digests_tell_images_apart_that_share_their_brightness() -> None:
    pixels = 0.8 + 0.1 * np.random.default_rng(2).random((50, 64))
    plain, centred = KIND.digest(pixels), KIND.digest(pixels, centre=1)
    assert np.median(hamming(plain[:25], plain[25:])) < 30
    assert 110 < np.median(hamming(centred[:25], centred[25:])) < 146


def test_equal_entries_have_the_digest_of_no_side() -> None:
    digest = KIND.digest(np.full((1, 7), 0.3), centre=1)
    assert digest[0, -1] == 1
    assert not digest[0, :-1].any()


def test_a_mean_over_many_blocks_is_exact() -> None:
    vectors = np.random.default_rng(3).normal(5.0, 1.0, (3, 9_000))
    expected = KIND.digest(vectors - vectors.mean(axis=1, keepdims=True))
    assert (hamming(KIND.digest(vectors, centre=1), expected) <= 1).all()


def test_vectors_are_centred_or_not() -> None:
    with pytest.raises(InvalidData, match="centre"):
        KIND.digest(np.ones((1, 4)), centre=2)
