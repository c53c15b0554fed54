"""The consensus contract, typed: one method a function of `IOutputConsensus`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hexbytes import HexBytes
from web3.types import BlockIdentifier, LogReceipt

from market.chain import artefacts
from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.chain.consensus_events import ConsensusEvent, ConsensusEventReader, TaskOpened
from market.chain.consensus_records import (
    ConsensusLedger,
    Evidence,
    PanelState,
    PoolTerms,
    TaskState,
    TaskTerms,
    VerifierStake,
)
from market.chain.contract import Gateway, checked_address
from market.protocol.identifiers import Digest, PoolId, TaskId, Wei

ARTEFACT = "OutputConsensus"


class OutputConsensus(Gateway):
    """Reads the contract, and prepares the calls that a `TransactionSender` sends.

    Whatever the contract refuses is raised as `ContractRevert`. Reading an unknown pool or task raises it too.
    """

    def __init__(self, chain: Chain, address: str, block: BlockIdentifier = "latest", first_block: int = 0) -> None:
        """Bind the gateway.

        Args:
            chain: the connection.
            address: the contract's.
            block: reads are as of this block.
            first_block: the block of its deployment; no event is looked for before it.
        """
        super().__init__(chain, address, artefacts.load(ARTEFACT).abi, block)
        self.first_block = first_block
        self._events = ConsensusEventReader(chain, self._contract)

    def at(self, block: BlockIdentifier) -> OutputConsensus:
        """The same contract, read as of another block."""
        return OutputConsensus(self.chain, self.address, block, self.first_block)

    # ------------------------------------------------------------------ reads

    def pool_count(self) -> int:
        """How many pools were opened."""
        return int(self._read("poolCount"))

    def task_count(self) -> int:
        """How many tasks were opened."""
        return int(self._read("taskCount"))

    def pool(self, pool: PoolId) -> PoolTerms:
        """A pool's terms."""
        return PoolTerms.from_abi(self._read("pool", pool)[0])

    def members(self, pool: PoolId) -> int:
        """How many verifiers have staked in a pool."""
        return int(self._read("pool", pool)[1])

    def verifier(self, pool: PoolId, account: str) -> VerifierStake:
        """An account's stake in a pool: of nothing where it has none."""
        return VerifierStake(*self._read("verifier", pool, checked_address(account)))

    def terms(self, task: TaskId) -> TaskTerms:
        """A task's terms."""
        return TaskTerms.from_abi(self._read("task", task)[0])

    def state(self, task: TaskId) -> TaskState:
        """Where a task stands at the latest block's timestamp: at the next block's it may stand elsewhere."""
        return TaskState.from_abi(self._read("task", task)[1])

    def panel(self, task: TaskId, index: int) -> PanelState:
        """One of a task's panels: 0 the first, 1 the second draw's, 2 the appeal's."""
        return PanelState.from_abi(self._read("panel", task, index))

    def number_of(self, task: TaskId, index: int, account: str) -> int:
        """The number with which an account would sit in a drawn panel: the highest there is without a ticket."""
        return int(self._read("numberOf", task, index, checked_address(account)))

    def ledger(self) -> ConsensusLedger:
        """Where all the contract's money is."""
        return ConsensusLedger(*map(Wei, self._read("ledger")))

    def credits_wei(self, account: str) -> Wei:
        """What an account can withdraw."""
        return Wei(self._read("credits", checked_address(account)))

    # ------------------------------------------------------------------ events

    def events(self, task: TaskId, from_block: int | None = None, to_block: int | None = None) -> list[ConsensusEvent]:
        """All that happened to a task, in the order of the chain, its credits included.

        Args:
            task: its number.
            from_block: first block; None for the contract's own.
            to_block: last block; None for the latest.
        """
        return self._events.of_task(task, *self._range(from_block, to_block))

    def pool_events(
        self, pool: PoolId, from_block: int | None = None, to_block: int | None = None
    ) -> list[ConsensusEvent]:
        """How a pool was opened and staked in, in the order of the chain. Arguments as `events`."""
        return self._events.of_pool(pool, *self._range(from_block, to_block))

    def tasks_of(self, pool: PoolId, from_block: int | None = None, to_block: int | None = None) -> list[TaskOpened]:
        """The tasks that were opened in a pool, in the order of the chain. Arguments as `events`."""
        found = self._events.tasks_of(pool, *self._range(from_block, to_block))
        return [event for event in found if isinstance(event, TaskOpened)]

    def all_events(
        self,
        kinds: Iterable[type[ConsensusEvent]] | None = None,
        from_block: int | None = None,
        to_block: int | None = None,
    ) -> list[ConsensusEvent]:
        """What happened to all pools and tasks, in the order of the chain.

        Args:
            kinds: only events of these classes; None for all.
            from_block: first block; None for the contract's own.
            to_block: last block; None for the latest.
        """
        return self._events.of_all(kinds, *self._range(from_block, to_block))

    def events_in(self, logs: Iterable[LogReceipt]) -> list[ConsensusEvent]:
        """The contract's events among a receipt's logs."""
        return self._events.parse(logs)

    def call_in(self, transaction: bytes) -> tuple[str, Mapping[str, Any]] | None:
        """The function that a transaction called, and its arguments by name; None where it called another contract.

        Events do not tell the salts that seals were opened with: the transactions do.
        """
        web3 = self.chain.web3
        sent = self.chain.read(lambda: web3.eth.get_transaction(HexBytes(transaction)))
        if str(sent.get("to", "")).lower() != self.address.lower():
            return None
        function, arguments = self.chain.once(lambda: self._contract.decode_function_input(sent["input"]))
        return str(function.fn_name), arguments

    def _range(self, from_block: int | None, to_block: int | None) -> tuple[int, int]:
        first = self.first_block if from_block is None else from_block
        return first, self.chain.block_number() if to_block is None else to_block

    # ------------------------------------------------------------------ pools

    def open_pool(self, terms: PoolTerms) -> PreparedCall:
        """Open a pool; its terms are for ever."""
        return self._prepare("openPool", terms.to_abi())

    def stake(self, pool: PoolId, units: int, unit_wei: int) -> PreparedCall:
        """Add units to the sender's stake; all of its units count as staked from then on.

        Args:
            pool: the pool's number.
            units: how many.
            unit_wei: what one costs there.
        """
        return self._prepare("stake", pool, units, value_wei=units * unit_wei)

    def unstake(self, pool: PoolId, units: int) -> PreparedCall:
        """Turn units that no seat holds into credits."""
        return self._prepare("unstake", pool, units)

    def withdraw(self, to: str) -> PreparedCall:
        """Send all credits of the sender to an address."""
        return self._prepare("withdraw", checked_address(to))

    # ------------------------------------------------------------------ the owner's calls, and the worker's

    def open_task(self, terms: TaskTerms) -> PreparedCall:
        """Open a task, with what it locks."""
        return self._prepare("openTask", terms.to_abi(), value_wei=terms.deposit_wei)

    def open_canaries(self, task: TaskId, canaries: Mapping[int, bytes], salt: bytes) -> PreparedCall:
        """Show the answers that the owner knew.

        Args:
            task: the task's number.
            canaries: digests by sample.
            salt: that they were committed to with.
        """
        samples = sorted(canaries)
        return self._prepare("openCanaries", task, samples, [canaries[sample] for sample in samples], salt)

    def open_claim(self, task: TaskId, digests: Sequence[bytes], salt: bytes) -> PreparedCall:
        """Show the worker's digests."""
        return self._prepare("openClaim", task, list(digests), salt)

    # ------------------------------------------------------------------ verifiers' calls

    def take_seat(self, task: TaskId) -> PreparedCall:
        """Sit, or take the seat of the highest number where the sender's own is lower."""
        return self._prepare("takeSeat", task)

    def commit_outputs(self, task: TaskId, seal: bytes) -> PreparedCall:
        """Commit to what was generated: `market.protocol.generation.seal_of`."""
        return self._prepare("commitOutputs", task, seal)

    def reveal_outputs(self, task: TaskId, digests: Sequence[bytes], outputs: Digest, salt: bytes) -> PreparedCall:
        """Open the seal; without digests and with outputs of zeros it says that the request is void."""
        return self._prepare("revealOutputs", task, list(digests), outputs, salt)

    # ------------------------------------------------------------------ anybody's calls

    def draw_seats(self, task: TaskId) -> PreparedCall:
        """Draw the panel once its block is mined."""
        return self._prepare("drawSeats", task)

    def settle(self, task: TaskId, evidence: Evidence) -> PreparedCall:
        """Decide the panel."""
        return self._prepare("settle", task, evidence.to_abi())

    def appeal(self, task: TaskId, bond_wei: int) -> PreparedCall:
        """Ask for a panel of more than twice as many."""
        return self._prepare("appeal", task, value_wei=bond_wei)

    def finish(self, task: TaskId) -> PreparedCall:
        """Credit and unlock, once nobody can appeal any more."""
        return self._prepare("finish", task)
