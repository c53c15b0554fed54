"""What the contract's frequent refusals mean, in a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedmarket.commands.amounts import duration
from market.protocol.errors import ContractRevert, FedmarketError
from market.protocol.rounds import FROZEN_S

Arguments = Mapping[str, Any]


def _phase(value: object) -> str:
    return str(value).lower().replace("_", " ")


def _wrong_phase(arguments: Arguments) -> str:
    phase, expected = arguments["phase"], arguments["expected"]
    if phase == "CLOSED":
        return "the job is closed"
    if phase == "DISPUTED":
        return "not while a dispute is open: attestors answer it, and if they do not, `fedmarket dispute thaw` ends it"
    if phase == "FINISHED":
        return "the job's rounds are over"
    return f"not now: the job's phase is {_phase(phase)}, this is for the phase {_phase(expected)}"


def _time_left(until: str, what: str) -> Callable[[Arguments], str]:
    return lambda arguments: what.format(duration(max(1, arguments[until] - arguments["timestamp"])))


def _not_vested(arguments: Arguments) -> str:
    if arguments["vestsAt"] == FROZEN_S:
        return "this waits for a dispute that is open"
    return _time_left("vestsAt", "this has not vested yet: it will have in {}")(arguments)


def _who(template: str) -> Callable[[Arguments], str]:
    """A sentence about a seat of a job, or about an account where the consensus on outputs refuses."""
    return lambda arguments: template.format(
        who=f"seat {arguments['seat']}" if "seat" in arguments else arguments["account"]
    )


def _draw_too_early(arguments: Arguments) -> str:
    decided_by = arguments["decidedBy"] if "decidedBy" in arguments else arguments["drawBlock"]
    return f"block {decided_by} decides the draw, and the chain is at block {arguments['blockNumber']}"


def _text(template: str) -> Callable[[Arguments], str]:
    return lambda arguments: template.format_map(arguments)


SENTENCES: Mapping[str, Callable[[Arguments], str]] = {
    "UnknownJob": _text("there is no job {job} in this market: `fedmarket job list` shows those there are"),
    "WrongPhase": _wrong_phase,
    "WrongAttempt": _text("attempt {attempt} is over; the job is at attempt {current}"),
    "NotOwner": _text("{caller} is not the owner, {owner} is"),
    "NotAggregator": _text("{caller} is not the aggregator that this belongs to, {aggregator} is"),
    "NotTrainer": _text("{account} has no seat in this job: `fedmarket trainer enrol` takes one"),
    "OwnerCannotAggregate": _text(
        "{owner} is the job's owner or examiner, neither of whom can be its aggregator: use another account"
    ),
    "AlreadyEnrolled": _text("{trainer} has seat {seat} already, with its stake in place"),
    "NotAllowed": _text("{account} is not among the accounts that may take a seat in this job"),
    "RecordTooShort": _text(
        "this job asks for {required} rounds paid in the jobs of an owner that it names, and this account has {rounds}"
    ),
    "AlreadyWaiting": _text("{trainer} waits for a seat already: `fedmarket trainer run` takes one when it can"),
    "NotWaiting": _text("{account} has no stake that waits for a seat: `fedmarket trainer enrol` puts one down"),
    "SeatsFull": _text("all {seats} seats of this job are taken, by nobody who drew a higher number than this account"),
    "SeatNotIdle": _text("seat {seat} is not idle: its trainer came, or somebody else has just taken it"),
    "NotInCohort": _text("seat {seat} is not among those that train in this attempt"),
    "NoDraw": _text("job {job} draws no seats now: it does at the end of its enrolment, or not at all"),
    "AlreadyDrawn": _text("the seats of job {job} are drawn already"),
    "DrawTooEarly": _draw_too_early,
    "StakeNotInPlace": _text("seat {seat} has no stake in place: `fedmarket trainer enrol` puts it back"),
    "AlreadyBonded": _text("{aggregator} has bonded already"),
    "AggregatorQueueFull": _text("this job has {limit} aggregators already, which is the limit"),
    "BondInUse": _text(
        "{aggregator} is the active aggregator, or the last settlement is its own and can still be undone: its bond is "
        "free once the job is closed, or another aggregator is active and that settlement has vested"
    ),
    "NotBonded": _text("{account} has no bond in this job"),
    "AlreadyCommitted": _who("{who} has committed already, and what it staked is held until that ends"),
    "AlreadyClaimed": _text("seat {seat} has claimed its pay of attempt {attempt} already"),
    "NoFeeDue": _text(
        "no fee is due for attempt {attempt}: it was claimed already, or not earned, as everybody was excluded or an "
        "opened exam was left out"
    ),
    "InsufficientDeposit": _text("the contract received {received} and needs {required}"),
    "TokenShortfall": _text("the contract holds {balance} of token {token} and owes {owed}: it takes no more of it"),
    "ERC20InsufficientBalance": _text("{sender} has {balance} of the job's token and needs {needed}"),
    "NotVested": _not_vested,
    "NotCloseable": _time_left("from", "the job cannot be closed yet: it can in {}"),
    "NoExam": _text("job {job} has no exam"),
    "NotExaminer": _text("{caller} may not set this job's exams: {examiner} may, and the owner"),
    "NoAttestors": _text("job {job} names no attestors: nothing can be disputed in it"),
    "NotAttestor": _text("{signer} is no attestor of this job, or what it signed is about something else"),
    "ReceiptExpired": _text("a receipt is good until {heldUntil}, and the settle phase ends at {needed}"),
    "CountedTwice": _text("{attestor} has two receipts among these: each attestor counts once"),
    "NothingCovered": _text(
        "{receipts} receipts cover no further update: {quorum} attestors have to hold the same one, filed in one call"
    ),
    "UpdateIsHeld": _text("seat {seat} cannot be excluded as unavailable: a quorum of attestors holds its update"),
    "NotDisputable": _text(
        "attempt {attempt} has no such fact to dispute: no new model, or no exam whose deposit is left"
    ),
    "CannotDispute": _text(
        "{caller} may not dispute this: a model only who revealed in its round or the owner, an exclusion only its seat"
    ),
    "DisputedBefore": _text("this was disputed before: each fact is answered once"),
    "DisputeTooLate": _text("too late: what can be disputed no more is final since {until}"),
    "AnswersOver": _text("too late: the time to answer is over, and `fedmarket dispute thaw` lets the job go on"),
    "NotThawable": _time_left("from", "attestors may still answer, for {}"),
    "NothingToPay": _text("there is nothing to pay out"),
    "TransferFailed": _text("{to} did not accept {amount} wei: name another address with --to"),
    "InvalidTerm": _text("the contract refuses the term {term} = {value}"),
    "UnknownPool": _text("there is no pool {pool} in this market"),
    "UnknownTask": _text("there is no task {task} in this market"),
    "UnknownPanel": _text("task {task} has no panel {panel} yet"),
    "WrongValue": _text("{value} wei came along, and this takes {expected} wei"),
    "TooManyUnits": _text("that makes {units} units, and {most} are the most that an account can stake in a pool"),
    "NoUnits": _text("that is no unit: name at least one"),
    "UnitsLocked": _text("{units} units were asked for, but seats hold all but {free} of this account's"),
    "PoolTooSmall": _text("{members} verifiers of the pool could sit, and the panel has {needed} seats"),
    "Barred": _text("{account} owns the task, is its worker, or sat in an earlier panel of it: it may not sit"),
    "AlreadySeated": _text("{account} sits already"),
    "StakedTooLate": _text(
        "this account staked last in block {since}, and the panel was asked for in block {askedAt}: only earlier "
        "stakes have a part in it"
    ),
    "NumberTooHigh": _text("all seats are taken, by nobody who drew a higher number than this account"),
    "NotSeated": _text("{account} has no seat in this panel"),
    "NotCommitted": _who("{who} has committed to nothing that it could reveal"),
    "AlreadyRevealed": _who("{who} has revealed already"),
    "WrongSeal": _text("these digests and outputs are not what was committed to"),
    "NotParty": _text("{caller} is neither the task's owner nor its worker"),
    "NothingSealed": _text("nothing was sealed when this task was opened"),
    "AlreadyOpened": _text("this is shown already"),
    "WrongCommitment": _text("this is not what was sealed when the task was opened: the seal is {expected}"),
    "NotEntitled": _text(
        "{caller} may not appeal: the owner may, the worker, and a seat that revealed and is not among those that agree"
    ),
    "NothingToWithdraw": _text("nothing is credited to {account}"),
}
"""By the name of the custom error; every other is shown as the contract says it."""


def sentence(error: FedmarketError) -> str:
    """An error's one line."""
    if isinstance(error, ContractRevert) and error.name in SENTENCES:
        try:
            return SENTENCES[error.name](error.arguments)
        except (KeyError, TypeError):
            return str(error)  # another contract's error of the same name, with other arguments
    return str(error)
