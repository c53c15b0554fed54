"""`fedmarket demo`: play a whole job and show what came of it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fedmarket.devnet import Devnet, DevnetOptions, Kind
from market.chain.records import JobState
from market.protocol.rounds import Phase

SRS_POINTS = 1 << 16
"""More than the example's model needs. They are made once and kept."""

if TYPE_CHECKING:
    from fedmarket.demo.generative.result import GenerativeResult
    from fedmarket.demo.generative.scenario import GenerativeScenario
    from fedmarket.demo.play import Cast
    from fedmarket.demo.result import Audits, DemoResult
    from fedmarket.demo.scenario import Scenario
    from market.chain.consensus_records import PanelState, TaskState
    from trainer_client.calibration.measuring import Progress as MeasuringProgress
    from trainer_client.calibration.samples import Part
    from zk.srs import Srs


@click.command()
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31), help="Everything follows from it.")
@click.option(
    "--rounds", default=None, type=click.IntRange(1, 100), help="How many rounds; the job's own number if left out."
)
@click.option("--without-exam", is_flag=True, help="Trainers judge one another; nobody examines them.")
@click.option(
    "--generative", is_flag=True, help="Train a model that draws digits, and let verifiers agree on what it draws."
)
@click.option(
    "--task-seed",
    default=None,
    type=click.IntRange(0, 2**53),
    help="With --generative: of the images; the same as --seed if left out.",
)
@click.option("--chain", "kind", default="anvil", show_default=True, type=click.Choice(get_args(Kind)))
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write everything as JSON; with --generative as a page of HTML, unless FILE ends in .json.",
)
@click.option(
    "--plot",
    "plot_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".fedmarket/demo.png"),
    show_default=True,
    help="Write accuracy and pay as PNG.",
)
@click.option(
    "--keep", "keep_folder", type=click.Path(file_okay=False, path_type=Path), help="Leave storage and work there."
)
@click.option("--verbose", is_flag=True, help="Show what every actor does.")
def demo(
    seed: int,
    rounds: int | None,
    without_exam: bool,
    generative: bool,
    task_seed: int | None,
    kind: Kind,
    report_file: Path | None,
    plot_file: Path,
    keep_folder: Path | None,
    verbose: bool,
) -> None:
    """Play a whole job on this machine: five honest trainers, a poisoner, a free rider and a copier, all for real.

    A chain is started and the contracts are deployed, eight trainers train on handwritten digits, the owner examines
    their updates with samples that nobody else has seen, an aggregator settles every round on-chain, everybody is paid,
    the exams are published, and an audit checks it all: with the aggregator's key, which opens the sealed updates, and
    without any, as a stranger sees it. Status 1 if an audit finds a mismatch.

    With --generative the job's model draws digits, and it is asked for some: three honest verifiers on machines unlike
    each other, one that runs a cheaper model, and one that copies what others reveal. Who agrees is paid; how far apart
    two who agree may be is measured on the model before.
    """
    console = Console()
    if generative:
        _play_generative(console, keep_folder, report_file, seed, task_seed, rounds, kind, verbose)
        return
    if task_seed is not None:
        raise click.UsageError("--task-seed is of the images of --generative")
    with _folder(keep_folder) as folder:
        from fedmarket.demo.scenario import make_scenario
        from fedmarket.demo.show import draw, show

        result = _perform(console, folder, make_scenario(seed, rounds, examined=not without_exam), kind, verbose)

        show(result, console)
        if report_file:
            report_file.write_text(json.dumps(result.to_json(), indent=2) + "\n", "utf-8")
            console.print(f"Report: {report_file}")
        plot_file.parent.mkdir(parents=True, exist_ok=True)
        draw(result, plot_file)
        console.print(f"Plot: {plot_file}")
        if keep_folder:
            console.print(f"Storage and work folders: {keep_folder}")
    if not (result.audit.ok and result.audit_without_key.ok):
        raise SystemExit(1)


def _play_generative(
    console: Console,
    keep_folder: Path | None,
    report_file: Path | None,
    seed: int,
    task_seed: int | None,
    rounds: int | None,
    kind: Kind,
    verbose: bool,
) -> None:
    with _folder(keep_folder) as folder:
        from fedmarket.demo.generative.page import page
        from fedmarket.demo.generative.scenario import make_generative_scenario
        from fedmarket.demo.generative.show import show

        result = _perform_generative(console, folder, make_generative_scenario(seed, task_seed, rounds), kind, verbose)
        show(result, console)
        if report_file:
            as_json = report_file.suffix == ".json"
            report_file.write_text(json.dumps(result.to_json(), indent=2) + "\n" if as_json else page(result), "utf-8")
            console.print(f"Report: {report_file}")
        if keep_folder:
            console.print(f"Storage and work folders: {keep_folder}")
    if not (result.audit_ok and result.training.audit.ok):
        raise SystemExit(1)


