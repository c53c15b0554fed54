"""The store that roles work with: their own, and behind it whoever else has blocks.

A block is looked for in the own store, then at the daemon's own blocks, at the gateways, and last on the daemon's
network. What comes is verified, and kept in the own store: so a transfer that was interrupted goes on from there, and a
block that is missing or damaged there is made good by the first source that has it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import BinaryIO

from market.protocol.errors import BlockNotFound, CorruptBlock, InvalidContent, StorageError
from market.storage.block_search import BlockSearch, keep_late
from market.storage.cid import Cid
from market.storage.content_store import BlockStore
from market.storage.embedded_store import EmbeddedStore
from market.storage.file_dag import file_size, walk_blocks
from market.storage.file_reads import FileReads
from market.storage.kubo import KuboStore
from market.storage.pin_files import PinFiles
from market.storage.source_standing import Standing
from market.storage.sources import BlockSource

READ_LIMIT_S = 60.0
"""For how long a read waits for content to arrive: roles look again and again, and others wait for them too."""

WINDOW = 16
"""How many blocks are on their way at once, and so in memory."""

Progress = Callable[[int, int], None]
"""Told how many bytes of how many are here."""


class SourcedStore(FileReads):
    """A `ContentStore` over an embedded one, which fetches what is not there.

    `has` and `pins` tell of the own store alone. `get_block` and `size` ask for at most one block, and wait for it at
    most `LOOK_S` seconds: `BlockNotFound` may mean that it is still being looked for. That nobody has a block is
    believed for a second, then for two, for at most thirty. `open`, `read`, `copy_to`, `verify` and `pin` fetch what is
    missing, for at most `read_limit_s` seconds; what came by then is kept, and the next call goes on from there.
    `fetch` takes as long as it takes.

    Raises:
        BlockNotFound: from any method that reads: nobody has the block; the error says who was asked, and what of it.
        CorruptBlock: whoever has it sent other bytes.
    """

    def __init__(
        self,
        local: EmbeddedStore,
        sources: Sequence[BlockSource] = (),
        kubo: KuboStore | None = None,
        *,
        read_limit_s: float | None = READ_LIMIT_S,
        on_trouble: Callable[[StorageError], None] | None = None,
    ) -> None:
        """Nothing is asked yet.

        Args:
            local: the own store.
            sources: who else has blocks, in the order in which they are asked.
            kubo: a daemon that is asked before them, that looks on its network after them, and that is given
                whatever is pinned here.
            read_limit_s: how long a read waits for content to arrive; None for as long as that takes.
            on_trouble: told what is wrong where the daemon does not take what is pinned, in place of an error; it is
                given it again with the next pin.
        """
        self.local, self.kubo = local, kubo
        self._read_limit_s, self._on_trouble = read_limit_s, on_trouble
        self._owed = PinFiles(local.root / "kubo-owed")
        held, deep = ([kubo.held], [kubo]) if kubo else ([], [])
        self._ask(
            [Standing(source) for source in (*held, *sources)], [Standing(source, is_deep=True) for source in deep]
        )

    def with_sources(self, more: Sequence[BlockSource]) -> SourcedStore:
        """The same store with more sources, asked after the others; one that it has already is not asked twice."""
        known = {standing.source.name for standing in self._search.standings}
        new = [Standing(source) for source in more if source.name not in known]
        return self._copy(self._read_limit_s, new)

    def patient(self) -> SourcedStore:
        """The same store for those who look once: a read waits for as long as content takes to arrive."""
        return self._copy(None, [])

    # ------------------------------------------------------------------ reading

    def get_block(self, cid: Cid) -> bytes:
        """One block, verified: the own one, or a source's, which is kept."""
        try:
            return self.local.get_block(cid)
        except (BlockNotFound, CorruptBlock) as own:
            if not self._has_sources:
                raise
            block = self._look(cid, own)
        self._keep(cid, block)
        return block

    def _look(self, cid: Cid, own: StorageError) -> bytes:
        try:
            return self._search.look(cid, self._keep)
        except BlockNotFound:
            # The own disk's damage is what its owner has to know of, wherever else the block is missing.
            if isinstance(own, CorruptBlock):
                raise own from None
            raise

    def open(self, cid: Cid) -> Iterator[bytes]:
        """The content in order, in verified pieces; fetched first, if it is not here."""
        self.size(cid)
        self.fetch(cid, limit_s=self._read_limit_s)
        yield from super().open(cid)

    def verify(self, cid: Cid) -> int:
        """Read and check every block once, and return the content's length in bytes; damage is made good."""
        self.size(cid)
        self.fetch(cid, limit_s=self._read_limit_s)
        return super().verify(cid)

    def bring(self, cid: Cid, limit_s: float) -> None:
        """Fetch what is missing for so many seconds. Raises as `fetch`."""
        if not self._is_whole(cid):
            self.fetch(cid, limit_s=limit_s)

    def has(self, cid: Cid) -> bool:
        """Whether every block is in the own store; nobody else is asked."""
        return self.local.has(cid)

    def fetch(
        self, cid: Cid, progress: Progress = lambda done_bytes, total_bytes: None, *, limit_s: float | None = None
    ) -> int:
        """Bring every block here, several at once, parents first, and return the content's length in bytes.

        What is here already is not asked for: an interrupted transfer goes on where it was.

        Args:
            cid: the content.
            progress: told how many bytes of how many are here.
            limit_s: how long it may take.

        Raises:
            BlockNotFound: nobody has a block, or the time is over; what came is kept.
            CorruptBlock: those that have a block sent other bytes; what came before it is kept.
            InvalidContent: the content is not a file, or its blocks are longer than it says.
        """
        until_s = None if limit_s is None else time.monotonic() + limit_s
        transfer = _Transfer(self.local, self._search, cid, until_s, progress)
        if not self._has_sources:
            self._require(cid)
        elif not self._is_whole(cid):
            self.local.put_blocks(transfer.blocks())
        size_bytes = file_size(cid, self.local.get_block)
        progress(size_bytes, size_bytes)
        return size_bytes

    # ------------------------------------------------------------------ writing

    def add(self, stream: BinaryIO) -> Cid:
        """Keep a stream's content in the own store; durable when this returns."""
        return self.local.add(stream)

    def add_bytes(self, data: bytes) -> Cid:
        """Keep some bytes in the own store; durable when this returns."""
        return self.local.add_bytes(data)

    def adopt(self, cid: Cid, source: BlockStore) -> None:
        """Keep in the own store what another one holds. Raises as `EmbeddedStore.adopt`."""
        self.local.adopt(cid, source)

    def put_blocks(self, unverified_blocks: Iterable[tuple[Cid, bytes]]) -> int:
        """Keep single blocks in the own store. Raises as `EmbeddedStore.put_blocks`."""
        return self.local.put_blocks(unverified_blocks)

    def pin(self, cid: Cid, reason: str) -> None:
        """Protect content, fetched first, in the own store; then give it to the daemon, and have it pinned there.

        Raises:
            BlockNotFound: a block is to be had nowhere; nothing is pinned.
            SourceUnavailable, StorageFull: the daemon is down or full, where nobody is told of trouble; the content
                is pinned here, and the daemon is given it with the next pin.
        """
        if self._has_sources and not self._is_whole(cid):
            self.fetch(cid, limit_s=self._read_limit_s)
        self.local.pin(cid, reason)
        if self.kubo is not None:
            self._owed.add(cid, reason)
            self._trying(self.share_pins)

    def unpin(self, cid: Cid, reason: str) -> None:
        """Take one reason back here, and from the daemon. Raises as `pin` where the daemon is down."""
        self.local.unpin(cid, reason)
        if self.kubo is not None:
            self._owed.remove(cid, reason)
            self._trying(lambda: self._unpin_there(cid, reason))

    def pins(self) -> Mapping[Cid, frozenset[str]]:
        """Every pinned root with its reasons, in the own store."""
        return self.local.pins()

    def share_pins(self) -> int:
        """Give the daemon whatever was pinned here and has not been given yet; returns how many pins that were.

        Raises:
            SourceUnavailable, StorageFull: the daemon is down or full; the rest is given the next time.
        """
        shared = 0
        pinned = self.local.pins()
        for cid, reasons in self._owed.all().items():
            for reason in sorted(reasons):
                if reason in pinned.get(cid, ()):  # unpinned by another process meanwhile
                    self._share(cid, reason)
                    shared += 1
                self._owed.remove(cid, reason)
        return shared

    def _share(self, cid: Cid, reason: str) -> None:
        if self.kubo is None:
            return
        if cid not in self.kubo.pins():
            self.kubo.adopt(cid, self)
        self.kubo.pin(cid, reason)

    def _unpin_there(self, cid: Cid, reason: str) -> None:
        if self.kubo is not None:
            self.kubo.unpin(cid, reason)

    def _trying(self, give: Callable[[], object]) -> None:
        try:
            give()
        except StorageError as trouble:
            if self._on_trouble is None:
                raise
            self._on_trouble(trouble)

    # ------------------------------------------------------------------ what is behind it

    @property
    def _has_sources(self) -> bool:
        return bool(self._search.standings or self._search.deep)

    def _ask(self, standings: Sequence[Standing], deep: Sequence[Standing]) -> None:
        self._search = BlockSearch(standings, deep, str(self.local.root))

    def _copy(self, read_limit_s: float | None, new: Sequence[Standing]) -> SourcedStore:
        copy = SourcedStore(self.local, (), self.kubo, read_limit_s=read_limit_s, on_trouble=self._on_trouble)
        copy._ask([*self._search.standings, *new], self._search.deep)
        return copy

    def _keep(self, cid: Cid, block: bytes) -> None:
        self.local.put_blocks([(cid, block)])

    def _is_whole(self, cid: Cid) -> bool:
        """Whether every block is in the own store, by its files."""
        with suppress(CorruptBlock):
            return self.local.has(cid)
        return False

    def _require(self, cid: Cid) -> None:
        for block_cid, block in walk_blocks(cid, self.local.get_block, raw_leaves=False):
            if block is None and self.local.block_bytes(block_cid) is None:
                raise BlockNotFound(str(block_cid), str(self.local.root))


