"""What the proof of a round costs, by dimension and trainers, and what general proof systems take for less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from fedmarket.bench.measurement import measure
from fedmarket.bench.report import Machine, ProofReport
from fedmarket.bench.workload import Workload
from tests.benchmarks.peers.groth16 import Groth16
from tests.benchmarks.peers.halo2 import Halo2
from tests.benchmarks.peers.measured import PeerMissing, PeerSlow
from tests.benchmarks.peers.report import PeerReport

DIMENSIONS = (1 << 14, 1 << 16, 1 << 18, 1 << 20)
TRAINERS = (4, 16, 64)
REPEAT = 3
MIB = 1 << 20

PEER_TRAINERS = 16
STEP_LIMIT_S = 300.0
"""Of each step of a peer: their largest statement is one whose set-up and proof take minutes, not hours."""

GROTH16_DIMENSION, GROTH16_POWER = 59, 13
"""136 · 59 gates and 137 public values just fit 2^13 rows; twice as many take a set-up of some 7 minutes."""

HALO2_DIMENSION, HALO2_LOG_ROWS = 1_100, 17
"""126,912 of 2^17 rows; twice as many take a proving key of 2 GB."""

GAS_SPREAD = 1.03
"""Calldata costs less where its bytes are zero, and longer vectors have larger inner products."""

FAIRNESS = """\
The peers prove less: that a public matrix is the Gram matrix of n private vectors. The argument proves besides that
these are the committed vectors and that the weighted sum is theirs, and covers five public rows: the peers' figures
are lower bounds. Entries are 16 bits wide in all three; of the statements only ezkl's says that they are in range.
Groth16: a gate a product, so n(n+1)/2 · d of them; keys for this circuit alone, from a trusted set-up. Its times
include the start of Node, some 0.4 s. ezkl: Halo 2 over KZG, universal set-up, no secret in its keys; the product
is checked with random vectors, as Freivalds does, so its work grows with n · d. Both load their keys within these
times.
The argument: universal set-up (the one made here is not secret, which changes no cost), no keys, work that grows
with n · d + d log d, so that the time per product falls as n grows. Its verifier needs three points of the set-up.
All three rest on BN254, at some 100 bits of security, and are checked by one product of pairings."""


@pytest.fixture(scope="session")
def srs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the SRS is kept from one measurement to the next."""
    return str(tmp_path_factory.mktemp("srs") / "insecure.ptau")


def measured(dimension: int, trainers: int, srs: str) -> ProofReport:
    print(f"  d = {dimension:,}, n = {trainers}", flush=True)
    return measure(Workload(dimension, trainers, 1, REPEAT, srs), lambda what, done, total: None)


@pytest.mark.bench
def test_a_round_is_proven_in_224_bytes_with_gas_that_does_not_depend_on_its_dimension(srs: str) -> None:
    largest = measured(max(DIMENSIONS), min(TRAINERS), srs)  # first: every other measurement finds its SRS
    reports = {(largest.dimension, largest.trainers): largest}
    for trainers in TRAINERS:
        for dimension in DIMENSIONS:
            if (dimension, trainers) not in reports:
                reports[dimension, trainers] = measured(dimension, trainers, srs)
    print_reports([reports[dimension, trainers] for trainers in TRAINERS for dimension in DIMENSIONS])
    print(f"SRS of {largest.srs_points:,} points made in {largest.seconds['srs']:.1f} s")
    assert all(report.size_bytes["argument"] == 224 for report in reports.values())
    assert all(report.peak_memory_mib["prove"] <= 1_536 for report in reports.values())
    for trainers in TRAINERS:
        gas = [reports[dimension, trainers].gas for dimension in DIMENSIONS]
        assert max(gas) <= GAS_SPREAD * min(gas)


