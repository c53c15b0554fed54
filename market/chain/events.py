"""The marketplace's events: one frozen class each, and the reader that fetches them in bounded windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields
from typing import Any

from eth_utils.abi import event_abi_to_log_topic
from web3.contract import Contract
from web3.types import FilterParams, LogReceipt

from market.chain.connection import Chain
from market.chain.packed import unpack_records, unpack_scores, unpack_weights
from market.chain.records import ExclusionReason, Fact, Verdict
from market.chain.settlement_call import SettlementCall
from market.protocol.errors import ChainError, ChainUnreachable
from market.protocol.identifiers import Digest, JobId, Seat, Wei, seats_in
from market.protocol.terms import JobTerms

WINDOW_BLOCKS = 5_000
"""How many blocks are asked for at once: most public nodes refuse more than this or 10,000."""


def of(argument: str, parse: Callable[[Any], Any] = lambda value: value) -> Mapping[str, Any]:
    """Marks a field that is read from an event's argument of this name, through `parse`."""
    return {"argument": argument, "parse": parse}


def _seats(mask: int) -> tuple[Seat, ...]:
    return tuple(seats_in(mask))


@dataclass(frozen=True)
class Event:
    """Where every event happened, and of which job.

    Attributes:
        block_number: height of its block.
        block_hash: by which a reorganisation is noticed.
        transaction: hash of its transaction.
        log_index: its place in the block.
        job: the job that it is about.
    """

    block_number: int
    block_hash: bytes
    transaction: bytes
    log_index: int
    job: JobId = field(metadata=of("job", JobId))


@dataclass(frozen=True)
class JobOpened(Event):
    """A job was opened and its reward locked."""

    owner: str = field(metadata=of("owner"))
    spec: Digest = field(metadata=of("specDigest", Digest))
    initial_model: Digest = field(metadata=of("initialModel", Digest))
    initial_commitment: bytes = field(metadata=of("initialCommitment", bytes))
    srs_id: bytes = field(metadata=of("srsId", bytes))
    deposit_wei: Wei = field(metadata=of("deposit", Wei))
    terms: JobTerms = field(metadata=of("terms", JobTerms.from_abi))


@dataclass(frozen=True)
class TrainerEnrolled(Event):
    """A trainer took a seat, or put its stake back."""

    trainer: str = field(metadata=of("trainer"))
    seat: Seat = field(metadata=of("seat", Seat))
    stake_wei: Wei = field(metadata=of("stake", Wei))


@dataclass(frozen=True)
class StakeWithdrawn(Event):
    """A trainer took its stake back."""

    trainer: str = field(metadata=of("trainer"))
    seat: Seat = field(metadata=of("seat", Seat))
    to: str = field(metadata=of("to"))
    amount_wei: Wei = field(metadata=of("amount", Wei))


@dataclass(frozen=True)
class AggregatorBonded(Event):
    """An aggregator bonded, as the active one or as a successor; what it alone may read is sealed to its key."""

    aggregator: str = field(metadata=of("aggregator"))
    bond_wei: Wei = field(metadata=of("bond", Wei))
    sealing_key: bytes = field(metadata=of("sealingKey", bytes))


@dataclass(frozen=True)
class BondWithdrawn(Event):
    """An aggregator took its bond back."""

    aggregator: str = field(metadata=of("aggregator"))
    to: str = field(metadata=of("to"))
    amount_wei: Wei = field(metadata=of("amount", Wei))


@dataclass(frozen=True)
class AttemptStarted(Event):
    """An attempt was scheduled: its commit phase begins at `starts_at_s`."""

    round: int = field(metadata=of("round"))
    attempt: int = field(metadata=of("attempt"))
    aggregator: str = field(metadata=of("aggregator"))
    starts_at_s: int = field(metadata=of("startsAt"))
    step_q16: int = field(metadata=of("stepQ16"))
    shift: int = field(metadata=of("shift"))


@dataclass(frozen=True)
class UpdateCommitted(Event):
    """A trainer sealed an update."""

    attempt: int = field(metadata=of("attempt"))
    trainer: str = field(metadata=of("trainer"))
    seat: Seat = field(metadata=of("seat", Seat))
    seal: bytes = field(metadata=of("seal", bytes))


