"""ezkl (Halo 2 over KZG commitments): the Gram matrix of private vectors, its product checked as Freivalds does."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.peers.measured import Measured, PeerFailed, PeerMissing, run_measured
from tests.benchmarks.peers.report import PeerReport

STEP = Path(__file__).with_name("halo2_step.py")
ENTRY_BITS = 16


@dataclass(frozen=True)
class Halo2:
    """A run over `trainers` vectors of `dimension` int16 entries, in a folder of its own.

    Attributes:
        log_rows: the circuit's table has 2^log_rows rows.
        timeout_s: of every single step.
    """

    folder: Path
    trainers: int
    dimension: int
    log_rows: int
    timeout_s: float
    repeat: int = 1

    def measure(self) -> PeerReport:
        """Compile, set up, prove, verify.

        Raises:
            PeerMissing: ezkl is not installed.
            PeerFailed: it fails, or takes too long.
        """
        for package in ("ezkl", "onnx"):
            if util.find_spec(package) is None:
                raise PeerMissing(f"{package} is not installed")
        self._step("model", self.trainers, self.dimension, ENTRY_BITS)
        circuit, _ = self._step("settings", self.log_rows)
        setup, _ = self._step("setup")
        witness, _ = self._step("witness")
        proofs = [self._step("prove") for _ in range(self.repeat)]
        checks = [self._step("verify")[0] for _ in range(3)]
        if not all(check["holds"] for check in checks):
            raise PeerFailed("ezkl does not accept its own proof")
        proving_key_bytes, verifying_key_bytes = setup["sizes"].values()
        return PeerReport(
            name="ezkl",
            version=f"ezkl {metadata.version('ezkl')}",
            trainers=self.trainers,
            dimension=self.dimension,
            constraints=circuit["rows"],
            universal_setup_s=setup["universal_s"],
            circuit_setup_s=setup["circuit_s"],
            prove_s=witness["seconds"] + median(proof["seconds"] for proof, _ in proofs),
            verify_s=median(check["seconds"] for check in checks),
            peak_mib=max(measured.peak_mib for _, measured in proofs),
            proof_bytes=proofs[0][0]["proof_bytes"],
            proving_key_bytes=proving_key_bytes,
            verifying_key_bytes=verifying_key_bytes,
        )

    def _step(self, *arguments: object) -> tuple[dict[str, Any], Measured]:
        command = [sys.executable, str(STEP), *map(str, arguments)]
        measured = run_measured(command, self.folder, self.timeout_s)
        return json.loads(measured.output.splitlines()[-1]), measured
