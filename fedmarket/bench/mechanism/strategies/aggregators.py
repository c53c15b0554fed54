"""Aggregators alone, and in league with a third of the trainers."""

from __future__ import annotations

from fedmarket.bench.mechanism import crafts
from fedmarket.bench.mechanism.agent import Agent, in_first_round, never
from fedmarket.bench.mechanism.aggregator import Aggregator, AggregatorConduct
from fedmarket.bench.mechanism.settings import ROUNDS
from fedmarket.bench.mechanism.strategies import reasons
from fedmarket.bench.mechanism.strategy import (
    ALL_SETTINGS,
    ALONE,
    COURT,
    EXAMINED,
    HONEST_AGGREGATOR,
    THIRD,
    UNEXAMINED_TOO,
    Strategy,
)
from fedmarket.bench.mechanism.trainer import TrainerConduct
from market.protocol.identifiers import Seat


def until_half(agent: Agent) -> bool:
    """While half of the rounds are not over."""
    return agent.board.state.round < ROUNDS // 2


def all_others(aggregator: Aggregator) -> set[Seat]:
    """Leave out everybody who is not of the league."""
    return set(aggregator.board.attempt.reveals) - aggregator.league.seats(aggregator.board)


def all_others_once(aggregator: Aggregator) -> set[Seat]:
    """Leave out everybody who is not of the league in the first round, and nobody later."""
    return all_others(aggregator) if in_first_round(aggregator) else set()


def all_but_three_once(aggregator: Aggregator) -> set[Seat]:
    """Leave out all but two others in the first round: with fewer than three updates nobody is accepted."""
    return set(sorted(all_others_once(aggregator))[2:])


def one_other(aggregator: Aggregator) -> set[Seat]:
    """Leave out one victim, always the same."""
    return set(sorted(all_others(aggregator))[:1])


def everybody(aggregator: Aggregator) -> set[Seat]:
    """Leave out all that were revealed: nothing is to be decided or proven then."""
    return set(aggregator.board.attempt.reveals)


SILENT = AggregatorConduct(settles=never)
DROPPING = AggregatorConduct(examines=never)

