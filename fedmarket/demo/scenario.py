"""Who plays in the demo, with which data, for which job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files

import numpy as np
import yaml

from market.protocol.job_spec import JobSpec, parse_spec
from trainer_client.data import Dataset, digits, dirichlet_split, train_test_split

TRAINERS = 8
HONEST = 5
WARM_SAMPLES = 100
TEST_FRACTION = 0.2
ALPHA = 0.5
"""Dirichlet concentration: small is far from identically distributed."""


PERIODS = {
    **{"enrol_s": 300, "commit_s": 600, "reveal_s": 300, "settle_s": 300, "vesting_s": 120, "deadline_s": 86_400},
    **{"confirmations": 1, "block_time_s": 1},
}
"""Long, so that a slow machine misses none: the demo's clock skips what is left once everybody has acted."""


class Behaviour(StrEnum):
    """What a trainer of the demo does."""

    HONEST = "honest"
    POISONER = "poisoner"
    FREE_RIDER = "free rider"
    COPIER = "copier"


CAST = (Behaviour.HONEST,) * HONEST + (Behaviour.POISONER, Behaviour.FREE_RIDER, Behaviour.COPIER)


@dataclass(frozen=True, eq=False)
class Scenario:
    """The demo's job and data.

    Attributes:
        seed: everything follows from it.
        spec: the job.
        warm: the owner's own samples, for the warm start.
        test: held out; nobody trains on it.
        parts: each trainer's samples, in the order of the cast.
    """

    seed: int
    spec: JobSpec
    warm: Dataset
    test: Dataset
    parts: tuple[Dataset, ...]


def make_scenario(seed: int, rounds: int | None = None) -> Scenario:
    """Split the handwritten digits among owner, test and trainers, unevenly, and take the example's spec.

    Args:
        seed: of the split, the model and the trainings.
        rounds: in place of the example's.
    """
    training, test = train_test_split(digits(), TEST_FRACTION, seed)
    warm = training.subset(np.arange(WARM_SAMPLES))
    pool = training.subset(np.arange(WARM_SAMPLES, len(training)))
    parts = dirichlet_split(pool.labels, TRAINERS, ALPHA, seed)
    fields = yaml.safe_load(files("fedmarket").joinpath("examples", "digits-median.yaml").read_text("utf-8"))
    fields["model"]["seed"] = seed
    fields["rounds"] = rounds or fields["rounds"]
    fields["periods"] = PERIODS
    return Scenario(seed, parse_spec(fields), warm, test, tuple(pool.subset(part) for part in parts))


def trainer_seed(scenario_seed: int, index: int) -> int:
    """The seed of one trainer's sessions; plain federated averaging in the benchmark uses the same."""
    return scenario_seed * 100 + index
