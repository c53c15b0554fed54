"""Reorganisations of 1 to 30 blocks while rounds are played: the rows are those that the chain gives in the end."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from fedmarket.devnet import Devnet
from market.chain.connection import Chain
from market.chain.job_market import JobMarket
from market.db.engine import connect
from market.db.migrate import upgrade
from market.db.service_tables import OrphanRow
from market.db.tables import EventRow, SyncRow
from market.indexer import Indexer
from tests.databases import Postgresql
from tests.integration.conftest import BALANCE_WEI, account
from tests.integration.court import Court
from tests.integration.indexed import dump
from tests.integration.marketplace import ON_ANVIL
from trainer_client.claims import claim, claimable

pytestmark = [ON_ANVIL, pytest.mark.timeout(400)]

DEEPEST = 30
PATIENCE_S = 60.0
EVERYBODY_CAME = 10
"""Blocks of the story after which its trainers and aggregators are there."""


@dataclass(frozen=True)
class PlayedBlock:
    """A block as it was first mined: its time, and its transactions as a node takes them."""

    timestamp_s: int
    transactions: tuple[dict[str, Any], ...]


@dataclass
class Branch:
    """A chain that goes forwards and back. The transactions are those of a job that was really played."""

    devnet: Devnet
    market: JobMarket
    story: list[PlayedBlock]
    random: random.Random
    snapshots: list[tuple[str, int]] = field(default_factory=list)
    told: int = 0
    newcomers: int = 0

    def go_on(self, blocks: int) -> None:
        """Mine blocks: mostly what comes next in the story, now and then something else, or nothing."""
        for _ in range(blocks):
            self.snapshots.append((self.devnet.snapshot(), self.told))
            chance = self.random.random()
            if chance < 0.15 or self.told >= len(self.story):
                # Before the story's own have come, nobody takes their places.
                if self.told > EVERYBODY_CAME:
                    self.send(self.newcomer())
                else:
                    self.at(0)
                    self.devnet.mine()
            elif chance < 0.17 and self.told > 3 * len(self.story) // 4:
                self.told += 1  # it never comes
                self.send(self.newcomer())
            else:
                self.replay(self.story[self.told])
                self.told += 1

    def go_back(self, blocks: int) -> None:
        """Take so many blocks away."""
        for _ in range(blocks):
            snapshot, self.told = self.snapshots.pop()
        self.devnet.revert(snapshot)

    def replay(self, block: PlayedBlock) -> None:
        """Mine a block like one that was played, no earlier than it."""
        if not block.transactions:
            self.at(block.timestamp_s)
            self.devnet.mine()
        for transaction in block.transactions:
            self.send(transaction, block.timestamp_s)

    def send(self, transaction: dict[str, Any], timestamp_s: int = 0) -> None:
        """Mine a block with one transaction in it, which may fail."""
        self.at(timestamp_s)
        before = self.market.chain.block_number()
        self.devnet.request("eth_sendTransaction", transaction)
        while self.market.chain.block_number() == before:  # its block is mined soon after the answer
            time.sleep(0.002)

    def at(self, timestamp_s: int) -> None:
        """Give the next block its time."""
        self.devnet.set_next_timestamp(max(timestamp_s, self.devnet.timestamp() + 1))

    def newcomer(self) -> dict[str, Any]:
        """Somebody of no other branch comes to the job, or would."""
        self.newcomers += 1
        address = account(f"newcomer {self.newcomers}").address
        self.devnet.fund(address, BALANCE_WEI)
        call = self.market.bond(0, _Terms(), b"\x09" + bytes(31), 10**16)  # type: ignore[arg-type]
        if self.newcomers % 2:
            call = self.market.enrol(0, _Terms(), 10**16)  # type: ignore[arg-type]
        data = "0x" + call.data.hex()
        return {"from": address, "to": call.to, "data": data, "value": hex(call.value_wei), "gas": hex(3_000_000)}


class _Terms:
    """Enough of a job's terms to make a call that pays in the native coin."""

    token = "0x" + "00" * 20


def play(devnet: Devnet, market: JobMarket, actors: Any, folder: Path) -> list[PlayedBlock]:
    """A job of two rounds, from its opening to claims; the chain is back at its start afterwards."""
    first, before = market.chain.block_number() + 1, devnet.snapshot()
    place = Court(devnet, market, actors, folder).post(rounds=3).join(4, ("alice", "bob"))
    for _ in range(2):
        place.play_round()
        vests_s = market.outcome(place.id, place.state.attempt - 1).vests_at_s
        devnet.advance_to(vests_s)
        for name in place.trainers:
            for credit in claimable(place.view(name), place.actor(name).address):
                claim(place.view(name), place.actor(name), credit)
    story = [_block(devnet, number) for number in range(first, market.chain.block_number() + 1)]
    devnet.revert(before)
    devnet.request("anvil_autoImpersonateAccount", True)
    for sender in {transaction["from"] for block in story for transaction in block.transactions}:
        devnet.fund(sender, BALANCE_WEI)
    return story


