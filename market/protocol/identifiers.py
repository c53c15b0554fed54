"""Names for numbers that must not be mixed up."""

from __future__ import annotations

from typing import NewType

JobId = NewType("JobId", int)
"""A job's number in the contract, from zero."""

PoolId = NewType("PoolId", int)
"""The number of a pool of verifiers, from zero."""

TaskId = NewType("TaskId", int)
"""The number of a task that verifiers are asked to do, from zero over all pools."""

Wei = NewType("Wei", int)
"""An amount in the smallest unit of the job's token."""

Digest = NewType("Digest", bytes)
"""The 32-byte sha2-256 digest of a CID: what the chain holds of a stored object."""

Seat = NewType("Seat", int)
"""A trainer's place in a job, 0 to 63; never handed on."""


def seats_in(mask: int) -> list[Seat]:
    """The seats of a bit mask, ascending."""
    return [Seat(seat) for seat in range(mask.bit_length()) if mask >> seat & 1]
