"""The stages of a measurement, each run in a process of its own: `python -m fedmarket.bench.stages STAGE FOLDER`.

A stage takes what it needs from the folder, leaves its result there, and prints JSON objects, one a line: any number of
{"stage", "done", "total"} and at last {"result"} or {"error"}. Peak memory is therefore that of the one stage.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from aggregator.gram import gram_matrix
from fedmarket.bench.workload import Workload
from market.protocol.errors import FedmarketError
from zk.commitment import Blinders, Layout, commit
from zk.errors import ZkError
from zk.gram_proof import CommittedRow, GramProof, MaskRow, Statement, prove, verify, verifying_key
from zk.srs import make_insecure, open_srs
from zk.transcript import PUBLIC_ROWS, round_context
from zk.vectors import Values

COMMITMENTS, BLINDERS, GRAM, SMALL_SRS = "commitments.bin", "blinders.bin", "gram.bin", "insecure-small.ptau"
PROOF_PARTS = ("mask", "sums", "blinders", "argument")
WARM_UP = Workload(dimension=4_096, trainers=3, chunks=1, repeat=1, srs="")
FEWEST_VERIFICATIONS = 5
CONTEXT = round_context(31337, bytes(20), 0, 0, 0, 0, 0)
"""Any will do: what a proof is for changes neither its size nor its cost."""


def compile_kernels(folder: Path) -> dict[str, Any]:
    """Compile what is not in the compiler's cache yet, by a small round from beginning to end."""
    start_s = time.perf_counter()
    make_insecure(folder / SMALL_SRS, WARM_UP.layout.slots)
    _warm_up(folder)
    return {"seconds": time.perf_counter() - start_s}


def make_srs(folder: Path) -> dict[str, Any]:
    """Open the insecure SRS, or make it where there is none that is long enough."""
    work = Workload.read(folder)
    path = Path(work.srs)
    path.parent.mkdir(parents=True, exist_ok=True)
    made: list[int] = []

    def note(done: int, total: int) -> None:
        made.append(done)
        _report("the SRS", done, total)

    start_s = time.perf_counter()
    srs = make_insecure(path, work.layout.slots, note)
    seconds = time.perf_counter() - start_s
    return {"seconds": seconds, "was_there": not made, "points": len(srs.points), "id": "0x" + srs.id.hex()}


def commit_rows(folder: Path) -> dict[str, Any]:
    """Commit to every row; the time is that of an update."""
    work = Workload.read(folder)
    srs = open_srs(Path(work.srs))
    _warm_up(folder)
    commitments, blinders, seconds = b"", b"", []
    rows = [*work.updates(folder), *work.public_rows(folder)]
    for done, row in enumerate(rows):
        _report("commitments", done, len(rows))
        secret = Blinders.fresh(work.layout)
        start_s = time.perf_counter()
        commitments += commit(srs, work.layout, row, secret)
        seconds.append(time.perf_counter() - start_s)
        blinders += secret.to_bytes()
    (folder / COMMITMENTS).write_bytes(commitments)
    (folder / BLINDERS).write_bytes(blinders)
    return {"seconds": median(seconds[: work.trainers])}


def multiply(folder: Path) -> dict[str, Any]:
    """Compute the Gram matrix."""
    work = Workload.read(folder)
    start_s = time.perf_counter()
    packed = gram_matrix(list(work.updates(folder)), list(work.public_rows(folder))).pack()
    seconds = time.perf_counter() - start_s
    (folder / GRAM).write_bytes(packed)
    return {"seconds": seconds}


def prove_round(folder: Path) -> dict[str, Any]:
    """Prove, `repeat` times, each time with a mask of its own."""
    work = Workload.read(folder)
    srs = open_srs(Path(work.srs))
    _warm_up(folder)
    statement, rows = _statement(work, folder), _rows(work, folder)
    seconds: list[float] = []
    laps: dict[str, list[float]] = {}
    for done in range(work.repeat):
        watch = _Stopwatch(lambda name, done=done: _report(f"proof: {name}", done, work.repeat))  # type: ignore[misc]
        proof = prove(srs, statement, rows, MaskRow.fresh(srs, work.layout), watch.lap)
        watch.stop()
        seconds.append(watch.seconds)
        for name, lap_s in watch.laps.items():
            laps.setdefault(name, []).append(lap_s)
    for part in PROOF_PARTS:
        (folder / f"proof.{part}").write_bytes(getattr(proof, part))
    return {"seconds": median(seconds), "stages": {name: median(each) for name, each in laps.items()}}


