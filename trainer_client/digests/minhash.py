"""MinHash of shingles: 256 bits that tell how many runs of tokens two texts have in common."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer_client.digests.bits import BITS, Digests, bounded, packed
from trainer_client.digests.exact import token_bytes
from trainer_client.digests.packages import package
from trainer_client.digests.simhash import LARGEST_SEED

PERMUTATIONS_DOMAIN = "fedmarket/minhash/1"

SHINGLE = 5
"""Tokens a shingle: what Leskovec et al. (Mining of Massive Datasets, 3.2) take for short texts of characters."""

LONGEST_SHINGLE = 1 << 10

_TOKEN_BYTES = 8


def minhash_digests(outputs: Any, shingle: int = SHINGLE, seed: int = 0) -> Digests:
    """One bit of each of 256 MinHashes of a text's shingles (Broder 1997; Li and König 2010, arXiv:0910.3349).

    The shingles are the set of all runs of so many tokens. Each of 256 permutations (datasketch's `affine32`, with
    multipliers from SHAKE-256 of the seed) has a least shingle; two texts have the same one with a probability that is
    their sets' Jaccard similarity J, and a bit of another one is the same half the time. So two texts differ in
    128·(1 - J) bits on average, as a binomial of 256 and (1 - J)/2: texts with nothing in common in about 128.

    The bit is the lowest of MurmurHash3's finalizer of the least value, and not of the value itself: an affine map
    keeps the lowest bits of two shingles equal, or unequal, under all permutations at once.

    Invariant to: the order of passages, as far as no runs are cut; how often a run occurs; the batch. Not invariant to:
    case, spaces, normal forms of Unicode: texts are taken as they are. A changed token changes as many shingles as have
    it, up to `shingle`.

    Args:
        outputs: for each sample a text, of which the tokens are code points, or its tokens, whole numbers of 64 bits.
        shingle: tokens a run, 1..1024. A shorter text is one run.
        seed: of the permutations, 0..2^64 - 1.

    Returns:
        uint8 (n, 32).

    Raises:
        InvalidData: a text is empty, or has tokens that are no whole numbers.
        InvalidInput: datasketch is not installed.
    """
    bounded("shingle", shingle, 1, LONGEST_SHINGLE)
    bounded("seed", seed, 0, LARGEST_SEED)
    rows = [_least(_shingles(tokens, shingle), seed) for tokens in token_bytes(outputs)]
    return packed(_lowest_bits(np.array(rows, dtype=np.uint32).reshape(len(rows), BITS)))


def _shingles(tokens: bytes, shingle: int) -> set[bytes]:
    size = _TOKEN_BYTES * shingle
    last = max(len(tokens) - size, 0)
    return {tokens[start : start + size] for start in range(0, last + 1, _TOKEN_BYTES)}


def _least(shingles: set[bytes], seed: int) -> NDArray[np.uint32]:
    """The least value of each permutation, uint32 (256,)."""
    minhash = package("datasketch").MinHash
    sketch = minhash(BITS, hashfunc=_hashed, permutations=_permutations(seed), scheme="affine32")
    sketch.update_batch(shingles)
    values: NDArray[np.uint32] = sketch.hashvalues
    return values


def _hashed(shingle: bytes) -> int:
    return int.from_bytes(hashlib.sha256(shingle).digest()[:4], "big")


@lru_cache(maxsize=16)
def _permutations(seed: int) -> NDArray[np.uint32]:
    """Multipliers, which are odd, and summands modulo 2^32: uint32 (2, 256)."""
    drawn = hashlib.shake_256(f"{PERMUTATIONS_DOMAIN}:{seed}".encode()).digest(2 * BITS * 4)
    permutations = np.frombuffer(drawn, dtype=">u4").astype(np.uint32).reshape(2, BITS)
    permutations[0] |= 1
    return permutations


def _lowest_bits(values: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """The lowest bit of each value's finalizer, by Appleby's MurmurHash3 of 32 bits."""
    mixed = values ^ (values >> np.uint32(16))
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    bits: NDArray[np.bool_] = (mixed & np.uint32(1)).astype(np.bool_)
    return bits
