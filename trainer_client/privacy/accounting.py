"""What noisy gradients spend of a privacy limit, by Opacus' accountants.

A step that takes each sample with probability q, sums gradients of norm at most C, and adds normal noise of standard
deviation sigma·C is a sampled Gaussian mechanism (Abadi et al. 2016, arXiv:1607.00133; Mironov et al. 2019,
arXiv:1908.10530). Steps of all rounds and jobs on the same data compose.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import InvalidInput
from trainer_client.privacy.settings import LEAST_NOISE, MOST_NOISE, Accountant

PRV_UP_TO = 32.0
"""Where the Rényi bound says more, the other accountant needs minutes and gigabytes, and the data are not private."""

_SEARCH_STEPS = 50


@dataclass(frozen=True)
class Steps:
    """Steps of one kind.

    Attributes:
        noise_multiplier: sigma.
        sample_rate: q, the probability with which a step takes a sample.
        count: how many.
    """

    noise_multiplier: float
    sample_rate: float
    count: int


def epsilon_of(history: Iterable[Steps], delta: float, accountant: Accountant = Accountant.RDP) -> float:
    """The epsilon that steps have spent at a delta; infinite where no bound holds.

    Both accountants give upper bounds: ``rdp`` by Rényi divergences (Mironov 2017, arXiv:1702.07476), ``prv`` by the
    distribution of the privacy loss (Gopi et al. 2021, arXiv:2106.02848), which is closer and takes longer.
    """
    merged = _merged(history)
    bound = _rdp(merged, delta) if merged else 0.0
    return _BOUNDS[accountant](merged, delta) if 0 < bound <= PRV_UP_TO else bound


def steps_within(
    kind: Steps, history: Iterable[Steps], limit: float, delta: float, accountant: Accountant = Accountant.RDP
) -> int:
    """How many times `kind` may follow on `history` before the epsilon is above the limit: 0 to 2^20 - 1."""
    before, times = tuple(history), 0
    for bit in reversed(range(20)):
        tried = times | 1 << bit
        after = (*before, Steps(kind.noise_multiplier, kind.sample_rate, kind.count * tried))
        if epsilon_of(after, delta, accountant) <= limit:
            times = tried
    return times


def noise_for(
    target: float,
    delta: float,
    sample_rate: float,
    steps: int,
    history: Iterable[Steps] = (),
    accountant: Accountant = Accountant.RDP,
) -> float:
    """The least noise multiplier, to a thousandth of it, with which so many steps more end within a target.

    Raises:
        InvalidInput: no noise is enough, as what was spent already leaves too little.
    """
    before = tuple(history)

    def ends_at(noise: float) -> float:
        return epsilon_of((*before, Steps(noise, sample_rate, steps)), delta, accountant)

    spent = epsilon_of(before, delta, accountant)
    low, high = LEAST_NOISE, 2 * LEAST_NOISE
    while spent >= target or ends_at(high) > target:
        low, high = high, 2 * high
        if spent >= target or high > MOST_NOISE:
            raise InvalidInput(
                f"privacy: no noise keeps {steps:,} steps within epsilon {target:g} at delta {delta:g}, "
                f"of which {spent:.4g} are spent"
            )
    for _ in range(_SEARCH_STEPS):
        if high - low <= 1e-3 * low:
            break
        middle = (low + high) / 2
        low, high = (low, middle) if ends_at(middle) <= target else (middle, high)
    return high


def _merged(history: Iterable[Steps]) -> list[tuple[float, float, int]]:
    """Opacus' history: steps of one kind together, as composition does not ask for their order."""
    counts: dict[tuple[float, float], int] = {}
    for steps in history:
        if steps.count:
            kind = (steps.noise_multiplier, steps.sample_rate)
            counts[kind] = counts.get(kind, 0) + steps.count
    return [(noise, rate, count) for (noise, rate), count in counts.items()]


def _rdp(merged: list[tuple[float, float, int]], delta: float) -> float:
    # Imported here: it takes seconds, which only private training and its figures need to spend.
    from opacus.accountants import RDPAccountant
    from opacus.accountants.analysis.rdp import get_privacy_spent

    divergences = sum(_divergences(noise, rate) * count for noise, rate, count in merged)
    with warnings.catch_warnings():
        # At either end of the orders the bound still holds; it is only not the closest.
        warnings.filterwarnings("ignore", "Optimal order is the", UserWarning)
        epsilon, _ = get_privacy_spent(orders=RDPAccountant.DEFAULT_ALPHAS, rdp=divergences, delta=delta)
    return math.inf if math.isnan(epsilon) else max(float(epsilon), 0.0)


@lru_cache(maxsize=4096)
def _divergences(noise: float, rate: float) -> NDArray[np.float64]:
    """Of one step, at Opacus' orders: what takes the time, and seconds where the rate is near a half."""
    from opacus.accountants import RDPAccountant
    from opacus.accountants.analysis.rdp import compute_rdp

    divergences: NDArray[np.float64] = compute_rdp(
        q=rate, noise_multiplier=noise, steps=1, orders=RDPAccountant.DEFAULT_ALPHAS
    )
    return divergences


def _prv(merged: list[tuple[float, float, int]], delta: float) -> float:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = merged
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        epsilon = float(accountant.get_epsilon(delta=delta))
    return math.inf if math.isnan(epsilon) else max(epsilon, 0.0)


_BOUNDS: Mapping[Accountant, Callable[[list[tuple[float, float, int]], float], float]] = {
    Accountant.RDP: _rdp,
    Accountant.PRV: _prv,
}


def most_signal(steps: Steps, samples: int, dimension: int) -> float:
    """Share of an update's length that noisy steps can leave to the samples at most, 0 to 1.

    So much it is where every sample's gradient is clipped and all point one way: steps add up to count·q·n·C then, and
    their noise, of d entries each, to sqrt(count·d)·sigma·C. It bounds the cosine with whatever an update is held
    against; what gradients that disagree leave is less by far.
    """
    own = math.sqrt(steps.count) * steps.sample_rate * samples
    noise = steps.noise_multiplier * math.sqrt(dimension)
    return own / math.hypot(own, noise)
