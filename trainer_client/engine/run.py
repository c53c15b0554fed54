"""One training in progress: batches, steps, and what is needed to go on after an interruption."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from market.protocol.errors import InvalidModel, InvalidUpdate, StorageError
from market.protocol.manifest import ParameterManifest
from trainer_client.data import Samples
from trainer_client.engine.chance import OwnChance
from trainer_client.engine.checkpoint import Checkpoint, Kept
from trainer_client.engine.compilation import CompiledModel
from trainer_client.engine.execution import Execution
from trainer_client.engine.failures import failures_of
from trainer_client.engine.gradients import BatchGradient, BatchWork, Gradients, Report, silent
from trainer_client.engine.memory import free_bytes
from trainer_client.engine.objective import Lineage, Objective, RunView
from trainer_client.engine.prefetch import AHEAD, Prefetch, Ready
from trainer_client.engine.progress import Pace, Progress
from trainer_client.engine.sampling import Sampling
from trainer_client.engine.settings import MAX_EPOCHS, LocalTraining
from trainer_client.engine.sharing import Decision, Sharing


@dataclass(frozen=True, eq=False)
class Method:
    """What may differ from plain stochastic gradient descent, and what it knows of earlier rounds.

    Attributes:
        objective: what the training aims at.
        gradients: how the gradient of a batch comes about.
        sampling: in which batches the samples come.
        lineage: the models that led to the one to begin at.
        memory: what the objective left in this trainer's last round.
        secret: gives random bytes for what the model draws, such as dropout's masks; None where they follow from the
            training's seed, which others may know.
    """

    objective: Objective = field(default_factory=Objective)
    gradients: Gradients = BatchGradient
    sampling: Sampling = field(default_factory=Sampling)
    lineage: Lineage = field(default_factory=Lineage)
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    secret: Callable[[int], bytes] | None = None


@dataclass(frozen=True, eq=False)
class Watch:
    """Who follows a training, and who may end it early.

    Attributes:
        progress: is told about once a second, and after every epoch.
        report: is told, a line at a time, what is out of the ordinary.
        should_stop: asked before every batch: whether the time to submit has come.
        is_preempted: asked before every batch: whether to leave everything on the disk and go.
    """

    progress: Callable[[Progress], None] | None = None
    report: Report = silent
    should_stop: Callable[[], bool] = lambda: False
    is_preempted: Callable[[], bool] = lambda: False


@dataclass(frozen=True, eq=False)
class Plan:
    """What a training is to do.

    Attributes:
        model: is trained in place.
        dataset: read in batches.
        settings: the job's.
        manifest: what is trained.
        seed: of all chance in it.
        step: the round's multiplier on the learning rate.
        execution: how this machine computes.
        method: what differs from plain stochastic gradient descent.
    """

    model: nn.Module
    dataset: Samples
    settings: LocalTraining
    manifest: ParameterManifest
    seed: int
    step: float
    execution: Execution
    method: Method

    @property
    def learning_rate(self) -> float:
        """Of every step."""
        return self.settings.learning_rate * self.step

    @property
    def epoch_steps(self) -> int:
        """Batches of an epoch."""
        return self.method.sampling.steps(len(self.dataset), self.settings.batch_size)


class Run:
    """A training: it moves the plan's model."""

    def __init__(
        self, plan: Plan, watch: Watch, checkpoint: Checkpoint | None = None, sharing: Sharing | None = None
    ) -> None:
        """Prepare, and go on where the checkpoint was, if there is one of this training."""
        self._plan, self._watch, self._checkpoint = plan, watch, checkpoint
        self._sharing = sharing or Sharing()
        self._device = plan.execution.device
        self._objective = plan.method.objective
        trained = _trained(plan.model, plan.manifest)
        self.names, self._parameters = list(trained), list(trained.values())
        settings = plan.settings
        self._optimiser = torch.optim.SGD(
            self._parameters, lr=plan.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
        self._gradient = plan.method.gradients(self._work())
        self._chance = OwnChance(plan.seed + self._sharing.rank, self._device, plan.method.secret)
        self._order = torch.Generator().manual_seed(plan.seed)
        self._pace = Pace()
        self.samples_seen = self._samples_here = self._steps_done = 0
        self._start_epoch(1)
        _check_batches_fit(plan)
        with failures_of(self._plan.model):
            self._objective.begin(self._view())
        self._resume()

    def go(self) -> bool:
        """Train to the end, or until told to stop; returns whether the end was reached.

        Raises:
            InvalidUpdate: the loss is no longer finite; the message names the epoch.
        """
        compiled = self._compiled()
        try:
            for epoch in range(self.epoch, self._plan.settings.epochs + 1):
                if epoch != self.epoch:
                    self._start_epoch(epoch)
                if not self._train_epoch(compiled):
                    self._check_loss()
                    return False
        finally:
            compiled.close()
        return True

    def mean_loss(self) -> float:
        """Mean over the samples of the current epoch; NaN before its first step."""
        return float(self._loss_sum) / self._epoch_samples if self._epoch_samples else math.nan

    def let_go(self) -> None:
        """Free what the steps needed beside the model."""
        self._optimiser.state.clear()
        for parameter in self._parameters:
            parameter.grad = None

    # ------------------------------------------------------------------ steps

    def _train_epoch(self, compiled: CompiledModel) -> bool:
        pinned = self._device.type == "cuda"
        with Prefetch(self._plan.dataset, self._batches(), share=self._sharing.share, pinned=pinned) as batches:
            for ready in batches:
                if self._is_to_end():
                    return False
                self._step(ready, compiled)
                if self._pace.is_due():
                    self._tell(self.epoch - 1)
        self._tell(self.epoch)
        return True

    def _batches(self) -> Iterator[Tensor]:
        """The batches of this epoch that are not done yet."""
        plan = self._plan
        # Kept as it was before the epoch's first number: from there the same batches come again.
        self._epoch_order = self._order.get_state()
        order = self._objective.order(self.epoch, self._order)
        batches = plan.method.sampling.batches(len(plan.dataset), plan.settings.batch_size, order, self._order)
        for _ in range(self._epoch_steps):
            next(batches)
        return batches

    def _step(self, ready: Ready, compiled: CompiledModel) -> None:
        batch, samples = ready.batch, ready.samples
        self._sharing.batch_samples = samples
        # Every epoch draws other noise: from one draw a sample, the noise would be learnt by heart.
        noise_seed = self._plan.seed * (MAX_EPOCHS + 1) + self.epoch

        def backward() -> Tensor:
            loss = compiled.run(len(batch), lambda: self._gradient.backward(batch, noise_seed))
            # Before an objective adds to it: what it pulls or corrects by is not the samples' to take back.
            if self._plan.settings.clip_norm is not None:
                nn.utils.clip_grad_norm_(self._parameters, self._plan.settings.clip_norm)
            return loss

        with self._chance.used(samples=len(batch)), failures_of(self._plan.model):
            loss = self._objective.gradient(backward)
        if not self._gradient.overflowed:
            self._optimiser.step()
            self._objective.after_step()
        self._loss_sum += loss * samples
        self._epoch_samples += samples
        self.samples_seen += samples
        self._samples_here += samples
        self._epoch_steps += 1

    def _start_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self._epoch_samples = self._epoch_steps = 0
        self._epoch_order = self._order.get_state()
        # Kept on the device: asking for its value every step would wait for the device every step.
        self._loss_sum = torch.zeros((), device=self._device)

    # ------------------------------------------------------------------ around them

    def _is_to_end(self) -> bool:
        decision = self._sharing.decide(self._decision())
        if decision in (Decision.KEEP, Decision.LEAVE):
            self._save(leaves=decision is Decision.LEAVE)
        return decision in (Decision.STOP, Decision.LEAVE)

    def _decision(self) -> Decision:
        if self._watch.is_preempted():
            return Decision.LEAVE
        if self._watch.should_stop():
            return Decision.STOP
        is_time = self._pace.is_time_to_keep(self._plan.execution.checkpoint_every_s)
        return Decision.KEEP if is_time and self._checkpoint is not None else Decision.GO_ON

    def _tell(self, epochs_done: int) -> None:
        loss = self._check_loss()
        speed = self._pace.samples_per_s(self._samples_here)
        if self._watch.progress is not None:
            epochs, steps = self._plan.settings.epochs, self._plan.epoch_steps
            share = ((self.epoch - 1) * steps + self._epoch_steps) / (epochs * steps)
            self._watch.progress(Progress(epochs_done, epochs, loss, self.samples_seen, share, speed))

    def _check_loss(self) -> float:
        loss = self.mean_loss()
        if self._gradient.loss_may_end and self._epoch_samples and not math.isfinite(loss):
            raise InvalidUpdate(f"training diverged in epoch {self.epoch}: the loss is {loss}, expected a finite value")
        return loss

    def _work(self) -> BatchWork:
        plan = self._plan
        return BatchWork(
            model=plan.model,
            parameters=self._parameters,
            loss=plan.settings.loss,
            batch_size=plan.settings.batch_size,
            samples=len(plan.dataset),
            execution=plan.execution,
            report=self._watch.report,
        )

    def _view(self) -> RunView:
        plan, lineage = self._plan, self._plan.method.lineage
        return RunView(
            parameters=self._parameters,
            learning_rate=plan.learning_rate,
            planned_steps=plan.settings.epochs * plan.epoch_steps,
            model=plan.model,
            dataset=plan.dataset,
            loss=plan.settings.loss,
            momentum=plan.settings.momentum,
            models=lineage.digests,
            aggregate=lambda number: entries_of(lineage.aggregate(number), plan.manifest, self.names),
            memory=plan.method.memory,
            at_a_time=plan.execution.micro_batch,
            is_to_end=lambda: self._watch.is_preempted() or self._watch.should_stop(),
        )

    def _compiled(self) -> CompiledModel:
        plan = self._plan
        left = plan.settings.epochs * len(plan.dataset) - self.samples_seen
        choice = plan.execution.compile if self._gradient.compiles else "off"
        return CompiledModel(plan.model, choice, self._device, left, self._watch.report)

    # ------------------------------------------------------------------ going on after an interruption

    def _save(self, *, leaves: bool) -> None:
        if self._checkpoint is None or self._sharing.rank != 0:
            return
        try:
            self._checkpoint.save(Kept(self._facts(), dict(self._tensors())))
        except StorageError as error:
            # The round is worth more than going on where it was: room may be found before its update is written.
            then = "and what was done since it was is lost" if leaves else "and goes on"
            self._watch.report(f"the training is not kept, {then}: {error}")
        self._pace.kept()

    def _resume(self) -> None:
        kept = None if self._checkpoint is None else self._checkpoint.load()
        if kept is None:
            return
        with torch.no_grad():
            for name, value in _moving(self._plan).items():
                value.copy_(kept.tensors[f"model/{name}"])
        for name, parameter in zip(self.names, self._parameters, strict=True):
            if f"momentum/{name}" in kept.tensors:
                momentum = kept.tensors[f"momentum/{name}"].to(parameter.device, copy=True)
                self._optimiser.state[parameter]["momentum_buffer"] = momentum
        self._start_epoch(int(kept.facts["epoch"]))
        self._epoch_steps, self._epoch_samples = int(kept.facts["epoch_steps"]), int(kept.facts["epoch_samples"])
        self.samples_seen = int(kept.facts["samples_seen"])
        self._loss_sum.copy_(kept.tensors["loss_sum"])
        self._order.set_state(kept.tensors["order"].clone())
        self._chance.load_state(_under("chance/", kept.tensors))
        self._gradient.load_state(_under("gradient/", kept.tensors))
        self._objective.load_state(_under("objective/", kept.tensors))
        share = f"epoch {self.epoch} of {self._plan.settings.epochs}, {self.samples_seen} samples done"
        self._watch.report(f"going on with the training where it was interrupted: {share}")

    def _facts(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "epoch_steps": self._epoch_steps,
            "epoch_samples": self._epoch_samples,
            "samples_seen": self.samples_seen,
        }

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, value in _moving(self._plan).items():
            yield f"model/{name}", value
        for name, parameter in zip(self.names, self._parameters, strict=True):
            momentum = self._optimiser.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                yield f"momentum/{name}", momentum
        yield "loss_sum", self._loss_sum
        yield "order", self._epoch_order
        parts = {
            "chance": self._chance.state(),
            "gradient": self._gradient.state(),
            "objective": self._objective.state(),
        }
        for part, state in parts.items():
            for name, value in state.items():
                yield f"{part}/{name}", value


def _check_batches_fit(plan: Plan) -> None:
    """Refuse batches that would have this process killed: a job may ask for some as large as its trainers' data.

    Raises:
        InvalidModel: the host's memory does not hold those that are read ahead.
    """
    samples, free = min(plan.settings.batch_size, len(plan.dataset)), free_bytes()
    needed = (AHEAD + 1) * samples * plan.dataset.features * np.dtype(np.float32).itemsize
    if free is not None and needed > free:
        raise InvalidModel(
            f"the job's batches of {samples:,} samples take {needed / 2**30:,.1f} GiB of memory, {AHEAD + 1} of them "
            f"at a time, and {free / 2**30:,.1f} GiB are free"
        )


def entries_of(vector: NDArray[np.float32], manifest: ParameterManifest, names: list[str]) -> list[Tensor]:
    """The entries of these names in a vector, float32 (d,): views of it."""
    entries = {entry.name: entry for entry in manifest.entries}
    parts = [(vector[entries[n].offset : entries[n].offset + entries[n].size], entries[n].shape) for n in names]
    return [torch.from_numpy(part).reshape(shape) for part, shape in parts]


def _trained(model: nn.Module, manifest: ParameterManifest) -> dict[str, nn.Parameter]:
    """The parameters that the manifest names, in its order; all others are frozen."""
    parameters = dict(model.named_parameters())
    trained = {entry.name: parameters[entry.name] for entry in manifest.entries if entry.name in parameters}
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
    if not trained:
        names = ", ".join(sorted(entry.name for entry in manifest.entries))
        raise InvalidModel(f"none of {names} is a parameter that can be trained")
    return trained


def _moving(plan: Plan) -> dict[str, Tensor]:
    """What a training changes of a model: what the manifest names, and every buffer."""
    state = plan.model.state_dict()
    names = [entry.name for entry in plan.manifest.entries]
    return {name: state[name] for name in names} | dict(plan.model.named_buffers())


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the tensors whose names begin so, under the rest of their names."""
    return {name.removeprefix(prefix): value.clone() for name, value in tensors.items() if name.startswith(prefix)}
