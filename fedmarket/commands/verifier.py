"""Verifiers: stake in pools, generate what tasks ask for, take what was earned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from rich.table import Table

from fedmarket.commands.amounts import duration, money
from fedmarket.commands.interruption import leaving
from fedmarket.commands.job_tables import facts
from fedmarket.commands.options import Amount, actor_options, address_options, console, to_option
from fedmarket.commands.verifier_monitor import VerifierMonitor
from fedmarket.connection import Actor, Network, NetworkOptions
from market.chain.consensus_events import Withdrawn
from market.chain.consensus_records import MAX_UNITS, PanelState, PoolTerms, SeatState, TaskPhase, VerifierStake
from market.chain.contract import checked_address
from market.chain.output_consensus import OutputConsensus
from market.protocol.errors import FedmarketError, InvalidInput
from market.protocol.identifiers import PoolId, TaskId
from market.storage import Cid

if TYPE_CHECKING:
    from trainer_client.verifier.services import Services

pool_argument = click.argument("pool_number", metavar="POOL", type=click.IntRange(min=0))
DTYPES = ("float32", "bfloat16", "float16")
KERNELS = ("fused", "plain")


@click.group()
def verifier() -> None:
    """Generate what tasks ask for, and be paid for agreeing (verifiers)."""


@verifier.command()
@pool_argument
@click.option("--units", required=True, type=click.IntRange(1, MAX_UNITS), help="Each is a ticket in POOL's draws.")
@actor_options
def stake(pool_number: int, units: int, actor: Actor) -> None:
    """Put units down in POOL: a seat in a task locks one, and who is wrong or silent there loses it.

    POOL's service is fetched first, and its model loaded: what cannot be done here is not staked on.
    """
    from trainer_client.verifier.session import pool_of

    consensus, pool = actor.network.consensus, PoolId(pool_number)
    terms, before = consensus.pool(pool), consensus.verifier(pool, actor.address)
    if before.units + units > MAX_UNITS:
        raise InvalidInput(f"{before.units} units are staked in pool {pool} already: at most {MAX_UNITS} can be")
    with console().status(f"loading the service of pool {pool}"):
        _services(actor.network.patient(), actor).ready(pool_of(terms))
    # With every stake the block changes that the units count from: until then it is the same one, sent once.
    key = f"consensus/stake/{pool}/{before.units}/{before.since}"
    actor.sender.send(key, consensus.stake(pool, units, terms.unit_wei))
    now = consensus.verifier(pool, actor.address)
    click.echo(
        f"{_units(now.units)} of {money(terms.unit_wei)} in pool {pool}; next: fedmarket verifier run {pool} "
        "(tasks asked for from now on are open to them)"
    )


@verifier.command()
@click.argument("pool_numbers", metavar="[POOL]...", nargs=-1, type=click.IntRange(min=0))
@click.option(
    "--dtype", type=click.Choice(DTYPES), default="float32", show_default=True, help="Of the model's numbers."
)
@click.option("--batch-size", type=click.IntRange(1, 1 << 16), default=16, show_default=True, help="Samples at a time.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Of the processor; as many as it has by default.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--kernels", type=click.Choice(KERNELS), default="fused", show_default=True, help="How layers are computed."
)
@click.option(
    "--least-share",
    type=Amount(),
    show_default="a thousandth of the pool's unit",
    metavar="AMOUNT",
    help="No seat is taken for less: whoever opens a task sets its share.",
)
@click.option("--appeal", is_flag=True, help="Appeal against decisions that leave this account out; that takes a bond.")
@actor_options
def run(
    pool_numbers: tuple[int, ...],
    dtype: str,
    batch_size: int,
    threads: int | None,
    device: str,
    kernels: str,
    least_share: int | None,
    appeal: bool,
    actor: Actor,
) -> None:
    """Do the tasks of each POOL; without one, those of every pool that this account has staked in.

    It takes the seats that it draws, where it can be done in time, generates, seals, reveals, and has tasks settled and
    finished. Stop it and start it again at any time, with the same options: what it sealed it must reveal.
    """
    # Imported here: PyTorch takes seconds to load, and the other commands do without it.
    from trainer_client.device import choose_device
    from trainer_client.generation import Execution
    from trainer_client.verifier.session import VerifierSession

    execution = Execution(dtype, str(choose_device(device)), batch_size, threads, kernels)  # type: ignore[arg-type]
    monitor = VerifierMonitor(console())
    network = actor.network
    pools = [PoolId(number) for number in dict.fromkeys(pool_numbers)]
    _require_stake(network.consensus, actor.address, pools)
    session = VerifierSession(
        network.consensus,
        actor.sender,
        _services(network, actor),
        network.store,
        actor.work / "verifier",
        execution,
        pools=pools or None,
        appeals=appeal,
        least_share_wei=least_share,
        report=monitor.report,
        progress=monitor.progress,
    )
    which = f"pools {', '.join(map(str, pools))}" if pools else "every pool with a stake of this account"
    monitor.report(f"verifying in {which}: {execution}")
    with leaving(lambda: _farewell(network.consensus, actor.address, session.open_tasks)), monitor.showing():
        session.run()


@verifier.command()
@pool_argument
@click.option("--units", type=click.IntRange(1, MAX_UNITS), help="How many; all that no seat holds by default.")
@actor_options
def unstake(pool_number: int, units: int | None, actor: Actor) -> None:
    """Take units out of POOL that no seat holds; `fedmarket verifier claim` pays them out."""
    consensus, pool = actor.network.consensus, PoolId(pool_number)
    terms, before = consensus.pool(pool), consensus.verifier(pool, actor.address)
    free = before.units - before.locked
    taken = free if units is None else units
    if not taken or taken > free:
        raise InvalidInput(
            f"{free} of this account's {before.units} units in pool {pool} are free, of which {taken} cannot be taken"
        )
    key = f"consensus/unstake/{pool}/{before.units}/{before.since}"
    actor.sender.send(key, consensus.unstake(pool, taken))
    click.echo(f"took {_units(taken)} of {money(terms.unit_wei)} out of pool {pool}; next: fedmarket verifier claim")


@verifier.command()
@to_option
@actor_options
def claim(to: str | None, actor: Actor) -> None:
    """Take all that was earned, and what was unstaked."""
    to = checked_address(to) if to else actor.address
    consensus = actor.network.consensus
    amount_wei = consensus.credits_wei(actor.address)
    if not amount_wei:
        raise InvalidInput(f"there is nothing that {actor.address} could claim now")
    withdrawn = consensus.all_events([Withdrawn])
    number = sum(isinstance(event, Withdrawn) and event.account == actor.address for event in withdrawn)
    receipt = actor.sender.send(f"consensus/withdraw/{number}", consensus.withdraw(to))
    paid = sum(event.amount_wei for event in consensus.events_in(receipt.logs) if isinstance(event, Withdrawn))
    click.echo(f"claimed {money(paid)} to {to}")


@verifier.command()
@address_options
def status(address: str, options: NetworkOptions) -> None:
    """Show this account's stakes, its seats in tasks that are not finished, and what it can claim."""
    consensus = Network.connect(options).consensus
    stakes = list(_stakes(consensus, address))
    screen = console()
    screen.print(facts([("verifier", address), ("claimable", money(consensus.credits_wei(address)))]))
    if not stakes:
        screen.print("nothing is staked: `fedmarket verifier stake POOL --units N` does")
        return
    table = _table("pool", "units", "free", "a unit", "service")
    for pool, terms, held in stakes:
        service = str(Cid.from_digest(terms.service, 0))
        table.add_row(str(pool), str(held.units), str(held.units - held.locked), money(terms.unit_wei), service)
    screen.print(table)
    parts = list(_parts(consensus, address, map(TaskId, range(consensus.task_count()))))
    if parts:
        screen.print(_parts_table(parts, consensus.chain.timestamp()))


