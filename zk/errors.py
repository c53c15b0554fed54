"""The proof system's own tree of errors; each message names the value at fault and what was expected.

ZkError
├── InvalidSrs          a reference string that is truncated, tampered with, too short, or not fit for this chain
├── InvalidVector       a vector of another length, type or range
├── InvalidPoint        a point off its curve, not reduced, outside the group, or infinity where none may be
├── InvalidScalar       a scalar that is not reduced, or a challenge that cannot be used
├── InvalidProof        a proof that does not verify
└── SecretReused        blinders or a mask used a second time
"""

from __future__ import annotations


class ZkError(ValueError):
    """Root of everything that this package raises on purpose."""


class InvalidSrs(ZkError):
    """A structured reference string that cannot be used."""


class InvalidVector(ZkError):
    """A vector of another length, type or range than expected."""


class InvalidPoint(ZkError):
    """A point that is off its curve, not reduced, outside the group, or infinity where none may be."""


class InvalidScalar(ZkError):
    """A scalar that is not reduced, or a challenge that cannot be used."""


class InvalidProof(ZkError):
    """A proof that does not verify: the message says which check failed."""


class SecretReused(ZkError):
    """Blinders or a mask that were used before: a second use would reveal what they hide."""
