"""Trainers: take a seat, train round after round, take what was earned."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from fedmarket.commands.amounts import duration, moment, money
from fedmarket.commands.execution_options import ExecutionChoice, execution_options
from fedmarket.commands.interruption import leaving
from fedmarket.commands.job_overview import JobOverview, TrainerLine
from fedmarket.commands.job_tables import facts, phase_text, seats_text
from fedmarket.commands.live import JobMonitor
from fedmarket.commands.option_groups import GroupedCommand
from fedmarket.commands.options import (
    FILE,
    Amount,
    actor_options,
    address_options,
    console,
    job_argument,
    network_options,
    to_option,
)
from fedmarket.commands.privacy_options import (
    WITNESS,
    PrivacyOptions,
    craft_of,
    ledger_rows,
    limit_options,
    privacy_options,
    privacy_rows,
)
from fedmarket.commands.seat_overview import idle_seats
from fedmarket.commands.serving import Serving, served, serving_options
from fedmarket.commands.trainer_inspect import inspect_model
from fedmarket.connection import DEFAULT_WORK, Actor, Network, NetworkOptions
from market.announced import announce
from market.chain.contract import checked_address
from market.chain.events import Claimed, StakeWithdrawn, TrainerEnrolled, TrainerWaits, WaitEnded
from market.chain.transactions import Finality
from market.model_access import ModelAccess
from market.protocol.errors import FedmarketError, InvalidInput
from market.protocol.identifiers import Seat
from market.protocol.rounds import FROZEN_S
from market.protocol.seat_draw import MAX_TICKETS
from market.protocol.terms import JobTerms
from market.published_job import PublishedJob
from market.sealing import SealingKey
from trainer_client.claims import claim as take
from trainer_client.claims import claimable
from trainer_client.standing import Standing

_RUN_HEADINGS: Final = {
    "How this machine computes (the steps stay those of the job)": (
        "device",
        "precision",
        "compile_model",
        "micro_batch",
        "deterministic",
        "checkpoint_every",
        "seed",
    ),
    "Private training (docs/privacy.md; the ledger remembers a limit that was given once)": (
        "epsilon_limit",
        "delta",
        "target_epsilon",
        "noise_multiplier",
        "clip",
        "accountant",
        "ledger",
    ),
    "What others see of this trainer": ("receipts", "serve", "public_url"),
    "The account": ("keystore", "password_file", "work"),
    "The market and its storage": (
        "rpc",
        "deployment",
        "chain_id",
        "store",
        "store_quota",
        "kubo",
        "kubo_auth_file",
        "gateway",
        "srs",
    ),
}


@click.group()
def trainer() -> None:
    """Enrol, train and claim (trainers)."""


trainer.add_command(inspect_model)


@trainer.command()
@job_argument
@click.option(
    "--stake",
    type=Amount(),
    metavar="AMOUNT",
    help="More than JOB asks for: each whole multiple is a ticket in its draw.",
)
@actor_options
def enrol(job_number: int, stake: int | None, actor: Actor) -> None:
    """Take a seat in JOB, wait for one where all are taken, or put a lost stake back.

    Where JOB draws its seats, whoever staked before the draw began has part in it: a ticket for each whole multiple of
    the stake that it asks for. Elsewhere who comes first sits.

    Where JOB's models are sealed this also asks for their key, which comes after the stake is in place.
    """
    # Imported here: the compiler behind it takes a while to load, and most commands do without it.
    from trainer_client.enrolment import check_before_staking, check_record, proof_of_leave

    job = actor.job(job_number)
    market, seat = job.market, job.market.seat(job.id, actor.address)
    there = _enrolled_already(job, actor.address, seat)
    if there:
        click.echo(there)
        return
    stake_wei = checked_stake(job.id, job.terms, stake, market.chain.timestamp())
    proof: tuple[bytes, ...] = ()
    if seat is None:
        check_record(job, actor.address)
        proof = proof_of_leave(job, actor.address)
    access = ModelAccess(job, actor.sender.account)
    access.look()
    with console().status("opening the chain's commitment to the first model"):
        check_before_staking(job, actor.network.srs_of(job))
    before = market.comings_and_goings(job.id, actor.address)
    enrolled = sum(isinstance(event, TrainerEnrolled | TrainerWaits) for event in before)
    actor.allow_deposit(job.terms.token, stake_wei)
    actor.sender.send(
        f"enrol/{job.id}/{enrolled}", market.enrol(job.id, job.terms, stake_wei, proof=proof), _finality(job)
    )
    if access.announce(actor.sender):
        click.echo(f"the models of job {job.id} are sealed; this account has asked for their key")
    _tell_enrolled(job, actor.address, stake_wei)


@trainer.command(cls=GroupedCommand, headings=_RUN_HEADINGS)
@job_argument
@click.option("--data", required=True, type=FILE, metavar="PATH", help="A file or folder, see `fedmarket data show`.")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, (1 << 32) - 1),
    help="Of the order of the samples, and what the model draws.",
)
@click.option(
    "--receipts/--no-receipts",
    default=True,
    show_default=True,
    help="Have attestors' receipts put on the chain: whoever they cover cannot be excluded as unavailable.",
)
@execution_options
@privacy_options
@serving_options
@actor_options
def run(
    job_number: int,
    data: Path,
    seed: int,
    receipts: bool,
    choice: ExecutionChoice,
    privacy: PrivacyOptions,
    serving: Serving | None,
    actor: Actor,
) -> None:
    """Train in every round of JOB until it is over. Stop it and start it again at any time: it goes on where it was.

    Where all seats are taken it waits for one: has the seats drawn when it is time, and takes one that it drew, or one
    whose trainer comes no more.

    With --epsilon-limit and --delta it trains privately, and an update that would spend more is not made.
    """
    # Imported here: PyTorch takes seconds to load, and the other commands do without it.
    from fedmarket.commands.data_shown import open_shown
    from trainer_client.job_model import JobModel
    from trainer_client.receipts import ReceiptFiling
    from trainer_client.session import TrainerSession

    execution = choice.execution()
    job = actor.job(job_number)
    model = JobModel.of_document(job.document, job.files)
    screen = console()
    dataset = open_shown(model.input, data, actor.work / "samples", screen)
    craft, outlook = craft_of(privacy, job, model, data, len(dataset), actor.work, actor.address)
    monitor = JobMonitor(job, screen, f"job {job.id}")
    people = actor.people(job.id)
    session = TrainerSession(
        job,
        dataset,
        actor.sender,
        actor.work,
        actor.network.srs_of(job),
        seed=seed,
        execution=execution,
        craft=craft,
        report=monitor.report,
        progress=monitor.progress,
        receipts=ReceiptFiling(job, people, actor.sender, actor.work, monitor.report) if receipts else None,
    )
    place = "no seat yet" if session.seating.seat is None else f"seat {session.seat}"
    monitor.report(f"{place} of job {job.id}: {len(dataset)} samples on {', '.join(map(str, execution.devices))}")
    for left_out in dataset.skipped:
        monitor.report(f"left out {left_out}")
    if outlook:
        monitor.report(outlook)

    def should_stop() -> bool:
        monitor.poll()
        return False

    # Nothing that was not revealed is in this store: updates come into it once the commit phase is over.
    store, at_home = actor.network.own_store, actor.network.chain.is_development_chain
    with leaving(lambda: _farewell(job, session.seating.seat, actor)), served(serving, store, at_home=at_home) as url:
        if url:
            monitor.report(f"serving blocks at {url}")
            announce(people.directory, actor.sender, job.id, _sealing_key(job, actor), url)
        with monitor.showing():
            session.run(should_stop)
    click.echo(f"job {job.id} is over; `fedmarket trainer claim {job.id} --stake` takes what is due, once vested")


@trainer.command()
@job_argument
@to_option
@click.option("--stake", is_flag=True, help="Take the stake back, too.")
@actor_options
def claim(job_number: int, to: str | None, stake: bool, actor: Actor) -> None:
    """Take all vested pay of JOB; with --stake, the stake as well."""
    to = checked_address(to) if to else actor.address
    job = actor.job(job_number)
    token = job.terms.token
    credits = claimable(job, actor.address)
    for credit in credits:
        take(job, actor.sender, credit, to)
        click.echo(f"attempt {credit.attempt}: {money(credit.amount_wei, token)}")
    if stake:
        click.echo(f"stake: {money(_withdraw_stake(job, actor, to), token)}")
    total_wei = sum(credit.amount_wei for credit in credits)
    click.echo(f"claimed {money(total_wei, token)} to {to}{_still_vesting(job, actor.address)}")


@trainer.command()
@job_argument
@click.option("--work", type=FILE, metavar="DIR", help="What survives a restart; .fedmarket/work/ADDRESS by default.")
@address_options
def status(job_number: int, work: Path | None, address: str, options: NetworkOptions) -> None:
    """Show this account's seat in JOB, or what it waits for, what it earned and what can be claimed."""
    network = Network.connect(options)
    overview = JobOverview.read(network, job_number)
    job = network.job(job_number, DEFAULT_WORK / "cache")
    line = next((line for line in overview.trainers if line.address == address), None)
    place = _unseated_rows(job, overview, address) if line is None else _seat_rows(overview, line)
    console().print(
        facts(
            [
                ("job", f"{overview.id}  {overview.name}"),
                ("phase", phase_text(overview.moment)),
                *place,
                *_money_rows(job, overview, address),
                *privacy_rows(job, work or DEFAULT_WORK / address),
            ]
        )
    )


