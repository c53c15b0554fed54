"""`fedmarket verify calibrate`: the tolerance of a service's digests, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from pydantic import ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table

from fedmarket.commands.interruption import leaving
from fedmarket.commands.options import FILE, console, store_options
from fedmarket.example_models import EXAMPLES, example_model, example_source, source_of
from market.protocol import integer_model
from market.protocol.errors import InvalidInput
from market.protocol.generation import (
    MAX_DOCUMENT_BYTES,
    DigestSpec,
    JobModel,
    ModelSource,
    Prompt,
    RequestDocument,
    ServiceDocument,
)
from market.protocol.integer_model import Integers
from market.protocol.job_spec import load_spec
from market.protocol.json_text import parse_json
from market.storage import Cid, ContentStore, SourcedStore
from trainer_client.calibration.calibration import Calibration
from trainer_client.calibration.calibration import calibrate as calibrated
from trainer_client.calibration.deviations import deviations
from trainer_client.calibration.executions import usual_executions
from trainer_client.calibration.figures import called
from trainer_client.calibration.measuring import Plan, Progress
from trainer_client.calibration.rates import percent
from trainer_client.calibration.samples import Part
from trainer_client.calibration.tolerance import FALSE_ERROR, HONEST_ERROR, Wanted
from trainer_client.device import choose_device
from trainer_client.models import build_model
from trainer_client.parameters import manifest_of

IMAGES = ("diffusion", "conditional_diffusion", "vae")
USUAL_DIGESTS: Mapping[str, str] = {**dict.fromkeys(IMAGES, "simhash:centre=1"), "activations": "activations"}
"""Where a service's document names none; texts have to be the same."""

SAMPLES = 2_000
MAX_PROMPTS_BYTES = 1 << 24


@dataclass(frozen=True)
class Subject:
    """What is calibrated: a service's document, whatever tolerance it has, and its model's integers."""

    service: ServiceDocument
    model: Integers


@click.command("calibrate")
@click.option("--service", type=FILE, metavar="FILE", help="The service's document, in JSON.")
@click.option("--example", type=click.Choice(EXAMPLES), help="A model that comes with the project, in its place.")
@click.option("--model", type=FILE, metavar="FILE", help="The model's integers, a file .i64; with --spec in its place.")
@click.option("--spec", type=FILE, metavar="FILE", help="The spec of the job that made the --model.")
@click.option("--generator", metavar="NAME", help="What the --model is for: diffusion, text, ...")
@click.option("--digest", metavar="KIND[:NAME=N,...]", help="Digest to calibrate; the service's by default.")
@click.option(
    "--prompts", type=FILE, metavar="FILE", help="A text a line, or a list in JSON; none where none are asked."
)
@click.option("--decoding", metavar="JSON", default="{}", help="Settings other than the service's defaults.")
@click.option("--other-model", type=FILE, metavar="FILE", multiple=True, help="Integers to be told apart.")
@click.option(
    "--samples", type=click.IntRange(1), default=SAMPLES, show_default=True, help="To choose by, and to report on."
)
@click.option(
    "--seed", type=click.IntRange(0, 1 << 31), default=0, show_default=True, help="All noise follows from it."
)
@click.option("--verifiers", type=click.Choice(["3", "5", "7"]), default="3", show_default=True, help="Of the panel.")
@click.option(
    "--honest-error", type=float, default=HONEST_ERROR, show_default=True, help="Honest outputs refused, at most."
)
@click.option(
    "--false-error", type=float, default=FALSE_ERROR, show_default=True, help="Other outputs accepted, at most."
)
@click.option("--device", multiple=True, metavar="NAME", help="Beside the CPU; all by default.")
@click.option(
    "--out", type=FILE, metavar="DIR", default=Path("calibration"), show_default=True, help="What comes of it."
)
@click.option("--json", "as_json", is_flag=True, help="Print the calibration's document.")
@store_options
def calibrate(store: SourcedStore, out: Path, as_json: bool, **given: Any) -> None:
    """Choose a service's tolerance by measurement, and tell its errors on other samples.

    The model runs as honest machines would, in float32, bfloat16 and float16, in other batches, with other kernels and
    threads, on every device there is. How far their digests of one output lie apart, and how near those of another
    seed, prompt or model come, decides the tolerance; its errors are told on seeds and prompts that it was not chosen
    by. Status 2 where no tolerance serves.

    DIR gets calibration.json, which the store keeps as well, distances.png, trade_off.png, and service.json, the
    document with the tolerance, the slack and the calibration's content id. What was measured is kept there too: after
    an interruption the same command goes on.
    """
    screen = console()
    wanted = Wanted(given["honest_error"], given["false_error"], int(given["verifiers"]))
    out.mkdir(parents=True, exist_ok=True)
    with leaving(lambda: f"{out} keeps what was measured: the same command goes on from there"):
        subject = _subject(store, given)
        plan = _plan(subject, given)
        beside = [name for name in plan.others if name in deviations(subject.model)]
        with _progress(screen) as progress:
            found = calibrated(plan, wanted, out / "measurements", beside=beside, pictures=out, progress=progress)
        document = found.to_bytes()
        content = store.add_bytes(document)
        (out / "calibration.json").write_bytes(document)
        (out / "service.json").write_bytes(_service(found, str(content)).to_bytes())
    if as_json:
        click.echo(document.decode())
        return
    show(found, screen)
    click.echo(f"calibration {content} is in the store; {out} has it with its pictures and the service's document")
    click.echo(f"next: fedmarket verify pool open {out / 'service.json'} --unit AMOUNT")


