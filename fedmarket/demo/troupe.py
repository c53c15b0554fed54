"""Actors who play at the same time, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False)
class Troupe:
    """Starts actors, and remembers what ended one of them early: that ends the play."""

    _failures: list[BaseException] = field(default_factory=list)

    def start(self, act: Callable[[], None], stop: threading.Event) -> threading.Thread:
        """Let an actor act; what ends it early sets `stop`."""
        thread = threading.Thread(target=self._guarded, args=(act, stop), daemon=True)
        thread.start()
        return thread

    def check(self) -> None:
        """Raise what ended the play early, if anything did."""
        if self._failures:
            raise self._failures[0]

    def _guarded(self, act: Callable[[], None], stop: threading.Event) -> None:
        try:
            act()
        except BaseException as failure:
            self._failures.append(failure)
            stop.set()
