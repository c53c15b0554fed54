"""What it takes to seal, store, fetch and open a long update, beside copying and hashing it; what packing saves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from market.protocol.packing import FRAME_COUNTS, pack_frame
from market.protocol.update import CHUNK_BLINDER_BYTES, Counts, UpdateEncoding, encode

DIMENSION, CHUNKS = 250_000_000, 1
STEPS = ("seal", "publish", "fetch", "verify", "open")
PEAK_MIB = 200
SIGMA = 300.0
"""Of the counts: with these a high plane shrinks to a third, and a low one not at all."""

HOW = """\
seal: pack, seal and add to the trainer's own store; publish: into another store on the same disk, which gives its files
second names, and pin there; fetch: from there into a third, byte for byte, as from another disk; verify: hash every
block; open: unseal, unpack, and write in the clear. Every block is synced to the disk, and what is in the clear is not;
cp syncs nothing. Each step is a process of its own; what Python takes to start is not counted."""


@pytest.mark.bench
def test_a_sealed_update_of_500_mb_beside_copying_and_hashing_it(tmp_path: Path) -> None:
    plain = tmp_path / "update.bin"
    _write_update(plain)
    table = Table("step", "seconds", "times cp + sha256sum", "peak MiB")
    copied, hashed = _seconds("cp", str(plain), str(tmp_path / "copy")), _seconds("sha256sum", str(plain))
    (tmp_path / "copy").unlink()
    base = copied + hashed
    print(f"  {os.getloadavg()[0]:.1f} processes at work beside this one, on {os.cpu_count()} processors", flush=True)
    table.add_row("cp", f"{copied:.2f}", "", "")
    table.add_row("sha256sum", f"{hashed:.2f}", "", "")
    found = {step: _step(step, tmp_path) for step in STEPS}
    _step("compare", tmp_path)
    for step, (seconds, peak_mib) in found.items():
        table.add_row(step, f"{seconds:.2f}", f"{seconds / base:.2f}", f"{peak_mib:.0f}")
    total = sum(seconds for seconds, _ in found.values())
    table.add_row("all steps", f"{total:.2f}", f"{total / base:.2f}", f"{max(peak for _, peak in found.values()):.0f}")
    print()
    Console(width=100).print(table)
    print(HOW)
    assert max(peak for _, peak in found.values()) < PEAK_MIB


@pytest.mark.bench
def test_packing_of_sealed_updates_pays_by_level_and_plane() -> None:
    """Measured on gaussian counts, and on what the demo's models are trained to."""
    table = Table("counts", "std", "packed", "low plane", "high plane", "level 9 to level 1", "MB/s")
    for name, counts in [*_gaussians(), *_trained()]:
        low, high = _planes(counts)
        levels = {level: _compressed(low, level) + _compressed(high, level) for level in (1, 9)}
        start = time.perf_counter()
        packed = sum(len(pack_frame(counts[at : at + FRAME_COUNTS])) for at in range(0, len(counts), FRAME_COUNTS))
        speed = counts.nbytes / 1e6 / (time.perf_counter() - start)
        table.add_row(
            name,
            f"{counts.std():.1f}",
            f"{packed / counts.nbytes:.3f}",
            f"{_compressed(low, 1) / len(low):.3f}",
            f"{_compressed(high, 1) / len(high):.3f}",
            f"{levels[9] / levels[1]:.3f}",
            f"{speed:.0f}",
        )
        assert packed <= counts.nbytes + 8 * (1 + len(counts) // FRAME_COUNTS)
    print()
    Console(width=110).print(table)


def _write_update(path: Path) -> None:
    random = np.random.default_rng(1)
    with path.open("wb") as file:
        for _ in range(10):
            file.write(random.normal(0, SIGMA, DIMENSION // 10).astype("<i2").tobytes())
        file.write(bytes(CHUNK_BLINDER_BYTES * CHUNKS))


def _seconds(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _step(name: str, folder: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "tests.benchmarks.sealed_steps", name, str(folder), str(DIMENSION), str(CHUNKS)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    told = json.loads(answer.stdout)
    return told["seconds"], told["peak_mib"]


def _gaussians() -> Iterator[tuple[str, Counts]]:
    random = np.random.default_rng(2)
    for sigma in (0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000):
        counts = np.clip(random.normal(0, sigma, 8 * FRAME_COUNTS), -32767, 32767).astype("<i2")
        yield f"gaussian {sigma:g}", counts


def _trained() -> Iterator[tuple[str, Counts]]:
    """Updates of models that are trained for a few steps on what they can learn, at the scale that jobs take."""
    torch = pytest.importorskip("torch")
    for name, make, width in _models(torch):
        torch.manual_seed(0)
        model = make()
        before = _vector(model)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        images = torch.randn(512, width)
        labels = (images[:, :10] + 0.5 * images[:, 10:20]).argmax(1)
        for _ in range(30):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        delta = (_vector(model) - before).astype(np.float32)
        for exponent in (16, 20):
            yield f"{name}, 2^-{exponent}", encode(delta, None, UpdateEncoding(exponent)).counts


def _models(torch: object) -> list[tuple[str, object, int]]:
    from torch.nn import Linear, ReLU, Sequential

    def mlp() -> object:
        return Sequential(Linear(784, 512), ReLU(), Linear(512, 256), ReLU(), Linear(256, 10))

    return [("MLP 784-512-256-10", mlp, 784)]


def _vector(model: object) -> NDArray[np.float32]:
    return np.concatenate([it.detach().numpy().ravel() for it in model.parameters()])  # type: ignore[attr-defined]


def _planes(counts: Counts) -> tuple[bytes, bytes]:
    folded = (counts.astype(np.int32) << 1) ^ (counts.astype(np.int32) >> 31)
    return (folded & 255).astype(np.uint8).tobytes(), (folded >> 8).astype(np.uint8).tobytes()


def _compressed(plane: bytes, level: int) -> int:
    compressor = zstandard.ZstdCompressor(level)
    frames = (plane[at : at + FRAME_COUNTS] for at in range(0, len(plane), FRAME_COUNTS))
    return sum(min(len(compressor.compress(frame)), len(frame)) for frame in frames)