# ---------------------------------------------------------------------- what is measured


def _subject(store: ContentStore, given: Mapping[str, Any]) -> Subject:
    """The one that was asked for.

    Raises:
        InvalidInput: none, or several.
    """
    service, example, file, spec = (given[name] for name in ("service", "example", "model", "spec"))
    if (service is not None) + (example is not None) + (spec is not None) != 1:
        raise InvalidInput("what to calibrate: expected one of --service FILE, --example NAME, or --model with --spec")
    if service is not None:
        return _of_service(store, service, file, given["digest"])
    if example is not None:
        if file is not None:
            raise InvalidInput("--example has its own model: expected no --model with it")
        model = example_model(example)
        content = store.add_bytes(model.astype("<i8").tobytes())
        service = _document(example_source(example, str(content)), example, given["digest"])
        return Subject(service.model_copy(update={"name": f"example {example}"}), model)
    if file is None or given["generator"] is None:
        raise InvalidInput("--spec says what the model is: expected --model FILE and --generator NAME with it")
    return _of_spec(store, spec, file, given["generator"], given["digest"])


def _of_service(store: ContentStore, path: Path, file: Path | None, digest: str | None) -> Subject:
    service = ServiceDocument.from_bytes(_bytes(path, MAX_DOCUMENT_BYTES, "a service's document"))
    if digest is not None:
        service = service.model_copy(update={"digest": _digest(digest)})
    dimension = dimension_of(service.model)
    if file is not None:
        return Subject(service, integer_model.read(file, dimension))
    if isinstance(service.model.parameters, JobModel):
        job = service.model.parameters.job
        raise InvalidInput(f"{path}: its model is job {job}'s: name its file with --model")
    with TemporaryDirectory() as folder:
        fetched = Path(folder) / "model.i64"
        store.copy_to(Cid.parse(service.model.parameters), fetched, 8 * dimension)
        return Subject(service, integer_model.read(fetched, dimension).copy())


def _of_spec(store: ContentStore, path: Path, file: Path, generator: str, digest: str | None) -> Subject:
    spec = load_spec(path)
    source = source_of(spec, "unknown")
    model = integer_model.read(file, dimension_of(source))
    with file.open("rb") as stream:
        source = source_of(spec, str(store.add(stream)))
    return Subject(_document(source, generator, digest), model)


def _document(source: ModelSource, generator: str, digest: str | None) -> ServiceDocument:
    chosen = _digest(digest or USUAL_DIGESTS.get(generator, "exact"))
    return ServiceDocument(model=source, generator=generator, digest=chosen, tolerance_bits=0)


def dimension_of(source: ModelSource) -> int:
    """How many parameters the model has."""
    return manifest_of(build_model(source.architecture, source.arguments, source.seed), source.trainable).dimension


def _digest(text: str) -> DigestSpec:
    """Read KIND, or KIND:NAME=N,NAME=N.

    Raises:
        InvalidInput: it is neither.
    """
    kind, _, rest = text.partition(":")
    parameters: dict[str, Any] = {}
    for entry in filter(None, rest.split(",")):
        name, equals, value = entry.partition("=")
        if not equals or not value.lstrip("-").isdecimal():
            raise InvalidInput(f"--digest {text}: expected KIND or KIND:NAME=N, with numbers")
        parameters[name] = int(value)
    try:
        return DigestSpec(kind=kind, **parameters)
    except ValidationError as error:
        raise InvalidInput(f"--digest {text}: expected a kind of digest, as simhash:centre=1") from error


def _plan(subject: Subject, given: Mapping[str, Any]) -> Plan:
    others: dict[str, Integers] = {}
    for path in given["other_model"]:
        if path.stem in others:
            raise InvalidInput(f"--other-model {path}: there are two of the name {path.stem}")
        others[path.stem] = integer_model.read(path, len(subject.model))
    devices = [str(choose_device(name)) for name in given["device"]] or None
    return Plan(
        service=subject.service,
        model=subject.model,
        prompts=_prompts(given["prompts"], subject.service),
        samples=given["samples"],
        executions=usual_executions(devices),
        others={**others, **deviations(subject.model)},
        seed=given["seed"],
        decoding=_decoding(given["decoding"]),
    )


