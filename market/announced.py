"""What a job's people announced: keys to seal to, and endpoints that may have the job's blocks.

Announcements are the word of whoever makes them, and anybody can make some. Only accounts with a part in the job are
read, of each its last one; what their endpoints send is verified block by block, and they are asked as strangers are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait

from market.chain.directory import MAX_ENDPOINT_BYTES, Announcement, Directory
from market.chain.job_market import JobMarket
from market.chain.transactions import TransactionSender
from market.protocol.errors import BlockNotFound, ChainError, CorruptBlock, InvalidInput
from market.protocol.identifiers import JobId
from market.storage import Cid
from market.storage.gateway import GatewayBlocks
from market.storage.punctual_http import checked_url
from market.storage.source_standing import SLOW_S, Standing
from market.storage.sources import BlockSource

LOOK_S = 15.0
"""How long announcements are believed before the chain is asked again."""

BLOCK_S = 10.0
"""How long one endpoint may take for a block."""

HEDGE_S = 0.3
"""How long one endpoint is waited for before the next is asked, too,"""

WAIT_S = 5.0
"""and how long all of them together."""

AT_ONCE, THREADS, RESERVED = 8, 96, 16
"""How many blocks one endpoint is asked for at once, and all of them; how many of these only those who are quick."""

LATE = 8
"""How many blocks are kept that came when nobody waited for them any more."""


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


def _gateway(public_only: bool) -> Callable[[str], BlockSource]:
    return lambda url: GatewayBlocks(url, timeout_s=BLOCK_S, public_only=public_only)


class _Lane:
    """One endpoint, asked for several blocks at once if it was quick with its last answer, else for one.

    What it keeps waiting are threads of its own: neither other endpoints nor who wants the blocks.
    """

    def __init__(self, source: BlockSource, threads: _Threads) -> None:
        self.standing, self._threads = Standing(source), threads
        self._lock = threading.Lock()
        self._is_quick, self._failures = False, 0
        self.has_answered = False
        self._under_way: dict[Cid, Future[bytes]] = {}

    @property
    def is_quick(self) -> bool:
        """Whether its last answer came soon; not before there was one."""
        return self._is_quick

    @property
    def rank(self) -> tuple[bool, int]:
        """Smaller for who is asked sooner: nobody waits for those to be tried again that failed before."""
        return self.standing.is_slow, self._failures

    def begin(self, cid: Cid) -> Future[bytes] | None:
        """Ask for a block, unless that is being done already; None where the endpoint has enough to do."""
        with self._lock:
            if cid in self._under_way:
                return self._under_way[cid]
            if len(self._under_way) >= (AT_ONCE if self._is_quick else 1) or not self._threads.take(self._is_quick):
                return None
            found = self._under_way[cid] = Future()
        threading.Thread(target=self._ask, args=(cid, found), name="announced", daemon=True).start()
        return found

    def _ask(self, cid: Cid, found: Future[bytes]) -> None:
        began_s = time.monotonic()
        try:
            block = self.standing.source.get_block(cid)
        except Exception as problem:
            self._end(cid, began_s, problem)
            found.set_exception(problem)
        else:
            self._end(cid, began_s, None)
            found.set_result(block)

    def _end(self, cid: Cid, began_s: float, problem: Exception | None) -> None:
        took_s = time.monotonic() - began_s
        is_slow = took_s > SLOW_S
        if problem is None:
            self.standing.answered(took_s)
        elif isinstance(problem, CorruptBlock):
            self.standing.lied(str(problem))
        elif isinstance(problem, BlockNotFound) and not is_slow:
            self.standing.had_not()
        else:
            # To say no after a long time holds others up as much as to say nothing.
            self.standing.failed(str(problem), at_once=is_slow)
        with self._lock:
            answered = problem is None or isinstance(problem, BlockNotFound)
            self._is_quick = answered and not is_slow
            self._failures = 0 if self._is_quick else self._failures + 1
            self.has_answered |= answered
            del self._under_way[cid]
        self._threads.give_back()


class _Threads:
    """How many more threads may wait for endpoints; some are for those alone that were quick the last time."""

    def __init__(self) -> None:
        self._lock, self._taken = threading.Lock(), 0

    def take(self, is_quick: bool) -> bool:
        """Whether there is one more."""
        with self._lock:
            if self._taken >= (THREADS if is_quick else THREADS - RESERVED):
                return False
            self._taken += 1
            return True

    def give_back(self) -> None:
        """One less is at work."""
        with self._lock:
            self._taken -= 1


class AnnouncedBlocks:
    """A `BlockSource`: whatever endpoints are announced for a job at the time.

    Anybody with a part in the job can announce what it likes, so nobody can hold a fetch up: an endpoint that does not
    answer soon is not waited for before the next is asked, too, and who is down, slow or lies is left out for a while.
    """

    def __init__(self, people: JobDirectory, connect: Callable[[str], BlockSource] | None = None) -> None:
        """Nothing is asked yet.

        Args:
            people: whose announcements.
            connect: makes a source of an endpoint's address.
        """
        self._people, self._connect = people, connect or _gateway(not people.takes_private_hosts)
        self._lanes: dict[str, _Lane] = {}
        self._threads = _Threads()
        self._late: dict[Cid, bytes] = {}
        self._looked_at, self._mutex = float("-inf"), threading.Lock()

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"the endpoints announced for job {self._people.job}"

    def get_block(self, cid: Cid) -> bytes:
        """One block, verified, of the first endpoint that gives it; what comes too late is there for the next call.

        Raises:
            BlockNotFound: none has it, or none that has it gave it in time.
        """
        with self._mutex:
            if cid in self._late:
                return self._late.pop(cid)
        asked: dict[Future[bytes], str] = {}
        try:
            for found, url in self._answers(cid, asked):
                if found.exception() is None:
                    self._prefer(url)
                    return found.result()
        finally:
            for found in asked:
                found.add_done_callback(lambda late: self._keep_late(cid, late))
        raise BlockNotFound(str(cid), self.name)

    def _answers(self, cid: Cid, asked: dict[Future[bytes], str]) -> Iterator[tuple[Future[bytes], str]]:
        """Ask one endpoint after the other; what they say, as it comes. `asked` has those that did not answer yet."""
        until_s, left = time.monotonic() + WAIT_S, self._present()
        while (left or asked) and (left_s := until_s - time.monotonic()) > 0:
            for url, lane in left.items():
                if (found := lane.begin(cid)) is not None:
                    asked[found] = url
                    del left[url]
                    break
            pause_s = min(HEDGE_S, left_s) if left else left_s
            if not asked:
                # Who never said anything yet is not worth waiting for: it is being asked already, for another block.
                if not any(lane.has_answered for lane in left.values()):
                    return
                time.sleep(pause_s)
            for done in wait(asked, pause_s, FIRST_COMPLETED).done:
                yield done, asked.pop(done)

    def _present(self) -> dict[str, _Lane]:
        with self._mutex:
            if time.monotonic() - self._looked_at >= LOOK_S:
                self._look()
                self._looked_at = time.monotonic()
            present = [(url, lane) for url, lane in self._lanes.items() if lane.standing.left_out is None]
            return dict(sorted(present, key=lambda it: it[1].rank))

    def _look(self) -> None:
        try:
            urls = dict.fromkeys(self._people.endpoints().values())
        except ChainError:
            return  # what was known will do
        known = {url: lane for url, lane in self._lanes.items() if url in urls}
        self._lanes = known | {url: _Lane(self._connect(url), self._threads) for url in urls if url not in known}

    def _prefer(self, url: str) -> None:
        """Whoever had one block, and was quick, is asked first for the next."""
        with self._mutex:
            if url in self._lanes and self._lanes[url].is_quick:
                self._lanes = {url: self._lanes[url]} | self._lanes

    def _keep_late(self, cid: Cid, late: Future[bytes]) -> None:
        if late.exception() is None:
            with self._mutex:
                self._late[cid] = late.result()
                while len(self._late) > LATE:
                    del self._late[next(iter(self._late))]
