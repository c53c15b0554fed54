from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from opacus.accountants import RDPAccountant
from torch import Tensor, nn

from market.protocol.errors import InvalidInput, InvalidTerms, InvalidUpdate, PrivacyLedgerPutBack, PrivacySpent
from market.protocol.identifiers import JobId
from market.protocol.seal import SealContext
from trainer_client.attempt_folder import PRIVACY_NAME, AttemptFolder
from trainer_client.crafting import RoundTask, stands_for, train_locally
from trainer_client.data import Dataset, digits, train_test_split
from trainer_client.engine.chance import OwnChance
from trainer_client.engine.evaluation import evaluate
from trainer_client.engine.execution import Execution
from trainer_client.engine.settings import LocalTraining
from trainer_client.job_model import JobModel, ModelInput
from trainer_client.models import build_model
from trainer_client.parameters import manifest_of, read_vector, write_vector
from trainer_client.privacy.crafting import (
    PrivateTraining,
    check_objective,
    check_revealed,
    default_ledger,
)
from trainer_client.privacy.ledger import Place, PrivacyLedger
from trainer_client.privacy.settings import NoiseChoice, PrivacyLimit

CONTEXT = SealContext(31337, "0xAbC", JobId(3), 0, 0)
TRAINING = LocalTraining(epochs=2, batch_size=30, learning_rate=0.5)
STEPS, RATE = 20, 0.1
CHOICE = NoiseChoice(clip=1.0, noise_multiplier=1.5)


@dataclass
class Trainer:
    """What a trainer has: data with a ledger, and a work folder."""

    folder: Path
    dataset: Dataset
    model: JobModel
    limit: PrivacyLimit

    @property
    def ledger(self) -> PrivacyLedger:
        return PrivacyLedger(self.folder / "data.privacy", [self.folder / "work" / "privacy"])

    def attempt(self, number: int) -> AttemptFolder:
        return AttemptFolder(self.folder / "work", replace(CONTEXT, round=number, attempt=number))

    def task(self, number: int, **changes: Any) -> RoundTask:
        task = RoundTask(
            self.model, self.dataset, number, 1.0, 7, Execution(), lambda: False, None, folder=self.attempt(number)
        )
        return replace(task, **changes)

    def train(self, number: int, choice: NoiseChoice = CHOICE, **changes: Any) -> NDArray[np.float32]:
        """As a process that starts has it."""
        if not self.ledger.exists:
            self.ledger.set_limit(self.limit)
        return PrivateTraining(self.ledger, choice, rounds=4)(self.task(number, **changes))

    def epsilon(self) -> float:
        return self.ledger.balance().epsilon()

    def steps(self) -> list[int]:
        return [reservation.plan.steps for reservation in self.ledger.balance().reservations]


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return make_trainer(tmp_path)


def make_trainer(folder: Path, training: LocalTraining = TRAINING) -> Trainer:
    module = build_model("mlp", {"features": 64, "hidden": [8], "classes": 10}, 0)
    model = JobModel(module, manifest_of(module), ModelInput(64, classes=10), training, 10)
    return Trainer(folder, digits().subset(np.arange(300)), model, PrivacyLimit(4.0, 1e-4))


def by_opacus(steps: int) -> float:
    accountant = RDPAccountant()
    for _ in range(steps):
        accountant.step(noise_multiplier=1.5, sample_rate=RATE)
    return float(accountant.get_epsilon(delta=1e-4))


def test_rounds_spend_what_opacus_says_and_the_one_that_would_pass_the_limit_is_not_trained(trainer: Trainer) -> None:
    told: list[str] = []
    looked: list[int] = []
    for number in range(100):
        try:
            trainer.train(number, report=told.append, should_stop=lambda: looked.append(1) is not None)
        except PrivacySpent as problem:
            last, line = number, str(problem)
            break
        looked.clear()
    assert 2 <= last < 100
    assert not looked
    assert trainer.epsilon() == pytest.approx(by_opacus(last * STEPS), rel=1e-12)
    assert by_opacus(last * STEPS) <= 4.0 < by_opacus((last + 1) * STEPS)
    assert told[0].startswith(
        f"privacy: epsilon {by_opacus(STEPS):.4g} of 4 at delta 0.0001 with this update (noise 1.5"
    )
    assert line.startswith(f"privacy: 20 steps for attempt {last} of job 3 would end at epsilon 4")
    assert not (trainer.attempt(last).path / PRIVACY_NAME).exists()


def test_the_same_attempt_made_again_costs_once_and_gives_another_update(trainer: Trainer) -> None:
    first, again = trainer.train(0), trainer.train(0)
    assert not np.array_equal(first, again)
    assert trainer.steps() == [STEPS]