def _decoding(text: str) -> dict[str, Any]:
    """Settings as a request has them.

    Raises:
        InvalidInput: they are no JSON object, or not what a request may say.
    """
    try:
        fields = parse_json(text.encode())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"--decoding is not JSON that can be read: {error}") from error
    request = RequestDocument.parse({"prompts": [None], "decoding": fields})
    return dict(request.decoding)


def _prompts(path: Path | None, service: ServiceDocument) -> list[Prompt]:
    """The file's, or what there is to ask where there is no file.

    Raises:
        InvalidInput: the model has to be asked for something, or the file has no prompts.
    """
    if path is None:
        classes = service.model.arguments.get("classes")
        if service.generator == "conditional_diffusion" and isinstance(classes, int):
            return list(range(classes))
        if service.generator in IMAGES:
            return [None]
        raise InvalidInput(f"a service of the kind {service.generator} is asked for something: name --prompts FILE")
    data = _bytes(path, MAX_PROMPTS_BYTES, "prompts")
    prompts = _listed(path, data) if data.lstrip()[:1] == b"[" else _lines(path, data)
    if not prompts:
        raise InvalidInput(f"{path} has no prompts: expected a text a line, or a list in JSON")
    return prompts


def _listed(path: Path, data: bytes) -> list[Prompt]:
    try:
        prompts = parse_json(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON that can be read: {error}") from error
    for place, prompt in enumerate(prompts):
        if not (prompt is None or isinstance(prompt, str) or type(prompt) is int):
            raise InvalidInput(f"{path}: prompt {place} is {prompt!r:.80}, expected a text, an integer or null")
    return list(prompts)


def _lines(path: Path, data: bytes) -> list[Prompt]:
    try:
        return [line for line in data.decode("utf-8").splitlines() if line]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is no text in UTF-8: expected a prompt a line") from error


def _bytes(path: Path, most: int, what: str) -> bytes:
    if not path.is_file():
        raise InvalidInput(f"{path}: expected a file of {what}")
    if path.stat().st_size > most:
        raise InvalidInput(f"{path} has {path.stat().st_size:,} bytes: expected at most {most:,} of {what}")
    return path.read_bytes()


# ---------------------------------------------------------------------- what comes of it


def _service(found: Calibration, content: str) -> ServiceDocument:
    chosen = {
        "tolerance_bits": found.choice.tolerance_bits,
        "slack_permille": found.slack.permille,
        "calibration": content,
    }
    return found.plan.service.model_copy(update=chosen)


@contextmanager
def _progress(screen: Console) -> Iterator[Callable[[Part], Progress]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=screen, transient=True) as bar:

        def begin(part: Part) -> Progress:
            task = bar.add_task(f"samples for the {part.value}", total=None)
            return lambda done, total: bar.update(task, completed=done, total=total)

        yield begin


def show(found: Calibration, screen: Console) -> None:
    """The tolerance and its errors, as tables."""
    choice, outcome = found.choice, found.outcome
    screen.print(
        f"tolerance {choice.tolerance_bits} bits (of {choice.lowest} to {choice.highest} that serve), "
        f"slack {found.slack.permille} permille ({found.slack.allowed} of {found.slack.samples} samples)",
        style="bold",
    )
    table = Table(title="on other samples than it was chosen by", title_justify="left", box=None, pad_edge=False)
    for name in ("", "all pairs or panels", "independent ones"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=bool(name))
    k = outcome.verifiers
    table.add_row("two honest machines apart", str(outcome.apart), str(outcome.apart_apart))
    table.add_row(f"honest output refused by {k}", str(outcome.honest.refused), str(outcome.honest_apart.refused))
    for kind, each in outcome.false.items():
        needless = "" if kind in choice.kinds else "*"
        table.add_row(f"{called(kind)} accepted{needless}", str(each.accepted), str(each.accepted_apart))
    table.add_row("honest batches that disagree", str(found.batches), "")
    screen.print(table)
    if set(outcome.false) - set(choice.kinds):
        screen.print("* shown beside: the tolerance was not chosen by it", style="dim")
    _show_panels(found, screen)


def _show_panels(found: Calibration, screen: Console) -> None:
    table = Table(title="majorities of honest machines", title_justify="left", box=None, pad_edge=False)
    for name in ("of", "undecided, whole panels", "if independent", "seats left out"):
        table.add_column(name, justify="right", no_wrap=True)
    for seats, each in found.predictions.items():
        table.add_row(str(seats), str(each.whole.undecided), percent(each.independent), str(each.whole.left_out))
    screen.print(table)
