"""Disputes by those who are wrong, and attestors who are late, away or bought."""

from __future__ import annotations

from fedmarket.bench.mechanism import crafts
from fedmarket.bench.mechanism.agent import never
from fedmarket.bench.mechanism.aggregator import AggregatorConduct
from fedmarket.bench.mechanism.court import LAST_MOMENT, AttestorConduct
from fedmarket.bench.mechanism.disputing import dispute, may_ask
from fedmarket.bench.mechanism.owner import OwnerConduct
from fedmarket.bench.mechanism.strategies import reasons
from fedmarket.bench.mechanism.strategies.aggregators import all_others
from fedmarket.bench.mechanism.strategies.owners import answering, junk
from fedmarket.bench.mechanism.strategy import ALONE, COURT, HONEST_AGGREGATOR, HONEST_ATTESTOR, THIRD, Strategy
from fedmarket.bench.mechanism.trainer import Trainer, TrainerConduct
from market.chain.records import Fact


def model(trainer: Trainer) -> bool:
    """Dispute every model that can be disputed, right or wrong."""
    latest = trainer.board.latest
    if latest is None or not latest.settled or not latest.settled.accepted:
        return False
    asking = [account for account in trainer.accounts if may_ask(trainer, account)]
    return any(dispute(trainer, account, latest, Fact.MODEL) for account in asking)


def model_or_exam(trainer: Trainer) -> bool:
    """Dispute every model, and at the end every exam."""
    board = trainer.board
    if board.history.published is None:
        return model(trainer)
    sat = [attempt for attempt in board.history.settlements() if attempt.number in board.references]
    seated = [account for account in trainer.accounts if board.seat(account) is not None]
    return any(dispute(trainer, account, attempt, Fact.EXAM) for attempt in sat for account in seated[:1])


def exam(trainer: Trainer) -> bool:
    """Dispute every exam at the end, right or wrong."""
    return trainer.board.history.published is not None and model_or_exam(trainer)


def own_exclusion(trainer: Trainer) -> bool:
    """Contest that one was left out."""
    latest = trainer.board.latest
    if latest is None:
        return False
    left_out = [account for account in trainer.accounts if trainer.board.seat(account) in latest.exclusions]
    return any(dispute(trainer, account, latest, Fact.EXCLUSION) for account in left_out)


def too_late(trainer: Trainer) -> bool:
    """Upload after the settlement, and contest that one was left out of it."""
    board, latest = trainer.board, trainer.board.latest
    for account, opening in trainer.opened.items():
        seat = board.seat(account)
        if latest is not None and seat is not None and seat in latest.exclusions:
            board.updates[latest.number, seat] = opening.row
    return own_exclusion(trainer)


def shown_to_attestors(trainer: Trainer) -> bool:
    """Contest that one was left out, where attestors had in time what the aggregator could not fetch from them."""
    board, latest = trainer.board, trainer.board.latest
    left_out = {seat for account in trainer.accounts if (seat := board.seat(account)) is not None}
    if latest is not None:
        board.receipts[latest.number] |= left_out & set(latest.exclusions)
    return own_exclusion(trainer)


def whatever_can_be_disputed(trainer: Trainer) -> bool:
    """Contest one's own exclusion, dispute models, and at the end exams."""
    return own_exclusion(trainer) or model_or_exam(trainer)


FIVE = tuple(range(4, 9))
WITHHOLDING = (AggregatorConduct(publishes=never), HONEST_AGGREGATOR)
EXCLUDING = (AggregatorConduct(excludes=all_others), HONEST_AGGREGATOR)
BOUGHT = (AttestorConduct(lies=True), AttestorConduct(lies=True), HONEST_ATTESTOR)
AWAY = (AttestorConduct(answers=False),) * 3
SLOW = (AttestorConduct(waits=LAST_MOMENT),) * 3

STRATEGIES = (
    Strategy(
        "false-alarm",
        "disputes every model, and all are right",
        settings=(COURT,),
        people=ALONE,
        trainer=TrainerConduct(contests=model),
    ),
    Strategy(
        "third-false-alarm",
        "three dispute every model and every exam, and all are right",
        settings=(COURT,),
        people=THIRD,
        trainer=TrainerConduct(contests=model_or_exam),
    ),
    Strategy(
        "freezes",
        "three upload nothing, and dispute that, models and exams; attestors answer at the last moment",
        settings=(COURT,),
        people=THIRD,
        trainer=TrainerConduct(crafts.noise, uploads=False, contests=whatever_can_be_disputed),
        attestors=SLOW,
    ),
    Strategy(
        "late-upload",
        "uploads when the round is settled, and contests that it was left out",
        settings=(COURT,),
        people=ALONE,
        trainer=TrainerConduct(uploads=False, contests=too_late),
    ),
    Strategy(
        "shows-attestors-only",
        "uploads where attestors look and the aggregator does not, and contests that it was left out",
        settings=(COURT,),
        people=ALONE,
        trainer=TrainerConduct(uploads=False, contests=shown_to_attestors),
        known_in_court=reasons.UNSERVED,
    ),
    Strategy(
        "all-withhold",
        "both aggregators keep their models to themselves, and no other comes",
        settings=(COURT,),
        aggregators=(WITHHOLDING[0],) * 2,
        aggregators_play=(0, 1),
        known_in_court=reasons.ONE_AGGREGATOR,
    ),
    Strategy(
        "attestors-absent",
        "the aggregator shows its models to five in league only, and no attestor answers",
        settings=(COURT,),
        people=FIVE,
        aggregators=WITHHOLDING,
        aggregators_play=(0,),
        attestors=AWAY,
        known_in_court=reasons.NO_QUORUM,
    ),
    Strategy(
        "attestors-bought",
        "the same, and two of three attestors are of the league",
        settings=(COURT,),
        people=FIVE,
        aggregators=WITHHOLDING,
        aggregators_play=(0,),
        attestors=BOUGHT,
        attestors_play=(0, 1),
        known_in_court=reasons.BOUGHT,
    ),
    Strategy(
        "attestors-bought-exclusions",
        "the aggregator excludes all but three in league with it and with two of three attestors",
        settings=(COURT,),
        people=THIRD,
        aggregators=EXCLUDING,
        aggregators_play=(0,),
        attestors=BOUGHT,
        attestors_play=(0, 1),
        known_in_court=reasons.BOUGHT,
    ),
    Strategy(
        "attestors-bought-alarm",
        "three dispute every model, all are right, and two of three attestors are of the league",
        settings=(COURT,),
        people=THIRD,
        trainer=TrainerConduct(contests=model),
        attestors=BOUGHT,
        attestors_play=(0, 1),
        known_in_court=reasons.BOUGHT,
    ),
    Strategy(
        "attestors-bought-exams",
        "one disputes the exams, all are right, and two of three attestors are of the league",
        settings=(COURT,),
        people=ALONE,
        trainer=TrainerConduct(contests=exam),
        attestors=BOUGHT,
        attestors_play=(0, 1),
        known_in_court=reasons.BOUGHT,
    ),
    Strategy(
        "owner-attests",
        "the owner asks for what its three identities send, and two of three attestors are its own",
        settings=(COURT,),
        owner=OwnerConduct(junk, tells=True),
        owner_plays=True,
        owner_identities=answering(3),
        attestors=BOUGHT,
        attestors_play=(0, 1),
        known_in_court=reasons.BOUGHT,
    ),
)
"""In the order of the tables."""
