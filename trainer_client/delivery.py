"""When to try again to hand an update in, and when to say so."""

from __future__ import annotations

import time

LONGEST_PAUSE_S = 15.0
"""Between two tries."""

TELL_EVERY_S = 10.0
"""How often a storage that goes on refusing is spoken of."""


class Delivery:
    """How far the delivery of one attempt's update is; another attempt's begins anew.

    Attributes:
        failures: how often it was tried in vain.
    """

    def __init__(self) -> None:
        self._begin(-1)

    def _begin(self, attempt: int) -> None:
        self._attempt, self._over = attempt, False
        self.failures, self._next_at, self._tell_at = 0, 0.0, 0.0

    def is_over(self, attempt: int) -> bool:
        """Whether nothing is left to do: it was delivered, or is lost."""
        return self._over and attempt == self._attempt

    def is_due(self, attempt: int) -> bool:
        """Whether to try now."""
        if attempt != self._attempt:
            self._begin(attempt)
        return not self._over and time.monotonic() >= self._next_at

    def end(self) -> None:
        """Nothing is left to do."""
        self._over = True

    def fail(self, pause_s: float) -> bool:
        """Put the next try off, longer each time; whether it is time to say so."""
        now = time.monotonic()
        self._next_at = now + min(LONGEST_PAUSE_S, pause_s * 2**self.failures)
        self.failures += 1
        if now < self._tell_at:
            return False
        self._tell_at = now + TELL_EVERY_S
        return True
