"""The generative demo's cheats: one runs a cheaper model, one runs none at all and copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from market.chain.calls import PreparedCall
from market.chain.consensus_events import OutputsRevealed
from market.chain.consensus_records import NONE_32, PanelState, SeatState, TaskPhase
from market.chain.output_consensus import OutputConsensus
from market.chain.transactions import TransactionSender
from market.protocol.errors import ContractRevert
from market.protocol.generation import seal_of
from market.protocol.identifiers import TaskId
from market.protocol.seal import new_salt
from trainer_client.generation import generator_of
from trainer_client.verifier.services import Pool, Service, Services


class LazyServices(Services):
    """Does not fetch the model that a service names, and runs the one that it has."""

    model: np.ndarray
    """The integer parameters that it runs, int64 (d,)."""

    def ready(self, pool: Pool) -> Service:
        """A pool's service, with another model in place."""
        service = super().ready(pool)
        return replace(service, generator=generator_of(service.document, self.model))


@dataclass(eq=False)
class Copier:
    """Seals something made up to have a seat, waits for the others' digests, and tries to hand them in as its own.

    Attributes:
        consensus: the contract.
        sender: its account.
        task: the task that it sits in.
        report: is told what happens, a line at a time.
        poll_s: how often the chain is asked.
        refused: what the contract said, a line each.
        tried: whether it has had its try.
    """

    consensus: OutputConsensus
    sender: TransactionSender
    task: TaskId
    report: Callable[[str], None] = lambda line: None
    poll_s: float = 0.1
    refused: list[str] = field(default_factory=list)
    tried: bool = False

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Cheat until told to stop."""
        while not should_stop():
            if not self.advance():
                time.sleep(self.poll_s)

    def advance(self) -> bool:
        """Do what is due; returns whether there was anything."""
        state = self.consensus.state(self.task)
        panel = self.consensus.panel(self.task, state.panel)
        own = next((seat for seat in panel.seats if seat.verifier == self.sender.address), None)
        if state.phase is TaskPhase.SEATING and own is None:
            return self._send("sit", self.consensus.take_seat(self.task))
        if state.phase is TaskPhase.COMMIT and own is not None and own.seal == NONE_32:
            return self._send("commit", self.consensus.commit_outputs(self.task, self._made_up))
        if state.phase is TaskPhase.REVEAL and own is not None and not self.tried:
            return self._copy(panel)
        return False

    @cached_property
    def _made_up(self) -> bytes:
        return new_salt()

    def _copy(self, panel: PanelState) -> bool:
        """Try to reveal what another has revealed, and to seal it anew."""
        victim = next((seat.verifier for seat in panel.seats if seat.state is SeatState.REVEALED), None)
        if victim is None:
            return False
        told = [event for event in self.consensus.events(self.task) if isinstance(event, OutputsRevealed)]
        copied = next(event for event in told if event.verifier == victim)
        salt = new_salt()
        self._try("its seal does not open to the copied digests", self._reveal(copied, salt))
        self._try("too late to seal them", self.consensus.commit_outputs(self.task, self._seal(copied, salt)))
        self.tried = True
        return True

    def _reveal(self, copied: OutputsRevealed, salt: bytes) -> PreparedCall:
        return self.consensus.reveal_outputs(self.task, copied.digests, copied.outputs, salt)

    def _seal(self, copied: OutputsRevealed, salt: bytes) -> bytes:
        place = (self.sender.chain.chain_id, self.consensus.address, self.task, copied.panel, self.sender.address)
        return seal_of(*place, copied.digests, copied.outputs, salt)

    def _try(self, what: str, call: PreparedCall) -> None:
        try:
            self._send(call.label, call)
        except ContractRevert as refusal:
            self.refused.append(f"{refusal.name}: {what}")
            self.report(f"task {self.task}: refused: {refusal.name}")

    def _send(self, act: str, call: PreparedCall) -> bool:
        self.sender.send(f"copier/{act}/{self.task}", call)
        return True
