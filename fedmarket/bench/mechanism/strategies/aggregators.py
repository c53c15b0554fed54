"""Aggregators alone, and in league with a third of the trainers."""

from __future__ import annotations

from fedmarket.bench.mechanism import crafts
from fedmarket.bench.mechanism.agents import Aggregator, AggregatorConduct, TrainerConduct
from fedmarket.bench.mechanism.strategy import ALONE, EXAMINED, THIRD, Strategy
from market.protocol.identifiers import Seat

EXCLUSIONS = "an aggregator is believed about what it could not fetch, until exclusions can be contested"
WITHHOLDING = "a model whose bytes are withheld stands, until that can be disputed"


def never(aggregator: Aggregator) -> bool:
    """Settle nothing."""
    return False


def all_others(aggregator: Aggregator) -> set[Seat]:
    """Leave out everybody who is not of the league."""
    return set(aggregator.board.attempt.reveals) - aggregator.league.seats(aggregator.board)


def one_other(aggregator: Aggregator) -> set[Seat]:
    """Leave out one victim, always the same."""
    return set(sorted(all_others(aggregator))[:1])


def everybody(aggregator: Aggregator) -> set[Seat]:
    """Leave out all that were revealed: nothing is to be decided or proven then."""
    return set(aggregator.board.attempt.reveals)


HONEST = AggregatorConduct()
SILENT = AggregatorConduct(settles=never)

STRATEGIES = (
    Strategy("silent", "the aggregator never settles", aggregators=(SILENT, HONEST), aggregators_play=(0,)),
    Strategy(
        "all-silent", "three aggregators never settle, and no other comes", aggregators=(SILENT,) * 3, aggregators_play=(0, 1, 2)
    ),
    Strategy(
        "runaway", "the first never settles, the second leaves before its turn",
        aggregators=(SILENT, AggregatorConduct(stays=False)), aggregators_play=(0, 1),
    ),
    Strategy(
        "silent-third", "the aggregator never settles, three trainers take the compensation",
        people=THIRD, aggregators=(SILENT, HONEST), aggregators_play=(0,),
    ),
    Strategy(
        "no-reseal", "after an expiry it does not commit again", people=ALONE,
        trainer=TrainerConduct(crafts.once_a_round(lambda trainer, identity: trainer.trained())),
        aggregators=(SILENT, HONEST), baseline="silent",
    ),
    Strategy(
        "excludes-all", "the aggregator excludes everybody, and proves nothing",
        aggregators=(AggregatorConduct(excludes=everybody), HONEST), aggregators_play=(0,), known=EXCLUSIONS,
    ),
    Strategy(
        "excludes-others", "the aggregator excludes all but three in league with it",
        people=THIRD, aggregators=(AggregatorConduct(excludes=all_others), HONEST), aggregators_play=(0,), known=EXCLUSIONS,
    ),
    Strategy(
        "excludes-others-idle", "the same, and the three do not even train", people=THIRD,
        trainer=TrainerConduct(crafts.agreed),
        aggregators=(AggregatorConduct(excludes=all_others), HONEST), aggregators_play=(0,), known=EXCLUSIONS,
    ),
    Strategy(
        "excludes-one", "the aggregator excludes one victim; three are in league with it",
        people=THIRD, aggregators=(AggregatorConduct(excludes=one_other), HONEST), aggregators_play=(0,), known=EXCLUSIONS,
    ),
    Strategy(
        "excludes-one-alone", "the aggregator excludes one victim, for nobody",
        aggregators=(AggregatorConduct(excludes=one_other), HONEST), aggregators_play=(0,), known=EXCLUSIONS,
    ),
    Strategy(
        "drops-exam", "the aggregator leaves the exam out", settings=EXAMINED,
        aggregators=(AggregatorConduct(examines=False), HONEST), aggregators_play=(0,), known=EXCLUSIONS,
    ),
    Strategy(
        "drops-exam-third", "the aggregator leaves the exam out, three in league with it agree", settings=EXAMINED,
        people=THIRD, trainer=TrainerConduct(crafts.agreed),
        aggregators=(AggregatorConduct(examines=False), HONEST), aggregators_play=(0,), known=EXCLUSIONS,
    ),
    Strategy(
        "withholds-model", "the aggregator shows its models to five in league only, who go on alone",
        people=tuple(range(4, 9)), aggregators=(AggregatorConduct(publishes=False), HONEST), aggregators_play=(0,), known=WITHHOLDING,
    ),
    Strategy(
        "leak", "the aggregator shows three the updates of the round before",
        people=THIRD, trainer=TrainerConduct(crafts.yesterdays), aggregators_play=(0,),
    ),
)
"""In the order of the tables."""
