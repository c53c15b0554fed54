"""What is said of the service's readiness: anybody may ask, and it is looked at once for all who ask at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from anyio import Lock, to_thread

KEPT_S = 1.0
"""How long what was found is said again: a look asks the node and writes a file."""

Wrong = Sequence[tuple[str, str]]
"""What is not well, and what is to be said of it."""


@dataclass
class Readiness:
    """The last look. Who comes during one waits for it, and holds no thread: a node that hangs keeps one busy alone."""

    _lock: Lock = field(default_factory=Lock)
    _found: tuple[float, Wrong] | None = None

    async def wrong(self, look: Callable[[], Wrong]) -> Wrong:
        """What is not well: as it was found within the last second, or as a new look finds it."""
        async with self._lock:
            if self._found is None or time.monotonic() >= self._found[0] + KEPT_S:
                found = await to_thread.run_sync(look)
                self._found = time.monotonic(), found
            return self._found[1]
