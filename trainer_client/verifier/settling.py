"""What a settlement is reckoned from, put together from the contract's events."""

from __future__ import annotations

from collections.abc import Sequence

from market.chain.consensus_events import CanariesOpened, ClaimOpened, ConsensusEvent, OutputsRevealed
from market.chain.consensus_records import APPEAL_PANEL, Evidence
from market.chain.output_consensus import OutputConsensus
from market.protocol.identifiers import TaskId


def evidence_of(consensus: OutputConsensus, task: TaskId) -> Evidence:
    """What settles a task's panel.

    Raises:
        ChainUnreachable: the node does not answer.
    """
    state, events = consensus.state(task), consensus.events(task)
    canaries = next((event for event in events if isinstance(event, CanariesOpened)), None)
    claim = next((event for event in events if isinstance(event, ClaimOpened)), None)
    is_appeal = state.panel == APPEAL_PANEL
    evidence = Evidence(
        digests=_digests(consensus, task, state.panel, events),
        original=_digests(consensus, task, state.standing, events) if is_appeal else (),
        claimed=claim.digests if claim else (),
    )
    if canaries is None:
        return evidence
    opened = (canaries.samples, canaries.digests, canaries.salt)
    return Evidence(evidence.digests, evidence.original, *opened, evidence.claimed)


def _digests(
    consensus: OutputConsensus, task: TaskId, index: int, events: Sequence[ConsensusEvent]
) -> tuple[tuple[bytes, ...], ...]:
    """What each seat of a panel revealed; nothing where it revealed none."""
    revealed = {
        event.verifier: event.digests
        for event in events
        if isinstance(event, OutputsRevealed) and event.panel == index
    }
    return tuple(revealed.get(seat.verifier, ()) for seat in consensus.panel(task, index).seats)
