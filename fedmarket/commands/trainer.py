"""Trainers: take a seat, train round after round, take what was earned."""

from __future__ import annotations

from pathlib import Path

import click

from fedmarket.commands.amounts import duration, moment, money
from fedmarket.commands.interruption import leaving
from fedmarket.commands.job_overview import JobOverview
from fedmarket.commands.job_tables import facts, phase_text
from fedmarket.commands.live import JobMonitor
from fedmarket.commands.options import FILE, actor_options, address_options, console, job_argument, to_option
from fedmarket.connection import DEFAULT_WORK, Actor, Network, NetworkOptions
from market.chain.contract import checked_address
from market.chain.events import StakeWithdrawn, TrainerEnrolled
from market.chain.transactions import Finality
from market.protocol.errors import FedmarketError, InvalidInput
from market.protocol.identifiers import Seat
from market.protocol.rounds import FROZEN_S
from market.published_job import PublishedJob
from trainer_client.claims import claim as take
from trainer_client.claims import claimable


@click.group()
def trainer() -> None:
    """Enrol, train and claim (trainers)."""


@trainer.command()
@job_argument
@actor_options
def enrol(job_number: int, actor: Actor) -> None:
    """Take a seat in JOB with the stake that it asks for, or put a lost stake back."""
    # Imported here: the compiler behind it takes a while to load, and most commands do without it.
    from trainer_client.enrolment import check_before_staking, proof_of_leave

    job = actor.job(job_number)
    market, stake_wei = job.market, job.terms.trainer_stake_wei
    seat = market.seat(job.id, actor.address)
    if seat is not None and market.state(job.id).staked >> seat & 1:
        click.echo(f"{actor.address} has seat {seat} in job {job.id} already, with its stake in place")
        return
    proof = () if seat is not None else proof_of_leave(job, actor.address)
    with console().status("opening the chain's commitment to the first model"):
        check_before_staking(job, actor.network.srs_of(job))
    enrolments = market.events(job.id, kinds=[TrainerEnrolled])
    enrolled = sum(isinstance(event, TrainerEnrolled) and event.trainer == actor.address for event in enrolments)
    actor.allow_deposit(job.terms.token, stake_wei)
    actor.sender.send(f"enrol/{job.id}/{enrolled}", market.enrol(job.id, job.terms, proof=proof), _finality(job))
    click.echo(
        f"seat {market.seat(job.id, actor.address)} of job {job.id}, stake {money(stake_wei, job.terms.token)}; "
        f"next: fedmarket trainer run {job.id} --data PATH"
    )


@trainer.command()
@job_argument
@click.option("--data", required=True, type=FILE, metavar="PATH", help="An .npz or .csv file, or a folder of images.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, (1 << 32) - 1), help="Of the sample order."
)
@actor_options
def run(job_number: int, data: Path, device: str, seed: int, actor: Actor) -> None:
    """Train in every round of JOB until it is over. Stop it and start it again at any time."""
    # Imported here: PyTorch takes seconds to load, and the other commands do without it.
    from trainer_client.device import choose_device
    from trainer_client.job_model import JobModel
    from trainer_client.session import TrainerSession

    chosen = choose_device(device)
    job = actor.job(job_number)
    dataset = JobModel.of_document(job.document).input.load(data)
    screen = console()
    monitor = JobMonitor(job, screen, f"job {job.id}")
    session = TrainerSession(
        job,
        dataset,
        actor.sender,
        actor.work,
        actor.network.srs_of(job),
        seed=seed,
        device=chosen,
        report=monitor.report,
        progress=monitor.progress,
    )
    monitor.report(f"seat {session.seat} of job {job.id}: {len(dataset)} samples on {chosen}")
    for line in dataset.skipped:
        monitor.report(f"left out {line}")

    def should_stop() -> bool:
        monitor.poll()
        return False

    with leaving(lambda: _farewell(job, session.seat, actor)), monitor.showing():
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
@address_options
def status(job_number: int, address: str, options: NetworkOptions) -> None:
    """Show this account's seat in JOB, what it earned and what can be claimed."""
    network = Network.connect(options)
    overview = JobOverview.read(network, job_number)
    line = next((line for line in overview.trainers if line.address == address), None)
    if line is None:
        raise InvalidInput(f"{address} has no seat in job {job_number}: `fedmarket trainer enrol` takes one")
    job, token = network.job(job_number, DEFAULT_WORK / "cache"), overview.terms.token
    ready_wei = sum(credit.amount_wei for credit in claimable(job, address))
    console().print(
        facts(
            [
                ("job", f"{overview.id}  {overview.name}"),
                ("phase", phase_text(overview.moment)),
                ("seat", f"{line.seat}, stake {'in place' if line.staked else 'NOT in place: enrol again'}"),
                ("accepted", f"{line.accepted_rounds} of {len(overview.history.settlements())} settled rounds"),
                ("score", f"{line.score:.3f}"),
                ("earned", money(line.earned_wei, token)),
                ("claimed", money(line.claimed_wei, token)),
                ("claimable", money(ready_wei, token) + _still_vesting(job, address)),
            ]
        )
    )


def _withdraw_stake(job: PublishedJob, actor: Actor, to: str) -> int:
    withdrawals = job.market.events(job.id, kinds=[StakeWithdrawn])
    taken = [event for event in withdrawals if isinstance(event, StakeWithdrawn) and event.trainer == actor.address]
    call = job.market.withdraw_stake(job.id, to)
    receipt = actor.sender.send(f"unstake/{job.id}/{len(taken)}", call, _finality(job))
    events = job.market.events_in(receipt.logs)
    return sum(event.amount_wei for event in events if isinstance(event, StakeWithdrawn))


def _still_vesting(job: PublishedJob, address: str) -> str:
    seat = job.market.seat(job.id, address)
    now_s = job.market.chain.timestamp()
    later = [credit for credit in job.history().credits(seat) if credit.vests_at_s > now_s] if seat is not None else []
    if not later:
        return ""
    amount_wei = sum(credit.amount_wei for credit in later)
    last_s = later[-1].vests_at_s
    when = "once the dispute is over" if last_s == FROZEN_S else f"by {moment(last_s)}"
    return f"; {money(amount_wei, job.terms.token)} more {when}"


def _farewell(job: PublishedJob, seat: Seat, actor: Actor) -> str:
    again = f"run the same command again to go on with job {job.id}"
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


def _finality(job: PublishedJob) -> Finality:
    return Finality(blocks=1 + job.document.spec.periods.confirmations)
