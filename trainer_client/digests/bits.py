"""256 bits of a sample, as they stand in a digest: packed most significant first, and never all zero."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import InvalidData

BITS = 256
BYTES = BITS // 8

Digests = NDArray[np.uint8]
"""(n, 32): a row is a contract's bytes32."""


def packed(bits: NDArray[np.bool_]) -> Digests:
    """Pack bits, (n, 256), to digests, uint8 (n, 32).

    Bit 0 is the most significant one of the first byte, as bytes32 is read as a number: bit j counts 2^(255 - j).
    """
    return marked(np.packbits(bits, axis=1))


def marked(digests: Digests) -> Digests:
    """Give a digest that is all zero its lowest bit: the contract takes zero for none at all."""
    digests[~digests.any(axis=1), -1] = 1
    return digests


def bounded(name: str, value: Any, low: int, high: int) -> int:
    """Return a digest's parameter when it is an integer between the two, both included.

    Raises:
        InvalidData: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidData(f"a digest's {name} is {value!r}, expected a whole number of {low}..{high}")
    return value
