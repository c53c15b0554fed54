"""Local training: from the round's global parameters to this trainer's update."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from market.protocol.errors import InvalidUpdate
from market.protocol.manifest import ParameterManifest
from trainer_client.data import Samples
from trainer_client.engine.checkpoint import Checkpoint
from trainer_client.engine.determinism import deterministic_algorithms
from trainer_client.engine.execution import Execution
from trainer_client.engine.gradients import Report, silent
from trainer_client.engine.preemption import Preemption
from trainer_client.engine.progress import Progress
from trainer_client.engine.run import Method, Plan, Run, Watch, entries_of
from trainer_client.engine.settings import MAX_FACTOR, LocalTraining, require
from trainer_client.engine.starting_point import StartingPoint
from trainer_client.parameters import manifest_of


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What local training gave.

    Attributes:
        delta: float32 (d,), trained minus initial parameters.
        loss: mean over the samples of the last epoch, finished or not; NaN if there was no step.
        samples_seen: over all epochs.
        finished: False where ``should_stop`` ended it early; delta is then what was reached.
        memory: what the objective keeps for this trainer's next round.
    """

    delta: NDArray[np.float32]
    loss: float
    samples_seen: int
    finished: bool
    memory: dict[str, Tensor] = field(default_factory=dict)


def train(
    model: nn.Module,
    dataset: Samples,
    settings: LocalTraining,
    *,
    seed: int,
    step: float = 1.0,
    manifest: ParameterManifest | None = None,
    execution: Execution | None = None,
    method: Method | None = None,
    checkpoint: Checkpoint | None = None,
    in_place: bool = False,
    progress: Callable[[Progress], None] | None = None,
    report: Report = silent,
    should_stop: Callable[[], bool] | None = None,
) -> TrainingResult:
    """Train a model and return how its parameters moved; afterwards the model has its own values again.

    PyTorch's global random state and settings are left as they were, so trainers may run as threads of one process. On
    the CPU the same model, data, settings, step and seed give the same delta, bit for bit, on the same build of
    PyTorch, interrupted or not; only what was compiled because it was faster may differ by the order of sums.

    Args:
        model: with the round's global parameters.
        dataset: batches of it are moved to the device as they are needed.
        settings: the job's.
        seed: of the order of the samples, and of the noise where the loss or the model draws some.
        step: the round's multiplier on the learning rate, above 0 and at most 10^6.
        manifest: the trainable entries; all others are frozen. None trains everything.
        execution: how this machine computes; in float32 on the CPU by default.
        method: what differs from plain stochastic gradient descent; nothing by default.
        checkpoint: where the training is kept from time to time and when a signal asks to end, and from where it goes
            on; None keeps nothing.
        in_place: whether nobody else uses the model meanwhile: it is then not copied, and its first values wait in a
            file.
        progress: called about once a second and after every epoch.
        report: is told, a line at a time, what is out of the ordinary.
        should_stop: asked before every batch.

    Raises:
        InvalidUpdate: the loss or a parameter is no longer finite; the message names the epoch.
        InvalidData: samples of another kind than the loss takes, or that the model has no inputs or outputs for.
        InvalidModel: the manifest does not fit the model, or the memory not a single sample, or a stranger's model
            fails on these samples.
        InvalidTerms: the step is not above 0, or above 10^6, or the model does not learn by this loss.
        MemoryError: the memory does not hold what the training takes beside the samples.
        InvalidInput: an operator of the model has no deterministic algorithm, where that is asked for.
        StorageError: the disk has no room for the first values.
        KeyboardInterrupt: a signal came; the training is in its checkpoint, or was said not to be.
    """
    require(0 < step <= MAX_FACTOR, "step", step, f"above 0, at most {MAX_FACTOR:g}")
    layout, execution = manifest or manifest_of(model), execution or Execution()
    trained = model if in_place else copy.deepcopy(model)
    plan = Plan(trained, dataset, settings, layout, seed, step, execution, method or Method())
    watch = Watch(progress, report, should_stop or _never)
    folder = None if checkpoint is None else checkpoint.path.parent
    with StartingPoint(trained, layout, folder) as start:
        try:
            with deterministic_algorithms() if execution.deterministic else nullcontext():
                return _trained(plan, watch, start, checkpoint)
        finally:
            if in_place:
                start.restore()


def _trained(plan: Plan, watch: Watch, start: StartingPoint, checkpoint: Checkpoint | None) -> TrainingResult:
    plan.model.to(plan.execution.device).train()
    preemption = Preemption()
    watch = replace(watch, is_preempted=lambda: bool(preemption))
    with nullcontext() if checkpoint is None else preemption.watched(), _run(plan, watch, checkpoint) as run:
        finished = run.go()
    if preemption:  # and whoever handles the signal did not end the program
        raise KeyboardInterrupt
    loss, samples_seen, names = run.mean_loss(), run.samples_seen, run.names
    run.let_go()
    delta = start.delta()
    if not np.isfinite(delta).all():
        raise InvalidUpdate(f"training diverged in epoch {run.epoch}: the parameters are no longer finite")
    objective = plan.method.objective
    objective.finish(entries_of(delta, plan.manifest, names))
    return TrainingResult(delta, loss, samples_seen, finished, objective.memory())


def _run(plan: Plan, watch: Watch, checkpoint: Checkpoint | None) -> AbstractContextManager[Run]:
    if len(plan.execution.devices) == 1:
        return nullcontext(Run(plan, watch, checkpoint))
    # Imported here: most trainers have one device.
    from trainer_client.engine.group import shared_run

    return shared_run(plan, watch, checkpoint)


def _never() -> bool:
    return False
