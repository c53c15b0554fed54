"""Plays the cells of a plan, one after the other, but for those that a journal already has."""

from __future__ import annotations

from collections.abc import Sequence

from fedmarket.bench.gallery import peers
from fedmarket.bench.gallery.attacks import ATTACKS
from fedmarket.bench.gallery.contest import RULES, Cell, play
from fedmarket.bench.gallery.crowd import one_thread
from fedmarket.bench.gallery.journal import Journal
from fedmarket.bench.gallery.plan import BASELINE, PLANS, SEEDS
from fedmarket.bench.processes import Progress
from market.protocol.errors import InvalidInput


def selected(plan: str, attacks: Sequence[str], rules: Sequence[str], seeds: int | None) -> list[Cell]:
    """The plan's cells, narrowed down; the baselines stay in.

    Raises:
        InvalidInput: an attack or a rule is unknown.
    """
    _check("attack", attacks, list(ATTACKS))
    _check("rule", rules, list(RULES))
    missing = set() if peers.installed() else set(peers.PEERS)
    return [cell for cell in PLANS[plan] if cell.rule not in missing and _wanted(cell, attacks, rules, seeds)]


def _wanted(cell: Cell, attacks: Sequence[str], rules: Sequence[str], seeds: int | None) -> bool:
    if seeds is not None and cell.seed not in SEEDS[:seeds]:
        return False
    alone = cell.cheats == 0
    named = alone or not attacks or cell.attack in attacks
    return named and (not rules or cell.rule in rules or (alone and cell.rule == BASELINE[1]))


def _check(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInput(f"{kind} {unknown[0]!r} is unknown, expected one of {', '.join(known)}")


def play_all(cells: Sequence[Cell], journal: Journal, progress: Progress) -> None:
    """Play what the journal does not have; each finished cell is on disk before the next one begins."""
    with one_thread():
        for number, cell in enumerate(cells):
            progress(cell.key, number, len(cells))
            if cell not in journal:
                journal.add(cell, play(cell))
