"""Fetches the marketplace's events in bounded windows, and parses them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import fields
from typing import Any, TypeVar, cast

from eth_utils.abi import event_abi_to_log_topic
from web3.contract import Contract
from web3.types import LogReceipt

from market.chain.connection import Chain
from market.chain.events import EVENTS, AggregatorBonded, Event, RoundProven, RoundSettled
from market.chain.log_windows import address_word, integer_word, logs_in, windows
from market.chain.settlement_call import SettlementCall
from market.protocol.errors import ChainError
from market.protocol.identifiers import JobId

Kind = TypeVar("Kind")


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
        self,
        job: JobId | None,
        from_block: int,
        to_block: int | None,
        kinds: Iterable[type[Event]] | None,
        account: str | None = None,
    ) -> list[Event]:
        """The events of these blocks, both included, in the order of the chain. Arguments as `JobMarket.events`.

        With a job and an account only those whose second indexed argument that account is.
        """
        names = set(EVENTS if kinds is None else [kind.__name__ for kind in kinds])
        asked = names | {RoundSettled.__name__} if RoundProven.__name__ in names else names
        topics: list[Any] = [["0x" + self._topics[name].hex() for name in sorted(asked)]]
        if job is not None:
            topics.append(integer_word(job))
            topics += [] if account is None else [address_word(account)]
        last = self._chain.block_number() if to_block is None else to_block
        logs = [log for window in windows(from_block, last) for log in self._logs(window, topics)]
        return [event for event in self._parse(logs, names) if type(event).__name__ in names]

    def latest_bond(self, job: JobId, aggregator: str, from_block: int, to_block: int) -> AggregatorBonded | None:
        """The last bonding of one aggregator, looked for from the end: nobody else's events are read on the way."""
        topic = "0x" + self._topics[AggregatorBonded.__name__].hex()
        words = (integer_word(job), address_word(aggregator))
        for window in reversed(list(windows(from_block, to_block))):
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

    def _logs(self, window: tuple[int, int], topics: Sequence[Any]) -> list[LogReceipt]:
        return logs_in(self._chain, self._contract.address, topics, window)

    def _is_ours(self, log: LogReceipt) -> bool:
        ours = str(log["address"]).lower() == str(self._contract.address).lower()
        return ours and bool(log["topics"]) and bytes(log["topics"][0]) in self._names

    def _event(self, log: LogReceipt) -> Event:
        name = self._names[bytes(log["topics"][0])]
        decoded = self._chain.once(lambda: self._contract.events[name]().process_log(log))
        place = (log["blockNumber"], bytes(log["blockHash"]), bytes(log["transactionHash"]), log["logIndex"])
        return build_event(EVENTS[name], place, decoded["args"])


def _in_order(value: Any) -> Any:
    """A decoded struct as nested tuples in the order of its fields: the decoder names them, the parsers count them."""
    if isinstance(value, Mapping):
        return tuple(_in_order(entry) for entry in value.values())
    return [_in_order(entry) for entry in value] if isinstance(value, list | tuple) else value


def build_event(kind: Callable[..., Kind], place: tuple[int, bytes, bytes, int], arguments: Mapping[str, Any]) -> Kind:
    """One event out of what a log was decoded to.

    Args:
        kind: its class, whose fields say which arguments they are read from.
        place: height and hash of its block, hash of its transaction, and its place in the block.
        arguments: by their names in the contract.
    """
    read = {
        entry.name: entry.metadata["parse"](_in_order(arguments[entry.metadata["argument"]]))
        for entry in fields(cast(Any, kind))
        if entry.metadata
    }
    return kind(*place, **read)
