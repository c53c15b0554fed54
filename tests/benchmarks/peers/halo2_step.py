"""One step of ezkl in a process of its own: the Gram matrix Q·Qᵀ of private vectors, out of an ONNX model.

    python halo2_step.py model TRAINERS DIMENSION BITS | settings LOGROWS | setup | witness | prove | verify

Works in the current folder, and prints one JSON object as its last line.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

ezkl: Any = import_module("ezkl")
"""Its type stubs lag behind its code."""

MODEL, SETTINGS, CIRCUIT, SRS = "gram.onnx", "settings.json", "gram.circuit", "srs.bin"
INPUT, WITNESS, PROOF = "input.json", "witness.json", "proof.json"
DECOMPOSITION_LEGS = 3
"""Each of 14 bits: sums of products of int16 pass 2^28, which two hold."""
PROVING_KEY, VERIFYING_KEY = "proving.key", "verifying.key"


def model(trainers: str, dimension: str, bits: str) -> dict[str, Any]:
    """Write the model, and random vectors for it."""
    from onnx import TensorProto, helper, save

    shape, square = [int(trainers), int(dimension)], [int(trainers), int(trainers)]
    nodes = [helper.make_node("Transpose", ["Q"], ["Qt"], perm=[1, 0]), helper.make_node("MatMul", ["Q", "Qt"], ["G"])]
    vectors = helper.make_tensor_value_info("Q", TensorProto.FLOAT, shape)
    gram = helper.make_tensor_value_info("G", TensorProto.FLOAT, square)
    graph = helper.make_graph(nodes, "gram", [vectors], [gram])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), MODEL)
    bound = 2 ** (int(bits) - 1)
    entries = np.random.default_rng(0).integers(-bound, bound, shape[0] * shape[1])
    Path(INPUT).write_text(json.dumps({"input_data": [entries.tolist()]}))
    return {}


def settings(log_rows: str) -> dict[str, Any]:
    """Choose the circuit's shape: exact integers, private vectors, public Gram matrix."""
    options = ezkl.PyRunArgs()
    options.input_visibility = "private"
    options.output_visibility = "public"
    options.param_visibility = "fixed"
    options.input_scale = 0
    options.logrows = int(log_rows)
    options.decomp_legs = DECOMPOSITION_LEGS
    _done(ezkl.gen_settings(MODEL, SETTINGS, py_run_args=options))
    _done(ezkl.compile_circuit(MODEL, CIRCUIT, SETTINGS))
    chosen = json.loads(Path(SETTINGS).read_text())
    return {"rows": chosen["num_rows"], "log_rows": chosen["run_args"]["logrows"]}


def setup() -> dict[str, Any]:
    """Make the powers of tau, which serve any circuit, and the keys, which serve this one."""
    log_rows = json.loads(Path(SETTINGS).read_text())["run_args"]["logrows"]
    universal_s, _ = _timed(lambda: ezkl.gen_srs(SRS, log_rows))
    circuit_s, _ = _timed(lambda: ezkl.setup(CIRCUIT, VERIFYING_KEY, PROVING_KEY, SRS))
    sizes = {name: Path(name).stat().st_size for name in (PROVING_KEY, VERIFYING_KEY)}
    return {"universal_s": universal_s, "circuit_s": circuit_s, "sizes": sizes}


def witness() -> dict[str, Any]:
    """Compute the witness."""
    seconds, _ = _timed(lambda: ezkl.gen_witness(INPUT, CIRCUIT, WITNESS))
    return {"seconds": seconds}


def prove() -> dict[str, Any]:
    """Prove, the proving key's loading included."""
    seconds, _ = _timed(lambda: ezkl.prove(WITNESS, CIRCUIT, PROVING_KEY, PROOF, SRS))
    return {"seconds": seconds, "proof_bytes": len(json.loads(Path(PROOF).read_text())["hex_proof"]) // 2 - 1}


def verify() -> dict[str, Any]:
    """Verify."""
    seconds, holds = _timed(lambda: ezkl.verify(PROOF, SETTINGS, VERIFYING_KEY, SRS))
    return {"seconds": seconds, "holds": holds}


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start_s = time.perf_counter()
    result = _done(call)
    return time.perf_counter() - start_s, result


def _done(call: Any) -> Any:
    """The result of a call, which some versions of ezkl hand out as a future."""

    async def wait() -> Any:
        result = call() if callable(call) else call
        return await result if inspect.isawaitable(result) else result

    return asyncio.run(wait())


STEPS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "model": model,
    "settings": settings,
    "setup": setup,
    "witness": witness,
    "prove": prove,
    "verify": verify,
}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](*sys.argv[2:])))
