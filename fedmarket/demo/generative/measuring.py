"""How the demo's owner finds its pool's tolerance: by measuring the model that was trained, on other images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedmarket.demo.generative.scenario import CALIBRATION_SAMPLES, STEPS, GenerativeScenario
from market.protocol.generation import ServiceDocument
from market.protocol.integer_model import Integers
from market.published_job import PublishedJob
from market.storage import Cid
from trainer_client.calibration.calibration import Calibration, calibrate
from trainer_client.calibration.executions import usual_executions
from trainer_client.calibration.measuring import Plan, Progress
from trainer_client.calibration.samples import Part
from trainer_client.calibration.tolerance import Wanted

UNTRAINED = "before training"
"""The model that has to be told apart: the one that the job began with, which is what the lazy verifier runs."""


def measure_tolerance(
    scenario: GenerativeScenario,
    service: ServiceDocument,
    job: PublishedJob,
    folder: Path,
    progress: Callable[[Part], Progress] | None = None,
) -> Calibration:
    """Generate images on machines unlike each other, and choose the bits within which honest ones agree.

    Args:
        scenario: for the prompts, the task's seed, whose images are not measured on, and the panel's size.
        service: the document, whatever tolerance it has.
        job: has the models.
        folder: keeps what was measured.
        progress: for each part, what is told how far it is.

    Raises:
        CannotCalibrate: no tolerance serves this model.
    """
    versions = job.history().versions()

    def model(number: int) -> Integers:
        return job.model(versions[number].digest)

    plan = Plan(
        service=service,
        model=model(-1),
        prompts=scenario.prompts,
        samples=CALIBRATION_SAMPLES,
        executions=usual_executions(["cpu"]),
        others={UNTRAINED: model(0)},
        seed=scenario.task_seed + 1,
        decoding={"steps": STEPS},
    )
    return calibrate(plan, Wanted(verifiers=len(scenario.verifiers)), folder, progress=progress)


def with_tolerance(service: ServiceDocument, found: Calibration, content: Cid) -> ServiceDocument:
    """The service's document as verifiers are to read it.

    Args:
        service: without a tolerance.
        found: what was measured.
        content: id under which that is stored.
    """
    chosen = {
        "tolerance_bits": found.choice.tolerance_bits,
        "slack_permille": found.slack.permille,
        "calibration": str(content),
    }
    return service.model_copy(update=chosen)
