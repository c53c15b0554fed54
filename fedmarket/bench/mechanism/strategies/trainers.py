"""Trainers alone, with identities, or in league with one another."""

from __future__ import annotations

from fedmarket.bench.mechanism import crafts
from fedmarket.bench.mechanism.settings import ROUNDS, SEATS
from fedmarket.bench.mechanism.strategies import reasons
from fedmarket.bench.mechanism.strategy import ALL_SETTINGS, ALONE, COHORT, EXAMINED, MAJORITY, THIRD, Strategy
from fedmarket.bench.mechanism.trainer import TrainerConduct, train

BLUR = 0.75
"""What is kept of the cosine."""

MOVING = ("pot", COHORT)

STRATEGIES = (
    Strategy("absent", "does not commit", settings=ALL_SETTINGS, people=ALONE, trainer=TrainerConduct(crafts.absent)),
    Strategy(
        "unrevealed",
        "commits and never reveals",
        settings=ALL_SETTINGS,
        people=ALONE,
        trainer=TrainerConduct(reveals=False),
    ),
    Strategy(
        "unavailable", "keeps its bytes to itself", people=ALONE, trainer=TrainerConduct(crafts.noise, uploads=False)
    ),
    Strategy("noise", "sends noise", settings=ALL_SETTINGS, people=ALONE, trainer=TrainerConduct(crafts.noise)),
    Strategy("zeros", "sends zeros", people=ALONE, trainer=TrainerConduct(crafts.zeros)),
    Strategy(
        "replay", "sends the last aggregate", settings=ALL_SETTINGS, people=ALONE, trainer=TrainerConduct(crafts.replay)
    ),
    Strategy("mixture", "sends a mixture of what is public", people=ALONE, trainer=TrainerConduct(crafts.mixture)),
    Strategy(
        "yesterdays", "sends the mean of the round before", people=ALONE, trainer=TrainerConduct(crafts.yesterdays)
    ),
    Strategy("tiny", "sends 0.003 of its update", people=ALONE, trainer=TrainerConduct(crafts.scaled(0.003))),
    Strategy(
        "flip", "sends minus its update", settings=ALL_SETTINGS, people=ALONE, trainer=TrainerConduct(crafts.scaled(-1))
    ),
    Strategy("scaled", "sends three times its update", people=ALONE, trainer=TrainerConduct(crafts.scaled(3))),
    Strategy(
        "lazy",
        "trains on half of its data, at half the cost",
        settings=ALL_SETTINGS,
        people=ALONE,
        trainer=TrainerConduct(crafts.lazy(2**-0.5, 0.5)),
        known=reasons.EFFORT,
    ),
    Strategy(
        "lazy-quarter",
        "trains on a quarter of its data, at a quarter of the cost",
        settings=ALL_SETTINGS,
        people=ALONE,
        trainer=TrainerConduct(crafts.lazy(0.5, 0.25)),
        known=reasons.EFFORT,
    ),
    Strategy(
        "blurred",
        "adds noise to its update: less like the others, and still above the cap",
        settings=(*ALL_SETTINGS, "uncapped"),
        people=ALONE,
        trainer=TrainerConduct(crafts.blurred(train, BLUR)),
        known=reasons.BLURRING,
    ),
    Strategy(
        "public",
        "trains on data that everybody has, at a twentieth of the cost",
        settings=ALL_SETTINGS,
        people=ALONE,
        trainer=TrainerConduct(crafts.lazy(0.5, 0.05)),
        known=reasons.PUBLIC_DATA,
    ),
    Strategy("stale", "trains in every other round", people=ALONE, trainer=TrainerConduct(crafts.stale)),
    Strategy(
        "coasting",
        "trains for three rounds, then sends noise",
        people=ALONE,
        trainer=TrainerConduct(crafts.until(3, crafts.noise)),
    ),
    Strategy(
        "late",
        "enrols when half of the rounds are over",
        settings=ALL_SETTINGS,
        people=ALONE,
        trainer=TrainerConduct(joins_in=ROUNDS // 2),
    ),
    Strategy(
        "in-and-out",
        "takes its stake out between rounds",
        people=ALONE,
        trainer=TrainerConduct(before=crafts.withdraw_between),
    ),
    Strategy(
        "hop-flip",
        "moves its stake to a new seat each round, and flips",
        settings=MOVING,
        people=ALONE,
        trainer=TrainerConduct(crafts.scaled(-1), before=crafts.hop),
    ),
    Strategy(
        "hop",
        "moves its stake to a new seat each round, and trains",
        settings=MOVING,
        people=ALONE,
        trainer=TrainerConduct(before=crafts.hop),
    ),
    Strategy(
        "flood",
        "moves one stake through all seats first",
        settings=MOVING,
        people=ALONE,
        trainer=TrainerConduct(enrols=crafts.flood(SEATS)),
    ),
    *(
        Strategy(
            f"copies-{k}",
            f"{k} identities send one update",
            settings=ALL_SETTINGS,
            people=ALONE,
            trainer=TrainerConduct(identities=k),
            known=reasons.SPLIT,
        )
        for k in (2, 4)
    ),
    *(
        Strategy(
            f"blurred-{k}",
            f"{k} identities send one update, each with noise of its own",
            settings=(*ALL_SETTINGS, "uncapped"),
            people=ALONE,
            trainer=TrainerConduct(crafts.blurred(train, BLUR), identities=k),
            known=reasons.BLURRING,
        )
        for k in (2, 4)
    ),
    *(
        Strategy(
            f"clones-{k}",
            f"{k} identities train on the same data",
            settings=ALL_SETTINGS,
            people=ALONE,
            trainer=TrainerConduct(crafts.again, identities=k),
            known=reasons.SPLIT,
        )
        for k in (2, 4)
    ),
    Strategy(
        "split-4",
        "4 identities share its data",
        settings=ALL_SETTINGS,
        people=ALONE,
        trainer=TrainerConduct(crafts.split(4), identities=4),
        known=reasons.SPLIT,
    ),
    Strategy("ring", "three send what one of them trained", people=THIRD, trainer=TrainerConduct(crafts.copy_of_first)),
    Strategy(
        "ring-blurred",
        "three send what one of them trained, each with noise of its own",
        settings=(*ALL_SETTINGS, "uncapped"),
        people=THIRD,
        trainer=TrainerConduct(crafts.blurred(crafts.copy_of_first, BLUR)),
        known=reasons.BLURRING,
    ),
    Strategy(
        "pool",
        "three train, and all send the mean",
        settings=ALL_SETTINGS,
        people=THIRD,
        trainer=TrainerConduct(crafts.pooled),
        known=reasons.POOLING,
    ),
    Strategy(
        "third-noise", "three send noise", settings=ALL_SETTINGS, people=THIRD, trainer=TrainerConduct(crafts.noise)
    ),
    Strategy("third-flip", "three flip", people=THIRD, trainer=TrainerConduct(crafts.scaled(-1))),
    Strategy("third-agree", "three send one invented direction", people=THIRD, trainer=TrainerConduct(crafts.agreed)),
    Strategy(
        "third-absent",
        "three do not commit",
        settings=ALL_SETTINGS,
        people=THIRD,
        trainer=TrainerConduct(crafts.absent),
    ),
    Strategy("third-unrevealed", "three commit and never reveal", people=THIRD, trainer=TrainerConduct(reveals=False)),
    Strategy(
        "starving",
        "five of nine do not commit: no round has its minimum",
        settings=ALL_SETTINGS,
        people=MAJORITY,
        trainer=TrainerConduct(crafts.absent),
    ),
    Strategy(
        "five-agree",
        "five of nine send one invented direction",
        people=MAJORITY,
        settings=EXAMINED,
        trainer=TrainerConduct(crafts.agreed),
    ),
    Strategy(
        "majority-agree",
        "five of nine send one invented direction",
        people=MAJORITY,
        settings=("median",),
        trainer=TrainerConduct(crafts.agreed),
        known=reasons.MAJORITY_RULES,
    ),
)
"""In the order of the tables."""
