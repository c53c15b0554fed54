"""How fast this machine generates: measured before a stake is put at risk, and again with every batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from market.protocol.errors import StorageError
from trainer_client.verifier.task_folder import write_private

HASTE = 1.25
"""A sample is reckoned to take this much longer than it did: other work slows a machine down."""


class Pace:
    """Seconds a sample by what is generated and how. What is damaged or missing on the disk is measured again."""

    def __init__(self, path: Path) -> None:
        """Read what was measured before."""
        self._path = path
        self._seconds = _read(path)

    def estimate_s(self, work: str, samples: int) -> float | None:
        """How long so many samples take; None where nothing of the kind was measured yet."""
        seconds = self._seconds.get(work)
        return None if seconds is None else seconds * samples * HASTE

    def measured(self, work: str, samples: int, seconds: float) -> None:
        """Remember what some samples took; what is remembered follows slowly where work becomes faster."""
        latest, known = seconds / samples, self._seconds.get(work)
        # A machine that was slow once may be again: what took longer counts at once.
        self._seconds[work] = latest if known is None else max(latest, (known + latest) / 2)
        # What was generated is worth more than what is known of it: where the disk is full, it is measured again.
        with suppress(StorageError):
            write_private(self._path, json.dumps(self._seconds, sort_keys=True).encode())


def work_of(service: bytes, decoding: Mapping[str, Any], execution: Mapping[str, Any], longest: int = 0) -> str:
    """Names work that takes as long a sample: the same service, decoded and executed in the same way, of such prompts.

    Args:
        service: digest of the service's document.
        decoding: as the request has it.
        execution: as this machine does it.
        longest: bytes of the longest prompt; those of twice as many are other work.
    """
    work = [service.hex(), dict(decoding), dict(execution), longest.bit_length()]
    told = json.dumps(work, sort_keys=True, default=str)
    return sha256(told.encode()).hexdigest()[:32]


def _read(path: Path) -> dict[str, float]:
    try:
        fields = json.loads(path.read_text("ascii"))
        return {str(work): float(seconds) for work, seconds in fields.items() if 0 < float(seconds) < float("inf")}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