def test_a_training_that_ends_early_is_settled_with_what_it_took(trainer: Trainer) -> None:
    asked, told = iter(range(1000)), list[str]()
    trainer.train(0, should_stop=lambda: next(asked) >= 7, report=told.append)
    assert trainer.steps() == [7]
    assert re.fullmatch(r"stopped training in time to submit: [0-9]+ of 600 samples done", told[-1])
    assert trainer.epsilon() == pytest.approx(by_opacus(7), rel=1e-12)


def test_no_time_for_a_step_leaves_the_reservation(trainer: Trainer) -> None:
    with pytest.raises(InvalidUpdate, match="no sample was seen"):
        trainer.train(0, should_stop=lambda: True)
    assert trainer.steps() == [STEPS]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from tests.unit.trainer_client.privacy.test_crafting import make_trainer
from trainer_client.engine.execution import Execution
asked = iter(range(1000))
def should_stop():
    if next(asked) == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return False
make_trainer(Path(sys.argv[1])).train(0, should_stop=should_stop, execution=Execution(checkpoint_every_s=1e-9))
"""


def test_killed_in_a_training_it_goes_on_under_its_reservation(trainer: Trainer, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    died = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert trainer.attempt(0).checkpoint_path.exists()
    assert trainer.steps() == [STEPS]
    told: list[str] = []
    trainer.train(0, report=told.append)
    assert any(line.startswith("going on with the training where it was interrupted") for line in told)
    assert trainer.steps() == [STEPS]


def test_a_checkpoint_that_was_not_made_privately_is_not_gone_on_from(trainer: Trainer) -> None:
    stops = iter(range(1000))

    def killed() -> bool:
        if next(stops) == 9:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        train_locally(trainer.task(0, should_stop=killed, execution=Execution(checkpoint_every_s=1e-9)))
    assert trainer.attempt(0).checkpoint_path.exists()
    told: list[str] = []
    trainer.train(0, report=told.append)
    assert not any("going on" in line for line in told)


def test_privacy_does_not_begin_in_the_middle_of_a_job(trainer: Trainer) -> None:
    before = trainer.attempt(0).path
    before.mkdir(parents=True)
    (before / "opening.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"attempt-000000 was trained without privacy, and what it left over"):
        trainer.train(1)
    (before / PRIVACY_NAME).write_text("{}")
    trainer.train(1)


def test_what_the_chain_has_and_the_ledger_has_not_is_noticed(trainer: Trainer) -> None:
    trainer.train(0)
    place = Place.of(CONTEXT)
    check_revealed(trainer.ledger, place, [0])
    with pytest.raises(
        PrivacyLedgerPutBack, match="handed in updates in attempt 1, 4 of job 3 that the privacy ledger"
    ):
        check_revealed(trainer.ledger, place, [0, 1, 4])


def test_an_update_that_is_handed_in_late_is_the_one_of_its_training(trainer: Trainer) -> None:
    trainer.train(0)
    late = trainer.attempt(2)
    late.follow(trainer.attempt(0))
    (late.path / "opening.json").write_text("{}")
    place = Place.of(CONTEXT)
    check_revealed(trainer.ledger, place, [2], late=True)
    with pytest.raises(PrivacyLedgerPutBack, match="attempt 3 of job 3"):
        check_revealed(trainer.ledger, place, [2, 3], late=True)
    trainer.train(3)
    trainer.train(2)
    assert trainer.steps() == [STEPS] * 3


def test_the_noise_for_a_target_lets_all_rounds_end_within_it(trainer: Trainer) -> None:
    trainer.limit = PrivacyLimit(3.0, 1e-4)
    choice = NoiseChoice(target=2.0)
    for number in range(4):
        trainer.train(number, choice)
    noises = {reservation.plan.noise_multiplier for reservation in trainer.ledger.balance().reservations}
    assert len(noises) == 1
    assert 1.95 < trainer.epsilon() <= 2.0


def test_an_outlook_says_what_is_spent_and_what_is_to_come(trainer: Trainer) -> None:
    trainer.train(0)
    line = PrivateTraining(trainer.ledger, CHOICE, 4).outlook(Place.of(CONTEXT), trainer.model, 300, 1)
    assert line == (
        f"privacy: epsilon {by_opacus(20):.4g} of 4 spent at delta 0.0001; with 3 more rounds of 20 steps: "
        f"{by_opacus(80):.4g}; noise 1.5, clip 1, rdp accountant"
    )


def test_an_outlook_says_where_an_update_would_be_noise(trainer: Trainer) -> None:
    trainer.train(0)
    choice = replace(CHOICE, noise_multiplier=400.0)
    line = PrivateTraining(trainer.ledger, choice, 4).outlook(Place.of(CONTEXT), trainer.model, 300, 1)
    assert re.search(r"; at most [0-9.]+% of an update is not noise: few rules accept it$", line)


def test_a_delta_too_large_for_so_few_samples_is_refused(trainer: Trainer) -> None:
    trainer.limit = PrivacyLimit(4.0, 1e-2)
    with pytest.raises(InvalidInput, match=r"delta is 0.01, expected below 0.00333, one in the 300 samples"):
        trainer.train(0)


@pytest.mark.parametrize("name", ["fedspeed", "curriculum"])
def test_objectives_that_look_at_samples_unaccounted_are_refused(
    name: str, trainer: Trainer, objective_section: Callable[[str], Any]
) -> None:
    model = replace(trainer.model, training=replace(TRAINING, objective=objective_section(name)))
    with pytest.raises(InvalidTerms, match=f"privacy: the job's objective {name} "):
        check_objective(model)


@pytest.mark.parametrize("name", ["plain", "fedprox", "scaffold", "diloco"])
def test_objectives_that_see_noised_gradients_alone_are_trained(
    name: str, tmp_path: Path, objective_section: Callable[[str], Any]
) -> None:
    trainer = make_trainer(tmp_path, replace(TRAINING, objective=objective_section(name)))
    assert np.isfinite(trainer.train(0)).all()
    assert trainer.steps() == [STEPS]


@pytest.fixture
def objective_section() -> Callable[[str], Any]:
    from market.protocol.objective_spec import ObjectiveSection

    return lambda name: ObjectiveSection.model_validate({name: {}})


def test_private_training_teaches(tmp_path: Path) -> None:
    training, test = train_test_split(digits(), 0.2, 0)
    trainer = make_trainer(tmp_path, replace(TRAINING, epochs=4, batch_size=128, learning_rate=2.0))
    trainer.dataset, trainer.limit = training, PrivacyLimit(8.0, 1e-4)
    module, manifest = trainer.model.module, trainer.model.manifest
    for number in range(3):
        delta = trainer.train(number, NoiseChoice(noise_multiplier=1.2))
        write_vector(module, manifest, read_vector(module, manifest) + delta)
    assert trainer.epsilon() < 8.0
    assert evaluate(module, test).accuracy > 0.75


def test_the_ledger_is_beside_the_data_by_whatever_name_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(b"")
    (tmp_path / "link.npz").symlink_to(tmp_path / "data.npz")
    assert default_ledger(tmp_path / "link.npz") == tmp_path / "data.npz.privacy"


class Dropping(nn.Module):
    """Draws."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.inner(nn.functional.dropout(inputs, 0.5, self.training))
        return outputs


