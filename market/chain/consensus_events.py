"""The consensus contract's events: one frozen class each, and what fetches them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_utils.abi import event_abi_to_log_topic
from web3.contract import Contract
from web3.types import LogReceipt

from market.chain.connection import Chain
from market.chain.consensus_records import PenaltyReason, PoolTerms, TaskTerms
from market.chain.event_reader import build_event
from market.chain.events import of
from market.chain.log_windows import integer_word, logs_of, word
from market.protocol.consensus import Outcome
from market.protocol.identifiers import Digest, PoolId, TaskId, Wei


def _digests(values: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(map(bytes, values))


@dataclass(frozen=True)
class ConsensusEvent:
    """Where every event happened.

    Attributes:
        block_number: height of its block.
        block_hash: by which a reorganisation is noticed.
        transaction: hash of its transaction.
        log_index: its place in the block.
    """

    block_number: int
    block_hash: bytes
    transaction: bytes
    log_index: int


@dataclass(frozen=True)
class PoolOpened(ConsensusEvent):
    """A pool was opened for a service."""

    pool: PoolId = field(metadata=of("pool", PoolId))
    by: str = field(metadata=of("by"))
    service: Digest = field(metadata=of("service", lambda value: Digest(bytes(value))))
    terms: PoolTerms = field(metadata=of("terms", PoolTerms.from_abi))


@dataclass(frozen=True)
class Staked(ConsensusEvent):
    """A verifier added units to its stake."""

    pool: PoolId = field(metadata=of("pool", PoolId))
    verifier: str = field(metadata=of("verifier"))
    units: int = field(metadata=of("units"))


@dataclass(frozen=True)
class Unstaked(ConsensusEvent):
    """A verifier took units back that no seat held."""

    pool: PoolId = field(metadata=of("pool", PoolId))
    verifier: str = field(metadata=of("verifier"))
    units: int = field(metadata=of("units"))


@dataclass(frozen=True)
class TaskOpened(ConsensusEvent):
    """A task was opened and its reward locked."""

    task: TaskId = field(metadata=of("task", TaskId))
    pool: PoolId = field(metadata=of("pool", PoolId))
    owner: str = field(metadata=of("owner"))
    terms: TaskTerms = field(metadata=of("terms", TaskTerms.from_abi))


@dataclass(frozen=True)
class TaskDrawFixed(ConsensusEvent):
    """The block is fixed whose hash decides who may sit."""

    task: TaskId = field(metadata=of("task", TaskId))
    panel: int = field(metadata=of("panel"))
    number: int = field(metadata=of("blockNumber"))


@dataclass(frozen=True)
class TaskSeatsDrawn(ConsensusEvent):
    """That hash is known, and seats can be taken."""

    task: TaskId = field(metadata=of("task", TaskId))
    panel: int = field(metadata=of("panel"))
    seed: bytes = field(metadata=of("seed", bytes))
    seat_until_s: int = field(metadata=of("seatUntil"))


@dataclass(frozen=True)
class TaskSeatTaken(ConsensusEvent):
    """A verifier sits; `displaced` had the seat until then, the zero address where nobody had."""

    task: TaskId = field(metadata=of("task", TaskId))
    panel: int = field(metadata=of("panel"))
    verifier: str = field(metadata=of("verifier"))
    number: int = field(metadata=of("number"))
    displaced: str = field(metadata=of("displaced"))


@dataclass(frozen=True)
class OutputsCommitted(ConsensusEvent):
    """A verifier sealed its digests and outputs."""

    task: TaskId = field(metadata=of("task", TaskId))
    panel: int = field(metadata=of("panel"))
    verifier: str = field(metadata=of("verifier"))
    seal: bytes = field(metadata=of("seal", bytes))


@dataclass(frozen=True)
class OutputsRevealed(ConsensusEvent):
    """A verifier opened its seal; without digests it says that the request is void."""

    task: TaskId = field(metadata=of("task", TaskId))
    panel: int = field(metadata=of("panel"))
    verifier: str = field(metadata=of("verifier"))
    outputs: Digest = field(metadata=of("outputs", lambda value: Digest(bytes(value))))
    digests: tuple[bytes, ...] = field(metadata=of("digests", _digests))


@dataclass(frozen=True)
class CanariesOpened(ConsensusEvent):
    """The owner showed the answers that it knew."""

    task: TaskId = field(metadata=of("task", TaskId))
    samples: tuple[int, ...] = field(metadata=of("samples", tuple))
    digests: tuple[bytes, ...] = field(metadata=of("digests", _digests))
    salt: bytes = field(metadata=of("salt", bytes))


@dataclass(frozen=True)
class ClaimOpened(ConsensusEvent):
    """The worker's digests are open."""

    task: TaskId = field(metadata=of("task", TaskId))
    digests: tuple[bytes, ...] = field(metadata=of("digests", _digests))