@contextmanager
def _folder(keep_folder: Path | None) -> Iterator[Path]:
    """The play's folder; removed afterwards unless it is to be kept."""
    folder = keep_folder or Path(tempfile.mkdtemp(prefix="fedmarket-demo-"))
    if keep_folder and keep_folder.exists() and any(keep_folder.iterdir()):
        raise click.BadParameter(f"{keep_folder} is not empty", param_hint="--keep")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        if not keep_folder:
            shutil.rmtree(folder, ignore_errors=True)


def _perform(console: Console, folder: Path, scenario: Scenario, kind: Kind, verbose: bool) -> DemoResult:
    import torch

    from fedmarket.connection import DEFAULT_SRS
    from fedmarket.demo.play import Play
    from fedmarket.demo.result import collect
    from fedmarket.powers_of_tau import development_srs

    # Eight trainers share this machine: threads of one training each would only get in one another's way.
    torch.set_num_threads(1)
    with Devnet(DevnetOptions(kind=kind)) as devnet, _progress(console) as progress:
        task = progress.add_task("powers of tau", total=scenario.spec.rounds, state="")
        srs = development_srs(DEFAULT_SRS, SRS_POINTS)
        progress.update(task, description="deploying, posting the job, enrolling")
        say = progress.console.print if verbose else lambda line: None
        play = Play(scenario, devnet, srs, folder, report=say)
        with play.job() as cast:
            play.rounds(cast, lambda state, phase: _move(progress, task, state, phase))
            progress.update(task, completed=scenario.spec.rounds, description="paying out, closing", state="")
            play.settle_up(cast)
            progress.update(task, description="auditing")
            audits = _audits(cast, srs, folder)
            progress.update(task, description="measuring")
            result = collect(scenario, cast, audits, play.proving.laps_s)
            progress.update(task, description="done")
    return result


def _perform_generative(
    console: Console, folder: Path, scenario: GenerativeScenario, kind: Kind, verbose: bool
) -> GenerativeResult:
    import torch

    from fedmarket.connection import DEFAULT_SRS
    from fedmarket.demo.generative.outcome import collect
    from fedmarket.demo.generative.play import GenerativePlay
    from fedmarket.demo.play import Play
    from fedmarket.powers_of_tau import development_srs

    torch.set_num_threads(1)
    rounds = scenario.job.spec.rounds
    with Devnet(DevnetOptions(kind=kind)) as devnet, _progress(console) as progress:
        bar = progress.add_task("powers of tau", total=rounds + 1, state="")
        srs = development_srs(DEFAULT_SRS, SRS_POINTS)
        progress.update(bar, description="deploying, posting the job, enrolling")
        say = progress.console.print if verbose else lambda line: None
        play = GenerativePlay(scenario, Play(scenario.job, devnet, srs, folder, report=say))

        def watch_task(state: TaskState, panel: PanelState) -> None:
            progress.update(bar, completed=rounds, description=f"task: {state.phase.name.lower()}", state=_seats(panel))

        def watch_measuring(part: Part) -> MeasuringProgress:
            said = f"measuring the tolerance: {part.value}"
            return lambda done, total: progress.update(bar, description=said, state=f"{done:,} of {total:,} digests")

        def watch_job(state: JobState, phase: Phase) -> None:
            _move(progress, bar, state, phase)

        with play.task(watch_job, watch_task, watch_measuring) as task:
            progress.update(bar, completed=rounds, description="auditing, measuring", state="")
            result = collect(play, task)
        progress.update(bar, completed=rounds + 1, description="done")
    return result


def _seats(panel: PanelState) -> str:
    committed = sum(any(seat.seal) for seat in panel.seats)
    revealed = sum(any(seat.digests_hash) for seat in panel.seats)
    return f"{len(panel.seats)} of {panel.size} sit, {committed} committed, {revealed} revealed"


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description:<46}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console)


def _audits(cast: Cast, srs: Srs, folder: Path) -> Audits:
    from aggregator.audit import audit_job
    from fedmarket.demo.result import Audits
    from fedmarket.exam_grader import ModelGrader
    from fedmarket.openings import AccountOpenings

    job, account = cast.owner.job, cast.aggregator.sender.account
    place = (job.market, job.store, job.id, srs, folder / "audit")
    openings = AccountOpenings(account, job.market.chain.chain_id, job.market.address, job.id, folder / "audit")
    with_key = audit_job(*place, grader=ModelGrader(), openings=openings)
    return Audits(with_key, audit_job(*place, grader=ModelGrader()))


def _move(progress: Progress, task: TaskID, state: JobState, phase: Phase) -> None:
    acted = f"{state.committed.bit_count()} committed, {state.revealed.bit_count()} revealed"
    description = f"round {state.round}: {phase.name.lower()}"
    progress.update(task, completed=state.round, description=description, state=acted)