@trainer.command()
@click.argument("data", metavar="DATA", type=FILE)
@limit_options
def privacy(data: Path, privacy: PrivacyOptions) -> None:
    """Show what was spent of the privacy of DATA, over all jobs; begin its ledger, or change its limit on purpose."""
    ledger = privacy.opened(data, sorted(DEFAULT_WORK.glob(f"*/{WITNESS}")), raising=True)
    if ledger is None:
        raise InvalidInput(f"{data} has no privacy ledger: --epsilon-limit and --delta begin one")
    console().print(facts([("ledger", str(ledger.folder)), *ledger_rows(ledger.balance())]))


@trainer.command()
@click.argument("address", metavar="ADDRESS")
@click.option("--owner", required=True, metavar="ADDRESS", help="Of the jobs that it was paid in.")
@network_options
def record(address: str, owner: str, options: NetworkOptions) -> None:
    """Show the record of a trainer's ADDRESS: how many rounds it was paid for in one owner's jobs.

    Jobs can ask for such a record, of an owner that they name. What is earned counts once it is claimed.
    """
    address, owner = checked_address(address), checked_address(owner)
    found = Network.connect(options).market.record_of(owner, address)
    rows = [("trainer", address), ("owner", owner), ("paid rounds", str(found.paid_rounds))]
    if found.paid_rounds:
        rows += [("first", moment(found.first_at_s)), ("last", moment(found.last_at_s))]
    console().print(facts(rows))


