"""A training that is killed or asked to leave goes on where it was, and gives what it would have given."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from market.protocol.errors import InvalidUpdate, StorageFull
from trainer_client.data import Dataset, digits
from trainer_client.engine.checkpoint import Checkpoint, Kept, file_parts, read_tensors
from trainer_client.engine.execution import Execution
from trainer_client.engine.objective import Objective
from trainer_client.engine.progress import Progress
from trainer_client.engine.run import Method
from trainer_client.engine.settings import LocalTraining
from trainer_client.engine.starting_point import _reserved
from trainer_client.engine.training import TrainingResult, train
from trainer_client.parameters import manifest_of, read_vector

SETTINGS = LocalTraining(epochs=3, batch_size=16, learning_rate=0.05, momentum=0.9, clip_norm=1.0)

EVERY_BATCH = Execution(checkpoint_every_s=1e-9)


class Killed(Exception):
    """Stands for a machine that goes down between two batches."""


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 10))


@pytest.fixture(scope="module")
def images() -> Dataset:
    return digits().subset(np.arange(80))


@pytest.fixture(scope="module")
def whole(images: Dataset) -> TrainingResult:
    return train(network(), images, SETTINGS, seed=4)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "training.safetensors", "job 1, attempt 0")


def killed_after(batches: int, images: Dataset, checkpoint: Checkpoint, method: Method | None = None) -> None:
    asked = count()

    def should_stop() -> bool:
        if next(asked) == batches:
            raise Killed
        return False

    with pytest.raises(Killed):
        train(
            network(),
            images,
            SETTINGS,
            seed=4,
            execution=EVERY_BATCH,
            method=method,
            checkpoint=checkpoint,
            should_stop=should_stop,
        )


@pytest.mark.parametrize("batches", [0, 1, 4, 5, 6, 11, 14])
def test_after_a_kill_the_update_is_the_same_bit_for_bit(
    images: Dataset, whole: TrainingResult, checkpoint: Checkpoint, batches: int
) -> None:
    killed_after(batches, images, checkpoint)
    told: list[str] = []
    result = train(network(), images, SETTINGS, seed=4, checkpoint=checkpoint, report=told.append)
    assert result.delta.tobytes() == whole.delta.tobytes()
    assert (result.loss, result.samples_seen, result.finished) == (whole.loss, whole.samples_seen, True)
    assert told == ([f"going on with the training where it was interrupted: {place(batches - 1)}"] if batches else [])


def test_a_disk_that_takes_no_checkpoint_ends_no_training(
    images: Dataset, whole: TrainingResult, checkpoint: Checkpoint
) -> None:
    told: list[str] = []
    checkpoint.path.mkdir()  # as little to be written to as a full disk
    result = train(
        network(), images, SETTINGS, seed=4, execution=EVERY_BATCH, checkpoint=checkpoint, report=told.append
    )
    assert result.delta.tobytes() == whole.delta.tobytes()
    assert told
    assert all(line.startswith("the training is not kept, and goes on: ") for line in told)


def test_the_room_for_the_first_values_is_there_before_they_are_mapped(tmp_path: Path) -> None:
    """Pages of a mapped file that find no room on the disk end a process without a word."""
    with _reserved(tmp_path, 1 << 20) as file:
        assert 512 * os.fstat(file.fileno()).st_blocks >= 1 << 20


def test_a_disk_without_room_for_the_first_values_is_told_and_kills_nothing(images: Dataset, tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limit[1]))
    try:
        with pytest.raises(StorageFull, match="the disk is full"):
            train(network(), images, SETTINGS, seed=4, checkpoint=Checkpoint(tmp_path / "kept", "job 1, attempt 0"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def place(batches: int) -> str:
    """The last checkpoint is from before the batch that was never begun."""
    return f"epoch {batches // 5 + 1} of 3, {16 * batches} samples done"


def test_killed_again_and_again_it_still_ends(images: Dataset, whole: TrainingResult, checkpoint: Checkpoint) -> None:
    for _ in range(4):
        killed_after(4, images, checkpoint)
    assert train(network(), images, SETTINGS, seed=4, checkpoint=checkpoint).delta.tobytes() == whole.delta.tobytes()


def test_another_training_does_not_go_on_from_it(images: Dataset, whole: TrainingResult, tmp_path: Path) -> None:
    path = tmp_path / "training.safetensors"
    killed_after(6, images, Checkpoint(path, "job 1, attempt 0"))
    other = train(network(), images, SETTINGS, seed=4, checkpoint=Checkpoint(path, "job 1, attempt 1"))
    assert (other.samples_seen, other.delta.tobytes()) == (240, whole.delta.tobytes())


@pytest.mark.parametrize("damage", [b"", b"\x80\x04N.", b"\xff" * 64])
def test_a_damaged_checkpoint_is_begun_anew(
    images: Dataset, whole: TrainingResult, checkpoint: Checkpoint, damage: bytes
) -> None:
    checkpoint.path.write_bytes(damage)
    assert train(network(), images, SETTINGS, seed=4, checkpoint=checkpoint).delta.tobytes() == whole.delta.tobytes()


def test_a_truncated_checkpoint_is_begun_anew(images: Dataset, whole: TrainingResult, checkpoint: Checkpoint) -> None:
    killed_after(6, images, checkpoint)
    os.truncate(checkpoint.path, checkpoint.path.stat().st_size - 1)
    assert checkpoint.load() is None
    assert train(network(), images, SETTINGS, seed=4, checkpoint=checkpoint).delta.tobytes() == whole.delta.tobytes()


class Drifting(Objective):
    """Adds up what it has seen: an objective with a state and a memory."""

    def __init__(self) -> None:
        self.sum = torch.zeros(())

    def after_step(self) -> None:
        self.sum = self.sum * 0.5 + 1

    def finish(self, delta: list[Tensor]) -> None:  # type: ignore[override]
        for part in delta:
            part.mul_(float(self.sum))

    def memory(self) -> dict[str, Tensor]:
        return {"sum": self.sum}

    def state(self) -> dict[str, Tensor]:
        return {"sum": self.sum}

    def load_state(self, state: dict[str, Tensor]) -> None:  # type: ignore[override]
        self.sum = state["sum"]


def test_an_objectives_state_goes_on_too(images: Dataset, checkpoint: Checkpoint) -> None:
    alone = train(network(), images, SETTINGS, seed=4, method=Method(Drifting()))
    killed_after(7, images, checkpoint, Method(Drifting()))
    result = train(network(), images, SETTINGS, seed=4, method=Method(Drifting()), checkpoint=checkpoint)
    assert result.delta.tobytes() == alone.delta.tobytes()
    assert torch.equal(result.memory["sum"], alone.memory["sum"])


def test_a_model_trained_in_place_has_its_values_back(images: Dataset, whole: TrainingResult) -> None:
    model = network()
    model[4].requires_grad_(False)
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = train(model, images, SETTINGS, seed=4, in_place=True)
    assert result.delta.tobytes() == whole.delta.tobytes()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in model[4].parameters())
    assert model.training
    assert not model[1].training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_dropout_neither_depends_on_nor_moves_the_global_random_state(images: Dataset, whole: TrainingResult) -> None:
    model = network()
    torch.manual_seed(77)
    before = torch.get_rng_state()
    assert train(model, images, SETTINGS, seed=4).delta.tobytes() == whole.delta.tobytes()
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------- signals


def _asked_to_leave(
    number: int, images: Dataset, checkpoint: Checkpoint, report: Callable[[str], None] = lambda line: None
) -> None:
    asked = count()

    def should_stop() -> bool:
        if next(asked) == 7:
            os.kill(os.getpid(), number)
        return False

    train(network(), images, SETTINGS, seed=4, checkpoint=checkpoint, should_stop=should_stop, report=report)


@pytest.fixture
def handled() -> Iterator[list[int]]:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    yield seen
    signal.signal(signal.SIGTERM, before)


def test_a_signal_is_passed_on_once_the_training_is_on_the_disk(
    images: Dataset, whole: TrainingResult, checkpoint: Checkpoint, handled: list[int]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        _asked_to_leave(signal.SIGTERM, images, checkpoint)
    assert handled == [signal.SIGTERM]
    assert checkpoint.load() is not None
    assert train(network(), images, SETTINGS, seed=4, checkpoint=checkpoint).delta.tobytes() == whole.delta.tobytes()


def test_a_signal_that_no_checkpoint_could_be_written_for_says_what_is_lost(
    images: Dataset, checkpoint: Checkpoint, handled: list[int]
) -> None:
    told: list[str] = []
    checkpoint.path.mkdir()
    with pytest.raises(KeyboardInterrupt):
        _asked_to_leave(signal.SIGTERM, images, checkpoint, told.append)
    assert handled == [signal.SIGTERM]
    [line] = told
    assert line.startswith("the training is not kept, and what was done since it was is lost: ")


def _train_forever(folder: Path) -> None:
    # A shell that started this in the background has it ignore SIGINT, and Python leaves that so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    checkpoint = Checkpoint(folder / "training.safetensors", "job 1, attempt 0")
    settings = replace(SETTINGS, epochs=10_000)
    started = folder / "started"
    told: list[Progress] = []
    train(
        network(),
        digits().subset(np.arange(80)),
        settings,
        seed=4,
        checkpoint=checkpoint,
        progress=lambda progress: started.touch() if not told else None,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_preempted_leaves_its_training_behind(tmp_path: Path, number: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_train_forever, args=(tmp_path,))
    process.start()
    assert process.pid is not None
    try:
        while not (tmp_path / "started").exists():
            time.sleep(0.05)
        os.kill(process.pid, number)
        process.join(60)
    finally:
        process.kill()
        process.join()
    assert process.exitcode not in (0, -signal.SIGKILL)
    kept = Checkpoint(tmp_path / "training.safetensors", "job 1, attempt 0").load()
    assert kept is not None
    assert kept.facts["samples_seen"] > 0


# ---------------------------------------------------------------------- the file


def test_a_checkpoint_keeps_every_kind_of_tensor(tmp_path: Path) -> None:
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
    tensors = {str(kind): torch.arange(6).reshape(2, 3).to(kind) for kind in kinds}
    tensors |= {"scalar": torch.tensor(3.5), "none": torch.zeros(0, 3), "across": torch.arange(6.0).reshape(2, 3).T}
    Checkpoint(tmp_path / "file", "key").save(Kept({"epoch": 3}, tensors))
    facts, read = read_tensors(tmp_path / "file")
    assert facts["epoch"] == 3
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], value) and read[name].dtype == value.dtype for name, value in tensors.items())


def test_a_checkpoint_of_large_tensors_is_written_without_copying_them() -> None:
    large = torch.arange(3 << 20, dtype=torch.float32)
    parts = list(file_parts({"large": large}, {}))
    assert max(len(part) for part in parts) <= 4 << 20
    assert np.shares_memory(np.frombuffer(parts[2], np.float32), large.numpy())


def test_a_loss_that_is_not_a_number_stops_the_training_at_once(images: Dataset) -> None:
    class Broken(Objective):
        def gradient(self, backward: Callable[[], Tensor]) -> Tensor:
            return backward() * float("nan")

    with pytest.raises(InvalidUpdate, match="diverged in epoch 1: the loss is nan, expected a finite value"):
        train(network(), images, SETTINGS, seed=4, method=Method(Broken()))


def test_the_start_is_kept_in_the_trainers_own_folder(images: Dataset, checkpoint: Checkpoint) -> None:
    model = network()
    manifest = manifest_of(model)
    before = read_vector(model, manifest)
    train(model, images, SETTINGS, seed=4, checkpoint=checkpoint, in_place=True)
    assert (read_vector(model, manifest) == before).all()
    assert list(checkpoint.path.parent.iterdir()) == []
