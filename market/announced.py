"""What a job's people announced: keys to seal to, and endpoints that may have the job's blocks.

Announcements are the word of whoever makes them, and anybody can make some. Only accounts with a part in the job are
read, of each its last one; what their endpoints send is verified block by block, and they are asked as strangers are.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from market.chain.directory import MAX_ENDPOINT_BYTES, Announcement, Directory
from market.chain.job_market import JobMarket
from market.chain.transactions import TransactionSender
from market.protocol.errors import BlockNotFound, ChainError, CorruptBlock, InvalidInput, SourceUnavailable
from market.protocol.identifiers import JobId
from market.storage import Cid
from market.storage.gateway import GatewayBlocks
from market.storage.punctual_http import checked_url
from market.storage.source_standing import Standing
from market.storage.sources import BlockSource

LOOK_S = 15.0
"""How long announcements are believed before the chain is asked again."""

BLOCK_S = 10.0
"""How long one endpoint may take until a block begins to come."""

ALONE_S = 2.0
"""How long one endpoint is waited for alone: then the next one is asked beside it,"""

BESIDE = 4
"""as long as no more than these are asked at once. What they send is in memory."""


class JobDirectory:
    """The announcements of the accounts that have a part in one job: attestors, aggregators, trainers, the owner."""

    def __init__(self, market: JobMarket, directory: Directory, job: JobId, without: str | None = None) -> None:
        """Nothing is read yet.

        Args:
            market: the contract.
            directory: where announcements are.
            job: whose.
            without: the account of who asks: nobody fetches from itself.
        """
        self.market, self.directory, self.job, self._without = market, directory, job, without

    @property
    def takes_private_hosts(self) -> bool:
        """Whether endpoints may be on this machine or its network: where everybody is, on a development chain."""
        return self.market.chain.is_development_chain

    def accounts(self) -> list[str]:
        """Who has a part in the job, each once; those who are to keep what others need come first."""
        market, job = self.market, self.job
        owner, attestors = market.state(job).owner, market.terms(job).disputes.attestors
        found = dict.fromkeys((*attestors, *market.aggregators(job), *market.trainers(job), owner))
        return [account for account in found if account != self._without]

    def announcements(self) -> dict[str, Announcement]:
        """The last announcement of each, in the order of `accounts`.

        Raises:
            ChainError: the node's answers are not of one chain.
        """
        accounts = self.accounts()
        announced = self.directory.announcements(self.job, accounts)
        return {account: announced[account] for account in accounts if account in announced}

    def attestors(self) -> dict[str, Announcement]:
        """The last announcements of the job's attestors. Raises as `announcements`."""
        return self.directory.announcements(self.job, self.market.terms(self.job).disputes.attestors)

    def endpoints(self) -> dict[str, str]:
        """Where they serve: one address an account, those that are none left out. Raises as `announcements`."""
        return dict(_endpoints(self.announcements()))


def _endpoints(announced: Mapping[str, Announcement]) -> Iterator[tuple[str, str]]:
    for account, announcement in announced.items():
        try:
            yield account, checked_endpoint(announcement.endpoint)
        except InvalidInput:
            continue


def checked_endpoint(unverified_url: str) -> str:
    """An endpoint's address: scheme, host, port where one is named, and a path without its last slash.

    Raises:
        InvalidInput: it is none, or longer than what is announced.
    """
    checked_url(unverified_url)
    if len(unverified_url) > MAX_ENDPOINT_BYTES or not unverified_url.isprintable():
        raise InvalidInput(f"{unverified_url[:60]!r}…: an endpoint's address has at most {MAX_ENDPOINT_BYTES} letters")
    return unverified_url.rstrip("/")


def announce(directory: Directory, sender: TransactionSender, job: JobId, key: bytes, endpoint: str) -> bool:
    """Announce a key and an endpoint, unless that is what this account announced last; returns whether it had to.

    Args:
        directory: where.
        sender: the account.
        job: for which job.
        key: what others seal to.
        endpoint: where it serves; empty for nowhere.

    Raises:
        ChainError: the node refuses.
    """
    wanted = Announcement(key, endpoint)
    if directory.announcements(job, [sender.address]).get(sender.address) == wanted:
        return False
    # The same again after something else is another announcement; the same sent twice does no harm.
    sender.send(f"announce/{job}/{sender.chain.block_number()}", directory.announce(job, key, endpoint))
    return True