def _block(devnet: Devnet, number: int) -> PlayedBlock:
    block = devnet.request("eth_getBlockByNumber", hex(number), True)
    sent = [
        {"from": t["from"], "to": t["to"], "value": t["value"], "data": t["input"], "gas": t["gas"]}
        for t in block["transactions"]
    ]
    return PlayedBlock(int(block["timestamp"], 16), tuple(sent))


@contextmanager
def following(engine: Engine, url: str, market: JobMarket) -> Iterator[None]:
    """An indexer at work while other things happen."""
    stop, failed = threading.Event(), []
    own = JobMarket(Chain.connect(url), market.address, first_block=market.first_block)

    def run() -> None:
        try:
            Indexer(engine, own, poll_s=0.01, report=print).run(stop.is_set)
        except BaseException:
            traceback.print_exc()  # where pytest shows it
            failed.append(engine)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failed


def wait_until_read(engine: Engine, chain: Chain) -> None:
    """Until the rows are those of the chain's latest block."""
    give_up_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s:
        with engine.connect() as connection:
            read = connection.execute(select(SyncRow.block_hash)).scalar_one_or_none()
        if read == bytes(chain.block()["hash"]):
            return
        time.sleep(0.02)
    raise AssertionError("the indexer did not come after the chain")


@pytest.fixture
def engines(tmp_path: Path, postgresql_server: Postgresql) -> Iterator[list[Engine]]:
    """An empty database of each kind, and one more to make everything anew in."""
    addresses = [f"sqlite:///{tmp_path / 'a.db'}", postgresql_server.new_database(), f"sqlite:///{tmp_path / 'b.db'}"]
    made = [connect(address) for address in addresses]
    for engine in made:
        upgrade(engine)
    yield made
    for engine in made:
        engine.dispose()


def test_after_reorganisations_of_every_depth_the_rows_are_those_of_a_reindex(
    devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path, engines: list[Engine]
) -> None:
    branch = Branch(devnet, deployed, play(devnet, deployed, actors, tmp_path), random.Random(6))
    *followers, rebuilt = engines
    taken_back: set[str] = set()
    stride = len(branch.story) // 10
    branch.go_on(6)
    with following(followers[0], devnet.url, deployed), following(followers[1], devnet.url, deployed):
        depths = list(range(1, DEEPEST + 1))
        branch.random.shuffle(depths)
        for depth in sorted(depths, key=lambda depth: depth + branch.random.randrange(12)):
            while len(branch.snapshots) < depth:
                branch.go_on(2)
            for engine in followers:
                wait_until_read(engine, deployed.chain)
            taken_back |= kinds_of_last(followers[0], depth)
            branch.go_back(depth)
            branch.go_on(max(0, depth + branch.random.choice((-2, stride, 2 * stride))))
            for engine in followers:
                wait_until_read(engine, deployed.chain)
            Indexer(rebuilt, deployed).reindex()
            whole = dump(rebuilt)
            for engine in followers:
                assert dump(engine) == whole, f"after a reorganisation of {depth} blocks"
    assert taken_back >= {"TrainerEnrolled", "UpdateCommitted", "UpdateRevealed", "RoundSettled", "Claimed"}
    counts = {table: len(whole[table]) for table in ("updates", "credits", "attempts", "movements")}
    assert all(counts.values()), counts
    with followers[0].connect() as connection:
        assert (connection.scalar(select(func.count()).select_from(OrphanRow)) or 0) > DEEPEST


def kinds_of_last(engine: Engine, blocks: int) -> set[str]:
    """What happened in the last blocks."""
    with engine.connect() as connection:
        head = connection.execute(select(SyncRow.block_number)).scalar_one()
        return set(connection.scalars(select(EventRow.kind).where(EventRow.block_number > head - blocks)))


def test_a_job_whose_opening_was_taken_back_is_gone_and_its_number_another_job_s(
    devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path, engines: list[Engine]
) -> None:
    story = play(devnet, deployed, actors, tmp_path)
    branch = Branch(devnet, deployed, story, random.Random(1), newcomers=1_000)
    for block in story[:12]:
        branch.snapshots.append((devnet.snapshot(), 0))
        branch.replay(block)
    opening = next(block for block in story if block.transactions)
    for engine in engines[:2]:
        Indexer(engine, deployed).catch_up()
        assert len(dump(engine)["sittings"]) > 0
    branch.go_back(12)
    for engine in engines[:2]:
        Indexer(engine, deployed).catch_up()
        assert [len(table) for name, table in dump(engine).items() if name != "sync"] == [0] * 12
    branch.replay(opening)
    Indexer(engines[2], deployed).reindex()
    for engine in engines[:2]:
        Indexer(engine, deployed).catch_up()
        assert dump(engine) == dump(engines[2])
        assert len(dump(engine)["jobs"]) == 1
