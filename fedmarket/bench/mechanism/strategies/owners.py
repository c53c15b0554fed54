"""Owners, with and without identities among the trainers, with and without the aggregator."""

from __future__ import annotations

from math import sqrt

from fedmarket.bench.mechanism import crafts
from fedmarket.bench.mechanism.agent import always, in_first_round, never
from fedmarket.bench.mechanism.aggregator import AggregatorConduct
from fedmarket.bench.mechanism.owner import Owner, OwnerConduct, examine
from fedmarket.bench.mechanism.strategies import reasons
from fedmarket.bench.mechanism.strategies.aggregators import all_others, everybody, until_half
from fedmarket.bench.mechanism.strategy import (
    ALL_SETTINGS,
    COURT,
    EXAMINED,
    HONEST_AGGREGATOR,
    Strategy,
)
from fedmarket.bench.mechanism.task import REFERENCE_NORM, Floats
from fedmarket.bench.mechanism.trainer import TrainerConduct

FAINT = 0.3
"""Weight of the lesson in a harsh r; an honest one has 0.8."""
JUNK = 200


def no_exam(owner: Owner) -> Floats | None:
    """Commit to none."""
    return None


def junk(owner: Owner) -> Floats | None:
    """Ask for what only the owner knows."""
    board = owner.board
    return REFERENCE_NORM * board.task.unit(JUNK, board.state.attempt)


def junk_once(owner: Owner) -> Floats | None:
    """Ask for what only the owner knows in the first round."""
    return junk(owner) if owner.board.state.round == 0 else examine(owner)


def faint(owner: Owner) -> Floats | None:
    """Ask mostly for noise."""
    board, state, model = owner.board, owner.board.state, owner.model
    if model is None:
        return None
    lesson = board.task.lesson(model, state.round)
    noise = board.task.unit(JUNK, state.attempt)
    return REFERENCE_NORM * (FAINT * lesson + sqrt(1 - FAINT**2) * noise)


def answering(count: int) -> tuple[TrainerConduct, ...]:
    """Identities that send what the exam asks for."""
    return (TrainerConduct(crafts.answer),) * count


TELLS = OwnerConduct(tells=True)

STRATEGIES = (
    Strategy(
        "no-exam",
        "the owner commits to no exam",
        settings=(*EXAMINED, COURT),
        owner=OwnerConduct(no_exam),
        owner_plays=True,
    ),
    Strategy(
        "unopened",
        "the owner opens no exam",
        settings=(*EXAMINED, COURT),
        owner=OwnerConduct(opens=never),
        owner_plays=True,
    ),
    Strategy(
        "undelivered",
        "the owner opens exams, and keeps r from the aggregator or sends it garbage",
        settings=(*EXAMINED, COURT),
        owner=OwnerConduct(delivers=never),
        owner_plays=True,
        known=reasons.UNDELIVERED,
    ),
    Strategy(
        "shows-attestors-r",
        "the owner opens exams, and shows r where attestors look and the aggregator does not",
        settings=(COURT,),
        owner=OwnerConduct(delivers=never, shows=always),
        owner_plays=True,
        known_in_court=reasons.UNSERVED,
    ),
    Strategy(
        "unpublished",
        "the owner never publishes the exams",
        settings=(*EXAMINED, COURT),
        owner=OwnerConduct(publishes=False),
        owner_plays=True,
    ),
    Strategy(
        "junk-exam",
        "the owner asks for noise",
        settings=(*EXAMINED, COURT),
        owner=OwnerConduct(junk),
        owner_plays=True,
        known=reasons.FALSE_R,
    ),
    Strategy(
        "harsh-exam",
        "the owner asks mostly for noise",
        settings=("price",),
        owner=OwnerConduct(faint),
        owner_plays=True,
        known=reasons.HARSHNESS,
    ),
    Strategy(
        "harsh-exam-pot",
        "the owner asks mostly for noise",
        settings=("pot",),
        owner=OwnerConduct(faint),
        owner_plays=True,
    ),
    Strategy(
        "rigged-exam",
        "the owner asks for what its three identities send",
        settings=(*EXAMINED, COURT),
        owner=OwnerConduct(junk, tells=True),
        owner_plays=True,
        owner_identities=answering(3),
        known=reasons.FALSE_R,
    ),
    *(
        Strategy(
            f"answers-{k}",
            f"{k} of the owner's identities send the exam's answer",
            settings=("pot", "price", "uncapped"),
            owner=TELLS,
            owner_plays=True,
            owner_identities=answering(k),
            known=reasons.IDENTITIES,
        )
        for k in (1, 3)
    ),
    Strategy(
        "rigged-once",
        "the owner asks once for what its three identities send, and then keeps r from the aggregator",
        settings=(*EXAMINED, COURT),
        owner=OwnerConduct(junk_once, delivers=in_first_round, tells=True),
        owner_plays=True,
        owner_identities=(TrainerConduct(crafts.until(1, crafts.absent, crafts.answer)),) * 3,
        known=reasons.FALSE_R,
    ),
    Strategy(
        "answers-once",
        "the owner's three identities answer one true exam, and then it keeps r from the aggregator",
        settings=(*EXAMINED, "uncapped", COURT),
        owner=OwnerConduct(delivers=in_first_round, tells=True),
        owner_plays=True,
        owner_identities=(TrainerConduct(crafts.until(1, crafts.absent, crafts.answer)),) * 3,
        known=reasons.CARRIED,
    ),
    Strategy(
        "owner-stops",
        "the owner and the only aggregator let the job rest after half of its rounds",
        settings=ALL_SETTINGS,
        owner_plays=True,
        aggregators=(AggregatorConduct(settles=until_half),),
        aggregators_play=(0,),
        known=reasons.ONE_AGGREGATOR,
    ),
    Strategy(
        "owner-withholds",
        "the aggregator shows the models of the second half to the owner alone: nobody else can train",
        settings=(*ALL_SETTINGS, COURT),
        owner_plays=True,
        aggregators=(AggregatorConduct(publishes=until_half), HONEST_AGGREGATOR),
        aggregators_play=(0,),
        known=reasons.WITHHOLDING,
    ),
    Strategy(
        "owner-unrevealed",
        "three of the owner's identities commit and never reveal",
        settings=ALL_SETTINGS,
        owner_plays=True,
        owner_identities=(TrainerConduct(crafts.noise, reveals=False),) * 3,
    ),
    Strategy(
        "owner-noise",
        "three of the owner's identities send noise",
        settings=ALL_SETTINGS,
        owner_plays=True,
        owner_identities=(TrainerConduct(crafts.noise),) * 3,
    ),
    Strategy(
        "owner-excludes-all",
        "owner and aggregator exclude everybody",
        settings=(*ALL_SETTINGS, COURT),
        owner_plays=True,
        aggregators=(AggregatorConduct(excludes=everybody), HONEST_AGGREGATOR),
        aggregators_play=(0,),
        known=reasons.EXCLUSIONS,
    ),
    Strategy(
        "owner-excludes-others",
        "owner and aggregator exclude all but three of the owner's identities",
        owner=TELLS,
        settings=(*EXAMINED, COURT),
        owner_plays=True,
        owner_identities=answering(3),
        aggregators=(AggregatorConduct(excludes=all_others), HONEST_AGGREGATOR),
        aggregators_play=(0,),
        known=reasons.EXCLUSIONS,
        known_in_court=reasons.IDENTITIES,
    ),
)
"""In the order of the tables."""
