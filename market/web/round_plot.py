"""How many took part, round by round, and what exams made of them: lines on the server, drawn by the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from market.queries.rounds import RoundCounts
from market.views import Evaluation

WIDTH, HEIGHT = 720, 210
LEFT, RIGHT, TOP, BOTTOM = 40, 104, 12, 30
RECORD_HEIGHT = 150
MOST_TICKS = 12
LABEL_GAP = 15
"""Between the names at the lines' ends."""


@dataclass(frozen=True)
class Point:
    """A mark on a line, and what its title says."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Line:
    """One line of a plot.

    Attributes:
        name: also of its style.
        path: the drawing's instructions.
        points: where there is a value.
        label_y: where its name stands.
    """

    name: str
    path: str
    points: list[Point]
    label_y: float


@dataclass(frozen=True)
class Tick:
    """A place on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Plot:
    """A drawing: its size, its axes and its lines."""

    width: int
    height: int
    left: int
    right: int
    bottom: float
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    zero_y: float | None = None


def participation_plot(course: Sequence[RoundCounts], seats: int) -> Plot:
    """Committed, revealed and accepted updates over attempts."""
    scale = _Scale(len(course), 0.0, float(max(seats, 1)), HEIGHT)
    series: dict[str, list[float | None]] = {
        "committed": [float(it.committed) for it in course],
        "revealed": [float(it.revealed) for it in course],
        "accepted": [None if it.accepted is None else float(it.accepted) for it in course],
    }
    lines = [_line(name, values, course, scale, "{:.0f}") for name, values in series.items()]
    return _plot(_spread(lines), course, scale, [Tick(scale.y(v), f"{v:.0f}") for v in _whole_ticks(seats)])


def record_plot(course: Sequence[RoundCounts]) -> Plot | None:
    """The mean record of exams over attempts; None where no exam counted."""
    values = [it.record for it in course]
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, high = min(0.0, *known), max(0.1, *known)
    scale = _Scale(len(course), low, high * 1.1, RECORD_HEIGHT)
    line = _line("record", values, course, scale, "{:+.3f}")
    ticks = [Tick(scale.y(value), f"{value:+.2f}" if value else "0") for value in sorted({low, 0.0, high / 2, high})]
    return _plot([line], course, scale, ticks, zero_y=scale.y(0.0))


def accuracy_plot(course: Sequence[RoundCounts], told: Sequence[Evaluation]) -> Plot | None:
    """The accuracy that the owner tells of the model after each attempt; None where it tells of none."""
    by_attempt = {it.attempt: it.accuracy for it in told}
    values, latest = [], by_attempt.get(None)  # the initial model's
    for it in course:
        latest = by_attempt.get(it.attempt) if it.accepted else latest  # with nobody accepted the model stays
        values.append(latest)
    if all(value is None for value in values):
        return None
    scale = _Scale(len(course), 0.0, 1.0, RECORD_HEIGHT)
    line = _line("accuracy", values, course, scale, "{:.1%}")
    return _plot([line], course, scale, [Tick(scale.y(value), f"{value:.0%}") for value in (0.0, 0.5, 1.0)])


@dataclass(frozen=True)
class _Scale:
    count: int
    low: float
    high: float
    height: int

    def x(self, place: int) -> float:
        room = WIDTH - LEFT - RIGHT
        return round(LEFT + room * (place / (self.count - 1) if self.count > 1 else 0.5), 1)

    def y(self, value: float) -> float:
        room = self.height - TOP - BOTTOM
        return round(TOP + room * (1 - (value - self.low) / (self.high - self.low)), 1)


def _line(name: str, values: Sequence[float | None], course: Sequence[RoundCounts], scale: _Scale, shown: str) -> Line:
    points, path, is_on = [], [], False
    for place, (value, it) in enumerate(zip(values, course, strict=True)):
        if value is None:
            is_on = False
            continue
        x, y = scale.x(place), scale.y(value)
        path.append(f"{'L' if is_on else 'M'}{x} {y}")
        is_on = True
        points.append(Point(x, y, f"round {it.round}, attempt {it.attempt}: {shown.format(value)} {name}"))
    return Line(name, "".join(path), points, points[-1].y if points else 0.0)


def _spread(lines: list[Line]) -> list[Line]:
    """The same lines with their names apart from one another; those without a point have none."""
    placed: list[Line] = []
    last_y = float(-LABEL_GAP)
    for line in sorted((line for line in lines if line.points), key=lambda line: line.label_y):
        last_y = max(line.label_y, last_y + LABEL_GAP)
        placed.append(Line(line.name, line.path, line.points, last_y))
    return placed


def _plot(
    lines: list[Line], course: Sequence[RoundCounts], scale: _Scale, y_ticks: list[Tick], zero_y: float | None = None
) -> Plot:
    step = -(-len(course) // MOST_TICKS) or 1
    x_ticks = [Tick(scale.x(place), str(course[place].round)) for place in range(0, len(course), step)]
    return Plot(WIDTH, scale.height, LEFT, WIDTH - RIGHT, scale.height - BOTTOM, lines, x_ticks, y_ticks, zero_y)


def _whole_ticks(most: int) -> list[int]:
    step = next(step for step in (1, 2, 4, 8, 16, 32) if most / step <= 5 or step == 32)
    return list(range(0, most + 1, step))
