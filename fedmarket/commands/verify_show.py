"""A task on the terminal: its panels and who sat there, how far apart they were, what came of it, and its money."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fedmarket.commands.amounts import money, short
from fedmarket.commands.job_tables import WIDE_COLUMNS, facts
from fedmarket.commands.options import console, network_options
from fedmarket.commands.verify_words import task_argument, time_left_s, what_next
from fedmarket.connection import Network, NetworkOptions
from market.chain.consensus_records import NONE_32, PoolTerms, TaskState
from market.protocol.consensus import VOID, Outcome, Panel, hamming
from market.protocol.identifiers import PoolId, TaskId
from market.service_documents import document_cid
from market.task_audit import PANEL_NAMES
from market.task_history import PanelHistory, SeatHistory, TaskHistory
from market.task_money import Reckoning

VERDICT_STYLES = {"paid": "green", "spared": "yellow", "penalised": "bold red", "": "dim"}


@dataclass(frozen=True)
class SeatLine:
    """One seat of a panel.

    Attributes:
        verifier: who sits.
        number: of its lowest ticket.
        state: how far it came: taken, committed, revealed, void.
        verdict: paid, spared or penalised; empty before the panel is settled.
        outputs: content digest of its outputs; None before it revealed any.
        bits: differing bits a sample to every seat; None where either has no digests.
        beyond: samples that are beyond the tolerance, likewise.
    """

    verifier: str
    number: int
    state: str
    verdict: str
    outputs: bytes | None
    bits: tuple[float | None, ...]
    beyond: tuple[int | None, ...]


@dataclass(frozen=True)
class PanelLines:
    """One panel: its history, what is decided by it, and its seats."""

    history: PanelHistory
    outcome: Outcome
    medoid: int | None
    accepted_samples: int
    seats: tuple[SeatLine, ...]


@dataclass(frozen=True)
class TaskOverview:
    """All that is shown of a task."""

    history: TaskHistory
    pool: PoolTerms
    state: TaskState
    stands: str
    left_s: int | None
    panels: tuple[PanelLines, ...]

    @classmethod
    def read(cls, network: Network, task: TaskId) -> TaskOverview:
        """Read it from the chain.

        Raises:
            ContractRevert: there is no such task.
        """
        consensus = network.consensus
        state = consensus.state(task)
        history = TaskHistory.of_events(task, consensus.events(task))
        pool = consensus.pool(PoolId(history.terms.pool))
        panels = tuple(_panel(history, pool, panel) for panel in history.panels.values())
        stands, left_s = what_next(consensus, task, state), time_left_s(consensus, task, state)
        return cls(history, pool, state, stands, left_s, panels)

    def to_json(self) -> dict[str, Any]:
        """As JSON; amounts in wei, times as block timestamps."""
        terms, state = self.history.terms, self.state
        return {
            "task": self.history.opened.task,
            "pool": terms.pool,
            "owner": state.owner,
            "phase": state.phase.name.lower(),
            "left_s": self.left_s,
            "outcome": state.outcome.name.lower(),
            "outputs": None if state.outputs == NONE_32 else state.outputs.hex(),
            "request": str(document_cid(terms.request)),
            "seed": terms.seed,
            "samples": terms.samples,
            "tolerance_bits": self.pool.tolerance_bits,
            "worker": terms.worker if terms.has_worker else None,
            "worker_accepted": state.worker_accepted,
            "canaries": _sealed(terms.canaries, self.history.canaries),
            "claim": _sealed(terms.claim, self.history.claim),
            "panels": [_panel_json(panel) for panel in self.panels],
            "money": self.money(),
        }

    def money(self) -> dict[str, Any]:
        """Where its money is, in wei."""
        history, terms = self.history, self.history.terms
        bond = 0 if history.appealed is None else history.appealed.bond_wei
        return {
            "deposit_wei": terms.deposit_wei,
            "share_wei": terms.share_wei,
            "worker_reward_wei": terms.worker_reward_wei,
            "bond_wei": bond,
            "escrowed_wei": 0 if history.finished else terms.deposit_wei + bond,
            "credits_wei": [{"account": event.account, "amount_wei": event.amount_wei} for event in history.credits],
            "penalties_wei": sum(event.amount_wei for event in history.penalties),
            "burned_wei": 0 if history.finished is None else history.finished.burned_wei,
        }


@click.command()
@task_argument
@click.option("--json", "as_json", is_flag=True, help="As JSON; amounts in wei, times as block timestamps.")
@network_options
def show(task_number: int, as_json: bool, options: NetworkOptions) -> None:
    """Show TASK: its panels, how far apart their digests are, its outcome, its money."""
    overview = TaskOverview.read(Network.connect(options), TaskId(task_number))
    if as_json:
        click.echo(json.dumps(overview.to_json(), indent=2))
        return
    screen = console()
    screen.print(_report(overview, screen.width >= WIDE_COLUMNS))


def _panel(history: TaskHistory, pool: PoolTerms, panel: PanelHistory) -> PanelLines:
    decided = history.decide(pool, panel)
    verdicts = _verdicts(history, pool, panel)
    seats = tuple(_seat(decided, number, seat, verdicts) for number, seat in enumerate(panel.seats))
    if panel.settled is None:
        return PanelLines(panel, Outcome.UNDECIDED, None, 0, seats)
    medoid = panel.settled.medoid if panel.has_majority else None
    return PanelLines(panel, panel.settled.outcome, medoid, panel.settled.accepted_samples, seats)


def _verdicts(history: TaskHistory, pool: PoolTerms, panel: PanelHistory) -> dict[int, str]:
    """What becomes of each seat, as things are: an appeal judges those of the standing panel again."""
    if panel.settled is None:
        return {}
    reckoning = Reckoning(history, pool)
    standing = reckoning.judged_standing()
    decision = reckoning.panels[panel.index].decision
    is_judged = standing is not None and standing.history is panel
    paid = standing.paid if standing is not None and is_judged else decision.clique
    spared = standing.spared if standing is not None and is_judged else decision.spared
    verdicts = dict.fromkeys(range(len(panel.seats)), "penalised")
    return verdicts | dict.fromkeys(spared, "spared") | dict.fromkeys(paid, "paid")


def _seat(panel: Panel, number: int, seat: SeatHistory, verdicts: dict[int, str]) -> SeatLine:
    reveal = panel.reveals[number]
    pairs = [_between(panel, number, other) for other in range(len(panel.reveals))]
    outputs = None if seat.revealed is None or reveal is VOID else seat.revealed.outputs
    bits, beyond = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
    return SeatLine(seat.verifier, seat.taken.number, _state(seat), verdicts.get(number, ""), outputs, bits, beyond)


def _between(panel: Panel, left: int, right: int) -> tuple[float | None, int | None]:
    """Bits a sample that two seats differ in, and samples beyond the tolerance."""
    a, b = panel.reveals[left], panel.reveals[right]
    if a is None or b is None or a is VOID or b is VOID or left == right:
        return None, None
    distances = hamming(a, b)
    return float(distances.mean()), int((distances > panel.terms.tolerance_bits).sum())


def _state(seat: SeatHistory) -> str:
    if seat.revealed is not None:
        return "revealed" if seat.revealed.digests else "void"
    return "taken" if seat.committed is None else "committed"


def _report(overview: TaskOverview, wide: bool) -> RenderableType:
    parts: list[RenderableType] = [Text(f"Task {overview.history.opened.task}", style="bold"), _facts(overview)]
    for panel in overview.panels:
        parts.append(Text(f"\n{PANEL_NAMES[panel.history.index].capitalize()}", style="bold"))
        if panel.seats:
            parts.append(_table(panel, wide))
        parts.append(facts(_panel_rows(panel, overview)))
    return Group(*parts, Text("\nMoney", style="bold"), facts(_money_rows(overview)))


def _facts(overview: TaskOverview) -> RenderableType:
    terms, state = overview.history.terms, overview.state
    rows = [
        ("stands", overview.stands),
        ("outcome", state.outcome.name.lower().replace("_", " ")),
        ("owner", state.owner),
        ("pool", f"{terms.pool}, tolerance {overview.pool.tolerance_bits} of 256 bits"),
        ("request", str(document_cid(terms.request))),
        ("samples", f"{terms.samples}, seed {terms.seed}"),
        *([("outputs", f"sha-256 {state.outputs.hex()}")] if state.outputs != NONE_32 else []),
        *([("canaries", _sealed(terms.canaries, overview.history.canaries))] if terms.canaries != NONE_32 else []),
    ]
    if terms.has_worker:
        accepted = "accepted" if state.worker_accepted else _sealed(terms.claim, overview.history.claim)
        rows.append(("worker", f"{terms.worker}, claim {accepted}"))
    return facts(rows)


def _table(panel: PanelLines, wide: bool) -> RenderableType:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("seat", "verifier", "state", "verdict"):
        table.add_column(heading, no_wrap=True)
    for number in range(len(panel.seats)):
        table.add_column(f"to {number}", justify="right", no_wrap=True)
    for number, seat in enumerate(panel.seats):
        mark = f"{number}*" if number == panel.medoid else str(number)
        verdict = Text(seat.verdict or "-", style=VERDICT_STYLES[seat.verdict])
        name = seat.verifier if wide and len(panel.seats) <= 3 else short(seat.verifier)
        table.add_row(mark, name, seat.state, verdict, *_distances(seat))
    return Padding(table, (0, 0, 0, 2), expand=False)


def _distances(seat: SeatLine) -> Iterator[str]:
    for bits, beyond in zip(seat.bits, seat.beyond, strict=True):
        yield "-" if bits is None else f"{bits:.1f}" + (f" ({beyond})" if beyond else "")


def _panel_rows(panel: PanelLines, overview: TaskOverview) -> list[tuple[str, str]]:
    history = panel.history
    rows = [("seats", f"{len(history.seats)} of {history.size} taken")]
    if any(bits is not None for seat in panel.seats for bits in seat.bits):
        rows.append(("distances", "differing bits a sample; in brackets the samples beyond the tolerance"))
    if panel.medoid is not None:
        agreed = f"{panel.accepted_samples.bit_count()} of {overview.history.terms.samples} samples"
        rows.append(("medoid", f"seat {panel.medoid}*; most of the panel agree with it on {agreed}"))
    elif history.settled is not None:
        rows.append(("decision", "no majority"))
    return rows


def _money_rows(overview: TaskOverview) -> list[tuple[str, str]]:
    told = overview.money()
    rows = [
        ("deposit", money(told["deposit_wei"])),
        ("bond", money(told["bond_wei"])),
        ("in escrow", money(told["escrowed_wei"])),
        ("penalties", money(told["penalties_wei"])),
        ("burned", money(told["burned_wei"])),
    ]
    return [*rows, *((short(entry["account"]), money(entry["amount_wei"])) for entry in told["credits_wei"])]


def _sealed(commitment: bytes, shown: object) -> str:
    if commitment == NONE_32:
        return "none"
    return "sealed" if shown is None else "shown"


def _panel_json(panel: PanelLines) -> dict[str, Any]:
    history = panel.history
    return {
        "panel": history.index,
        "size": history.size,
        "drawn": history.drawn is not None,
        "outcome": panel.outcome.name.lower(),
        "medoid": panel.medoid,
        "accepted_samples": panel.accepted_samples.bit_count(),
        "seats": [
            {
                "verifier": seat.verifier,
                "number": hex(seat.number),
                "state": seat.state,
                "verdict": seat.verdict or None,
                "outputs": None if seat.outputs is None else seat.outputs.hex(),
                "bits": list(seat.bits),
                "beyond": list(seat.beyond),
            }
            for seat in panel.seats
        ],
    }