def checked_stake(job: int, terms: JobTerms, stake_wei: int | None, now_s: int) -> int:
    """What to put down: the least that the job asks for where nothing else is said.

    Args:
        job: the job's number.
        terms: its terms.
        stake_wei: what was asked for.
        now_s: the latest block's timestamp.

    Raises:
        InvalidInput: it is less than the least, or more than buys anything.
    """
    least_wei, token = terms.trainer_stake_wei, terms.token
    if stake_wei is None or stake_wei == least_wei:
        return least_wei
    least, most = money(least_wei, token), money(least_wei * MAX_TICKETS, token)
    if stake_wei < least_wei:
        raise InvalidInput(
            f"a stake of {money(stake_wei, token)} is too little for job {job}: expected at least {least}"
        )
    if not terms.entry.draw_period_s:
        raise InvalidInput(f"job {job} draws no seats: more than {least} buys nothing; leave --stake out")
    if now_s >= terms.draw_from_s:
        raise InvalidInput(
            f"it is too late for the draw of job {job}: more than {least} buys nothing; leave --stake out"
        )
    if stake_wei > least_wei * MAX_TICKETS:
        raise InvalidInput(f"{MAX_TICKETS} tickets are the most in the draw of job {job}: expected at most {most}")
    return stake_wei


def _enrolled_already(job: PublishedJob, address: str, seat: Seat | None) -> str | None:
    if seat is not None and job.market.state(job.id).staked >> seat & 1:
        return f"{address} has seat {seat} in job {job.id} already, with its stake in place"
    if seat is None and job.market.waiting(job.id, address).stake_wei:
        return f"{address} waits for a seat in job {job.id} already: {_standing(job, address).outlook(job.terms)}"
    return None


def _tell_enrolled(job: PublishedJob, address: str, stake_wei: int) -> None:
    seat, terms = job.market.seat(job.id, address), job.terms
    stake, following = money(stake_wei, terms.token), f"next: fedmarket trainer run {job.id} --data PATH"
    if seat is None:
        click.echo(f"waiting with a stake of {stake}: {_standing(job, address).outlook(terms)}; {following}")
        return
    left_s = terms.draw_from_s - job.market.chain.timestamp()
    is_open = terms.entry.draw_period_s and left_s > 0
    drawn = f"; seats are drawn in {duration(left_s)}, if more come than there are" if is_open else ""
    click.echo(f"seat {seat} of job {job.id}, stake {stake}{drawn}; {following}")


def _standing(job: PublishedJob, address: str) -> Standing:
    return Standing.read(job.market, job.id, job.terms, address, job.market.chain.block_number())


