"""Models of an owner's own through whole jobs, by the commands that people type: what each takes, and what it gives.

A real Anvil, real proofs, every role a process. Phases are long, and the chain's time jumps once all have acted, so
that a slow machine loses no round; what is shown is the processes' own time, and the memory that each had at most.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table
from web3.types import RPCEndpoint

from fedmarket.devnet import REPOSITORY
from fedmarket.example_models import TEXT
from market.chain.connection import Chain
from market.chain.deployment import Deployment
from market.chain.job_market import JobMarket
from market.model_opening import warm_up
from market.protocol.identifiers import JobId
from market.protocol.rounds import Phase
from market.protocol.update import read_update
from trainer_client.data import Dataset, save_npz
from zk.commitment import Blinders, Layout, commit
from zk.srs import INSECURE_FILE, open_srs

pytestmark = pytest.mark.bench

EXAMPLES = files("fedmarket").joinpath("examples", "packages")
ACTORS = ("owner", "aggregator", "trainer-0", "trainer-1", "trainer-2")
TRAINERS = ACTORS[2:]

MOST_COMMIT_S = 12.0
"""Of a commitment to an update of ResNet-18, on two cores."""


@dataclass(frozen=True)
class Step:
    """A command that ended: its own time on all cores, the time that went by, and its most memory."""

    name: str
    processor_s: float
    wall_s: float
    peak_mib: float
    said: str

    def figure(self, pattern: str) -> str:
        found = re.search(pattern, self.said)
        assert found, f"{self.name} did not say {pattern}:\n{self.said}"
        return found[1]


class Command:
    """A command as somebody types it, in a process of its own."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str], *words: object, module: bool) -> None:
        self._name, self._log, self._begun = name, folder / f"{name}.log", time.monotonic()
        line = [sys.executable, *(["-m", "fedmarket"] if module else []), *map(str, words)]
        with self._log.open("w") as output:
            self.process = subprocess.Popen(line, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        self._peak_mib = 0.0
        self._watch = threading.Thread(target=self._watch_memory, daemon=True)
        self._watch.start()

    def _watch_memory(self) -> None:
        """Look at its most memory as long as it runs: `ru_maxrss` would count what it was started from as well."""
        status = Path(f"/proc/{self.process.pid}/status")
        with suppress(OSError):
            while found := re.search(r"VmHWM:\s+(\d+)", status.read_text("ascii")):  # until it is only to be waited for
                self._peak_mib = int(found[1]) / 1024
                time.sleep(0.02)

    def ended(self) -> Step:
        """Wait for it; it has to succeed."""
        _, status, used = os.wait4(self.process.pid, 0)
        self._watch.join()
        self.process.returncode = os.waitstatus_to_exitcode(status)
        said = self._log.read_text("utf-8")
        assert self.process.returncode == 0, f"{self._name}:\n{said[-3000:]}"
        wall_s = time.monotonic() - self._begun
        return Step(self._name, used.ru_utime + used.ru_stime, wall_s, self._peak_mib, said)


@dataclass
class Place:
    """A folder with a chain, keys, and everybody's commands."""

    folder: Path
    environment: dict[str, str]
    steps: list[Step] = field(default_factory=list)

    def run(self, name: str, *words: object, module: bool = True) -> Step:
        self.steps.append(self.start(name, *words, module=module).ended())
        return self.steps[-1]

    def start(self, name: str, *words: object, module: bool = True) -> Command:
        return Command(name, self.folder, self.environment, *words, module=module)

    def keys(self, name: str) -> tuple[str, str]:
        return "--keystore", f"keys/{name}.json"

    @property
    def market(self) -> JobMarket:
        chain = Chain.connect(self.environment["FEDMARKET_RPC"])
        return Deployment.load(self.folder / ".fedmarket" / "deployment.json").connect(chain)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FEDMARKET_")},
        "PYTHONPATH": str(REPOSITORY),
        "COLUMNS": "200",
        "OMP_NUM_THREADS": "1",  # three trainers train at a time here: more threads would wait for one another
        "FEDMARKET_PASSWORD_FILE": "keys/password",
    }
    made = Place(tmp_path, environment)
    (tmp_path / "keys").mkdir()
    password = tmp_path / "keys" / "password"
    password.touch(0o600)
    password.write_text(secrets.token_hex(16))
    for name in ACTORS:
        made.start(f"key of {name}", "keys", "new", f"keys/{name}.json").ended()
    funded = [word for name in ACTORS for word in ("--fund", f"keys/{name}.json")]
    chain = made.start("chain", "dev", "chain", "--port", 0, *funded)
    try:
        deployment = tmp_path / ".fedmarket" / "deployment.json"
        until(deployment.is_file, chain)
        environment["FEDMARKET_RPC"] = address_of(tmp_path / "chain.log", chain)
        yield made
    finally:
        chain.process.terminate()
        chain.process.wait(30)


