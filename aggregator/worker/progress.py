"""How far long work is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """A step of long work.

    Attributes:
        what: is being done, for example "opening updates".
        done: parts that are done.
        total: parts that there are.
    """

    what: str
    done: int
    total: int


ShowProgress = Callable[[Progress], None]


def show_nothing(progress: Progress) -> None:
    """For whoever does not look."""
