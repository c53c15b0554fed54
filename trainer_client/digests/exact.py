"""Digest of tokens that have to be the same, each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from market.protocol.errors import InvalidData
from trainer_client.digests.bits import BYTES, Digests, marked

EXACT_DOMAIN = b"fedmarket/exact/1:"


def exact_digests(outputs: Any) -> Digests:
    """SHA-256 (FIPS 180-4) of a sample's tokens, as greedy and beam decoding give them on machines that agree.

    Invariant to: nothing. Any difference, of one token or in their number, changes about 128 of the 256 bits, so a
    tolerance of zero and one of a few dozen bits say the same: equal or not.

    Args:
        outputs: for each sample its tokens, whole numbers of -2^63..2^63 - 1, at least one; or a text, which is then
            read as its Unicode code points. Tokens are hashed as 8 bytes each, most significant first.

    Returns:
        uint8 (n, 32).

    Raises:
        InvalidData: a sample has no tokens, or some that are no whole numbers.
    """
    digests = [hashlib.sha256(EXACT_DOMAIN + content).digest() for content in token_bytes(outputs)]
    return marked(np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, BYTES).copy())


def token_bytes(outputs: Any) -> Iterable[bytes]:
    """Yield the tokens of each sample, 8 bytes each.

    Raises:
        InvalidData: a sample has no tokens, or some that are no whole numbers.
    """
    if isinstance(outputs, (str, bytes)) or not isinstance(outputs, (Sequence, np.ndarray)):
        raise InvalidData(f"outputs are {type(outputs).__name__}, expected a text or tokens for each sample")
    for index, sample in enumerate(outputs):
        yield _tokens(sample, index).astype(">i8").tobytes()


def _tokens(sample: Any, index: int) -> np.ndarray[Any, np.dtype[Any]]:
    try:
        tokens = np.array([ord(character) for character in sample]) if isinstance(sample, str) else np.asarray(sample)
    except (ValueError, OverflowError) as error:
        raise InvalidData(f"sample {index} has tokens that are no whole numbers ({error})") from error
    if tokens.ndim != 1:
        raise InvalidData(f"sample {index} has tokens of the shape {tokens.shape}, expected (tokens,)")
    if not len(tokens):
        raise InvalidData(f"sample {index} is empty, expected at least one token")
    if tokens.dtype.kind not in "iu" or (tokens.dtype == np.uint64 and tokens.max() > np.iinfo(np.int64).max):
        raise InvalidData(f"sample {index} has tokens of type {tokens.dtype}, expected whole numbers of 64 bits")
    return tokens
