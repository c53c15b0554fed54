"""Digests of tokens: the exact one, and the one of shingles, which tells how much two texts have in common."""

from __future__ import annotations

import hashlib
import struct
import sys
from typing import Any

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from market.protocol.errors import InvalidData, InvalidInput
from trainer_client.digests import DIGESTS, hamming, minhash
from trainer_client.digests.exact import exact_digests
from trainer_client.digests.minhash import minhash_digests

tokens = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20)


@given(tokens)
def test_the_exact_digest_is_sha256_of_the_tokens_at_8_bytes_each(sample: list[int]) -> None:
    content = b"fedmarket/exact/1:" + b"".join(struct.pack(">q", token) for token in sample)
    assert exact_digests([sample])[0].tobytes() == hashlib.sha256(content).digest()


@given(tokens, st.data())
def test_any_other_token_changes_about_half_of_the_bits(sample: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(sample) - 1))
    other = [*sample]
    other[place] ^= 1
    first, second, longer = exact_digests([sample, other, [*sample, 0]])
    assert 80 < hamming(first, second) < 176
    assert 80 < hamming(first, longer) < 176


def test_a_text_is_its_code_points_and_the_type_of_tokens_does_not_matter() -> None:
    samples: list[Any] = ["déjà", [100, 233, 106, 224], np.array([100, 233, 106, 224], np.uint8), (100, 233, 106, 224)]
    assert len(np.unique(exact_digests(samples), axis=0)) == 1
    assert len(np.unique(minhash_digests(samples, shingle=2), axis=0)) == 1


def texts_with_in_common(common: int, own: int, random: np.random.Generator) -> list[list[int]]:
    """Two samples of different tokens, of which so many are in both: with shingles of one token, sets."""
    drawn = random.choice(1 << 40, common + 2 * own, replace=False).tolist()
    return [drawn[: common + own], drawn[:common] + drawn[common + own :]]


@pytest.mark.parametrize(
    ("common", "own"), [(0, 1), (1, 1), (0, 50), (10, 45), (50, 25), (90, 5), (1000, 500), (40, 0)]
)
def test_texts_differ_in_128_bits_times_what_they_have_not_in_common(common: int, own: int) -> None:
    random, pairs = np.random.default_rng(common + own), 150
    distances = []
    for seed in range(pairs):
        a, b = minhash_digests(texts_with_in_common(common, own, random), shingle=1, seed=seed)
        distances.append(int(hamming(a, b)))
    share = (1 - common / (common + 2 * own)) / 2 if own else 0.0
    deviation = np.sqrt(256 * share * (1 - share))
    assert np.mean(distances) == pytest.approx(256 * share, abs=4 * deviation / np.sqrt(pairs))
    assert np.std(distances) <= 1.3 * deviation


def test_the_least_values_are_datasketchs_and_tell_jaccards_similarity_as_it_does() -> None:
    a, b = (set(map(str.encode, text)) for text in ("abcdefghijklmnop", "ghijklmnopqrstu"))
    sketches = []
    for shingles in (a, b):
        sketch = MinHash(256, permutations=minhash._permutations(0), hashfunc=minhash._hashed, scheme="affine32")
        for shingle in shingles:
            sketch.update(shingle)
        assert np.array_equal(sketch.hashvalues, minhash._least(shingles, 0))
        sketches.append(sketch)
    assert sketches[0].jaccard(sketches[1]) == pytest.approx(10 / 21, abs=0.12)


@given(st.text(min_size=1, max_size=40), st.integers(1, 8), st.integers(2, 4))
def test_runs_that_occur_again_change_nothing(text: str, shingle: int, times: int) -> None:
    cycle = text * shingle  # as long as a shingle at least
    assert np.array_equal(
        minhash_digests([cycle + cycle], shingle=shingle), minhash_digests([cycle * (times + 1)], shingle=shingle)
    )


def test_a_text_shorter_than_a_shingle_is_one() -> None:
    digests = minhash_digests(["a", "ab", "abcde", "abcdef"], shingle=5)
    assert len(np.unique(digests, axis=0)) == 4


def test_a_changed_word_is_nearer_than_another_text() -> None:
    text = (
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness"
    )
    other = "Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse"
    first, changed, second = minhash_digests([text, text.replace("worst", "first"), other])
    assert hamming(first, changed) < 40
    assert hamming(first, second) > 90


@pytest.mark.parametrize("name", ["exact", "minhash"])
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (["words", ""], "sample 1 is empty"),
        ([[]], "sample 0 is empty"),
        ([[1.5]], "sample 0 has tokens of type float64"),
        ([[float("nan")]], "sample 0 has tokens of type float64"),
        ([[True]], "sample 0 has tokens of type bool"),
        ([[2**63]], "sample 0 has tokens of type uint64"),
        ([[2**64]], "sample 0 has tokens of type object"),
        ([["a"]], "sample 0 has tokens of type <U1"),
        ([[[1]]], r"sample 0 has tokens of the shape \(1, 1\)"),
        ([[1, [2]]], "sample 0 has tokens that are no whole numbers"),
        ([b"bytes"], r"sample 0 has tokens of the shape \(\)"),
    ],
)
def test_what_are_no_tokens_is_named(name: str, wrong: Any, named: str) -> None:
    with pytest.raises(InvalidData, match=named):
        DIGESTS[name].digest(wrong)


@pytest.mark.parametrize("shingle", [0, -1, 1025, 2.0, None])
def test_shingles_that_cannot_be_are_refused(shingle: Any) -> None:
    with pytest.raises(InvalidData, match="shingle"):
        minhash_digests(["text"], shingle=shingle)


def test_without_datasketch_it_is_named_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(InvalidInput, match=r"datasketch is not installed: pip install 'fedmarket\[verifier\]'"):
        minhash_digests(["text"])