@dataclass(frozen=True)
class UpdateRevealed(Event):
    """A trainer's seal was opened."""

    attempt: int = field(metadata=of("attempt"))
    trainer: str = field(metadata=of("trainer"))
    seat: Seat = field(metadata=of("seat", Seat))
    content: Digest = field(metadata=of("contentId", Digest))
    commitment: bytes = field(metadata=of("commitment", bytes))
    salt: bytes = field(metadata=of("salt", bytes))


@dataclass(frozen=True)
class ExamCommitted(Event):
    """The owner sealed an attempt's exam, before anybody revealed."""

    attempt: int = field(metadata=of("attempt"))
    seal: bytes = field(metadata=of("seal", bytes))


@dataclass(frozen=True)
class ExamOpened(Event):
    """An exam's seal was opened. `content` is r, sealed to the active aggregator; `commitment` is C_r, not blinded."""

    attempt: int = field(metadata=of("attempt"))
    content: Digest = field(metadata=of("contentId", Digest))
    commitment: bytes = field(metadata=of("commitment", bytes))
    salt: bytes = field(metadata=of("salt", bytes))


@dataclass(frozen=True)
class ExamExcluded(Event):
    """The aggregator left an opened exam out: the round was decided as one without."""

    attempt: int = field(metadata=of("attempt"))
    reason: ExclusionReason = field(metadata=of("reason", ExclusionReason))


@dataclass(frozen=True)
class ExamMissed(Event):
    """A round was settled without its exam having been opened: the deposit carries over to the trainers."""

    attempt: int = field(metadata=of("attempt"))
    deposit_wei: Wei = field(metadata=of("deposit", Wei))


@dataclass(frozen=True)
class ExamTaken(Event):
    """An exam counted. `records_q16` says, for each row of the matrix, what its seat's exams come to with this one."""

    attempt: int = field(metadata=of("attempt"))
    records_q16: tuple[int, ...] = field(metadata=of("records", unpack_records))


@dataclass(frozen=True)
class ExamPublished(Event):
    """The owner showed what the exams were: all slices, their salts and every r."""

    content: Digest = field(metadata=of("contentId", Digest))


@dataclass(frozen=True)
class ExamUnpublished(Event):
    """A job was closed with its exam still secret: the deposits that were left go to the trainers."""

    amount_wei: Wei = field(metadata=of("amount", Wei))


@dataclass(frozen=True)
class StakesForfeited(Event):
    """Committed but unrevealed updates cost their seats' stakes."""

    attempt: int = field(metadata=of("attempt"))
    seats: tuple[Seat, ...] = field(metadata=of("seats", _seats))
    burned_wei: Wei = field(metadata=of("burned", Wei))


@dataclass(frozen=True)
class UpdateExcluded(Event):
    """The aggregator left an update out."""

    attempt: int = field(metadata=of("attempt"))
    seat: Seat = field(metadata=of("seat", Seat))
    reason: ExclusionReason = field(metadata=of("reason", ExclusionReason))


@dataclass(frozen=True)
class RoundProven(Event):
    """The packed Gram matrix that a round was decided from, and its proof: the mask, A and the argument.

    The contract emits it only where a settlement was called by another contract. Where it was a transaction of its own,
    all this is in that one's input, and the reader makes this event of it, at the place of its `RoundSettled`. There is
    none of a round from which every update was excluded.
    """

    attempt: int = field(metadata=of("attempt"))
    gram: bytes = field(metadata=of("gram", bytes))
    proof: bytes = field(metadata=of("proof", bytes))


@dataclass(frozen=True)
class ModelCommitted(Event):
    """A round made a new model: commitments of the accepted updates' weighted sum and of the model, 64 bytes a chunk.

    `blinders`, six scalars of 32 bytes a chunk, open the aggregate if the aggregator told the truth.
    """

    attempt: int = field(metadata=of("attempt"))
    aggregate: bytes = field(metadata=of("aggregate", bytes))
    model: bytes = field(metadata=of("model", bytes))
    blinders: bytes = field(metadata=of("blinders", bytes))


