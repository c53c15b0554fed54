"""A service small enough to be calibrated in a second: a denoiser that was never trained."""

from __future__ import annotations

import numpy as np

from market.protocol import integer_model
from market.protocol.generation import DigestSpec, LimitsSection, ModelSource, ServiceDocument
from market.protocol.integer_model import Integers
from trainer_client.calibration.measuring import Plan
from trainer_client.generation import Execution
from trainer_client.models import build_model
from trainer_client.parameters import manifest_of, read_vector

ARGUMENTS = {"features": 16, "hidden": [12], "steps": 25}
SCALE = 14


def tiny_source(parameters: str = "none") -> ModelSource:
    return ModelSource(architecture="denoiser", arguments=ARGUMENTS, scale_exponent=SCALE, parameters=parameters)


def tiny_model(seed: int = 0) -> Integers:
    module = build_model("denoiser", ARGUMENTS, seed)
    return integer_model.quantise(read_vector(module, manifest_of(module)).astype(np.float64), SCALE)


def tiny_service(parameters: str = "none") -> ServiceDocument:
    return ServiceDocument(
        model=tiny_source(parameters),
        generator="diffusion",
        digest=DigestSpec(kind="simhash", centre=1),
        tolerance_bits=0,
        limits=LimitsSection(samples=32),
    )


def tiny_plan(**changes: object) -> Plan:
    given = {
        "service": tiny_service(),
        "model": tiny_model(),
        "prompts": [None],
        "samples": 60,
        "executions": [Execution("float32", threads=1), Execution("bfloat16", threads=1)],
        "decoding": {"steps": 5},
    }
    return Plan(**{**given, **changes})  # type: ignore[arg-type]