@pytest.mark.bench
def test_general_proof_systems_beside_the_argument(srs: str, tmp_path: Path) -> None:
    peers: dict[str, Callable[[Path], PeerReport]] = {
        "snarkjs Groth16": lambda folder: Groth16(
            folder, PEER_TRAINERS, GROTH16_DIMENSION, GROTH16_POWER, STEP_LIMIT_S
        ).measure(),
        "ezkl": lambda folder: Halo2(folder, PEER_TRAINERS, HALO2_DIMENSION, HALO2_LOG_ROWS, STEP_LIMIT_S).measure(),
    }
    found: list[PeerReport] = []
    for name, run in peers.items():
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        try:
            found.append(run(folder))
        except (PeerMissing, PeerSlow) as reason:
            print(f"{name}: no figures: {reason}")
    own = [measured(dimension, PEER_TRAINERS, srs) for dimension in (GROTH16_DIMENSION, HALO2_DIMENSION, 1 << 20)]
    print_comparison(found, own)
    assert all(report.proof_bytes > own[0].size_bytes["argument"] for report in found)


def print_reports(reports: list[ProofReport]) -> None:
    machine = Machine.here()
    title = f"Proof of a round, medians of {REPEAT}, {machine.cores} cores, {machine.processor}, {machine.system}"
    table = Table(title=title, title_justify="left")
    columns = ("n", "d", "commit s", "Gram s", "prove s", "verify ms", "prover MiB", "proof bytes", "verify gas")
    for column in columns:
        table.add_column(column, justify="right")
    for report in reports:
        seconds = report.seconds
        table.add_row(
            str(report.trainers),
            f"{report.dimension:,}",
            f"{seconds['commit']:.3f}",
            f"{seconds['gram']:.2f}",
            f"{seconds['prove']:.2f}",
            f"{seconds['verify'] * 1e3:.1f}",
            f"{report.peak_memory_mib['prove']:,.0f}",
            f"{report.size_bytes['argument']}",
            f"{report.gas:,}",
            end_section=report.dimension == max(DIMENSIONS),
        )
    console = Console(width=130)
    console.print(table)
    console.print(", ".join(f"{name} {version}" for name, version in reports[0].versions.items()))


def print_comparison(peers: list[PeerReport], own: list[ProofReport]) -> None:
    best_us = min(microseconds_per_product(report) for report in own)
    table = Table(title=f"Gram matrix of {PEER_TRAINERS} vectors of int16, medians", title_justify="left")
    columns = ("", "d", "products", "universal s", "keys s", "prove s", "µs/product", "ratio", "verify s", "MiB")
    for column in (*columns, "proof", "proving key", "verifying key"):
        table.add_column(column, justify="right" if column else "left")
    for peer in peers:
        us = peer.microseconds_per_multiplication
        setup = (f"{peer.universal_setup_s:.1f}", f"{peer.circuit_setup_s:.1f}")
        measures = (f"{peer.verify_s:.3f}", f"{peer.peak_mib:,.0f}")
        sizes = (peer.proof_bytes, peer.proving_key_bytes, peer.verifying_key_bytes)
        times = (f"{peer.prove_s:.2f}", f"{us:.3f}", f"{us / best_us:,.0f}")
        shape = (peer.name, f"{peer.dimension:,}", f"{peer.multiplications:,}")
        table.add_row(*shape, *setup, *times, *measures, *(f"{size:,}" for size in sizes))
    for report in own:
        us = microseconds_per_product(report)
        shape = ("this argument", f"{report.dimension:,}", f"{report.multiplications:,}")
        times = (f"{report.seconds['prove']:.2f}", f"{us:.3f}", f"{us / best_us:,.1f}")
        measures = (f"{report.seconds['verify']:.3f}", f"{report.peak_memory_mib['prove']:,.0f}")
        table.add_row(*shape, f"{report.seconds['srs']:.1f}", "none", *times, *measures, "224", "none", "320")
    console = Console(width=160)
    console.print(table)
    versions = [f"{peer.version} ({peer.constraints:,} gates or rows)" for peer in peers]
    console.print(", ".join(versions + [f"{name} {version}" for name, version in own[0].versions.items()]))
    console.print(FAIRNESS, highlight=False)


def microseconds_per_product(report: ProofReport) -> float:
    return report.seconds["prove"] * 1e6 / report.multiplications
