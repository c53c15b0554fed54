"""Asks for what tasks are about beside the session: contents on their way keep no commit and no reveal waiting."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from market.protocol.identifiers import Digest
from trainer_client.verifier.services import Pool, Question, Services

MOST = 8
"""Contents that are waited for at the same time; more have their turn when some of these have come, or are given up."""

PATIENCE_S = 3.0
"""How long one look at the chain waits for contents, in all tasks together; what is on this machine is there then."""


@dataclass(eq=False)
class _Enquiry:
    """One question that is being made; the thread that makes it ends with the process."""

    question: Question | None = None
    problem: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Enquiries:
    """Makes questions in threads of their own. To be used by one thread."""

    def __init__(self, services: Services) -> None:
        """Nothing is asked yet."""
        self._services = services
        self._under_way: dict[tuple[Pool, bytes, int], _Enquiry] = {}
        self._until = 0.0

    def begin(self) -> None:
        """A look at the chain begins, and with it the time that it may wait."""
        self._until = time.monotonic() + PATIENCE_S

    def question(self, pool: Pool, request: Digest | bytes, samples: int) -> Question | None:
        """What a task asks for; None while that is on its way. Raises as `Services.question`."""
        key = (pool, bytes(request), samples)
        if (known := self._services.known(*key)) is not None:
            return known
        if key not in self._under_way:
            if len(self._under_way) >= MOST:
                return None
            self._under_way[key] = self._ask(*key)
        enquiry = self._under_way[key]
        if not enquiry.done.wait(max(0.0, self._until - time.monotonic())):
            return None
        del self._under_way[key]
        if enquiry.problem is not None:
            raise enquiry.problem
        return enquiry.question

    def _ask(self, pool: Pool, request: bytes, samples: int) -> _Enquiry:
        enquiry = _Enquiry()

        def work() -> None:
            try:
                enquiry.question = self._services.question(pool, request, samples)
            except Exception as problem:
                enquiry.problem = problem  # raised where it was asked
            finally:
                enquiry.done.set()

        threading.Thread(target=work, name="enquiry", daemon=True).start()
        return enquiry
