"""A round's Gram matrix as cosines: one square a pair, shaded by how far the two updates agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from market.views import GramMatrix

CELL = 16
"""Side of a square, in units of the drawing."""

LABELS = 34
"""Room for the names of rows and columns."""

GAP = 6
"""Between the updates and the public rows."""

BOUNDS = (-0.6, -0.3, -0.05, 0.05, 0.3, 0.6)
BUCKETS: Sequence[tuple[str, str]] = (
    ("n3", "below −0.6"),
    ("n2", "−0.6 to −0.3"),
    ("n1", "−0.3 to −0.05"),
    ("zero", "about 0"),
    ("p1", "0.05 to 0.3"),
    ("p2", "0.3 to 0.6"),
    ("p3", "above 0.6"),
)
"""Names of the shades and what they stand for; the negative ones are hatched."""

NO_COSINE = "none"
"""Of a row that is zero."""


@dataclass(frozen=True)
class Square:
    """One entry: where it begins, its shade, and what its title says."""

    x: int
    shade: str
    title: str


@dataclass(frozen=True)
class Row:
    """An update's row.

    Attributes:
        seat: whose.
        is_accepted: whether the round took it in; one that it did not is marked.
        y: where it stands.
        squares: from left to right.
        values: the cosines in text, for the table.
    """

    seat: int
    is_accepted: bool
    y: int
    squares: list[Square]
    values: list[str]


@dataclass(frozen=True)
class Column:
    """A column's name and place."""

    name: str
    title: str
    x: int
    is_accepted: bool


@dataclass(frozen=True)
class HeatMap:
    """The drawing, and what the table beside it says. `scale` is how much larger than its units it is shown."""

    attempt: int
    width: int
    height: int
    columns: list[Column]
    rows: list[Row]
    outliers: list[int]
    scale: float


def heat_map(gram: GramMatrix) -> HeatMap:
    """A matrix as a drawing."""
    count = len(gram.seats)
    names = [
        *((str(seat), str(seat), accepted) for seat, accepted in zip(gram.seats, gram.accepted, strict=True)),
        *((_initials(name), name, True) for name in gram.public_rows),
    ]
    places = [LABELS + CELL * i + (GAP if i >= count else 0) for i in range(len(names))]
    columns = [Column(name, title, x, accepted) for (name, title, accepted), x in zip(names, places, strict=True)]
    rows = [
        Row(
            seat=seat,
            is_accepted=gram.accepted[i],
            y=LABELS + CELL * i,
            squares=[_square(seat, column, cosine) for column, cosine in zip(columns, gram.cosines[i], strict=True)],
            values=[text(cosine) for cosine in gram.cosines[i]],
        )
        for i, seat in enumerate(gram.seats)
    ]
    outliers = [seat for seat, accepted in zip(gram.seats, gram.accepted, strict=True) if not accepted]
    width = LABELS + CELL * len(names) + GAP + 2
    scale = 1.8 if count <= 12 else 1.3 if count <= 32 else 1.0
    return HeatMap(gram.attempt, width, LABELS + CELL * count + 2, columns, rows, outliers, scale)


def text(cosine: float | None) -> str:
    """A cosine as the table has it."""
    return "–" if cosine is None else f"{cosine:+.2f}".replace("-", "−")


def _square(seat: int, column: Column, cosine: float | None) -> Square:
    return Square(column.x, _shade(cosine), f"{seat}, {column.title}: {text(cosine)}")


def _shade(cosine: float | None) -> str:
    if cosine is None:
        return NO_COSINE
    return BUCKETS[sum(cosine >= bound for bound in BOUNDS)][0]


def _initials(name: str) -> str:
    return {"current model": "M", "initial model": "M₀", "exam": "r"}.get(name) or {
        "last aggregate": "p₁",
        "aggregate before": "p₂",
        "aggregate before that": "p₃",
    }.get(name, name[:2])