@dataclass(frozen=True)
class PanelSettled(ConsensusEvent):
    """A panel is decided; masks have a bit a seat, and are zero without a majority."""

    task: TaskId = field(metadata=of("task", TaskId))
    panel: int = field(metadata=of("panel"))
    outcome: Outcome = field(metadata=of("outcome", Outcome))
    clique: int = field(metadata=of("clique"))
    spared: int = field(metadata=of("spared"))
    medoid: int = field(metadata=of("medoid"))
    outputs: Digest = field(metadata=of("outputs", lambda value: Digest(bytes(value))))
    accepted_samples: int = field(metadata=of("acceptedSamples"))


@dataclass(frozen=True)
class Rejudged(ConsensusEvent):
    """An appeal has a majority, by which the seats of the standing panel are judged."""

    task: TaskId = field(metadata=of("task", TaskId))
    panel: int = field(metadata=of("panel"))
    paid: int = field(metadata=of("paid"))
    spared: int = field(metadata=of("spared"))


@dataclass(frozen=True)
class Penalised(ConsensusEvent):
    """A seat's unit is burned."""

    task: TaskId = field(metadata=of("task", TaskId))
    panel: int = field(metadata=of("panel"))
    verifier: str = field(metadata=of("verifier"))
    amount_wei: Wei = field(metadata=of("amount", Wei))
    reason: PenaltyReason = field(metadata=of("reason", PenaltyReason))


@dataclass(frozen=True)
class Credited(ConsensusEvent):
    """An account can withdraw more."""

    account: str = field(metadata=of("account"))
    task: TaskId = field(metadata=of("task", TaskId))
    amount_wei: Wei = field(metadata=of("amount", Wei))


@dataclass(frozen=True)
class Appealed(ConsensusEvent):
    """Somebody asked for a larger panel."""

    task: TaskId = field(metadata=of("task", TaskId))
    by: str = field(metadata=of("by"))
    bond_wei: Wei = field(metadata=of("bond", Wei))


@dataclass(frozen=True)
class TaskFinished(ConsensusEvent):
    """A task is over: what is due is credited, what is not is burned."""

    task: TaskId = field(metadata=of("task", TaskId))
    outcome: Outcome = field(metadata=of("outcome", Outcome))
    outputs: Digest = field(metadata=of("outputs", lambda value: Digest(bytes(value))))
    worker_accepted: bool = field(metadata=of("workerAccepted"))
    burned_wei: Wei = field(metadata=of("burned", Wei))


@dataclass(frozen=True)
class Withdrawn(ConsensusEvent):
    """An account took its credits."""

    account: str = field(metadata=of("account"))
    to: str = field(metadata=of("to"))
    amount_wei: Wei = field(metadata=of("amount", Wei))