class _Answers:
    """What several endpoints say that are asked for one block at once.

    Attributes:
        awaited: how many have not answered.
    """

    def __init__(self) -> None:
        self._given: queue.SimpleQueue[bytes | Exception | None] = queue.SimpleQueue()
        self.awaited = 0

    def ask(self, ask: Callable[[], bytes | None]) -> None:
        """Ask one more; no process waits for it to end."""
        self.awaited += 1
        threading.Thread(target=self._answer, args=(ask,), name="announced-block", daemon=True).start()

    def _answer(self, ask: Callable[[], bytes | None]) -> None:
        try:
            self._given.put(ask())
        except Exception as problem:
            self._given.put(problem)  # a thread has nobody else to tell

    def next(self, timeout_s: float | None = None) -> bytes | None:
        """What the next one answers: the block, or None where it cannot give it.

        Raises:
            queue.Empty: none does in time.
        """
        answer = self._given.get(timeout=timeout_s)
        self.awaited -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer


def _gateway(public_only: bool) -> Callable[[str], BlockSource]:
    return lambda url: GatewayBlocks(url, timeout_s=BLOCK_S, public_only=public_only)


class AnnouncedBlocks:
    """A `BlockSource`: whatever endpoints are announced for a job at the time.

    Nobody can hold a fetch up for long: who is down or lies is not asked again for a while, who is slow is asked last,
    and none is waited for alone.
    """

    def __init__(self, people: JobDirectory, connect: Callable[[str], BlockSource] | None = None) -> None:
        """Nothing is asked yet.

        Args:
            people: whose announcements.
            connect: makes a source of an endpoint's address.
        """
        self._people, self._connect = people, connect or _gateway(not people.takes_private_hosts)
        self._standings: dict[str, Standing] = {}
        self._looked_at, self._mutex = float("-inf"), threading.Lock()

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"the endpoints announced for job {self._people.job}"

    def get_block(self, cid: Cid) -> bytes:
        """One block, verified, of the first endpoint that has it.

        Raises:
            BlockNotFound: none has it, or none that has it can be asked now.
        """
        answers = _Answers()
        for url, standing in self._present():
            if answers.awaited == BESIDE and (block := answers.next()) is not None:
                return block
            answers.ask(partial(self._ask, url, standing, cid))
            try:
                block = answers.next(ALONE_S)
            except queue.Empty:
                standing.was_late()
                continue
            if block is not None:
                return block
        while answers.awaited:
            if (block := answers.next()) is not None:
                return block
        raise BlockNotFound(str(cid), self.name)

    def _ask(self, url: str, standing: Standing, cid: Cid) -> bytes | None:
        """A block, verified, of one endpoint; None where it has it not, or cannot be asked."""
        began_s = time.monotonic()
        try:
            block = standing.source.get_block(cid)
        except BlockNotFound:
            standing.had_not()
        except SourceUnavailable as problem:
            standing.failed(str(problem))
        except CorruptBlock as lie:
            standing.lied(str(lie))
        else:
            standing.answered(time.monotonic() - began_s)
            self._prefer(url)
            return block
        return None

    def _present(self) -> list[tuple[str, Standing]]:
        with self._mutex:
            if time.monotonic() - self._looked_at >= LOOK_S:
                self._look()
                self._looked_at = time.monotonic()
            present = [(url, standing) for url, standing in self._standings.items() if standing.left_out is None]
        return sorted(present, key=lambda it: it[1].is_slow)

    def _look(self) -> None:
        try:
            urls = dict.fromkeys(self._people.endpoints().values())
        except ChainError:
            return  # what was known will do
        known = {url: standing for url, standing in self._standings.items() if url in urls}
        self._standings = known | {url: Standing(self._connect(url)) for url in urls if url not in known}

    def _prefer(self, url: str) -> None:
        """Whoever had one block is asked first for the next."""
        with self._mutex:
            if url in self._standings:
                self._standings = {url: self._standings[url]} | self._standings
