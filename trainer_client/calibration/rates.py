"""How often something was seen, and how often it may happen: no error is ever said to be zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scipy.special import betaincinv

from market.protocol.errors import InvalidData

CONFIDENCE = 0.95
"""Each bound alone holds with it. With no event seen the upper one is the rule of three: about 3 over the trials."""


@dataclass(frozen=True)
class Rate:
    """So many events in so many trials.

    Attributes:
        events: how often it happened.
        trials: how often it could have.
    """

    events: int
    trials: int

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            InvalidData: no trial, or more events than trials.
        """
        if not 0 <= self.events <= self.trials or self.trials == 0:
            raise InvalidData(f"{self.events} events of {self.trials} trials: expected 0..trials, and at least one")

    @property
    def estimate(self) -> float:
        """The share that was seen."""
        return self.events / self.trials

    @property
    def lower(self) -> float:
        """No less, if the trials are independent (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404)."""
        if self.events == 0:
            return 0.0
        return float(betaincinv(self.events, self.trials - self.events + 1, 1 - CONFIDENCE))

    @property
    def upper(self) -> float:
        """No more than this, likewise."""
        if self.events == self.trials:
            return 1.0
        return float(betaincinv(self.events + 1, self.trials - self.events, CONFIDENCE))

    @property
    def complement(self) -> Rate:
        """Of the trials without the event."""
        return Rate(self.trials - self.events, self.trials)

    def to_json(self) -> dict[str, Any]:
        """For a report: the counts, and the bounds that follow."""
        return {"events": self.events, "trials": self.trials, "lower": self.lower, "upper": self.upper}

    def __str__(self) -> str:
        """In percent, with the upper bound: "0 of 2,000 (<= 0.15 %)"."""
        if self.events == 0:
            return f"0 of {self.trials:,} (<= {percent(self.upper)})"
        return f"{percent(self.estimate)} (<= {percent(self.upper)}) of {self.trials:,}"


def percent(share: float) -> str:
    """A share with as many digits as it takes to tell it from none and from all."""
    value = 100 * share
    for digits in (2, 3, 4, 5, 6):
        text = f"{value:.{digits}f}"
        # Three figures of what is missing to the nearer end, unless it is the end itself.
        if min(value, 100 - value) * 10**digits >= 99.5 or value in (0.0, 100.0):
            return f"{text} %"
    return "more than 99.9999 %" if value > 50 else f"{value:.2e} %"
