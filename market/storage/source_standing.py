"""How a source has done so far: one that fails again and again, or lies, is left out for a while."""

from __future__ import annotations

import threading
import time

from market.storage.sources import BlockSource

FAILURES = 3
"""After so many failures in a row a source is left out;"""

SHORTEST_S, LONGEST_S = 5.0, 300.0
"""the first time for so many seconds, then for twice as long each time, and never for longer than this."""

LIE_S = 600.0
"""How long a source is left out that sent other bytes than were asked for."""

SLOW_S = 3.0
"""After as many answers that take longer a source is asked last: a slow one must not hold up those that are not."""


class Standing:
    """One source with its record. Threads may share it."""

    def __init__(self, source: BlockSource, *, is_deep: bool = False) -> None:
        """Think well of a source.

        Args:
            source: it.
            is_deep: it looks on a network, and may take long.
        """
        self.source, self._is_deep = source, is_deep
        self._lock = threading.Lock()
        self._failures = self._times_out = self._slow = 0
        self._out_until_s, self._why = 0.0, ""

    @property
    def left_out(self) -> str | None:
        """Why the source is not asked now, and for how long; None where it may be."""
        with self._lock:
            left_s = self._out_until_s - time.monotonic()
            return f"{self._why}; left out for {left_s:.0f} s" if left_s > 0 else None

    @property
    def is_slow(self) -> bool:
        """Whether others are asked first."""
        return self._slow >= FAILURES

    def answered(self, took_s: float) -> None:
        """It gave a block."""
        with self._lock:
            self._failures = self._times_out = 0
            self._slow = min(self._slow + 1, 2 * FAILURES) if took_s > SLOW_S and not self._is_deep else 0

    def had_not(self) -> None:
        """It said that it has a block not, which is an answer."""
        with self._lock:
            self._failures = 0

    def failed(self, problem: str, *, at_once: bool = False) -> None:
        """It was down, too slow, or refused; it is left out at once where it cannot be waited for again."""
        with self._lock:
            self._failures = FAILURES if at_once else self._failures + 1
            if self._failures >= FAILURES:
                self._leave_out(min(LONGEST_S, SHORTEST_S * 2**self._times_out), problem)
                self._times_out, self._failures = min(self._times_out + 1, 10), 0

    def lied(self, problem: str) -> None:
        """It sent other bytes than were asked for."""
        with self._lock:
            self._leave_out(LIE_S, problem)

    def _leave_out(self, seconds: float, why: str) -> None:
        self._out_until_s, self._why = time.monotonic() + seconds, why