STRATEGIES = (
    Strategy(
        "silent",
        "the aggregator never settles",
        settings=ALL_SETTINGS,
        aggregators=(SILENT, HONEST_AGGREGATOR),
        aggregators_play=(0,),
    ),
    Strategy(
        "all-silent",
        "three aggregators never settle, and no other comes",
        settings=ALL_SETTINGS,
        aggregators=(SILENT,) * 3,
        aggregators_play=(0, 1, 2),
    ),
    Strategy(
        "runaway",
        "the first never settles, the second leaves before its turn",
        aggregators=(SILENT, AggregatorConduct(stays=False)),
        aggregators_play=(0, 1),
        known=reasons.ONE_AGGREGATOR,
    ),
    Strategy(
        "silent-third",
        "the aggregator never settles, three trainers take the compensation",
        people=THIRD,
        aggregators=(SILENT, HONEST_AGGREGATOR),
        aggregators_play=(0,),
    ),
    Strategy(
        "no-reseal",
        "after an expiry it does not commit again",
        people=ALONE,
        trainer=TrainerConduct(crafts.once_a_round(lambda trainer, identity: trainer.trained())),
        aggregators=(SILENT, HONEST_AGGREGATOR),
        baseline="silent",
    ),
    Strategy(
        "excludes-all",
        "the aggregator excludes everybody, and proves nothing",
        settings=(*ALL_SETTINGS, COURT),
        aggregators=(AggregatorConduct(excludes=everybody), HONEST_AGGREGATOR),
        aggregators_play=(0,),
        known=reasons.EXCLUSIONS,
    ),
    Strategy(
        "excludes-others",
        "the aggregator excludes all but three in league with it",
        settings=(*ALL_SETTINGS, COURT),
        people=THIRD,
        aggregators=(AggregatorConduct(excludes=all_others), HONEST_AGGREGATOR),
        aggregators_play=(0,),
        known=reasons.EXCLUSIONS,
    ),
    Strategy(
        "excludes-others-idle",
        "the same, and the three do not even train",
        settings=(*UNEXAMINED_TOO, COURT),
        people=THIRD,
        trainer=TrainerConduct(crafts.agreed),
        aggregators=(AggregatorConduct(excludes=all_others), HONEST_AGGREGATOR),
        aggregators_play=(0,),
        known=reasons.EXCLUSIONS,
    ),
    Strategy(
        "excludes-one",
        "the aggregator excludes one victim; three are in league with it",
        settings=(*ALL_SETTINGS, COURT),
        people=THIRD,
        aggregators=(AggregatorConduct(excludes=one_other), HONEST_AGGREGATOR),
        aggregators_play=(0,),
        known=reasons.EXCLUSIONS,
    ),
    Strategy(
        "excludes-one-alone",
        "the aggregator excludes one victim, for nobody",
        settings=(*ALL_SETTINGS, COURT),
        aggregators=(AggregatorConduct(excludes=one_other), HONEST_AGGREGATOR),
        aggregators_play=(0,),
        known=reasons.EXCLUSIONS,
    ),
    Strategy(
        "drops-exam",
        "the aggregator leaves the exam out",
        settings=(*EXAMINED, COURT),
        aggregators=(DROPPING, HONEST_AGGREGATOR),
        aggregators_play=(0,),
    ),
    Strategy(
        "drops-exam-queue",
        "all aggregators that are bonded leave the exams out",
        settings=(*EXAMINED, COURT),
        aggregators=(DROPPING, DROPPING),
        aggregators_play=(0, 1),
        known=reasons.EXAM_LEFT_OUT,
        known_in_court=reasons.EXAM_LEFT_OUT,
    ),
    Strategy(
        "drops-exam-queue-rests",
        "the same after the first round, and three trainers in league with them rest from then on",
        settings=(*EXAMINED, COURT),
        people=THIRD,
        trainer=TrainerConduct(crafts.until(1, crafts.absent)),
        aggregators=(AggregatorConduct(examines=in_first_round),) * 2,
        aggregators_play=(0, 1),
        known=reasons.EXAM_LEFT_OUT,
        known_in_court=reasons.EXAM_LEFT_OUT,
    ),
    Strategy(
        "drops-exam-third",
        "the aggregator leaves the exam out, three in league with it agree",
        settings=(*EXAMINED, COURT),
        people=THIRD,
        trainer=TrainerConduct(crafts.agreed),
        aggregators=(DROPPING, HONEST_AGGREGATOR),
        aggregators_play=(0,),
    ),
    Strategy(
        "excludes-once",
        "excludes all but three in league once, then leaves every exam out; the three rest",
        settings=(*EXAMINED, COURT),
        people=THIRD,
        trainer=TrainerConduct(crafts.until(1, crafts.absent)),
        aggregators=(AggregatorConduct(excludes=all_others_once, examines=in_first_round), HONEST_AGGREGATOR),
        aggregators_play=(0,),
        known=reasons.EXCLUSIONS,
    ),
    Strategy(
        "excludes-once-queue",
        "the same, and every aggregator that is bonded is in league with them",
        settings=(*EXAMINED, COURT),
        people=THIRD,
        trainer=TrainerConduct(crafts.until(1, crafts.absent)),
        aggregators=(AggregatorConduct(excludes=all_others_once, examines=in_first_round),) * 2,
        aggregators_play=(0, 1),
        known=reasons.EXCLUSIONS,
        known_in_court=reasons.ONE_AGGREGATOR,
    ),
    Strategy(
        "excludes-once-alone",
        "excludes-once for one trainer, beside two whom it lets in",
        settings=(*EXAMINED, COURT),
        people=ALONE,
        trainer=TrainerConduct(crafts.until(1, crafts.absent)),
        aggregators=(AggregatorConduct(excludes=all_but_three_once, examines=in_first_round), HONEST_AGGREGATOR),
        aggregators_play=(0,),
        known=reasons.EXCLUSIONS,
    ),
    Strategy(
        "withholds-model",
        "the aggregator shows its models to five in league only, who go on alone",
        settings=(*UNEXAMINED_TOO, COURT),
        people=tuple(range(4, 9)),
        aggregators=(AggregatorConduct(publishes=never), HONEST_AGGREGATOR),
        aggregators_play=(0,),
        known=reasons.WITHHOLDING,
    ),
    Strategy(
        "withholds-alone",
        "the aggregator keeps its models to itself, for nobody",
        settings=(*ALL_SETTINGS, COURT),
        aggregators=(AggregatorConduct(publishes=never), HONEST_AGGREGATOR),
        aggregators_play=(0,),
        known=reasons.WITHHOLDING,
    ),
    Strategy(
        "old-exam",
        "the aggregator shows one trainer the exam of the round before",
        settings=(*EXAMINED, "uncapped"),
        people=ALONE,
        trainer=TrainerConduct(crafts.old_exam),
        aggregators_play=(0,),
        known=reasons.LEAKING,
    ),
    Strategy(
        "leak",
        "the aggregator shows three the updates of the round before",
        people=THIRD,
        trainer=TrainerConduct(crafts.yesterdays),
        aggregators_play=(0,),
    ),
)
"""In the order of the tables."""