def until(done: Callable[[], bool], needed: Command, patience_s: float = 120) -> None:
    end_s = time.monotonic() + patience_s
    while not done():
        assert needed.process.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.2)


def address_of(log: Path, chain: Command) -> str:
    found: list[str] = []
    until(lambda: bool(found.extend(re.findall(r"http://127\.0\.0\.1:\d+", log.read_text("utf-8"))) or found), chain)
    return found[0]


# ---------------------------------------------------------------------- the chain's time


def hurry(market: JobMarket, stop: threading.Event) -> None:
    """Let the chain's time jump to the next phase once everybody has acted in this one."""
    job, terms = JobId(0), market.terms(JobId(0))
    while not stop.wait(1.0):
        state, phase = market.state(job), market.phase(job)
        schedule, all_seats = terms.schedule(state.attempt_start_s), (1 << len(TRAINERS)) - 1
        ends = {
            Phase.ENROLMENT: (state.seats_taken == len(TRAINERS) and bool(market.aggregators(job)), schedule.start_s),
            Phase.COMMIT: (state.committed == all_seats, schedule.commit_end_s),
            Phase.REVEAL: (state.revealed == all_seats, schedule.reveal_end_s),
        }
        acted, end_s = ends.get(phase, (False, 0))
        missing_s = end_s - market.chain.timestamp()
        if acted and missing_s > 0:
            for method, arguments in (("evm_increaseTime", [missing_s]), ("evm_mine", [])):
                market.chain.web3.provider.make_request(RPCEndpoint(method), arguments)


def play(place: Place, data: str) -> tuple[list[Step], Step]:
    """Everybody enrols and works until the job is over; returns the trainers' commands and the aggregator's."""
    stop = threading.Event()
    clock = threading.Thread(target=hurry, args=(place.market, stop))
    clock.start()
    try:
        aggregator = place.start("aggregator run", "aggregator", "run", 0, *place.keys("aggregator"))
        for name in TRAINERS:
            place.run(f"trainer enrol ({name[-1]})", "trainer", "enrol", 0, *place.keys(name))
        trainers = [
            place.start(f"trainer run ({n[-1]})", "trainer", "run", 0, "--data", data.format(n), *place.keys(n))
            for n in TRAINERS
        ]
        done = [trainer.ended() for trainer in trainers]
        place.steps += [*done, aggregator.ended()]
    finally:
        stop.set()
        clock.join()
    return done, place.steps[-1]


def commitments(place: Place) -> dict[str, str]:
    """What it takes to commit to a trainer's update, and to one without a zero, while nobody else works."""
    terms = place.market.terms(JobId(0))
    layout = Layout(terms.rules.dimension, terms.chunks)
    srs = open_srs(place.folder / ".fedmarket" / "srs" / INSECURE_FILE)
    path = next((place.folder / ".fedmarket" / "work").glob("**/update.bin"))
    counts = np.asarray(read_update(path, layout.dimension, layout.chunks).counts)
    warm_up(srs, layout)
    dense = np.random.default_rng(0).integers(1, 1 << 15, counts.shape).astype(counts.dtype)
    took = {}
    for name, vector in (("an update", counts), ("an update without a zero", dense)):
        begun, own = time.monotonic(), time.process_time()
        commit(srs, layout, vector, Blinders.fresh(layout))
        own_s, wall_s = time.process_time() - own, time.monotonic() - begun
        took[f"commitment to {name}"] = f"{own_s:.2f} s of processors, {wall_s:.2f} s"
    return took


