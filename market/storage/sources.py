"""Where blocks come from besides the own store: whatever can be asked for one block and is not believed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from market.protocol.errors import SourceUnavailable
from market.storage.cid import Cid

PAUSES_S = (0.1, 0.4)
"""Seconds between one try and the next, where what is wrong may pass."""

Answer = TypeVar("Answer")


class BlockSource(Protocol):
    """Gives single blocks, each verified against its CID before it is returned."""

    @property
    def name(self) -> str:
        """What messages call it: an address."""
        ...

    def get_block(self, cid: Cid) -> bytes:
        """One block's bytes, within a time that the source bounds.

        Raises:
            BlockNotFound: it is not there.
            CorruptBlock: other bytes came under this name: the source lies, or its disk does.
            SourceUnavailable: it is down, too slow, or refuses.
        """
        ...


def retried(ask: Callable[[], Answer], until_s: float) -> Answer:
    """Ask again, after growing pauses, for as long as what is wrong may pass.

    Args:
        ask: may be called several times.
        until_s: when there is no time for another try, on the monotonic clock.

    Raises:
        SourceUnavailable: the last try's; anything else that `ask` raises is raised at once.
    """
    for pause_s in PAUSES_S:
        try:
            return ask()
        except SourceUnavailable as problem:
            if not problem.passing or time.monotonic() + pause_s >= until_s:
                raise
        time.sleep(pause_s)
    return ask()
