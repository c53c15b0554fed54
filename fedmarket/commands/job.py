"""Project owners: post a job, watch it, take the model, close it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from fedmarket.commands.closing import check_published, close_job, take_refund
from fedmarket.commands.job_overview import JobOverview
from fedmarket.commands.job_tables import JobLine, job_list, job_report
from fedmarket.commands.options import (
    FILE,
    account_options,
    actor_options,
    console,
    job_argument,
    network_options,
    to_option,
)
from fedmarket.commands.reading import take_key
from fedmarket.connection import AccountOptions, Actor, Network, NetworkOptions
from market.chain.contract import checked_address
from market.model_access import KeyGrants, ModelAccess
from market.protocol import integer_model
from market.protocol.errors import InvalidInput
from market.protocol.identifiers import Digest, JobId
from market.protocol.integer_model import Integers
from market.published_job import PublishedJob

STATES = ("open", "seats", "running", "disputed", "closed")
EXAMPLES = Path(__file__).parents[1] / "examples"


class JobGroup(click.Group):
    """Posting alone needs PyTorch, which takes seconds to load: it is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of a job's life."""
        return ["example", "post", "list", "show", "model", "grant", "skip", "expire", "close"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command."""
        if cmd_name == "post":
            from fedmarket.commands.job_post import post

            return post
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, `post` without importing it."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.commands.get(name)
            rows.append((name, command.get_short_help_str(80) if command else "Publish a job and lock its reward."))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=JobGroup)
def job() -> None:
    """Post, watch and close jobs (project owners)."""


@job.command()
@click.option("--without-exam", is_flag=True, help="Of a job whose trainers judge one another: no reference set.")
@click.option("--attestor", "attestors", multiple=True, metavar="ADDRESS", help="Who answers disputes; once for each.")
@click.option("--draw", is_flag=True, help="Of a job that draws its seats by stake, if more come than fit.")
def example(without_exam: bool, attestors: tuple[str, ...], draw: bool) -> None:
    """Print a commented job spec to start from."""
    name = "digits-median.yaml" if without_exam else "digits.yaml"
    text = (EXAMPLES / name).read_text("utf-8")
    text = _with_attestors(text, attestors) if attestors else text
    click.echo(_with_draw(text) if draw else text, nl=False)


@job.command("list")
@click.option("--market", "market_url", metavar="URL", envvar="FEDMARKET_MARKET", help="Ask this market's service.")
@click.option("--state", type=click.Choice(STATES), help="With --market: only jobs that stand so.")
@click.option("--text", metavar="TEXT", help="With --market: only jobs with this in their name or architecture.")
@network_options
def list_jobs(options: NetworkOptions, market_url: str | None, state: str | None, text: str | None) -> None:
    """List the market's jobs: from the chain, or faster and by what they are about from a service that reads it."""
    if market_url is not None:
        _list_by_service(market_url, state, text)
        return
    if state is not None or text is not None:
        raise InvalidInput("--state and --text are for a service to answer: name it with --market URL")
    network = Network.connect(options)
    count = network.market.job_count()
    if not count:
        click.echo("no job has been posted yet")
        return
    console().print(job_list(JobLine.of_overview(JobOverview.read(network, number)) for number in range(count)))


def _list_by_service(url: str, state: str | None, text: str | None) -> None:
    from market.client import MarketClient

    with MarketClient(url) as client:
        found = [JobLine.of_summary(told) for told in client.jobs(state=state, text=text)]
    if not found:
        click.echo("the market has no such job")
        return
    console().print(job_list(found))


@job.command()
@job_argument
@click.option("--json", "as_json", is_flag=True, help="As JSON; amounts in wei, times as block timestamps.")
@network_options
def show(job_number: int, as_json: bool, options: NetworkOptions) -> None:
    """Show JOB: its terms, rounds, trainers, and every wei of its money."""
    overview = JobOverview.read(Network.connect(options), job_number, in_full=True)
    if as_json:
        click.echo(json.dumps(overview.to_json(), indent=2))
        return
    screen = console()
    screen.print(job_report(overview, screen))


@job.command()
@job_argument
@click.argument("file", metavar="FILE", type=FILE)
@account_options
@network_options
def model(job_number: int, file: Path, account: AccountOptions, options: NetworkOptions) -> None:
    """Fetch JOB's current model and write it to FILE: its parameters to a .npz, its exact integers to a .i64 file.

    Where JOB's models are sealed it takes the keystore of an account that has their key. FILE is not sealed.

    Whether it is the model that the chain committed to is what `fedmarket model verify` says.
    """
    if file.suffix not in (".npz", ".i64"):
        raise InvalidInput(f"{file}: expected the name of a file that ends in .npz or .i64")
    network = Network.connect(options)
    digest = network.market.state(JobId(job_number)).model
    # A folder of its own: what is written was fetched and verified just now.
    with TemporaryDirectory() as cache:
        published = network.patient().job(job_number, Path(cache))
        take_key(network, published, account)
        if file.suffix == ".i64":
            _write_integers(file, published.model(digest))
            click.echo(f"wrote {published.dimension:,} integers to {file}")
            return
        arrays = named_parameters(published, digest)
    _write_npz(file, arrays)
    click.echo(f"wrote {len(arrays)} arrays, {published.dimension:,} float32 parameters, to {file}")


@job.command()
@job_argument
@click.option("--to", "named", multiple=True, metavar="ADDRESS", help="Also to this account; once for each.")
@actor_options
def grant(job_number: int, named: tuple[str, ...], actor: Actor) -> None:
    """Give the key of JOB's sealed models to all who take part and lack it.

    That is whoever has bonded, has a seat or waits for one, attests or sets the exam, and has said what to seal to:
    their programs do so by themselves. `fedmarket owner run` does this as they come. With --to the key goes to an
    account that has no part in JOB yet, such as an aggregator that asks before it bonds.

    Nobody can be made to forget it: who leaves keeps what the key opens.
    """
    published = actor.job(job_number)
    if not published.models.are_sealed:
        raise InvalidInput(f"the models of job {job_number} are open to everybody: there is no key to hand out")
    ModelAccess(published, actor.sender.account).require()
    given = KeyGrants(published, actor.sender).give([checked_address(address) for address in named])
    click.echo("".join(f"{address} can read the models of job {job_number} now\n" for address in given), nl=False)
    if not given:
        click.echo(f"everybody who takes part in job {job_number} and has asked for its key was given it already")


@job.command()
@job_argument
@actor_options
def skip(job_number: int, actor: Actor) -> None:
    """Skip JOB's round, whose commits stayed below the minimum."""
    market, state = actor.network.market, actor.network.market.state(JobId(job_number))
    call = market.skip_round(JobId(job_number), state.attempt)
    actor.sender.send(f"skip/{job_number}/{state.attempt}", call)
    click.echo(f"round {state.round} of job {job_number} is skipped")


@job.command()
@job_argument
@actor_options
def expire(job_number: int, actor: Actor) -> None:
    """Expire JOB's attempt, which was not settled in time: its aggregator loses the bond."""
    market, state = actor.network.market, actor.network.market.state(JobId(job_number))
    call = market.expire_round(JobId(job_number), state.attempt)
    actor.sender.send(f"expire/{job_number}/{state.attempt}", call)
    click.echo(f"attempt {state.attempt} of job {job_number} is expired; round {state.round} starts again")


@job.command()
@job_argument
@to_option
@click.option(
    "--forfeit-exam", is_flag=True, help="Close it although the exam is not published: its deposits are lost."
)
@actor_options
def close(job_number: int, to: str | None, forfeit_exam: bool, actor: Actor) -> None:
    """Close JOB once its rounds are over; its owner gets the unused reward back. Credits stay claimable."""
    to = checked_address(to) if to else actor.address
    job, market = JobId(job_number), actor.network.market
    state = market.state(job)
    if not forfeit_exam:
        check_published(actor, job, state)
    if not state.closed:
        close_job(actor, job)
    elif state.owner != actor.address:
        click.echo(f"job {job} was closed before")
    if state.owner == actor.address:
        take_refund(actor, job, to)


def _with_attestors(text: str, attestors: tuple[str, ...]) -> str:
    """The example, in which these answer disputes."""
    named = ", ".join(f'"{checked_address(attestor)}"' for attestor in attestors)
    text = text.replace("# disputes:\n", "disputes:\n").replace('["0x...", "0x...", "0x..."]\n', f"[{named}]\n")
    return text.replace("#   attestors:", "  attestors:").replace("#   answer_s:", "  answer_s:")


def _with_draw(text: str) -> str:
    """The example, in which seats are drawn, with the time to come before the draw."""
    text = text.replace("# entry:\n", "entry:\n").replace("#   draw_s:", "  draw_s:")
    return text.replace("enrol_s: 120 ", "enrol_s: 360 ")


def named_parameters(job: PublishedJob, digest: Digest) -> dict[str, NDArray[np.float32]]:
    """A model's parameters as float32 arrays, by their names in the manifest; no array is a view of a file.

    Raises:
        StorageError: it is not in this store, damaged, or of another length.
        InvalidModel: an entry is out of range.
    """
    vector = integer_model.to_float32(job.model(digest), job.document.spec.update.scale_exponent)
    entries = job.document.parameters.entries
    return {e.name: vector[e.offset : e.offset + e.size].reshape(e.shape).copy() for e in entries}


def _write_integers(file: Path, model: Integers) -> None:
    try:
        integer_model.write(model, file)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be written: {error.strerror}") from error


def _write_npz(file: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Complete or not at all."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.draft")
    try:
        with draft.open("xb") as stream:
            # As an archive is read: parameters may have names that `savez` has taken for its own arguments.
            np.savez(stream, allow_pickle=False, **arrays)
        draft.replace(file)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