@dataclass(frozen=True)
class RoundSettled(Event):
    """A round was decided and its pay credited. `weights` and `scores_q32` have one entry a row of the matrix."""

    round: int = field(metadata=of("round"))
    attempt: int = field(metadata=of("attempt"))
    aggregator: str = field(metadata=of("aggregator"))
    model: Digest = field(metadata=of("model", Digest))
    accepted: tuple[Seat, ...] = field(metadata=of("accepted", _seats))
    paid: bool = field(metadata=of("paid"))
    weights: tuple[int, ...] = field(metadata=of("weights", unpack_weights))
    scores_q32: tuple[int, ...] = field(metadata=of("scores", unpack_scores))
    pays: bytes = field(metadata=of("pays", bytes))
    returned_wei: Wei = field(metadata=of("returned", Wei))
    vests_at_s: int = field(metadata=of("vestsAt"))


@dataclass(frozen=True)
class RoundSkipped(Event):
    """A round ended for want of commits."""

    round: int = field(metadata=of("round"))
    attempt: int = field(metadata=of("attempt"))
    had_minimum: bool = field(metadata=of("hadMinimum"))


@dataclass(frozen=True)
class AttemptExpired(Event):
    """An attempt was not settled in time: compensation from the bond, the rest of it burned."""

    round: int = field(metadata=of("round"))
    attempt: int = field(metadata=of("attempt"))
    aggregator: str = field(metadata=of("aggregator"))
    burned_wei: Wei = field(metadata=of("burned", Wei))
    pays: bytes = field(metadata=of("pays", bytes))
    vests_at_s: int = field(metadata=of("vestsAt"))


@dataclass(frozen=True)
class DisputeOpened(Event):
    """Somebody disputes a fact: the job stands still until it is answered, or until `answer_until_s`."""

    attempt: int = field(metadata=of("attempt"))
    by: str = field(metadata=of("by"))
    round: int = field(metadata=of("round"))
    fact: Fact = field(metadata=of("fact", Fact))
    seat: Seat = field(metadata=of("seat", Seat))
    bond_wei: Wei = field(metadata=of("bond", Wei))
    answer_until_s: int = field(metadata=of("answerUntil"))


@dataclass(frozen=True)
class DisputeAnswered(Event):
    """An attestor's answer was counted."""

    attempt: int = field(metadata=of("attempt"))
    attestor: str = field(metadata=of("attestor"))
    holds: bool = field(metadata=of("holds"))


@dataclass(frozen=True)
class DisputeResolved(Event):
    """A dispute is over. What waited is put off by as long as it waited; zero for what does not go on."""

    attempt: int = field(metadata=of("attempt"))
    verdict: Verdict = field(metadata=of("verdict", Verdict))
    burned_wei: Wei = field(metadata=of("burned", Wei))
    starts_at_s: int = field(metadata=of("startsAt"))
    vests_at_s: int = field(metadata=of("vestsAt"))
    deadline_s: int = field(metadata=of("deadline"))


@dataclass(frozen=True)
class AttemptUndone(Event):
    """A settlement was undone: compensation from its aggregator's bond, the rest of it burned."""

    round: int = field(metadata=of("round"))
    attempt: int = field(metadata=of("attempt"))
    aggregator: str = field(metadata=of("aggregator"))
    burned_wei: Wei = field(metadata=of("burned", Wei))
    pays: bytes = field(metadata=of("pays", bytes))
    vests_at_s: int = field(metadata=of("vestsAt"))


@dataclass(frozen=True)
class ExamRefuted(Event):
    """A published exam was false: the deposits that were left go to the trainers."""

    attempt: int = field(metadata=of("attempt"))
    amount_wei: Wei = field(metadata=of("amount", Wei))


@dataclass(frozen=True)
class DisputeBondWithdrawn(Event):
    """Who won disputes took the bonds back."""

    by: str = field(metadata=of("by"))
    to: str = field(metadata=of("to"))
    amount_wei: Wei = field(metadata=of("amount", Wei))