class _Transfer:
    """One content on its way here: what is missing, in order, and how far it is."""

    def __init__(
        self, local: EmbeddedStore, search: BlockSearch, root: Cid, until_s: float | None, progress: Progress
    ) -> None:
        self._local, self._search, self._root = local, search, root
        self._until_s, self._progress = until_s, progress
        self._on_their_way: deque[tuple[Cid, Future[bytes]]] = deque()
        self._total_bytes = self._done_bytes = self._fetched_bytes = 0

    def blocks(self) -> Iterator[tuple[Cid, bytes]]:
        """Every leaf that is missing; inner blocks are kept as they come, since they tell what else is missing."""
        self._total_bytes = file_size(self._root, self._inner)
        try:
            for cid, block in walk_blocks(self._root, self._inner, raw_leaves=False):
                if block is None:
                    yield from self._leaf(cid)
            while self._on_their_way:
                yield self._next()
        finally:
            for cid, late in self._on_their_way:
                late.add_done_callback(lambda found, cid=cid: keep_late(cid, found, self._keep))  # type: ignore[misc]

    def _leaf(self, cid: Cid) -> Iterator[tuple[Cid, bytes]]:
        # It may have come an hour ago: a collection must not take it before the rest has come, too.
        held_bytes = self._local.spare(cid)
        if held_bytes is not None:
            self._show(held_bytes)
            return
        if len(self._on_their_way) >= WINDOW:
            yield self._next()
        self._on_their_way.append((cid, self._search.begin(cid)))

    def _next(self) -> tuple[Cid, bytes]:
        cid, found = self._on_their_way[0]
        block = self._wait(cid, found)
        self._on_their_way.popleft()
        self._fetched_bytes += len(block)
        # Each leaf is asked for once, and is in the file at least once.
        if self._fetched_bytes > self._total_bytes:
            raise InvalidContent(
                str(self._root), f"its leaves have more than the {self._total_bytes} bytes it declares"
            )
        self._show(len(block))
        return cid, block

    def _inner(self, cid: Cid) -> bytes:
        with suppress(BlockNotFound, CorruptBlock):
            block = self._local.get_block(cid)
            self._local.spare(cid)
            return block
        block = self._wait(cid, self._search.begin(cid))
        self._keep(cid, block)
        return block

    def _wait(self, cid: Cid, found: Future[bytes]) -> bytes:
        left_s = None if self._until_s is None else max(0.0, self._until_s - time.monotonic())
        try:
            return found.result(left_s)
        except FutureTimeout:
            so_far = f"{self._done_bytes} of {self._total_bytes} bytes of {self._root} are here, the rest is on its way"
            raise BlockNotFound(str(cid), f"{self._local.root} yet: {so_far}") from None

    def _keep(self, cid: Cid, block: bytes) -> None:
        self._local.put_blocks([(cid, block)])

    def _show(self, size_bytes: int) -> None:
        self._done_bytes = min(self._done_bytes + size_bytes, self._total_bytes)
        self._progress(self._done_bytes, self._total_bytes)