EVENTS: Mapping[str, type[ConsensusEvent]] = {
    "PoolOpened": PoolOpened,
    "Staked": Staked,
    "Unstaked": Unstaked,
    "TaskOpened": TaskOpened,
    "DrawFixed": TaskDrawFixed,
    "SeatsDrawn": TaskSeatsDrawn,
    "SeatTaken": TaskSeatTaken,
    "OutputsCommitted": OutputsCommitted,
    "OutputsRevealed": OutputsRevealed,
    "CanariesOpened": CanariesOpened,
    "ClaimOpened": ClaimOpened,
    "Settled": PanelSettled,
    "Rejudged": Rejudged,
    "Penalised": Penalised,
    "Credited": Credited,
    "Appealed": Appealed,
    "Finished": TaskFinished,
    "Withdrawn": Withdrawn,
}
"""Every event of `IOutputConsensus`, by its name there."""

_OF_A_POOL = ("PoolOpened", "Staked", "Unstaked")
_OF_A_TASK = tuple(name for name in EVENTS if name not in (*_OF_A_POOL, "Credited", "Withdrawn"))


class ConsensusEventReader:
    """Fetches and parses one consensus contract's events."""

    def __init__(self, chain: Chain, contract: Contract) -> None:
        self._chain = chain
        self._contract = contract
        abis = {abi["name"]: abi for abi in contract.abi if abi["type"] == "event" and abi["name"] in EVENTS}
        self._topics = {name: bytes(event_abi_to_log_topic(abi)) for name, abi in abis.items()}
        self._names = {topic: name for name, topic in self._topics.items()}

    def of_task(self, task: TaskId, first: int, last: int) -> list[ConsensusEvent]:
        """All that happened to a task in these blocks, both included, in the order of the chain."""
        about = self._fetch([self._words(_OF_A_TASK), integer_word(task)], first, last)
        credited = self._fetch([self._words(["Credited"]), None, integer_word(task)], first, last)
        return sorted([*about, *credited], key=lambda event: (event.block_number, event.log_index))

    def of_pool(self, pool: PoolId, first: int, last: int) -> list[ConsensusEvent]:
        """How a pool was opened and staked in, in these blocks, both included, in the order of the chain."""
        return self._fetch([self._words(_OF_A_POOL), integer_word(pool)], first, last)

    def tasks_of(self, pool: PoolId, first: int, last: int) -> list[ConsensusEvent]:
        """The tasks that were opened in a pool in these blocks, both included, in the order of the chain."""
        return self._fetch([self._words(["TaskOpened"]), None, integer_word(pool)], first, last)

    def of_all(self, kinds: Iterable[type[ConsensusEvent]] | None, first: int, last: int) -> list[ConsensusEvent]:
        """All events of these classes, None for every one, in these blocks, both included."""
        wanted = set(EVENTS.values() if kinds is None else kinds)
        names = [name for name, kind in EVENTS.items() if kind in wanted]
        return self._fetch([self._words(names)], first, last)

    def parse(self, logs: Iterable[LogReceipt]) -> list[ConsensusEvent]:
        """This contract's events among these logs; those of other contracts are passed over."""
        return [self._event(log) for log in logs if self._is_ours(log)]

    def _fetch(self, topics: Sequence[Any], first: int, last: int) -> list[ConsensusEvent]:
        return self.parse(logs_of(self._chain, str(self._contract.address), topics, first, last))

    def _words(self, names: Iterable[str]) -> list[str]:
        return [word(self._topics[name]) for name in sorted(names)]

    def _is_ours(self, log: LogReceipt) -> bool:
        ours = str(log["address"]).lower() == str(self._contract.address).lower()
        return ours and bool(log["topics"]) and bytes(log["topics"][0]) in self._names

    def _event(self, log: LogReceipt) -> ConsensusEvent:
        name = self._names[bytes(log["topics"][0])]
        decoded = self._chain.once(lambda: self._contract.events[name]().process_log(log))
        place = (log["blockNumber"], bytes(log["blockHash"]), bytes(log["transactionHash"]), log["logIndex"])
        return build_event(EVENTS[name], place, decoded["args"])