def _seat_rows(overview: JobOverview, line: TrainerLine) -> list[tuple[str, str]]:
    return [
        ("seat", f"{line.seat}, stake {'in place' if line.staked else 'NOT in place: enrol again'}"),
        ("accepted", f"{line.accepted_rounds} of {len(overview.history.settlements())} settled rounds"),
        ("score", f"{line.score:.3f}"),
    ]


def _unseated_rows(job: PublishedJob, overview: JobOverview, address: str) -> list[tuple[str, str]]:
    """Of who waits, or had a seat before."""
    terms = overview.terms
    standing = Standing.read(job.market, job.id, terms, address, overview.block)
    loss = standing.loss(terms)
    if not standing.stake_wei and loss is None and all(lost.trainer != address for lost in overview.history.losses):
        raise InvalidInput(f"{address} has no seat in job {job.id}: `fedmarket trainer enrol` takes one")
    rows = [("seat", loss or "none")]
    if standing.stake_wei:
        idle = idle_seats(job.market.at(overview.block), job.id, overview.state)
        rows += [
            (
                "stake",
                f"{money(standing.stake_wei, terms.token)}, waiting; `fedmarket trainer claim --stake` takes it back",
            ),
            ("outlook", standing.outlook(terms)),
            ("idle seats", seats_text(idle)),
        ]
    return rows


def _money_rows(job: PublishedJob, overview: JobOverview, address: str) -> list[tuple[str, str]]:
    history, token = overview.history, overview.terms.token
    earned_wei = sum(credit.amount_wei for credit in history.credits(address, job.market.seat(job.id, address)))
    claimed_wei = sum(event.amount_wei for event in history.of(Claimed) if event.trainer == address)
    ready_wei = sum(credit.amount_wei for credit in claimable(job, address))
    return [
        ("earned", money(earned_wei, token)),
        ("claimed", money(claimed_wei, token)),
        ("claimable", money(ready_wei, token) + _still_vesting(job, address)),
    ]


def _withdraw_stake(job: PublishedJob, actor: Actor, to: str) -> int:
    """Take the stake back, from a seat or from among those that wait."""
    before = job.market.comings_and_goings(job.id, actor.address)
    taken = sum(isinstance(event, StakeWithdrawn | WaitEnded) for event in before)
    call = job.market.withdraw_stake(job.id, to)
    receipt = actor.sender.send(f"unstake/{job.id}/{taken}", call, _finality(job))
    events = job.market.events_in(receipt.logs)
    return sum(event.amount_wei for event in events if isinstance(event, StakeWithdrawn | WaitEnded))


def _still_vesting(job: PublishedJob, address: str) -> str:
    seat = job.market.seat(job.id, address)
    now_s = job.market.chain.timestamp()
    later = [credit for credit in job.history().credits(address, seat) if credit.vests_at_s > now_s]
    if not later:
        return ""
    amount_wei = sum(credit.amount_wei for credit in later)
    last_s = later[-1].vests_at_s
    when = "once the dispute is over" if last_s == FROZEN_S else f"by {moment(last_s)}"
    return f"; {money(amount_wei, job.terms.token)} more {when}"


def _farewell(job: PublishedJob, seat: Seat | None, actor: Actor) -> str:
    again = f"run the same command again to go on with job {job.id}"
    if seat is None:
        return f"stopped, and the stake waits on: {again}, or `fedmarket trainer claim {job.id} --stake` takes it back"
    try:
        state, now_s = job.market.state(job.id), job.market.chain.timestamp()
    except FedmarketError:
        return f"stopped; {again}"
    # A commit that was sent counts, mined or not.
    committed = state.committed >> seat & 1 or actor.sender.knows(f"commit/{job.id}/{state.attempt}")
    left_s = job.terms.schedule(state.attempt_start_s).reveal_end_s - now_s
    if not committed or state.revealed >> seat & 1 or left_s <= 0:
        return f"stopped; {again}"
    stake = money(job.terms.trainer_stake_wei, job.terms.token)
    return (
        f"stopped after a commit that is not revealed: {again} within {duration(left_s)}, or lose the stake of {stake}"
    )


def _sealing_key(job: PublishedJob, actor: Actor) -> bytes:
    chain_id, contract = job.market.chain.chain_id, job.market.address
    return SealingKey.of_account(actor.sender.account, chain_id, contract, job.id).public


def _finality(job: PublishedJob) -> Finality:
    return Finality(blocks=1 + job.document.spec.periods.confirmations)
