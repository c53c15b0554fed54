"""Places for uploads: few, and nobody has more than a share of them, or who is slow shuts out everybody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import anyio
from anyio import CapacityLimiter
from starlette.exceptions import HTTPException

ACCOUNT_PLACES = 2
"""How many an account has at the most."""

ADDRESS_PART = 2
"""An address has at most this part of them all, since accounts cost nothing: a half."""

WAIT_S = 5.0
"""How long an upload waits for one."""

RETRY_S = 15
"""After how long it may come again."""


class UploadPlaces:
    """Lets so many uploads in at once; for the event loop alone.

    Attributes:
        threads: uploads have threads of their own: slow ones must not keep readers waiting.
    """

    def __init__(self, total: int) -> None:
        self.threads = CapacityLimiter(total)
        self._total, self._all = total, CapacityLimiter(total)
        self._shares: dict[str, CapacityLimiter] = {}
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def take(self, account: str, address: str) -> AsyncIterator[None]:
        """Hold a place.

        Args:
            account: who is signed in.
            address: as which its requests are counted.

        Raises:
            HTTPException: there was none for a while.
        """
        place = object()
        async with AsyncExitStack() as held:
            of_account = held.enter_context(self._share(f"account {account}", ACCOUNT_PLACES))
            of_address = held.enter_context(self._share(f"address {address}", max(1, self._total // ADDRESS_PART)))
            try:
                with anyio.fail_after(WAIT_S):
                    for limiter in (of_account, of_address, self._all):
                        await limiter.acquire_on_behalf_of(place)
                        held.callback(limiter.release_on_behalf_of, place)
            except TimeoutError as error:
                raise HTTPException(
                    503,
                    f"no place for another upload was free for {WAIT_S:g} s: an account has {ACCOUNT_PLACES} at once",
                    {"Retry-After": str(RETRY_S), "Connection": "close"},
                ) from error
            yield

    @contextmanager
    def _share(self, name: str, places: int) -> Iterator[CapacityLimiter]:
        """The limit of one name, kept for as long as anybody holds or awaits one of its places."""
        self._users[name] += 1
        try:
            yield self._shares.setdefault(name, CapacityLimiter(places))
        finally:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name], self._shares[name]
