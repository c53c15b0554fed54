"""What a measurement found, as one JSON object and as tables."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from zk.cores import core_count

FORMAT = "fedmarket-bench-proof/1"
PACKAGES = ("fedmarket", "numba", "numpy", "web3")


@dataclass(frozen=True)
class Machine:
    """Where it was measured.

    Attributes:
        cores: that the process may use.
        processor: as the system calls it.
        memory_mib: that is installed.
        system: operating system and architecture.
    """

    cores: int
    processor: str
    memory_mib: int
    system: str

    @classmethod
    def here(cls) -> Machine:
        """Describe this machine."""
        memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        system = f"{platform.system()} {platform.machine()}"
        return cls(core_count(), _processor(), memory_bytes // 2**20, system)


@dataclass(frozen=True)
class ProofReport:
    """One round, proven and measured; `to_json` has the same fields, and `format`.

    Attributes:
        dimension: coordinates of an update, d.
        trainers: updates, n; five public rows come on top, all of them present.
        chunks: pieces that a row is cut into.
        repeat: how many proofs were made; times are medians.
        srs_points: points of the SRS at hand.
        srs_was_there: whether it was found and not made.
        seconds: by stage: compile (once a machine), srs (once a machine), commit (one update), gram, prove, verify.
        prove_seconds: those of prove, by what it does.
        peak_memory_mib: by stage, each in a process of its own.
        size_bytes: argument; proof (with the mask, the sums and the blinders); gram; calldata of the transaction.
        gas: of a transaction that has the contract verify the proof, alone.
        machine: where.
        versions: with what.
    """

    dimension: int
    trainers: int
    chunks: int
    repeat: int
    srs_points: int
    srs_was_there: bool
    seconds: Mapping[str, float]
    prove_seconds: Mapping[str, float]
    peak_memory_mib: Mapping[str, float]
    size_bytes: Mapping[str, int]
    gas: int
    machine: Machine
    versions: Mapping[str, str]

    @property
    def multiplications(self) -> int:
        """Products of two coordinates in the updates' part of the matrix: n(n+1)/2 · d."""
        return self.trainers * (self.trainers + 1) // 2 * self.dimension

    def to_json(self) -> dict[str, Any]:
        """Return the document that `--json` prints."""
        return {"format": FORMAT, **asdict(self)}

    def show(self, console: Console) -> None:
        """Print the tables."""
        chunks = "" if self.chunks == 1 else f" in {self.chunks} chunks"
        title = f"Proof of a round: d = {self.dimension:,}{chunks}, n = {self.trainers}, median of {self.repeat}"
        table = Table(title=title, title_justify="left")
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        table.add_column("peak memory", justify="right")
        for name, what in _STAGES.items():
            table.add_row(what, f"{self.seconds[name]:,.3f}", f"{self.peak_memory_mib[name]:,.0f} MiB")
            if name == "prove":
                for part, part_s in self.prove_seconds.items():
                    table.add_row(f"    {part}", f"[dim]{part_s:,.3f}[/dim]", "")
        console.print(table)
        console.print("  ".join(f"{name} {size:,} bytes" for name, size in self.size_bytes.items()))
        console.print(f"verification on the chain: {self.gas:,} gas, calldata included")
        found = "found" if self.srs_was_there else "made"
        console.print(f"insecure SRS of {self.srs_points:,} points, {found}; {self.machine.cores} cores", end="")
        console.print(f", {self.machine.processor}; " + ", ".join(f"{k} {v}" for k, v in self.versions.items()))


_STAGES: Mapping[str, str] = {
    "compile": "compile kernels (once a machine)",
    "srs": "make or open the SRS",
    "commit": "commit to an update",
    "gram": "compute the Gram matrix",
    "prove": "prove",
    "verify": "verify",
}


def versions(chain: str) -> dict[str, str]:
    """What the figures were taken with: the interpreter, the packages that compute, the chain."""
    return {**package_versions(PACKAGES), "chain": chain}


def package_versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of the interpreter and of these packages."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "from source" if package == "fedmarket" else "not installed"
    return found


def _processor() -> str:
    """The processor's name, which Python itself does not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
