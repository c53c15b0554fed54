"""Which code a game was played by: other contracts, rules or strategies give other figures."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fedmarket.bench.edition import edition_of

DECIDING = (
    ("aggregator", "acceptance centred_clipping contribution decision exam geometric_median gram mixing"),
    ("aggregator", "projection proving round rules shapley shares sharing"),
    ("fedmarket.bench.mechanism", "agent aggregator board court crafts disputing game ground opening owner"),
    ("fedmarket.bench.mechanism", "seating settings strategy task trainer"),
    ("fedmarket.bench.mechanism.strategies", "aggregators disputes owners seats trainers"),
)
"""The modules that decide what comes of a game."""
REMARKS = ("known", "known_in_court")
"""What of a strategy is only said about it."""
CONTRACTS = (
    *("JobMarket", "RoundRules", "GramVerifier", "Attempts", "Openings", "Exams", "Disputes", "Members", "Receipts"),
    "Claims",
)


@cache
def edition() -> str:
    """Sixteen hexadecimal digits of what these modules do, and of the contracts' code."""
    shipped = files("market.chain").joinpath("contract_data")
    code = (shipped.joinpath(f"{name}.json").read_bytes() for name in CONTRACTS)
    return edition_of(DECIDING, code, REMARKS)
