"""Owners, with and without identities among the trainers, with and without the aggregator."""

from __future__ import annotations

from fedmarket.bench.mechanism import crafts
from fedmarket.bench.mechanism.agents import AggregatorConduct, Owner, OwnerConduct, TrainerConduct
from fedmarket.bench.mechanism.strategies.aggregators import EXCLUSIONS, HONEST, all_others, everybody
from fedmarket.bench.mechanism.strategy import EXAMINED, Strategy
from fedmarket.bench.mechanism.task import REFERENCE_NORM, Floats

FALSE_R = "a false r is shown at the close; taking the deposits for it is for the disputes to come"
IDENTITIES = "who examines knows r: a cap bounds what an identity of the owner's takes from a pot, a price what it is paid"
HARSHNESS = "under a price the owner saves by a harsh exam: trainers see it in what they are paid"
SEATS_FIRST = "whoever stakes first takes a seat: an owner that fills them gets its money back, and no model"
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


def faint(owner: Owner) -> Floats | None:
    """Ask mostly for noise."""
    board, state, model = owner.board, owner.board.state, owner.model
    if model is None:
        return None
    lesson = board.task.lesson(model, state.round)
    noise = board.task.unit(JUNK, state.attempt)
    return REFERENCE_NORM * (FAINT * lesson + (1 - FAINT**2) ** 0.5 * noise)


def answering(count: int) -> tuple[TrainerConduct, ...]:
    """Identities that send what the exam asks for."""
    return (TrainerConduct(crafts.answer),) * count


TELLS = OwnerConduct(tells=True)
FLOODED = (TrainerConduct(crafts.absent, identities=12),)

STRATEGIES = (
    Strategy("no-exam", "the owner commits to no exam", settings=EXAMINED, owner=OwnerConduct(no_exam), owner_plays=True),
    Strategy("unopened", "the owner opens no exam", settings=EXAMINED, owner=OwnerConduct(opens=False), owner_plays=True),
    Strategy("undelivered", "the owner opens exams, and keeps r from the aggregator", settings=EXAMINED, owner=OwnerConduct(delivers=False), owner_plays=True),
    Strategy("unpublished", "the owner never publishes the exams", settings=EXAMINED, owner=OwnerConduct(publishes=False), owner_plays=True),
    Strategy("junk-exam", "the owner asks for noise", settings=EXAMINED, owner=OwnerConduct(junk), owner_plays=True, known=FALSE_R),
    Strategy("harsh-exam", "the owner asks mostly for noise", settings=("price",), owner=OwnerConduct(faint), owner_plays=True, known=HARSHNESS),
    Strategy("harsh-exam-pot", "the owner asks mostly for noise", settings=("pot",), owner=OwnerConduct(faint), owner_plays=True),
    Strategy("rigged-exam", "the owner asks for what its three identities send", settings=EXAMINED, owner=OwnerConduct(junk, tells=True), owner_plays=True, owner_identities=answering(3), known=FALSE_R),
    *(
        Strategy(f"answers-{k}", f"{k} of the owner's identities send the exam's answer", settings=("pot", "price", "uncapped"), owner=TELLS, owner_plays=True, owner_identities=answering(k), known=IDENTITIES)
        for k in (1, 3)
    ),
    Strategy("owner-unrevealed", "three of the owner's identities commit and never reveal", owner_plays=True, owner_identities=(TrainerConduct(crafts.noise, reveals=False),) * 3),
    Strategy("owner-noise", "three of the owner's identities send noise", owner_plays=True, owner_identities=(TrainerConduct(crafts.noise),) * 3),
    Strategy("owner-occupies", "the owner's identities fill twelve of sixteen seats", owner_plays=True, owner_identities=FLOODED, known=SEATS_FIRST),
    Strategy("owner-excludes-all", "owner and aggregator exclude everybody", owner_plays=True, aggregators=(AggregatorConduct(excludes=everybody), HONEST), aggregators_play=(0,), known=EXCLUSIONS),
    Strategy("owner-excludes-others", "owner and aggregator exclude all but three of the owner's identities", owner=TELLS, settings=EXAMINED, owner_plays=True, owner_identities=answering(3), aggregators=(AggregatorConduct(excludes=all_others), HONEST), aggregators_play=(0,), known=EXCLUSIONS),
)
"""In the order of the tables."""
