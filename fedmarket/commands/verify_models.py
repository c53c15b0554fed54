"""`fedmarket verify models`: train the example models by jobs of a market of one's own."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fedmarket.commands.options import FILE
from fedmarket.example_models import EXAMPLES
from market.protocol.errors import InvalidInput

if TYPE_CHECKING:
    from fedmarket.demo.scenario import Scenario
    from fedmarket.example_jobs import TrainedExample
    from market.chain.records import JobState
    from market.protocol.rounds import Phase
    from zk.srs import Srs

SRS_POINTS = 1 << 16

SHOWN_IMAGES, ACROSS = 60, 12
SHOWN_PROMPTS = ("Alice was ", "The Queen said", "`Oh dear", "said the Mock ")


@click.command()
@click.argument("folder", metavar="DIR", type=FILE)
@click.option("--only", type=click.Choice(EXAMPLES), multiple=True, help="Train this one; may be given several times.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31), help="Everything follows from it.")
@click.option("--rounds", default=None, type=click.IntRange(1, 1000), help="How many; each job's own if left out.")
@click.option("--force", is_flag=True, help="Replace models that are there already.")
def models(folder: Path, only: tuple[str, ...], seed: int, rounds: int | None, force: bool) -> None:
    """Train the example models, each by a job on a chain of its own, and write them to DIR.

    A diffusion model, a class-conditional one and a variational autoencoder on handwritten digits, and a small language
    model. Contracts, trainers, aggregator and proofs are real, and every job is audited at its end. DIR gets of each
    NAME.i64, the integer model, NAME.i64.xz, the same packed, NAME.json, what it is and under which content id it was
    stored, and NAME.png or NAME.txt, what it generates.
    """
    import torch

    from fedmarket.connection import DEFAULT_SRS
    from fedmarket.example_jobs import example_scenario
    from fedmarket.powers_of_tau import development_srs

    names = [name for name in EXAMPLES if name in (only or EXAMPLES)]
    taken = [name for name in names if (folder / f"{name}.json").exists()]
    if taken and not force:
        raise InvalidInput(f"{folder / taken[0]}.json exists already: name another folder, or replace it with --force")
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # trainers are threads of this process
    console = Console()
    with console.status("powers of tau"):
        srs = development_srs(DEFAULT_SRS, SRS_POINTS)
    for name in names:
        scenario = example_scenario(name, seed, rounds)
        trained = _train(console, name, scenario, srs)
        _write(folder, name, scenario, trained)
        console.print(f"{name}: {len(trained.model):,} parameters, loss {trained.loss:.4f}, {trained.content_id}")


def _train(console: Console, name: str, scenario: Scenario, srs: Srs) -> TrainedExample:
    from fedmarket.devnet import Devnet, DevnetOptions
    from fedmarket.example_jobs import train_example

    columns = (
        TextColumn("{task.description:<40}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} rounds"),
        TimeElapsedColumn(),
    )
    with (
        tempfile.TemporaryDirectory(prefix="fedmarket-models-") as work,
        Devnet(DevnetOptions(kind="anvil")) as devnet,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        task = progress.add_task(f"{name}: deploying, enrolling", total=scenario.spec.rounds)

        def watch(state: JobState, phase: Phase) -> None:
            progress.update(task, completed=state.round, description=f"{name}: {phase.name.lower()}")

        return train_example(scenario, devnet, srs, Path(work), watch)


def _write(folder: Path, name: str, scenario: Scenario, trained: TrainedExample) -> None:
    """The model first and its description last: what has one is whole."""
    from fedmarket.example_models import write_packed
    from market.protocol import integer_model

    integer_model.write(trained.model, folder / f"{name}.i64")
    write_packed(trained.model, folder, name)
    _show(folder, name, scenario, trained)
    (folder / f"{name}.json").write_text(json.dumps(_told(name, scenario, trained), indent=2) + "\n", "utf-8")


def _told(name: str, scenario: Scenario, trained: TrainedExample) -> dict[str, Any]:
    model = scenario.spec.model
    return {
        "generator": name,
        "content_id": str(trained.content_id),
        "architecture": model.architecture,
        "arguments": dict(model.arguments),
        "seed": model.seed,
        "scale_exponent": scenario.spec.update.scale_exponent,
        "parameters": len(trained.model),
        "rounds": trained.rounds,
        "loss": trained.loss,
    }


def _show(folder: Path, name: str, scenario: Scenario, trained: TrainedExample) -> None:
    from PIL import Image

    from fedmarket.example_models import source_of
    from trainer_client.generation import GENERATORS, Execution, module_of

    source = source_of(scenario.spec, str(trained.content_id))
    generator = GENERATORS[name](module_of(source, trained.model), source.arguments, None)
    if name == "text":
        texts = generator.generate(SHOWN_PROMPTS, scenario.seed, {"method": "greedy"}, Execution()).texts
        lines = [f"{prompt}{text}\n" for prompt, text in zip(SHOWN_PROMPTS, texts, strict=True)]
        (folder / f"{name}.txt").write_text("----\n".join(lines), "utf-8")
        return
    prompts = [number // 6 if name == "conditional_diffusion" else None for number in range(SHOWN_IMAGES)]
    images = generator.generate(prompts, scenario.seed, {}, Execution()).images
    if images is not None:
        Image.fromarray(_tiled(images, ACROSS)).save(folder / f"{name}.png")


def _tiled(images: Any, across: int, scale: int = 6) -> Any:
    """Grey images side by side, with a line between them, enlarged: uint8 (height, width)."""
    import numpy as np

    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=0.3)
    count, height, width = framed.shape
    rows = framed.reshape(count // across, across, height, width).transpose(0, 2, 1, 3)
    sheet = np.rint(255 * rows.reshape(count // across * height, across * width)).astype(np.uint8)
    return sheet.repeat(scale, axis=0).repeat(scale, axis=1)
