"""Every strategy by name. A new one is an entry in a file beside this one, and its file a line here."""

from __future__ import annotations

from collections.abc import Mapping

from fedmarket.bench.mechanism.strategies import aggregators, disputes, owners, seats, trainers
from fedmarket.bench.mechanism.strategy import HONEST, Strategy

STRATEGIES: Mapping[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy(
            HONEST,
            "everybody is honest",
            settings=("pot", "price", "uncapped", "court", "drawn", "full", "cohort", "median"),
        ),
        *trainers.STRATEGIES,
        *aggregators.STRATEGIES,
        *owners.STRATEGIES,
        *disputes.STRATEGIES,
        *seats.STRATEGIES,
    )
}
"""In the order of the tables."""
