"""Seats by rounds: what each contributed and what that paid, told by a sign and a figure, and by a shade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from market.queries.rounds import Participation
from market.views import Attempt, Sitting
from market.web.words import money, money_short

SHADES = 5


@dataclass(frozen=True)
class Cell:
    """What one seat did in one attempt.

    Attributes:
        kind: also its style: accepted, rejected, excluded, forfeited, sealed, revealed or absent.
        sign: what stands for it.
        pay: in few digits; empty where nothing was credited.
        title: all of it in words.
        shade: 0 to SHADES of an accepted one's score, against the largest shown.
    """

    kind: str
    sign: str
    pay: str
    title: str
    shade: int = 0


@dataclass(frozen=True)
class Line:
    """A seat with its cells, one an attempt, and what it earned in all its time."""

    seat: int
    trainer: str
    accepted: int
    score: float
    earned_wei: int
    cells: list[Cell]


LEGEND: Sequence[tuple[str, str, str]] = (
    ("accepted", "0.123", "accepted: its score, shaded by it, and its pay below"),
    ("rejected", "×", "not accepted, by the rules or as nobody was: unpaid, not punished"),
    ("excluded", "⊘", "left out by the aggregator, with a reason on the chain"),
    ("forfeited", "!", "committed and not revealed: stake forfeited"),
    ("sealed", "•", "committed; the round is not over"),
    ("revealed", "◦", "revealed, in a round that decided nothing"),
    ("absent", "·", "took no part"),
)

NOBODY = "not accepted, as nobody was: no model is made of fewer than three updates, or of ones that weigh nothing"

ABSENT = Cell("absent", "·", "", "took no part")


def contribution_lines(
    sittings: Sequence[Sitting], attempts: Sequence[Attempt], parts: Sequence[Participation], token: str
) -> list[Line]:
    """One line a seat's present or last holder; the cells are the seat's, whoever had it."""
    held = {sitting.seat: sitting for sitting in sittings}
    by_place: Mapping[tuple[int, int], Participation] = {(it.seat, it.attempt): it for it in parts}
    best = max((it.score or 0.0 for it in parts), default=0.0)
    return [
        Line(
            seat=seat,
            trainer=sitting.trainer,
            accepted=sitting.accepted,
            score=sitting.score,
            earned_wei=sitting.earned_wei,
            cells=[_cell(by_place.get((seat, it.attempt)), it, best, token, sitting.trainer) for it in attempts],
        )
        for seat, sitting in sorted(held.items())
    ]


def _cell(part: Participation | None, attempt: Attempt, best: float, token: str, holder: str) -> Cell:
    if part is None:
        return ABSENT
    kind, sign, said = _told(part, attempt)
    pay = "" if not part.pay_wei else money_short(part.pay_wei, token)
    paid = f"; credited {money(part.pay_wei, token)}" if part.pay_wei else ""
    record = "" if part.record is None else f"; record of exams {part.record:+.3f}"
    held = "; held by attestors" if part.held else ""
    stale = f"; from the model of {part.age} round{'s' if part.age > 1 else ''} before" if part.age else ""
    another = "" if part.trainer == holder else f"; by {part.trainer}, who had the seat then"
    shade = 0
    if kind == "accepted" and best > 0:
        shade = max(1, round(SHADES * (part.score or 0.0) / best))
    title = f"round {attempt.round}, seat {part.seat}: {said}{held}{stale}{record}{paid}{another}"
    return Cell(kind, sign, pay, title, shade)


def _told(part: Participation, attempt: Attempt) -> tuple[str, str, str]:
    if part.exclusion is not None:
        return "excluded", "⊘", f"excluded as {part.exclusion}"
    if part.accepted:
        return "accepted", f"{part.score or 0.0:.3f}", f"accepted, score {part.score or 0.0:.4f}"
    if attempt.outcome == "running":
        return "sealed", "•", "revealed" if part.is_revealed else "sealed"
    if not part.is_revealed and attempt.outcome in ("settled", "expired", "undone"):
        return "forfeited", "!", "committed and not revealed"
    if part.accepted is False:
        return "rejected", "×", "rejected by the rules" if attempt.accepted else NOBODY
    return "revealed", "◦", "nothing was decided"
