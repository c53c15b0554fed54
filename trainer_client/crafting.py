"""From what a round asks of a trainer to the update that it hands in, and when it has to be ready."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from market.protocol.errors import InvalidUpdate
from trainer_client.attempt_folder import AttemptFolder, make_private
from trainer_client.data import Samples
from trainer_client.engine.checkpoint import Checkpoint
from trainer_client.engine.execution import Execution
from trainer_client.engine.gradients import silent
from trainer_client.engine.objective import Lineage
from trainer_client.engine.progress import Progress
from trainer_client.engine.run import Method
from trainer_client.engine.training import train
from trainer_client.job_model import JobModel
from trainer_client.objectives import objective_of

ASKING_S = 1.0
"""How often a training asks the chain for the time, at most."""

ASKING_SHARE = 100
"""A training asks the chain no more often than after so many times as long as an answer takes."""


@dataclass(frozen=True, eq=False)
class RoundTask:
    """What a trainer has to work with in one attempt.

    Attributes:
        job_model: its module holds the round's global parameters.
        dataset: the trainer's own.
        attempt: the attempt's number.
        step: the round's multiplier on the learning rate.
        seed: of the order of the samples; another one in every attempt.
        execution: how this machine computes.
        should_stop: says when the time to submit has come.
        progress: is told how far the training is.
        report: is told, a line at a time, what is out of the ordinary.
        folder: what is kept of the attempt, in which a training that was interrupted goes on; None keeps nothing.
        model: content digest of the round's model, which a training that goes on has to have begun with.
        lineage: the models that led to it.
    """

    job_model: JobModel
    dataset: Samples
    attempt: int
    step: float
    seed: int
    execution: Execution
    should_stop: Callable[[], bool]
    progress: Callable[[Progress], None] | None
    report: Callable[[str], None] = silent
    folder: AttemptFolder | None = None
    model: bytes = b""
    lineage: Lineage = field(default_factory=Lineage)


Craft = Callable[[RoundTask], NDArray[np.float32]]
"""Makes an update's float32 (d,) of a task."""


@runtime_checkable
class Selective(Protocol):
    """A craft that stands for what it made itself alone."""

    def has_made(self, folder: AttemptFolder) -> bool:
        """Whether what lies trained in an attempt's folder may be handed in."""


def stands_for(craft: object, folder: AttemptFolder) -> bool:
    """Whether a trainer with this craft may hand in what lies trained in an attempt's folder.

    It may have been made before a restart, by other options.
    """
    return not isinstance(craft, Selective) or craft.has_made(folder)


def train_locally(task: RoundTask) -> NDArray[np.float32]:
    """The job's local training on the trainer's own data: float32 (d,).

    Raises:
        InvalidUpdate: the training diverged, or there was no time for a single step.
    """
    return train_by(task, method_of(task))


def method_of(task: RoundTask) -> Method:
    """How the job says that its trainers train: its objective, and what that knows of earlier rounds."""
    objective = objective_of(task.job_model.training.objective)
    return Method(objective=objective, lineage=task.lineage, memory=_memory(task))


def _memory(task: RoundTask) -> dict[str, Tensor]:
    try:
        return {} if task.folder is None else task.folder.objective_before()
    except InvalidUpdate as problem:
        task.report(f"what the objective kept is lost, it begins anew: {problem}")
        return {}


def train_by(task: RoundTask, method: Method) -> NDArray[np.float32]:
    """A method's local training on the trainer's own data: float32 (d,).

    Raises:
        InvalidUpdate: as `train_locally`.
    """
    result = train(
        task.job_model.module,
        task.dataset,
        task.job_model.training,
        seed=task.seed,
        step=task.step,
        manifest=task.job_model.manifest,
        execution=task.execution,
        method=method,
        checkpoint=_checkpoint(task),
        in_place=True,
        progress=_with_time(task),
        report=task.report,
        should_stop=Foresight(task.should_stop) if isinstance(task.should_stop, Alarm) else task.should_stop,
    )
    if result.samples_seen == 0:
        raise InvalidUpdate("the commit phase leaves no time to train: no sample was seen")
    if not result.finished:
        planned = task.job_model.training.epochs * len(task.dataset)
        task.report(f"stopped training in time to submit: {result.samples_seen:,} of {planned:,} samples done")
    if task.folder is not None:
        task.folder.keep_objective(result.memory)
    return result.delta


def _checkpoint(task: RoundTask) -> Checkpoint | None:
    """Where the task's training is kept; it goes on only from the same model, with the same settings and samples."""
    if task.folder is None:
        return None
    make_private(task.folder.path)
    samples, training = task.dataset, task.job_model.training
    key = (task.folder.context, task.model.hex(), training, task.step, task.seed, len(samples), str(samples.kind))
    return Checkpoint(task.folder.checkpoint_path, repr(key))


def _with_time(task: RoundTask) -> Callable[[Progress], None] | None:
    """The task's progress, told the time that is left, too."""
    tell, clock = task.progress, task.should_stop
    if tell is None or not isinstance(clock, Alarm):
        return tell
    return lambda progress: tell(replace(progress, left_s=clock.left_s() if clock.left_s() < math.inf else None))


def training_seed(seed: int, job: int, attempt: int) -> int:
    """The seed of one attempt's training: another one in every job and attempt, the same after a restart."""
    return int(np.random.SeedSequence([seed, job, attempt]).generate_state(1)[0])


class Alarm:
    """Says when a training has to end, so that its update is committed in time.

    Asking the chain takes time, over a slow line much of it: no more than a hundredth of the training's goes into it,
    as long as the moment is far away.
    """

    def __init__(self, left_s: Callable[[], float], least_s: float = math.inf) -> None:
        """Set it.

        Args:
            left_s: seconds to that moment by the chain, infinite where nobody knows it; asked once a second at most.
            least_s: seconds that there are to it at least once it is known.
        """
        self._ask_chain, self._least_s = left_s, least_s
        self._asked_at, self._again_s, self._left_s = 0.0, 0.0, 0.0

    def __call__(self) -> bool:
        """Whether it is time."""
        if time.monotonic() - self._asked_at >= self._again_s:
            self._ask()
        return self._left_s <= 0

    def left_s(self) -> float:
        """Seconds to that moment, reckoned on from the last look at the chain; infinite where nobody knows it."""
        return max(0.0, self._left_s - (time.monotonic() - self._asked_at))

    def _ask(self) -> None:
        begun = time.monotonic()
        self._left_s = self._ask_chain()
        self._asked_at = time.monotonic()
        took_s = self._asked_at - begun
        self._again_s = max(ASKING_S, min(ASKING_SHARE * took_s, self._left_s / 4, self._least_s / 4))


class Foresight:
    """Stops before a step that would not be over when an alarm rings: asked before each of them, it knows their times.

    What the last two took at least is what the next one is taken to: a single slow one, of a compiler, says little.
    """

    def __init__(self, alarm: Alarm) -> None:
        """Watch this alarm."""
        self._alarm, self._begun_at = alarm, math.inf
        self._took_s: deque[float] = deque(maxlen=2)

    def __call__(self) -> bool:
        """Whether it is time."""
        if self._begun_at < math.inf:
            self._took_s.append(time.monotonic() - self._begun_at)
        is_time = self._alarm() or min(self._took_s, default=0.0) > self._alarm.left_s()
        self._begun_at = time.monotonic()
        return is_time
