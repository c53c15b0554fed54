from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_account import Account

from market.protocol.errors import InvalidOutputs
from market.protocol.generation import DigestSpec, RequestDocument, ServiceDocument
from market.storage.part_stream import content_name
from trainer_client.generation import Execution, Outputs, Progress, Prompt
from trainer_client.generation.execution import step_begins
from trainer_client.verifier.bench import Bench, Order
from trainer_client.verifier.opening import SealPlace
from trainer_client.verifier.pace import Pace
from trainer_client.verifier.services import Question
from trainer_client.verifier.task_folder import TaskFolder

ACCOUNT = Account.from_key(b"\x01" * 32)
SERVICE = ServiceDocument.parse(
    {
        "model": {"architecture": "denoiser", "parameters": "b"},
        "generator": "diffusion",
        "digest": {"kind": "dct"},
        "tolerance_bits": 30,
    }
)
REQUEST = RequestDocument.parse({"prompts": [None] * 5})


@dataclass
class Drawing:
    """Gives images that depend on the seed and on each sample's number; remembers what it was asked for."""

    asked: list[tuple[int, int, int]] = field(default_factory=list)
    before: Callable[[], None] = lambda: None

    def check(self, prompts: Sequence[Prompt], decoding: Mapping[str, Any]) -> dict[str, Any]:
        return dict(decoding)

    def generate(
        self,
        prompts: Sequence[Prompt],
        seed: int,
        decoding: Mapping[str, Any],
        execution: Execution,
        first_sample: int = 0,
        progress: Progress | None = None,
    ) -> Outputs:
        self.before()
        self.asked.append((seed, first_sample, len(prompts)))
        numbers = range(first_sample, first_sample + len(prompts))
        images = [np.random.default_rng([seed, number]).random((8, 8), np.float32) for number in numbers]
        if progress is not None:
            progress(len(prompts), len(prompts))
        return Outputs(images=np.stack(images))


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def bench(tmp_path: Path, told: list[str]) -> Bench:
    return Bench(Execution(batch_size=2), ACCOUNT, Pace(tmp_path / "pace.json"), told.append)


def folder_of(tmp_path: Path, task: int) -> TaskFolder:
    return TaskFolder(tmp_path, SealPlace(31337, "0x" + "11" * 20, task, 0, ACCOUNT.address), b"a task")


def order(generator: Drawing, folder: TaskFolder | None, task: int = 1, until_s: int = 100, **more: Any) -> Order:
    question = Question(b"\x01" * 32, SERVICE, REQUEST, {}, generator)
    return Order(task, task, question, until_s, folder, **more)


def work_all(bench: Bench) -> None:
    while bench.work():
        pass


def test_batches_become_one_file_whose_digests_and_content_id_are_sealed(bench: Bench, tmp_path: Path) -> None:
    generator, folder = Drawing(), folder_of(tmp_path, 1)
    bench.place([order(generator, folder)])
    work_all(bench)
    opening = folder.opening()
    assert opening is not None
    assert generator.asked == [(1, 0, 2), (1, 2, 2), (1, 4, 1)]
    assert len(opening.digests) == 5
    assert content_name([folder.outputs_path.read_bytes()]).digest == opening.outputs
    assert len(Outputs.read(folder.outputs_path)) == 5


def test_a_new_process_goes_on_after_the_last_batch_that_was_kept(bench: Bench, tmp_path: Path) -> None:
    generator, folder = Drawing(), folder_of(tmp_path, 1)
    bench.place([order(generator, folder)])
    bench.work()
    again = Bench(Execution(batch_size=2), ACCOUNT, Pace(tmp_path / "pace.json"))
    again.place([order(generator, folder)])
    work_all(again)
    assert [first for _, first, _ in generator.asked] == [0, 2, 4]
    assert folder.is_sealed


def test_what_is_at_stake_comes_first_and_what_is_due_first_before_that(bench: Bench, tmp_path: Path) -> None:
    generator = Drawing()
    later, sooner = (
        order(generator, folder_of(tmp_path, task), task, until_s) for task, until_s in ((2, 200), (3, 100))
    )
    bench.place([order(generator, None, 4, 50), later, sooner])
    work_all(bench)
    assert [seed for seed, _, _ in generator.asked] == [3, 3, 3, 2, 2, 2]


def test_what_was_never_measured_is_by_two_samples_and_once(bench: Bench) -> None:
    generator = Drawing()
    trial = order(generator, None)
    assert bench.estimate_s(trial) is None
    bench.place([trial])
    work_all(bench)
    assert generator.asked == [(1, 0, 2)]
    assert bench.estimate_s(trial) is not None


@pytest.mark.parametrize("trouble", [InvalidOutputs("not finite"), RuntimeError("shapes"), MemoryError()])
def test_a_task_that_cannot_be_generated_keeps_nobody_from_another(
    bench: Bench, tmp_path: Path, told: list[str], trouble: Exception
) -> None:
    def fail() -> None:
        raise trouble

    good = folder_of(tmp_path, 2)
    bench.place([order(Drawing(before=fail), folder_of(tmp_path, 1)), order(Drawing(), good, 2, 200)])
    work_all(bench)
    assert good.is_sealed
    [line] = told
    assert line.startswith("task 1: ")