@dataclass(frozen=True)
class Claimed(Event):
    """A trainer took its credit."""

    attempt: int = field(metadata=of("attempt"))
    trainer: str = field(metadata=of("trainer"))
    seat: Seat = field(metadata=of("seat", Seat))
    to: str = field(metadata=of("to"))
    amount_wei: Wei = field(metadata=of("amount", Wei))


@dataclass(frozen=True)
class FeeClaimed(Event):
    """An aggregator took its fee."""

    attempt: int = field(metadata=of("attempt"))
    aggregator: str = field(metadata=of("aggregator"))
    to: str = field(metadata=of("to"))
    amount_wei: Wei = field(metadata=of("amount", Wei))


@dataclass(frozen=True)
class JobClosed(Event):
    """A job ended; `attempt` is the number under which `pays` can be claimed."""

    attempt: int = field(metadata=of("attempt"))
    refundable_wei: Wei = field(metadata=of("refundable", Wei))
    burned_wei: Wei = field(metadata=of("burned", Wei))
    pays: bytes = field(metadata=of("pays", bytes))


@dataclass(frozen=True)
class Refunded(Event):
    """The owner took what came back."""

    owner: str = field(metadata=of("owner"))
    to: str = field(metadata=of("to"))
    amount_wei: Wei = field(metadata=of("amount", Wei))


EVENTS: Mapping[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        *(JobOpened, TrainerEnrolled, StakeWithdrawn, AggregatorBonded, BondWithdrawn, AttemptStarted, UpdateCommitted),
        *(UpdateRevealed, ExamCommitted, ExamOpened, ExamExcluded, ExamMissed, ExamTaken, StakesForfeited),
        *(UpdateExcluded, RoundProven, ModelCommitted, RoundSettled, RoundSkipped, AttemptExpired, Claimed, FeeClaimed),
        *(ExamPublished, ExamUnpublished, JobClosed, Refunded, DisputeOpened, DisputeAnswered, DisputeResolved),
        *(AttemptUndone, ExamRefuted, DisputeBondWithdrawn),
    )
}
"""Every event of `IJobMarket`, by its name there."""

WITHOUT_PROOFS: Sequence[type[Event]] = tuple(kind for kind in EVENTS.values() if kind is not RoundProven)
"""All but the proofs: each costs a request for its round's transaction, which may fail."""

_UNBOUNDED = (TrainerEnrolled, StakeWithdrawn, AggregatorBonded, BondWithdrawn)

ROUNDS: Sequence[type[Event]] = tuple(kind for kind in WITHOUT_PROOFS if kind not in _UNBOUNDED)
"""What it takes to take part. A job's terms bound their number: who comes and goes with the same money can make as many
of the others as they like, and whoever read those against a deadline would miss it."""


