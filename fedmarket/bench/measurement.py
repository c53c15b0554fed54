"""A whole measurement: rows, stages, gas."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from fedmarket.bench.gas import VerificationGas, measure_gas
from fedmarket.bench.processes import Progress, run_stage
from fedmarket.bench.report import Machine, ProofReport, versions
from fedmarket.bench.stages import STAGES, read_proof
from fedmarket.bench.workload import Workload, available_memory_bytes
from market.protocol.errors import InvalidInput
from zk.errors import ZkError
from zk.gram_proof import GramProof, Statement, verifying_key
from zk.srs import open_srs


def measure(work: Workload, progress: Progress) -> ProofReport:
    """Measure the proof of one round, in a folder that is removed afterwards.

    Raises:
        InvalidInput: rows, SRS or prover do not fit this machine, or the SRS file is damaged.
        StageFailed: a stage ended without a result.
        ChainError: the contract cannot be run, or does not accept the proof.
    """
    with TemporaryDirectory(prefix="fedmarket-bench-") as name:
        folder = Path(name)
        work.require_room(folder, available_memory_bytes())
        work.write(folder, lambda done, total: progress("the rows", done, total))
        stages = {stage: run_stage(stage, folder, progress) for stage in STAGES}
        progress("gas", 0, 1)
        statement, proof = read_proof(folder)
        gas = _gas(work, statement, proof)
    return ProofReport(
        dimension=work.dimension,
        trainers=work.trainers,
        chunks=work.chunks,
        repeat=work.repeat,
        srs_points=stages["srs"]["points"],
        srs_was_there=stages["srs"]["was_there"],
        seconds={stage: result["seconds"] for stage, result in stages.items()},
        prove_seconds=stages["prove"]["stages"],
        peak_memory_mib={stage: result["peak_mib"] for stage, result in stages.items()},
        size_bytes=_sizes(statement, proof, gas),
        gas=gas.gas,
        machine=Machine.here(),
        versions=versions(gas.chain),
    )


def _gas(work: Workload, statement: Statement, proof: GramProof) -> VerificationGas:
    try:
        key = verifying_key(open_srs(Path(work.srs)))
    except ZkError as error:
        raise InvalidInput(str(error)) from error
    return measure_gas(key, statement, proof)


def _sizes(statement: Statement, proof: GramProof, gas: VerificationGas) -> dict[str, int]:
    parts = (proof.mask, proof.sums, proof.blinders, proof.argument)
    return {
        "argument": len(proof.argument),
        "proof": sum(map(len, parts)),
        "gram": len(statement.gram),
        "calldata": gas.calldata_bytes,
    }
