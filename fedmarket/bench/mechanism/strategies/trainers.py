"""Trainers alone, with identities, or in league with one another."""

from __future__ import annotations

from fedmarket.bench.mechanism import crafts
from fedmarket.bench.mechanism.agents import TrainerConduct
from fedmarket.bench.mechanism.settings import ROUNDS, SEATS
from fedmarket.bench.mechanism.strategy import ALL_SETTINGS, ALONE, EXAMINED, MAJORITY, THIRD, Strategy

SPLIT = "one person's data under several names is not to be told from several people's: stake, allow-lists"
POOLING = "whoever shares updates before the round sends better ones: that is worth more to the owner, too"
MAJORITY_RULES = "without an exam a majority decides what agreement is"

STRATEGIES = (
    Strategy("absent", "does not commit", people=ALONE, trainer=TrainerConduct(crafts.absent)),
    Strategy("unrevealed", "commits and never reveals", people=ALONE, trainer=TrainerConduct(reveals=False)),
    Strategy("unavailable", "keeps its bytes to itself", people=ALONE, trainer=TrainerConduct(crafts.noise, uploads=False)),
    Strategy("noise", "sends noise", people=ALONE, trainer=TrainerConduct(crafts.noise)),
    Strategy("zeros", "sends zeros", people=ALONE, trainer=TrainerConduct(crafts.zeros)),
    Strategy("replay", "sends the last aggregate", people=ALONE, trainer=TrainerConduct(crafts.replay)),
    Strategy("mixture", "sends a mixture of what is public", people=ALONE, trainer=TrainerConduct(crafts.mixture)),
    Strategy(
        "yesterdays", "sends the mean of the round before", people=ALONE, trainer=TrainerConduct(crafts.yesterdays)
    ),
    Strategy("tiny", "sends 0.003 of its update", people=ALONE, trainer=TrainerConduct(crafts.scaled(0.003))),
    Strategy("flip", "sends minus its update", people=ALONE, trainer=TrainerConduct(crafts.scaled(-1))),
    Strategy("scaled", "sends three times its update", people=ALONE, trainer=TrainerConduct(crafts.scaled(3))),
    Strategy(
        "lazy", "trains on half of its data, at half the cost", people=ALONE, trainer=TrainerConduct(crafts.lazy(2**-0.5, 0.5))
    ),
    Strategy("stale", "trains in every other round", people=ALONE, trainer=TrainerConduct(crafts.stale)),
    Strategy(
        "coasting", "trains for three rounds, then sends noise", people=ALONE, trainer=TrainerConduct(crafts.until(3, crafts.noise))
    ),
    Strategy("late", "enrols when half of the rounds are over", people=ALONE, trainer=TrainerConduct(joins_in=ROUNDS // 2)),
    Strategy("in-and-out", "takes its stake out between rounds", people=ALONE, trainer=TrainerConduct(before=crafts.withdraw_between)),
    Strategy("hop-flip", "moves its stake to a new seat each round, and flips", people=ALONE, trainer=TrainerConduct(crafts.scaled(-1), before=crafts.hop)),
    Strategy("hop", "moves its stake to a new seat each round, and trains", people=ALONE, trainer=TrainerConduct(before=crafts.hop)),
    Strategy("flood", "moves one stake through all seats first", people=ALONE, trainer=TrainerConduct(enrols=crafts.flood(SEATS))),
    Strategy("occupy", "takes twelve of sixteen seats first and never commits", people=ALONE, trainer=TrainerConduct(crafts.absent, identities=12), known="whoever stakes first takes a seat: allow-lists, a lottery"),
    *(
        Strategy(
            f"copies-{k}", f"{k} identities send one update", people=ALONE, trainer=TrainerConduct(identities=k), known=SPLIT
        )
        for k in (2, 4)
    ),
    *(
        Strategy(
            f"clones-{k}", f"{k} identities train on the same data", people=ALONE, trainer=TrainerConduct(crafts.again, identities=k), known=SPLIT
        )
        for k in (2, 4)
    ),
    Strategy("split-4", "4 identities share its data", people=ALONE, trainer=TrainerConduct(crafts.split(4), identities=4), known=SPLIT),
    Strategy("ring", "three send what one of them trained", people=THIRD, trainer=TrainerConduct(crafts.copy_of_first)),
    Strategy("pool", "three train, and all send the mean", people=THIRD, trainer=TrainerConduct(crafts.pooled), known=POOLING),
    Strategy("third-noise", "three send noise", people=THIRD, trainer=TrainerConduct(crafts.noise)),
    Strategy("third-flip", "three flip", people=THIRD, trainer=TrainerConduct(crafts.scaled(-1))),
    Strategy("third-agree", "three send one invented direction", people=THIRD, trainer=TrainerConduct(crafts.agreed)),
    Strategy("third-absent", "three do not commit", people=THIRD, trainer=TrainerConduct(crafts.absent)),
    Strategy("third-unrevealed", "three commit and never reveal", people=THIRD, trainer=TrainerConduct(reveals=False)),
    Strategy("starving", "five of nine do not commit: no round has its minimum", people=MAJORITY, trainer=TrainerConduct(crafts.absent)),
    Strategy("five-agree", "five of nine send one invented direction", people=MAJORITY, settings=EXAMINED, trainer=TrainerConduct(crafts.agreed)),
    Strategy("majority-agree", "five of nine send one invented direction", people=MAJORITY, settings=("median",), trainer=TrainerConduct(crafts.agreed), known=MAJORITY_RULES),
)
"""In the order of the tables."""