# ---------------------------------------------------------------------- what is shown


@dataclass(frozen=True)
class _Part:
    """An account's seat in a task that is not finished."""

    task: TaskId
    phase: TaskPhase
    panel: PanelState
    state: SeatState

    @property
    def due_until_s(self) -> int | None:
        """By when something of the seat's own has to be done; None where nothing is left to be done."""
        if self.state is SeatState.TAKEN and self.phase in (TaskPhase.SEATING, TaskPhase.COMMIT):
            return self.panel.commit_until_s
        if self.state is SeatState.COMMITTED and self.phase in (TaskPhase.COMMIT, TaskPhase.REVEAL):
            return self.panel.reveal_until_s
        return None


def _parts(consensus: OutputConsensus, address: str, tasks: Iterable[TaskId]) -> Iterator[_Part]:
    for number in tasks:
        state = consensus.state(number)
        if state.phase is TaskPhase.FINISHED:
            continue
        for index in range(state.panel + 1):
            panel = consensus.panel(number, index)
            yield from (_Part(number, state.phase, panel, s.state) for s in panel.seats if s.verifier == address)


def _parts_table(parts: list[_Part], now_s: int) -> Table:
    table = _table("task", "phase", "seat", "due in")
    for part in parts:
        left = "-" if part.due_until_s is None else duration(max(0, part.due_until_s - now_s))
        table.add_row(str(part.task), part.phase.name.lower(), part.state.name.lower(), left)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _stakes(consensus: OutputConsensus, address: str) -> Iterator[tuple[PoolId, PoolTerms, VerifierStake]]:
    for pool in map(PoolId, range(consensus.pool_count())):
        held = consensus.verifier(pool, address)
        if held.units:
            yield pool, consensus.pool(pool), held


def _require_stake(consensus: OutputConsensus, address: str, pools: list[PoolId]) -> None:
    if not pools and next(_stakes(consensus, address), None) is None:
        raise InvalidInput(f"{address} has nothing staked: `fedmarket verifier stake POOL --units N` does")
    for pool in pools:
        if not consensus.verifier(pool, address).units:
            raise InvalidInput(
                f"{address} has nothing staked in pool {pool}: `fedmarket verifier stake {pool} --units N` does"
            )


def _farewell(consensus: OutputConsensus, address: str, tasks: Iterable[TaskId]) -> str:
    again = "run the same command again to go on"
    try:
        now_s = consensus.chain.timestamp()
        due = [(part.due_until_s, part) for part in _parts(consensus, address, tasks) if part.due_until_s is not None]
    except FedmarketError:
        return f"stopped; {again}"
    if not due:
        return f"stopped; {again}"
    until_s, part = min(due, key=lambda entry: entry[0])
    what = "a commit that is not revealed" if part.state is SeatState.COMMITTED else "a seat without a commit"
    left = duration(max(0, until_s - now_s))
    return f"stopped with {what} in task {part.task}: {again} within {left}, or lose the unit that it locks"


def _units(count: int) -> str:
    return "1 unit" if count == 1 else f"{count} units"


def _services(network: Network, actor: Actor) -> Services:
    from trainer_client.verifier.services import Services

    return Services(network.store, actor.work / "cache", actor.job, network.srs_of)
