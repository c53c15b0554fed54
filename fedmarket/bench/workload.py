"""What is proven in a measurement: random updates and public rows of one round, on disk as an aggregator has them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from market.protocol.errors import InvalidInput
from zk.commitment import Layout
from zk.transcript import POINT, PUBLIC_ROWS

MIN_TRAINERS, MAX_TRAINERS = 3, 64
MAX_CHUNKS = 64
MAX_POINTS = 1_024
"""A round's commitments have at most so many points: (updates + 6) · chunks."""

UPDATE_BITS = 15
PUBLIC_BITS = (28, 28, 28, 36, 36)
"""Coordinates of the three last aggregates and of the two models stay below 2^bits, as in a job that runs."""

PROCESS_BYTES = 250 * 2**20
SLOT_BYTES = 300
"""What the prover holds: its process, and so much for every slot of one chunk; what it maps can be read again."""

SRS_POINT_BYTES = 64
SLICE = 1 << 18

PLAN, UPDATES, PUBLIC = "plan.json", "updates.int16", "public.int64"

Progress = Callable[[int, int], None]
Rows = npt.NDArray[Any]


@dataclass(frozen=True)
class Workload:
    """One round: `trainers` updates of `dimension` int16 coordinates in `chunks` chunks, and five public rows.

    Attributes:
        repeat: how often a stage is measured; the median counts.
        srs: file with the SRS.

    Raises:
        InvalidInput: a number is out of its range, or a round of this shape has too many points.
    """

    dimension: int
    trainers: int
    chunks: int
    repeat: int
    srs: str

    def __post_init__(self) -> None:
        _in_range("dimension", self.dimension, 1, 2**30)
        _in_range("trainers", self.trainers, MIN_TRAINERS, MAX_TRAINERS)
        _in_range("chunks", self.chunks, 1, MAX_CHUNKS)
        _in_range("repeat", self.repeat, 1, 1_000)
        points = (self.trainers + 1 + PUBLIC_ROWS) * self.chunks
        if points > MAX_POINTS:
            raise InvalidInput(
                f"{self.trainers} trainers in {self.chunks} chunks have {points} points, expected at most {MAX_POINTS}"
            )

    @property
    def layout(self) -> Layout:
        """How every row is cut."""
        return Layout(self.dimension, self.chunks)

    @property
    def disk_bytes(self) -> int:
        """What the rows take."""
        return self.dimension * (2 * self.trainers + 8 * PUBLIC_ROWS)

    @property
    def memory_bytes(self) -> int:
        """What proving takes, by measurement."""
        return PROCESS_BYTES + SLOT_BYTES * self.layout.slots

    def require_room(self, folder: Path, free_memory_bytes: int) -> None:
        """Make sure that the rows and the SRS fit the disk, and the prover the memory.

        Args:
            folder: where the rows are to be.
            free_memory_bytes: as `available_memory_bytes` says.

        Raises:
            InvalidInput: something does not; nothing has been written.
        """
        srs_bytes = SRS_POINT_BYTES * self.layout.slots
        _fits(f"the rows take, in {folder},", self.disk_bytes, _free_bytes(folder))
        _fits(f"the SRS takes, in {Path(self.srs).parent},", srs_bytes, _free_bytes(Path(self.srs).parent))
        _fits("the prover takes, in memory,", self.memory_bytes, free_memory_bytes)

    def write(self, folder: Path, progress: Progress) -> None:
        """Draw all rows, slice by slice, and write them with the plan."""
        random = np.random.default_rng(0)
        files = [(UPDATES, np.int16, [UPDATE_BITS] * self.trainers), (PUBLIC, np.int64, PUBLIC_BITS)]
        total, done = self.trainers + PUBLIC_ROWS, 0
        for name, kind, widths in files:
            with (folder / name).open("wb") as file:
                for bits in widths:
                    for start in range(0, self.dimension, SLICE):
                        count = min(SLICE, self.dimension - start)
                        file.write(random.integers(-(1 << bits) + 1, 1 << bits, count, kind).tobytes())
                    done += 1
                    progress(done, total)
        (folder / PLAN).write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the plan that `write` wrote."""
        return cls(**json.loads((folder / PLAN).read_text("utf-8")))

    def updates(self, folder: Path) -> Rows:
        """All updates, mapped: int16 of shape (n, d)."""
        return np.memmap(folder / UPDATES, np.int16, "r", shape=(self.trainers, self.dimension))

    def public_rows(self, folder: Path) -> Rows:
        """The public rows, mapped: int64 of shape (5, d)."""
        return np.memmap(folder / PUBLIC, np.int64, "r", shape=(PUBLIC_ROWS, self.dimension))

    def weights(self) -> tuple[int, ...]:
        """Weights as a decision gives them: everybody is accepted."""
        return tuple(np.random.default_rng(1).integers(1, 1 << 16, self.trainers).tolist())

    def split_commitments(self, joined: bytes) -> list[bytes]:
        """The rows' commitments, 64·c bytes each, out of all of them together."""
        size = POINT * self.chunks
        return [joined[at : at + size] for at in range(0, len(joined), size)]


def available_memory_bytes() -> int:
    """Memory that a new process could have without anything being swapped out, as far as the system says."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _free_bytes(folder: Path) -> int:
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free


def _fits(what: str, needed: int, free: int) -> None:
    if needed > free:
        raise InvalidInput(f"{what} {needed / 2**20:,.0f} MiB, but {free / 2**20:,.0f} MiB are free")


def _in_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidInput(f"{name} is {value}, expected {least} to {most}")
