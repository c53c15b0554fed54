"""A calibration in two pictures: how far digests lie apart, and what each tolerance would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from trainer_client.calibration.distances import Pairs
from trainer_client.calibration.rates import Rate, percent
from trainer_client.calibration.tolerance import Distributions, Point, Wanted
from trainer_client.digests import BITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HONEST_COLOUR = "#1a7f37"
COLOURS = ("#d1242f", "#8250df", "#0969da", "#bf8700", "#e85aad", "#57606a", "#1b7c83", "#953800")
LineStyle: TypeAlias = Literal["solid", "dotted"]
KIND_STYLE: LineStyle = "solid"
BESIDE_STYLE: LineStyle = "dotted"
DPI = 120


@dataclass(frozen=True)
class Picture:
    """What both pictures show.

    Attributes:
        title: names the model and the digest.
        part: which samples.
        found: their distances.
        curve: the errors at every tolerance.
        wanted: the errors asked for.
        tolerance_bits: the one chosen, where there is one.
        beside: kinds that need not be told apart: drawn dotted.
    """

    title: str
    part: str
    found: Distributions
    curve: Sequence[Point]
    wanted: Wanted
    tolerance_bits: int | None
    beside: Sequence[str] = ()


def draw(picture: Picture, folder: Path) -> list[Path]:
    """Write `distances.png` and `trade_off.png`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, panel, label in (
        ("distances", _distances, "how far digests lie apart"),
        ("trade_off", _trade_off, "what a tolerance costs"),
    ):
        figure, axis = pyplot.subplots(figsize=(9, 5.6), layout="constrained")
        panel(axis, picture)
        axis.set_title(f"{picture.title}: {label}\n{picture.part}, {picture.found.samples:,} samples", fontsize=11)
        figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=2)
        axis.grid(alpha=0.25, which="major")
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=DPI)
        pyplot.close(figure)
        written.append(path)
    return written


def _distances(axis: Axes, picture: Picture) -> None:
    kinds: Mapping[str, Pairs] = picture.found.between
    _histogram(axis, picture.found.same, "same input, two machines", HONEST_COLOUR, KIND_STYLE, fill=True)
    for (kind, pairs), colour in zip(kinds.items(), _colours(len(kinds)), strict=True):
        _histogram(axis, pairs, called(kind), colour, _style(kind, picture))
    _chosen(axis, picture)
    axis.set_yscale("log")
    last = max(int(np.flatnonzero(each.counts).max()) for each in (picture.found.same, *kinds.values()))
    axis.set(xlim=(-1, min(BITS, last + 3)), xlabel="differing bits of 256", ylabel="share of the pairs (log)")


def _histogram(axis: Axes, pairs: Pairs, name: str, colour: str, style: LineStyle, fill: bool = False) -> None:
    share = pairs.counts / pairs.total
    label = f"{name} ({pairs.total:,} pairs)"
    edges = np.arange(len(share) + 1) - 0.5
    lowest = 0.5 / pairs.total
    # What was never seen is left at the foot: on a logarithmic axis there is no zero.
    values = np.where(share > 0, share, np.nan) if fill else np.where(share > 0, share, lowest)
    if fill:
        axis.bar(np.arange(len(share)), values, width=1.0, color=colour, alpha=0.45, label=label)
        return
    seen = np.flatnonzero(share)
    span = slice(seen[0], seen[-1] + 1)
    axis.stairs(
        values[span], edges[seen[0] : seen[-1] + 2], baseline=None, color=colour, label=label, linestyle=style, lw=1.3
    )


def _trade_off(axis: Axes, picture: Picture) -> None:
    bits = [point.tolerance_bits for point in picture.curve]
    k = picture.wanted.verifiers
    refused = [point.refused for point in picture.curve]
    _rates(axis, bits, refused, f"honest output refused by a majority of {k}", HONEST_COLOUR, KIND_STYLE)
    apart = [point.apart for point in picture.curve]
    _rates(axis, bits, apart, "two honest machines apart", HONEST_COLOUR, BESIDE_STYLE)
    kinds = list(picture.found.between)
    for kind, colour in zip(kinds, _colours(len(kinds)), strict=True):
        rates = [point.accepted[kind] for point in picture.curve]
        _rates(axis, bits, rates, f"{called(kind)} accepted", colour, _style(kind, picture))
    for error, colour, name in (
        (picture.wanted.honest_error, HONEST_COLOUR, "honest error asked for"),
        (picture.wanted.false_error, COLOURS[0], "false error asked for"),
    ):
        axis.axhline(error, color=colour, lw=0.9, linestyle="dashed")
        axis.annotate(f"{name}: {percent(error)}", (0.995, error), xycoords=("axes fraction", "data"), fontsize=7,
                      color=colour, ha="right", va="bottom")  # fmt: skip
    axis.plot([], [], color="black", lw=0.8, alpha=0.5, label="thin, level: none seen, so at most this much")
    _chosen(axis, picture)
    axis.set_yscale("log")
    axis.set(xlabel="tolerance, bits of 256", ylabel="error (log), shaded to its 95 % upper bound", ylim=(None, 2))
    axis.set_xlim(-0.5, _last_of_interest(picture.curve))


def _rates(axis: Axes, bits: Sequence[int], rates: Sequence[Rate], name: str, colour: str, style: LineStyle) -> None:
    upper = np.array([rate.upper for rate in rates])
    seen = np.array([rate.estimate if rate.events else np.nan for rate in rates])
    axis.plot(bits, seen, color=colour, label=name, linestyle=style, lw=1.4)
    axis.fill_between(bits, np.where(np.isnan(seen), upper, seen), upper, color=colour, alpha=0.15, lw=0)
    axis.plot(bits, np.where(np.isnan(seen), upper, np.nan), color=colour, lw=0.8, alpha=0.5)


def _chosen(axis: Axes, picture: Picture) -> None:
    if picture.tolerance_bits is not None:
        axis.axvline(picture.tolerance_bits, color="black", lw=1.2, label=f"tolerance: {picture.tolerance_bits} bits")


def called(kind: str) -> str:
    """A kind of difference, in words."""
    return kind if kind.startswith("model ") else f"another {kind}"


def _style(kind: str, picture: Picture) -> LineStyle:
    return BESIDE_STYLE if kind in picture.beside else KIND_STYLE


def _colours(count: int) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(count)]


def _last_of_interest(curve: Sequence[Point]) -> int:
    """Where every kind is accepted more often than not, or the last tolerance."""
    for point in curve:
        if min((rate.estimate for rate in point.accepted.values()), default=1.0) > 0.5:
            return max(20, point.tolerance_bits)
    return curve[-1].tolerance_bits
