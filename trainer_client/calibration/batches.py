"""How many samples of a batch may differ between verifiers that agree: honest errors add up over a batch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from market.protocol.errors import CannotCalibrate
from trainer_client.calibration.distances import distances
from trainer_client.calibration.rates import Rate, percent
from trainer_client.calibration.samples import Measured

MOST_SLACK_PERMILLE = 249
"""The contract takes less than a quarter."""

BATCHES = 4_000
"""Batches drawn for each two machines."""


@dataclass(frozen=True)
class Slack:
    """Slack for batches of one size.

    Attributes:
        samples: of a batch.
        allowed: samples that may be beyond the tolerance.
        permille: the least that allows as many.
        disagreeing: batches, of those drawn, in which the two machines that differ most exceed it.
        by_samples: the same chance from the upper bound of single samples' errors, if these were independent.
    """

    samples: int
    allowed: int
    permille: int
    disagreeing: Rate
    by_samples: float

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return {
            "samples": self.samples,
            "allowed": self.allowed,
            "permille": self.permille,
            "disagreeing": self.disagreeing.to_json(),
            "by_samples": self.by_samples,
        }


def propose_slack(measured: Measured, tolerance: int, samples: int, error: float, seed: int = 0) -> Slack:
    """The least slack at which the two machines that differ most agree on a batch, but for the error asked for.

    Two counts have to hold: of batches drawn from the samples as they are, and by the binomial law from the upper
    bound of how often one sample differs, since what is rare may not have been seen at all.

    Args:
        measured: samples to draw batches from.
        tolerance: bits.
        samples: of a batch.
        error: largest chance that two honest machines disagree on a batch.
        seed: of the draw.

    Raises:
        CannotCalibrate: it would take more slack than the contract gives.
    """
    beyond = _worst_pair(measured, tolerance)
    rate, drawn = Rate(int(beyond.sum()), len(beyond)), _drawn(beyond, samples, seed)
    for allowed in range(samples):
        permille = -(-1000 * allowed // samples)
        if permille > MOST_SLACK_PERMILLE:
            break
        by_samples = float(bdtrc(allowed, samples, rate.upper))
        disagreeing = Rate(int((drawn > allowed).sum()), len(drawn))
        if max(by_samples, disagreeing.estimate) <= error:
            return Slack(samples, allowed, permille, disagreeing, by_samples)
    raise CannotCalibrate(
        f"two machines differ by more than {tolerance} bits on {rate} of the samples: in batches of {samples} more "
        f"than {MOST_SLACK_PERMILLE} permille would have to be allowed for them to agree but for {percent(error)}"
    )


def disagreeing_batches(measured: Measured, tolerance: int, slack: Slack, seed: int = 1) -> Rate:
    """How many batches of other samples the two machines that differ most there disagree on, with that slack."""
    drawn = _drawn(_worst_pair(measured, tolerance), slack.samples, seed)
    return Rate(int((drawn > slack.allowed).sum()), len(drawn))


def _worst_pair(measured: Measured, tolerance: int) -> NDArray[np.bool_]:
    """On which samples the two machines that differ most are beyond the tolerance: bool (n,)."""
    pairs = combinations(range(len(measured.machines)), 2)
    beyond = [distances(measured.digests[a], measured.digests[b]) > tolerance for a, b in pairs]
    return max(beyond, key=lambda each: int(each.sum()))


def _drawn(beyond: NDArray[np.bool_], samples: int, seed: int) -> NDArray[np.int64]:
    """How many samples of each drawn batch are beyond it: int64 (BATCHES,)."""
    random = np.random.default_rng(seed)
    # Runs of neighbours: they have a seed in common, and prompts in their order, as the samples of a task have.
    starts = random.integers(0, len(beyond), BATCHES)
    places = (starts[:, None] + np.arange(samples)) % len(beyond)
    counts: NDArray[np.int64] = beyond[places].sum(axis=1, dtype=np.int64)
    return counts