def test_dropout_is_drawn_from_chance_that_nobody_can_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    real = OwnChance.state

    def note(chance: OwnChance) -> dict[str, Tensor]:
        state = real(chance)
        seen.append(state["cpu"].numpy().tobytes())
        return state

    monkeypatch.setattr(OwnChance, "state", note)
    module = Dropping()
    model = JobModel(module, manifest_of(module), ModelInput(64, classes=10), TRAINING, 10)
    before = torch.get_rng_state()
    keep = Execution(checkpoint_every_s=1e-9)
    for number in range(2):
        trainer = Trainer(tmp_path / str(number), digits().subset(np.arange(300)), model, PrivacyLimit(4.0, 1e-4))
        trainer.train(0, execution=keep)
    assert torch.equal(torch.get_rng_state(), before)
    half = len(seen) // 2
    # The same seed, job and attempt, which all may know: without chance of its own both would draw the same masks.
    assert set(seen[:half]).isdisjoint(seen[half:])
    assert len(set(seen[:half])) > 1


def test_an_update_comes_whatever_the_losses_of_single_samples_are(trainer: Trainer) -> None:
    # An owner that looks for a kind of sample packs a model that fails on it: whether an update comes must not tell.
    wild = trainer.dataset.inputs.copy()
    wild[:] = 3e38
    trainer.dataset = Dataset(wild, trainer.dataset.targets)
    assert np.isfinite(trainer.train(0)).all()
    assert trainer.steps() == [STEPS]


def test_what_another_ledger_or_none_has_reserved_is_not_handed_in(trainer: Trainer) -> None:
    trainer.train(0)
    ours = PrivateTraining(trainer.ledger, CHOICE, 4)
    assert stands_for(ours, trainer.attempt(0))
    assert not stands_for(ours, trainer.attempt(1))
    assert stands_for(train_locally, trainer.attempt(1))
    other = PrivacyLedger(trainer.folder / "other.privacy")
    other.set_limit(trainer.limit)
    assert not stands_for(PrivateTraining(other, CHOICE, 4), trainer.attempt(0))
