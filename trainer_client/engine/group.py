"""Several devices that train one model: each differentiates its share of every batch, and all take the same steps.

Every device has a process of its own; they meet over this machine's loopback. The first is the process that was asked
to train: it alone looks at the clock, tells how far the training is, and keeps it on the disk.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch._C._distributed_c10d import FileStore
from torch.nn.parallel import DistributedDataParallel

from market.protocol.errors import InvalidData, InvalidInput, InvalidModel
from trainer_client.data import Dataset
from trainer_client.engine.checkpoint import Checkpoint
from trainer_client.engine.gradients import BatchGradient, BatchWork
from trainer_client.engine.memory import is_out_of_memory
from trainer_client.engine.run import Plan, Run, Watch
from trainer_client.engine.sharing import Decision, Sharing
from trainer_client.losses import batch_loss

WAIT = timedelta(minutes=30)
_FAILURE = "failure-"
"""For a device that is slower, or reads its first samples."""


class Group(Sharing):
    """The devices that share a training, as one of them sees them."""

    def __init__(self, rank: int, size: int, control: distributed.ProcessGroup) -> None:
        """Be one of them.

        Args:
            rank: this one's number; 0 decides.
            size: how many there are.
            control: in which decisions go round, on the host.
        """
        self.rank, self.size, self._control = rank, size, control

    def share(self, indices: Tensor) -> Tensor:
        """This device's part of a batch; never empty, for all have to take part in every exchange."""
        own = indices[self.rank :: self.size]
        return own if len(own) else indices[:1]

    def weight(self) -> float:
        """What this device's mean counts in the mean over all devices: its share of the batch, as often as there are.

        The gradients of all devices are averaged, whatever each one's number of samples.
        """
        own = len(range(self.rank, self.batch_samples, self.size))
        return self.size * own / self.batch_samples

    def decide(self, own: Decision) -> Decision:
        """What the first device decided."""
        word = torch.tensor([int(own)])
        distributed.broadcast(word, 0, group=self._control)
        return Decision(int(word))


class _MeanLoss(nn.Module):
    """A model together with its loss: what is called has to be one module, whose gradients are then exchanged."""

    def __init__(self, model: nn.Module, loss: str) -> None:
        super().__init__()
        self.model, self._loss = model, loss

    def forward(self, batch: Dataset, seed: int) -> Tensor:
        return batch_loss(self._loss, self.model, batch, seed=seed)


class SharedGradient(BatchGradient):
    """The gradient of the mean loss of a batch of which every device has a share."""

    def __init__(self, work: BatchWork, group: Group) -> None:
        """Take the model as it is on the first device."""
        super().__init__(work)
        self._group, self._is_measured = group, True
        device = work.execution.device
        self._shared = DistributedDataParallel(
            _MeanLoss(work.model, work.loss),
            device_ids=[device] if device.type == "cuda" else None,
            gradient_as_bucket_view=True,
        )

    def loss_of(self, part: Dataset, seed: int) -> Tensor:
        """The mean loss of some of this device's samples, as it counts in the mean over all devices."""
        with self._precision():
            loss: Tensor = self._shared(part, seed) * self._group.weight()
        return loss

    def _in_parts(self, batch: Dataset, seed: int, size: int) -> Tensor:
        for parameter in self.work.parameters:
            parameter.grad = None
        total = torch.zeros((), device=self.work.execution.device)
        for start in range(0, len(batch), size):
            end = min(start + size, len(batch))
            part = batch if end - start == len(batch) else batch.subset(np.arange(start, end))
            # Gradients are exchanged once a batch, with the last part's.
            with nullcontext() if end == len(batch) else self._shared.no_sync():
                total += self._differentiate(self.loss_of(part, seed) * (len(part) / len(batch)))
        if self._scaler is not None:
            self.overflowed = self._scaler.unscale()
        distributed.all_reduce(total)
        return total / self._group.size

    def _halve(self, samples: int) -> None:
        raise InvalidModel(
            f"out of memory with {min(self._at_a_time or samples, samples)} samples at a time on "
            f"{self.work.execution.device}: several devices take no fewer by themselves, give --micro-batch"
        )


@contextmanager
def shared_run(plan: Plan, watch: Watch, checkpoint: Checkpoint | None) -> Iterator[Run]:
    """A training on all of the plan's devices; the others follow while this lasts.

    Raises:
        InvalidInput: the method has a gradient of its own kind, which is not shared, or a device has failed.
        InvalidModel: another device cannot compute the model on its share of a batch.
    """
    if plan.method.gradients is not BatchGradient:
        raise InvalidInput(f"{len(plan.execution.devices)} devices: this way of training takes one")
    with tempfile.TemporaryDirectory(prefix="devices-") as folder, _loopback():
        meeting = Path(folder) / "meeting"
        followers = [_started(rank, plan, checkpoint, meeting) for rank in range(1, len(plan.execution.devices))]
        try:
            with _joined(0, plan, meeting) as group:
                yield _run(group, plan, watch, checkpoint)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            if failures := sorted(Path(folder).glob(f"{_FAILURE}*")):
                raise InvalidModel(failures[0].read_text("utf-8")) from error
            raise InvalidInput(f"the devices lost touch with each other: {str(error).splitlines()[0]}") from error
        finally:
            for follower in followers:
                follower.join(timeout=5)
                follower.kill()
                follower.join()


def _run(group: Group, plan: Plan, watch: Watch, checkpoint: Checkpoint | None) -> Run:
    device = plan.execution.devices[group.rank]
    # Dropout on other samples is other dropout.
    own = replace(
        plan,
        execution=plan.execution.on(device),
        method=replace(plan.method, gradients=lambda work: SharedGradient(work, group)),
    )
    return Run(own, watch, checkpoint, group)


def _started(rank: int, plan: Plan, checkpoint: Checkpoint | None, meeting: Path) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(
        target=_follow, args=(rank, plan, checkpoint, meeting), name=f"device {rank}", daemon=True
    )
    process.start()
    return process


def _follow(rank: int, plan: Plan, checkpoint: Checkpoint | None, meeting: Path) -> None:
    """Train along with the first device, to the end or until it says so."""
    # A signal to the terminal's whole group is the first device's to answer.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(max(1, torch.get_num_threads() // len(plan.execution.devices)))
    # What came from another process is its memory: trained in place it would be trained twice.
    own = replace(plan, model=copy.deepcopy(plan.model).to(plan.execution.devices[rank]).train())
    with _joined(rank, own, meeting) as group:
        try:
            _run(group, own, Watch(), checkpoint).go()
        except (InvalidModel, InvalidData) as error:
            # Before the connection drops: the first device says why.
            meeting.with_name(f"{_FAILURE}{rank}").write_text(str(error), "utf-8")
            raise SystemExit(1) from error


@contextmanager
def _joined(rank: int, plan: Plan, meeting: Path) -> Iterator[Group]:
    size = len(plan.execution.devices)
    backend = "nccl" if plan.execution.device.type == "cuda" else "gloo"
    distributed.init_process_group(
        backend, store=FileStore(str(meeting), size), rank=rank, world_size=size, timeout=WAIT
    )
    try:
        yield Group(rank, size, distributed.new_group(backend="gloo", timeout=WAIT))
    finally:
        distributed.destroy_process_group()


@contextmanager
def _loopback() -> Iterator[None]:
    """Within this, what is exchanged between devices does not leave the machine."""
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "lo"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