def verify_round(folder: Path) -> dict[str, Any]:
    """Verify, as often as it takes for a median."""
    work = Workload.read(folder)
    srs = open_srs(Path(work.srs))
    _warm_up(folder)
    key, (statement, proof) = verifying_key(srs), read_proof(folder)
    seconds = []
    for _ in range(max(FEWEST_VERIFICATIONS, work.repeat)):
        start_s = time.perf_counter()
        verify(key, statement, proof)
        seconds.append(time.perf_counter() - start_s)
    return {"seconds": median(seconds)}


STAGES: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "compile": compile_kernels,
    "srs": make_srs,
    "commit": commit_rows,
    "gram": multiply,
    "prove": prove_round,
    "verify": verify_round,
}
"""In the order in which they are run."""


def read_proof(folder: Path) -> tuple[Statement, GramProof]:
    """What was proven, and the last proof of it."""
    parts = ((folder / f"proof.{part}").read_bytes() for part in PROOF_PARTS)
    return _statement(Workload.read(folder), folder), GramProof(*parts)


class _Stopwatch:
    """Seconds from its making to `stop`, also by laps: what happens before the first one is the lap `prepare`."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._name = "prepare"
        self._start_s = self._lap_s = time.perf_counter()
        self.laps: dict[str, float] = {}
        self.seconds = 0.0

    def lap(self, name: str) -> None:
        now_s = time.perf_counter()
        self.laps[self._name] = now_s - self._lap_s
        self._name, self._lap_s = name, now_s
        self._report(name)

    def stop(self) -> None:
        now_s = time.perf_counter()
        self.laps[self._name] = now_s - self._lap_s
        self.seconds = now_s - self._start_s


def _statement(work: Workload, folder: Path) -> Statement:
    commitments = work.split_commitments((folder / COMMITMENTS).read_bytes())
    return Statement(
        context=CONTEXT,
        dimension=work.dimension,
        chunks=work.chunks,
        updates=tuple(commitments[: work.trainers]),
        public=tuple(commitments[work.trainers :]),
        gram=(folder / GRAM).read_bytes(),
        weights=work.weights(),
    )


def _rows(work: Workload, folder: Path) -> list[CommittedRow]:
    commitments = work.split_commitments((folder / COMMITMENTS).read_bytes())
    joined = (folder / BLINDERS).read_bytes()
    size = len(joined) // len(commitments)
    blinders = [Blinders.parse(work.layout, joined[at : at + size]) for at in range(0, len(joined), size)]
    values = [*work.updates(folder), *work.public_rows(folder)]
    return [CommittedRow(*row) for row in zip(values, blinders, commitments, strict=True)]


def _warm_up(folder: Path) -> None:
    """Load every kernel, by a small round."""
    srs = open_srs(folder / SMALL_SRS)
    layout = Layout(WARM_UP.dimension, WARM_UP.chunks)
    random = np.random.default_rng(0)
    updates = [*random.integers(-9, 9, (WARM_UP.trainers, WARM_UP.dimension), np.int16)]
    public = [*random.integers(-9, 9, (PUBLIC_ROWS, WARM_UP.dimension), np.int64)]
    rows: list[CommittedRow] = []
    vectors: list[Values] = [*updates, *public]
    for values in vectors:
        blinders = Blinders.fresh(layout)
        rows.append(CommittedRow(values, blinders, commit(srs, layout, values, blinders)))
    commitments = tuple(row.commitment for row in rows)
    gram = gram_matrix(updates, public).pack()
    split = WARM_UP.trainers
    shape = (WARM_UP.dimension, WARM_UP.chunks, commitments[:split], commitments[split:])
    prove(srs, Statement(CONTEXT, *shape, gram, WARM_UP.weights()), rows, MaskRow.fresh(srs, layout))


def peak_memory_mib() -> float:
    """The most memory that this process held at once, files that it mapped and read included.

    Linux: what the kernel counts for this program since it was started. `getrusage` would count the parent's, too, from
    between fork and exec; elsewhere it is all there is.
    """
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _report(stage: str, done: int, total: int) -> None:
    _print({"stage": stage, "done": done, "total": total})


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def main(stage: str, folder: Path) -> int:
    """Run one stage; what a user can do something about becomes one line."""
    try:
        result = STAGES[stage](folder)
    except (FedmarketError, ZkError, OSError) as error:
        _print({"error": str(error)})
        return 1
    except MemoryError:
        _print({"error": "out of memory"})
        return 1
    _print({"result": {**result, "peak_mib": peak_memory_mib()}})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
