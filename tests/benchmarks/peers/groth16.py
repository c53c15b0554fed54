"""snarkjs Groth16 over a circuit that circom2 compiles: the Gram matrix of private vectors, with a trusted set-up."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from tests.benchmarks.peers.measured import Measured, PeerFailed, PeerMissing, run_measured
from tests.benchmarks.peers.report import PeerReport

REPOSITORY = Path(__file__).resolve().parents[3]
CIRCOM = REPOSITORY / "node_modules" / "circom2" / "cli.js"
SNARKJS = REPOSITORY / "node_modules" / "snarkjs" / "build" / "cli.cjs"
CIRCUIT = Path(__file__).with_name("gram.circom")
PROOF_BYTES = 256
"""Two points of G1 and one of G2, as a contract reads them."""


@dataclass(frozen=True)
class Groth16:
    """A run over `trainers` vectors of `dimension` int16 entries, in a folder of its own.

    Attributes:
        power: the set-up is made for 2^power constraints.
        timeout_s: of every single command.
    """

    folder: Path
    trainers: int
    dimension: int
    power: int
    timeout_s: float
    repeat: int = 3

    def measure(self) -> PeerReport:
        """Compile, set up, prove, verify.

        Raises:
            PeerMissing: a tool is not installed.
            PeerFailed: one fails, or takes too long.
        """
        for tool in (CIRCOM, SNARKJS):
            if not tool.exists():
                raise PeerMissing(f"{tool.relative_to(REPOSITORY)} is not installed")
        constraints = self._compile()
        universal_s = self._powers_of_tau()
        circuit_s = self._circuit_keys()
        witness = self._witness()
        proofs = [
            self._snarkjs("groth16 prove proving.zkey witness.wtns proof.json public.json") for _ in range(self.repeat)
        ]
        verifications = [self._snarkjs("groth16 verify key.json public.json proof.json") for _ in range(self.repeat)]
        return PeerReport(
            name="Groth16",
            version=f"snarkjs {_version(SNARKJS.parents[1])}, circom2 {_version(CIRCOM.parent)}",
            trainers=self.trainers,
            dimension=self.dimension,
            constraints=constraints,
            universal_setup_s=universal_s,
            circuit_setup_s=circuit_s,
            prove_s=witness.seconds + median(proof.seconds for proof in proofs),
            verify_s=median(check.seconds for check in verifications),
            peak_mib=max(proof.peak_mib for proof in proofs),
            proof_bytes=PROOF_BYTES,
            proving_key_bytes=(self.folder / "proving.zkey").stat().st_size,
            verifying_key_bytes=(self.folder / "key.json").stat().st_size,
        )

    def _compile(self) -> int:
        shutil.copy(CIRCUIT, self.folder / CIRCUIT.name)
        main = (
            "pragma circom 2.2.0;",
            f'include "{CIRCUIT.name}";',
            f"component main = Gram({self.trainers}, {self.dimension});",
        )
        (self.folder / "main.circom").write_text("\n".join(main))
        self._node(CIRCOM, "main.circom --r1cs --wasm --O2 -o .")
        printed = self._snarkjs("r1cs info main.r1cs").output
        found = re.search(r"# of Constraints: (\d+)", printed)
        if found is None:
            raise PeerFailed(f"snarkjs names no number of constraints: {printed[-200:]}")
        return int(found.group(1))

    def _powers_of_tau(self) -> float:
        """The part of the set-up that serves every circuit of this size."""
        steps = (
            f"powersoftau new bn128 {self.power} first.ptau",
            f"powersoftau contribute first.ptau second.ptau -n=one -e={secrets.token_hex(32)}",
            "powersoftau prepare phase2 second.ptau prepared.ptau",
        )
        return sum(self._snarkjs(step).seconds for step in steps)

    def _circuit_keys(self) -> float:
        """The part of the set-up that serves this circuit alone."""
        steps = (
            "groth16 setup main.r1cs prepared.ptau first.zkey",
            f"zkey contribute first.zkey proving.zkey -n=one -e={secrets.token_hex(32)}",
            "zkey export verificationkey proving.zkey key.json",
        )
        return sum(self._snarkjs(step).seconds for step in steps)

    def _witness(self) -> Measured:
        vectors = np.random.default_rng(0).integers(-(2**15), 2**15, (self.trainers, self.dimension))
        entries = {"vectors": [[str(entry) for entry in row] for row in vectors.tolist()]}
        (self.folder / "input.json").write_text(json.dumps(entries))
        return self._snarkjs("wtns calculate main_js/main.wasm input.json witness.wtns")

    def _snarkjs(self, arguments: str) -> Measured:
        return self._node(SNARKJS, arguments)

    def _node(self, script: Path, arguments: str) -> Measured:
        return run_measured(["node", str(script), *arguments.split()], self.folder, self.timeout_s)


def _version(package: Path) -> str:
    return str(json.loads((package / "package.json").read_text())["version"])