def test_outputs_that_are_not_what_was_committed_to_are_not_sealed(bench: Bench, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1)
    bench.place([order(Drawing(), folder, expected_seal=b"\x09" * 32)])
    work_all(bench)
    assert folder.opening() is None
    assert "--dtype" in bench.hopeless[str(folder.path)]


def test_a_batch_that_is_damaged_is_generated_again(bench: Bench, tmp_path: Path, told: list[str]) -> None:
    generator, folder = Drawing(), folder_of(tmp_path, 1)
    bench.place([order(generator, folder)])
    bench.work()
    folder.batch_path(0).write_bytes(b"{}\n")
    work_all(bench)
    assert not folder.is_sealed
    assert "generated again" in told[0]
    again = Bench(Execution(batch_size=2), ACCOUNT, Pace(tmp_path / "pace.json"))
    again.place([order(generator, folder)])
    work_all(again)
    assert folder.is_sealed


def test_who_is_told_to_stop_leaves_the_batch_that_is_at_work(bench: Bench, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1)
    bench.place([order(Drawing(before=bench.stop), folder)])
    worker = threading.Thread(target=bench.run)
    worker.start()
    worker.join(60)
    assert not worker.is_alive()
    assert not folder.batch_path(0).exists()


# ---------------------------------------------------------------------- services and requests of strangers


class Staring(Drawing):
    """Takes a step after the other, and looks up at each as generators do."""

    def generate(self, *asked: Any, **more: Any) -> Outputs:
        while True:
            step_begins()
            self.before()


def test_outputs_that_have_no_digests_are_found_out_before_anything_is_at_stake(
    bench: Bench, tmp_path: Path, told: list[str]
) -> None:
    texts = SERVICE.model_copy(update={"digest": DigestSpec(kind="minhash")})
    trial = Order(1, 1, Question(b"\x01" * 32, texts, REQUEST, {}, Drawing()), 100)
    bench.place([trial])
    work_all(bench)
    assert bench.estimate_s(trial) is None
    assert "takes text" in told[0]


def test_values_that_are_not_finite_are_told_as_fruitless_until_something_comes_out(
    bench: Bench, tmp_path: Path
) -> None:
    def fail() -> None:
        raise InvalidOutputs("images: sample 4 has values that are not finite")

    wanted = order(Drawing(before=fail), folder_of(tmp_path, 1))
    bench.place([wanted])
    work_all(bench)
    assert "not finite" in bench.fruitless[wanted.key]
    again = Bench(Execution(batch_size=2), ACCOUNT, Pace(tmp_path / "pace.json"))
    again.place([order(Drawing(), folder_of(tmp_path, 1))])
    work_all(again)
    assert again.fruitless == {}


def test_a_measurement_gives_way_to_work_that_something_is_at_stake_in(bench: Bench, tmp_path: Path) -> None:
    urgent, folder = Drawing(), folder_of(tmp_path, 2)
    trial = order(Staring(before=lambda: bench.place([trial, order(urgent, folder, 2)])), None)
    bench.place([trial])
    while not folder.is_sealed:
        assert bench.work()


def test_a_measurement_ends_once_it_is_known_to_be_in_vain_and_is_made_where_there_is_more_time(bench: Bench) -> None:
    trial = order(Staring(), None, within_s=0.01)
    bench.place([trial])
    assert bench.work()
    assert not bench.work()
    estimate_s = bench.estimate_s(trial)
    assert estimate_s is not None
    assert estimate_s > trial.within_s
    assert bench.estimate_s(order(Staring(), None, within_s=1e9)) is None


def test_the_longest_prompts_are_measured_and_longer_ones_anew(bench: Bench) -> None:
    def asks(*prompts: str) -> Order:
        request = RequestDocument.parse({"prompts": list(prompts)})
        return Order(1, 1, Question(b"\x01" * 32, SERVICE, request, {}, watching), 100)

    class Watching(Drawing):
        def check(self, prompts: Sequence[Prompt], decoding: Mapping[str, Any]) -> dict[str, Any]:
            raise AssertionError

        def generate(self, prompts: Sequence[Prompt], *asked: Any, **more: Any) -> Outputs:
            seen.append(list(prompts))
            return super().generate(prompts, *asked, **more)

    seen: list[list[Prompt]] = []
    watching = Watching()
    bench.place([asks("a", "b", "c" * 900, "d" * 800)])
    work_all(bench)
    assert [[len(str(prompt)) for prompt in prompts] for prompts in seen] == [[900, 800]]
    assert bench.estimate_s(asks("e" * 600)) is not None
    assert bench.estimate_s(asks("e" * 4_000)) is None


def test_a_disk_without_room_for_what_was_measured_costs_no_batch(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    pace = Pace(tmp_path / "file" / "pace.json")
    pace.measured("work", 2, 3.0)
    assert pace.estimate_s("work", 1) is not None


def test_who_is_told_to_stop_leaves_a_batch_between_two_steps(bench: Bench, tmp_path: Path) -> None:
    bench.place([order(Staring(before=bench.stop), folder_of(tmp_path, 1))])
    assert not bench.work()
