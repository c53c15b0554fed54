"""Who plays in the demo, with which data, for which job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

from market.protocol.errors import InvalidData
from market.protocol.job_spec import JobSpec, parse_spec
from trainer_client.data import Dataset, digits, dirichlet_split, train_test_split

TRAINERS = 8
HONEST = 5
WARM_SAMPLES = 100
"""The owner's, where there is no exam; where there is one, its public slice warms the first model."""
TEST_FRACTION = 0.2
ALPHA = 0.5
"""Dirichlet concentration: small is far from identically distributed."""

PERIODS = {
    **{"enrol_s": 300, "commit_s": 600, "reveal_s": 300, "settle_s": 300, "vesting_s": 120, "deadline_s": 86_400},
    **{"confirmations": 1, "block_time_s": 1},
}
"""Long, so that a slow machine misses none: the demo's clock skips what is left once everybody has acted."""

EXAM_PERIOD_S = 300


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
        slices: the exam's samples, the public slice first; empty without an exam.
        warm: the owner's own samples, for the warm start: the public slice where there is an exam; None for none.
        test: held out; nobody trains on it.
        parts: each trainer's samples, in the order of the cast.
        cast: what each trainer does.
    """

    seed: int
    spec: JobSpec
    slices: tuple[Dataset, ...]
    warm: Dataset | None
    test: Dataset
    parts: tuple[Dataset, ...]
    cast: tuple[Behaviour, ...] = CAST


def make_scenario(seed: int, rounds: int | None = None, *, examined: bool = True) -> Scenario:
    """Split the handwritten digits among owner, test and trainers, unevenly, and take the example's spec.

    The exam is cut by the seed, so that a play can be repeated; an owner draws it at random.

    Args:
        seed: of the split, the model and the trainings.
        rounds: in place of the example's.
        examined: whether the owner examines the trainers; else they judge one another.

    Raises:
        InvalidData: so many rounds' exams leave the trainers too few samples.
    """
    spec = _spec(seed, rounds, examined)
    training, test = train_test_split(digits(), TEST_FRACTION, seed)
    sizes = _owner_samples(spec)
    if sum(sizes) > len(training):
        raise InvalidData(
            f"{spec.rounds} rounds of exams take {sum(sizes):,} samples, expected at most {len(training):,}: play fewer"
        )
    # Without an exam in the order of the data set, which comes from many hands in turn.
    order = np.random.default_rng(seed).permutation(len(training)) if examined else np.arange(len(training))
    *slices, rest = np.split(order, np.cumsum(sizes))
    owned = tuple(training.subset(part) for part in slices)
    pool = training.subset(np.sort(rest))
    parts = dirichlet_split(pool.labels, TRAINERS, ALPHA, seed)
    return Scenario(seed, spec, owned if examined else (), owned[0], test, tuple(pool.subset(part) for part in parts))


def _owner_samples(spec: JobSpec) -> list[int]:
    """How many samples each of the owner's parts has, the one of the warm start first."""
    if spec.exam is None:
        return [WARM_SAMPLES]
    return [spec.exam.public_samples] + [spec.exam.samples] * (spec.exam_slices - 1)


def _spec(seed: int, rounds: int | None, examined: bool) -> JobSpec:
    example = "digits.yaml" if examined else "digits-median.yaml"
    fields: dict[str, Any] = yaml.safe_load(files("fedmarket").joinpath("examples", example).read_text("utf-8"))
    fields["model"]["seed"] = seed
    fields["rounds"] = rounds or fields["rounds"]
    fields["periods"] = PERIODS
    if examined:
        fields["exam"]["period_s"] = EXAM_PERIOD_S
    return parse_spec(fields)


def trainer_seed(scenario_seed: int, index: int) -> int:
    """The seed of one trainer's sessions; plain federated averaging in the benchmark uses the same."""
    return scenario_seed * 100 + index