class EventReader:
    """Fetches and parses one contract's events."""

    def __init__(self, chain: Chain, contract: Contract) -> None:
        self._chain = chain
        self._contract = contract
        self._settlement = SettlementCall(contract)
        abis = {abi["name"]: abi for abi in contract.abi if abi["type"] == "event" and abi["name"] in EVENTS}
        self._topics = {name: bytes(event_abi_to_log_topic(abi)) for name, abi in abis.items()}
        self._names = {topic: name for name, topic in self._topics.items()}

    def fetch(
        self, job: JobId | None, from_block: int, to_block: int | None, kinds: Iterable[type[Event]] | None
    ) -> list[Event]:
        """The events of these blocks, both included, in the order of the chain. Arguments as `JobMarket.events`."""
        names = set(EVENTS if kinds is None else [kind.__name__ for kind in kinds])
        asked = names | {RoundSettled.__name__} if RoundProven.__name__ in names else names
        topics: list[Any] = [["0x" + self._topics[name].hex() for name in sorted(asked)]]
        if job is not None:
            topics.append("0x" + job.to_bytes(32, "big").hex())
        last = self._chain.block_number() if to_block is None else to_block
        logs = [log for window in self._windows(from_block, last) for log in self._logs(window, topics)]
        return [event for event in self._parse(logs, names) if type(event).__name__ in names]

    def latest_bond(self, job: JobId, aggregator: str, from_block: int, to_block: int) -> AggregatorBonded | None:
        """The last bonding of one aggregator, looked for from the end: nobody else's events are read on the way."""
        topic = "0x" + self._topics[AggregatorBonded.__name__].hex()
        words = ("0x" + job.to_bytes(32, "big").hex(), "0x" + bytes.fromhex(aggregator[2:]).rjust(32, b"\0").hex())
        for window in reversed(list(self._windows(from_block, to_block))):
            found = [self._event(log) for log in self._logs(window, [topic, *words]) if self._is_ours(log)]
            if found and isinstance(found[-1], AggregatorBonded):
                return found[-1]
        return None

    def parse(self, logs: Iterable[LogReceipt]) -> list[Event]:
        """This contract's events among these logs; those of other contracts are passed over."""
        return list(self._parse(logs, set(EVENTS)))

    def _parse(self, logs: Iterable[LogReceipt], names: Set[str]) -> Iterator[Event]:
        ours = [(log, self._event(log)) for log in logs if self._is_ours(log)]
        emitted = {event.transaction for _, event in ours if isinstance(event, RoundProven)}
        wanted = RoundProven.__name__ in names
        for log, event in ours:
            if wanted and isinstance(event, RoundSettled) and event.weights and event.transaction not in emitted:
                yield self._proven_in_call(log, event)
            yield event

    def _proven_in_call(self, log: LogReceipt, event: RoundSettled) -> RoundProven:
        """The proof in the input of the transaction that settled this round.

        Raises:
            ChainError: the transaction is another call, so the contract should have emitted the proof.
        """
        web3 = self._chain.web3
        sent = self._chain.read(lambda: web3.eth.get_transaction_by_block(log["blockHash"], log["transactionIndex"]))
        found = self._settlement.read(bytes(sent["input"]))
        if found is None or (found.job, found.attempt) != (event.job, event.attempt):
            raise ChainError(f"transaction 0x{event.transaction.hex()} settles a round and carries no proof of it")
        place = (event.block_number, event.block_hash, event.transaction, event.log_index)
        return RoundProven(*place, event.job, event.attempt, found.gram, found.proof)

    def _windows(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        for start in range(first, last + 1, WINDOW_BLOCKS):
            yield start, min(start + WINDOW_BLOCKS - 1, last)

    def _logs(self, window: tuple[int, int], topics: Sequence[Any]) -> list[LogReceipt]:
        """The logs of a window; in halves where the node finds it too much."""
        first, last = window
        query: FilterParams = {"address": self._contract.address, "topics": topics, "fromBlock": first, "toBlock": last}
        try:
            return list(self._chain.read(lambda: self._chain.web3.eth.get_logs(query)))
        except ChainError as error:
            if first >= last or isinstance(error, ChainUnreachable):
                raise
        middle = (first + last) // 2
        return self._logs((first, middle), topics) + self._logs((middle + 1, last), topics)

    def _is_ours(self, log: LogReceipt) -> bool:
        ours = str(log["address"]).lower() == str(self._contract.address).lower()
        return ours and bool(log["topics"]) and bytes(log["topics"][0]) in self._names

    def _event(self, log: LogReceipt) -> Event:
        name = self._names[bytes(log["topics"][0])]
        decoded = self._chain.once(lambda: self._contract.events[name]().process_log(log))
        place = (log["blockNumber"], bytes(log["blockHash"]), bytes(log["transactionHash"]), log["logIndex"])
        return _build(EVENTS[name], place, decoded["args"])


def _in_order(value: Any) -> Any:
    """A decoded struct as nested tuples in the order of its fields: the decoder names them, the parsers count them."""
    if isinstance(value, Mapping):
        return tuple(_in_order(entry) for entry in value.values())
    return [_in_order(entry) for entry in value] if isinstance(value, list | tuple) else value


def _build(kind: type[Event], place: tuple[int, bytes, bytes, int], arguments: Mapping[str, Any]) -> Event:
    read = {
        entry.name: entry.metadata["parse"](_in_order(arguments[entry.metadata["argument"]]))
        for entry in fields(kind)
        if entry.metadata
    }
    return kind(*place, **read)
