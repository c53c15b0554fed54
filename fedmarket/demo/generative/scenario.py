"""Who plays in the generative demo: a short federated job, and five who say what its model gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from fedmarket.demo.scenario import TEST_FRACTION, WARM_SAMPLES, Behaviour, Scenario
from fedmarket.example_models import example_spec
from market.protocol.generation import DigestSpec
from market.protocol.identifiers import Wei
from trainer_client.data import digits, train_test_split
from trainer_client.generation import Execution

EXAMPLE = "conditional_diffusion"
ROUNDS = 3
EPOCHS = 60
"""Of a round: fewer than the example's, and enough for digits that a person can read."""

PROMPTS = tuple(range(10))
STEPS = 20
DIGEST = DigestSpec(kind="simhash", centre=1)  # type: ignore[call-arg]
"""The kind that tells images of this size apart; docs/outputs.md has the figures."""

CALIBRATION_SAMPLES = 2_000
"""To choose the tolerance by, and as many more to report on: enough to show the errors that are asked for."""

SHARE_WEI = Wei(10**16)
STAKE_WEI = Wei(5 * 10**16)


class Part(StrEnum):
    """What a verifier of the demo does."""

    HONEST = "honest"
    LAZY = "lazy"
    COPIER = "copier"


@dataclass(frozen=True)
class VerifierPart:
    """One verifier: what it does, on what, and how that is told."""

    name: str
    part: Part
    execution: Execution
    runs: str


VERIFIERS = (
    VerifierPart("honest 1", Part.HONEST, Execution(batch_size=10), "float32, batches of 10"),
    VerifierPart("honest 2", Part.HONEST, Execution(dtype="bfloat16", batch_size=4), "bfloat16, batches of 4"),
    VerifierPart(
        "honest 3",
        Part.HONEST,
        Execution(dtype="float16", batch_size=1, kernels="plain"),
        "float16, one at a time, plain kernels",
    ),
    VerifierPart("lazy", Part.LAZY, Execution(batch_size=10), "float32, but the model that the job began with"),
    VerifierPart("copier", Part.COPIER, Execution(), "nothing: waits for what others reveal"),
)


@dataclass(frozen=True, eq=False)
class GenerativeScenario:
    """The demo's job, and the task that its model is asked for.

    Attributes:
        seed: everything follows from it, but the lot that seats are drawn by.
        job: the federated job.
        task_seed: what the images' noise is drawn from.
        prompts: a class a sample.
        verifiers: who takes part.
    """

    seed: int
    job: Scenario
    task_seed: int
    prompts: tuple[int, ...] = PROMPTS
    verifiers: tuple[VerifierPart, ...] = VERIFIERS


def make_generative_scenario(seed: int, task_seed: int | None = None, rounds: int | None = None) -> GenerativeScenario:
    """Split the digits evenly among the trainers of a short job, all honest; the owner warms its first model.

    Args:
        seed: of the split, the model and the trainings.
        task_seed: of the images; the same as `seed` where it is left out.
        rounds: in place of the demo's.
    """
    spec = example_spec(EXAMPLE)
    model = spec.model.model_copy(update={"seed": seed})
    training = spec.training.model_copy(update={"epochs": EPOCHS})
    spec = spec.model_copy(update={"model": model, "training": training, "rounds": rounds or ROUNDS})
    images = digits()
    # Diffusion's noise is around 0, and so its samples are.
    images = replace(images, inputs=(2 * images.inputs - 1).astype(np.float32))
    learning, test = train_test_split(images, TEST_FRACTION, seed)
    order = np.random.default_rng(seed).permutation(len(learning))
    parts = [learning.subset(np.sort(part)) for part in np.array_split(order[WARM_SAMPLES:], spec.seats)]
    cast = (Behaviour.HONEST,) * spec.seats
    warm = learning.subset(np.sort(order[:WARM_SAMPLES]))
    job = Scenario(seed, spec, (), warm, test, tuple(parts), cast)
    return GenerativeScenario(seed, job, seed if task_seed is None else task_seed)