def show(place: Place, title: str, figures: dict[str, str]) -> None:
    """Print what every command took, and what else is to be known."""
    table = Table("command", "processor s", "s", "peak MiB", title=title, title_justify="left")
    for step in place.steps:
        table.add_row(step.name, f"{step.processor_s:.1f}", f"{step.wall_s:.1f}", f"{step.peak_mib:,.0f}")
    facts = Table.grid(padding=(0, 2))
    for name, value in figures.items():
        facts.add_row(name, value)
    screen = Console(width=110)
    screen.print(table)
    screen.print(facts)


def concluded(place: Place, trainers: list[Step], aggregator: Step, test: str) -> dict[str, str]:
    """See that the chain's model is the one that is published, that an audit finds nothing, and that it learnt."""
    verified = place.run("model verify", "model", "verify", 0)
    assert "is what the chain committed to" in verified.said
    assert "mismatch" not in place.run("audit", "audit", 0).said
    evaluated = place.run("model evaluate", "model", "evaluate", 0, test)
    cid = trainers[0].figure(r"revealed (\S+)")
    place.start("storage get", "storage", "get", cid, "update.sealed").ended()
    return {
        **commitments(place),
        "a sealed update": f"{(place.folder / 'update.sealed').stat().st_size:,} bytes",
        "proof": aggregator.figure(r"proven in ([0-9.]+) s") + " s",
        "settlement": aggregator.figure(r"settled for ([0-9,]+) gas") + " gas",
        "verified": verified.said.strip(),
        "models": "\n" + evaluated.said,
    }


# ---------------------------------------------------------------------- the two jobs


def images(samples: int, seed: int, classes: int = 8) -> Dataset:
    """Images of 3x64x64: a coarse pattern for each class, the same for everybody, and noise."""
    patterns = np.random.default_rng(0).standard_normal((classes, 3, 8, 8)).astype(np.float32)
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, samples)
    clean = patterns[labels].repeat(8, axis=2).repeat(8, axis=3)
    noise = draw.standard_normal((samples, 3, 64, 64), np.float32)
    return Dataset((clean + noise).reshape(samples, -1), labels)


def test_resnet18_is_trained_proven_and_verified(place: Place) -> None:
    for name in ("resnet18.py", "resnet18.yaml"):
        (place.folder / name).write_bytes(EXAMPLES.joinpath(name).read_bytes())
    for seed, name in enumerate((*TRAINERS, "owner", "test"), start=1):
        save_npz(images(64, seed), place.folder / f"{name}.npz")
    place.run("srs make", "srs", "make", "--points", 1 << 20)
    form = "--input", "3,64,64", "--classes", 1000
    assert "11,699,112 values" in place.run("model pack", "model", "pack", "resnet18.py:build", "package", *form).said
    warm = "--warm-start", "owner.npz", "--epochs", 3
    place.run("job post", "job", "post", "resnet18.yaml", *warm, *place.keys("owner"))
    trainers, aggregator = play(place, "{}.npz")
    assert "3 of 3 accepted, new model" in aggregator.said
    figures = concluded(place, trainers, aggregator, "test.npz")
    show(place, "ResNet-18, 11,699,112 parameters in 12 chunks, three trainers", figures)
    assert float(figures["commitment to an update"].split()[0]) <= 2 * MOST_COMMIT_S


def test_gpt_with_lora_is_fitted_to_real_text(place: Place) -> None:
    for name in ("gpt.py", "gpt.yaml"):
        (place.folder / name).write_bytes(EXAMPLES.joinpath(name).read_bytes())
    with as_file(TEXT) as path:
        base, rest = np.array_split(np.frombuffer(path.read_bytes(), np.uint8), 2)
    (place.folder / "base.txt").write_bytes(base.tobytes())
    for name, part in zip((*TRAINERS, "owner", "test"), np.array_split(rest, 8), strict=False):
        (place.folder / f"{name}.txt").write_bytes(part.tobytes())
    place.run("gpt.py", "gpt.py", "base.txt", "checkpoint", module=False)
    lora = "--lora", "r=8,alpha=16,targets=c_attn+c_proj"
    place.run("model pack", "model", "pack", "checkpoint", "package", "--context", 64, *lora)
    place.run("job post", "job", "post", "gpt.yaml", "--warm-start", "owner.txt", *place.keys("owner"))
    trainers, aggregator = play(place, "{}.txt")
    assert "new model" in aggregator.said
    figures = concluded(place, trainers, aggregator, "test.txt")
    show(place, "A small GPT-2 with LoRA on a book, three trainers", figures)
