"""Those who listen to events: how many may, and the one look at the database that all of them share."""

from __future__ import annotations

import threading
import time
from collections import Counter

from anyio import Lock, to_thread
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException

from market.queries.events import EventPlace, last_event, last_orphan

MOST = 256
"""In all: each holds a connection and a little memory."""

MOST_OF_ONE = 16
"""Of one address: an organisation's browsers, not a flood."""

LOOK_S = 0.5
"""How often the database is asked whether anything is new, however many listen."""

Beat = tuple[EventPlace | None, int]
"""The last event and the last block that was taken back: as long as they stay nothing is new to anybody."""


class Listeners:
    """Counts those who listen, by address."""

    def __init__(self) -> None:
        self._lock, self._counts = threading.Lock(), Counter[str]()

    def admit(self, address: str) -> None:
        """Give a place.

        Raises:
            HTTPException: there is none left, of all or of this address's.
        """
        with self._lock:
            if self._counts.total() >= MOST or self._counts[address] >= MOST_OF_ONE:
                raise HTTPException(
                    503, "as many listen as the service serves: come again later", {"Retry-After": "30"}
                )
            self._counts[address] += 1

    def leave(self, address: str) -> None:
        """Give the place back."""
        with self._lock:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def __len__(self) -> int:
        return self._counts.total()


class Pulse:
    """Whether anything is new; the database is asked once in `LOOK_S`."""

    def __init__(self) -> None:
        self._lock, self._looked_s = Lock(), -LOOK_S
        self._beat: Beat = (None, 0)

    async def beat(self, engine: Engine) -> Beat:
        """The latest look's answer, which is at most `LOOK_S` old."""
        async with self._lock:
            if time.monotonic() - self._looked_s >= LOOK_S:
                self._beat = await to_thread.run_sync(_look, engine)
                self._looked_s = time.monotonic()
            return self._beat


def _look(engine: Engine) -> Beat:
    with Session(engine) as session:
        return last_event(session), last_orphan(session)
