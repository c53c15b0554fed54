"""What holds for every kind of digest, and that none of them ever changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from market.protocol.errors import InvalidData
from tests.unit.trainer_client.digests.outputs import OUTPUTS, outputs_of
from trainer_client.digests import DIGESTS, digest_kind, digest_kind_of_code, hamming, hamming_matrix

VECTORS = Path(__file__).parents[3] / "vectors" / "digests.json"
CODES = {
    "dct": 1,
    "difference": 2,
    "wavelet": 3,
    "simhash": 4,
    "update_simhash": 5,
    "minhash": 6,
    "exact": 7,
    "activations": 8,
}
every_kind = pytest.mark.parametrize("name", sorted(DIGESTS))


def test_kinds_keep_their_numbers_on_the_chain() -> None:
    assert {name: kind.code for name, kind in DIGESTS.items()} == CODES


def test_a_kind_is_found_by_its_number() -> None:
    assert all(digest_kind_of_code(kind.code) is kind for kind in DIGESTS.values())


def test_unknown_kinds_numbers_and_parameters_are_named() -> None:
    with pytest.raises(InvalidData, match="'md5', expected dct"):
        digest_kind("md5")
    with pytest.raises(InvalidData, match=r"the number 200, expected 1 \(dct\)"):
        digest_kind_of_code(200)
    with pytest.raises(InvalidData, match="no parameter 'sead', expected seed"):
        digest_kind("simhash").digest(np.ones((1, 4)), sead=3)
    with pytest.raises(InvalidData, match="no parameter 'seed', expected none"):
        digest_kind("dct").digest(np.ones((1, 8, 8)), seed=3)


@every_kind
def test_digests_are_those_of_the_shared_vectors(name: str) -> None:
    for vector in json.loads(VECTORS.read_text())[name]:
        digests = DIGESTS[name].digest(outputs_of(name, vector["outputs"]), **vector["parameters"])
        assert [digest.tobytes().hex() for digest in digests] == vector["digests"], vector["outputs"]


@every_kind
def test_a_digest_does_not_depend_on_the_batch_that_its_sample_is_in(name: str) -> None:
    outputs = OUTPUTS[name](np.random.default_rng(5), 7)
    together = DIGESTS[name].digest(outputs)
    alone = np.concatenate([DIGESTS[name].digest(outputs[index : index + 1]) for index in range(len(outputs))])
    backwards = DIGESTS[name].digest(outputs[::-1])
    assert np.array_equal(together, alone)
    assert np.array_equal(together, backwards[::-1])


@every_kind
def test_digests_are_32_bytes_never_all_zero_and_equal_for_equal_outputs(name: str) -> None:
    outputs = OUTPUTS[name](np.random.default_rng(6), 20)
    digests = DIGESTS[name].digest(outputs)
    assert digests.shape == (20, 32)
    assert digests.dtype == np.uint8
    assert digests.any(axis=1).all()
    assert np.array_equal(digests, DIGESTS[name].digest(outputs))


@every_kind
def test_digests_of_independent_outputs_are_far_apart(name: str) -> None:
    digests = DIGESTS[name].digest(OUTPUTS[name](np.random.default_rng(7), 40))
    distances = hamming_matrix(digests, digests)[np.triu_indices(40, 1)]
    assert distances.min() > 40
    assert 110 < distances.mean() < 140


@every_kind
def test_no_samples_have_no_digests(name: str) -> None:
    assert DIGESTS[name].digest(OUTPUTS[name](np.random.default_rng(8), 0)).shape == (0, 32)


@every_kind
@pytest.mark.parametrize("wrong", [None, 3, "a text", b"bytes", {"a": 1}, [None], [[None, None]]])
def test_what_is_nothing_of_the_kind_is_refused(name: str, wrong: Any) -> None:
    with pytest.raises(InvalidData):
        DIGESTS[name].digest(wrong)


@pytest.mark.parametrize("name", ["dct", "difference", "wavelet", "simhash", "update_simhash"])
@pytest.mark.parametrize("nothing", [np.zeros((1, 12, 12)), -np.zeros((1, 1, 1))])
def test_nothing_at_all_has_the_digest_1(name: str, nothing: np.ndarray[Any, Any]) -> None:
    outputs = nothing.astype(np.int16) if name == "update_simhash" else nothing
    assert DIGESTS[name].digest(outputs)[0].tobytes() == bytes(31) + b"\x01"


@pytest.mark.parametrize("name", ["simhash", "update_simhash"])
@pytest.mark.parametrize("seed", [-1, 1 << 64, 0.5, "0", True, None])
def test_seeds_that_are_no_seeds_are_refused(name: str, seed: Any) -> None:
    with pytest.raises(InvalidData, match="seed"):
        DIGESTS[name].digest(np.ones((1, 4), np.int16), seed=seed)


@pytest.mark.parametrize("name", ["simhash", "update_simhash"])
def test_another_seed_gives_another_digest(name: str) -> None:
    outputs = OUTPUTS[name](np.random.default_rng(9), 1)
    first, same, other = (DIGESTS[name].digest(outputs, seed=seed) for seed in (0, 0, 1))
    assert hamming(first, same)[0] == 0
    assert 90 < hamming(first, other)[0] < 166
