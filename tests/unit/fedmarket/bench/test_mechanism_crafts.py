"""What the simulation's trainers hand in, made beside a board of paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedmarket.bench.mechanism import crafts
from fedmarket.bench.mechanism.settings import DIMENSION
from fedmarket.bench.mechanism.task import NORM, Floats, Task
from fedmarket.bench.mechanism.trainer import train


@dataclass
class PaperTrainer:
    """Trains on a task from a model of zeros, in the round and the attempt that it is told."""

    person: int = 0
    round: int = 0
    attempt: int = 0
    aggregates: list[Floats] = field(default_factory=list)
    trainings: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    league: Any = None

    @property
    def board(self) -> Any:
        state = SimpleNamespace(round=self.round, attempt=self.attempt)
        history = SimpleNamespace(versions=lambda: [None] * (1 + len(self.aggregates)))
        return SimpleNamespace(task=TASK, state=state, history=history, aggregate=self._aggregate)

    def _aggregate(self, back: int = 1) -> Floats | None:
        return self.aggregates[-back] if len(self.aggregates) >= back else None

    def trained(self, repeat: int = 0, effort: float = 1.0, cost: float = 1.0) -> Floats:
        self.trainings += 1
        return TASK.training(self.person, np.zeros(DIMENSION), self.round, self.attempt, repeat, effort)


TASK = Task(11, DIMENSION)
LINE = 3 / np.sqrt(DIMENSION)
"""Three standard deviations of chance."""


def cosine(a: Floats, b: Floats) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def made(craft: Any, trainer: PaperTrainer, identity: int = 0) -> Floats:
    update = craft(trainer, identity)
    assert update is not None
    return update  # type: ignore[no-any-return]


@pytest.mark.parametrize("craft", [crafts.noise, crafts.agreed, crafts.replay, crafts.mixture])
def test_what_is_made_without_data_has_an_honest_norm_and_no_training(craft: Any) -> None:
    trainer = PaperTrainer(aggregates=[TASK.unit(70), TASK.unit(71)])
    assert np.linalg.norm(made(craft, trainer)) == pytest.approx(NORM)
    assert trainer.trainings == 0


def test_noise_differs_between_people_attempts_and_identities() -> None:
    first = made(crafts.noise, PaperTrainer())
    others = [
        made(crafts.noise, PaperTrainer(person=1)),
        made(crafts.noise, PaperTrainer(attempt=1)),
        made(crafts.noise, PaperTrainer(), identity=1),
    ]
    assert all(abs(cosine(first, other)) < LINE * 1.5 for other in others)


def test_an_invented_direction_is_the_leagues() -> None:
    assert cosine(made(crafts.agreed, PaperTrainer(person=1)), made(crafts.agreed, PaperTrainer(person=2))) > 0.8


def test_a_replay_points_where_the_last_aggregate_did() -> None:
    older, last = TASK.unit(70), TASK.unit(71)
    assert cosine(made(crafts.replay, PaperTrainer(aggregates=[older, last])), last) == pytest.approx(1.0)


def test_blurred_copies_are_less_alike_than_copies_and_as_near_to_their_source_as_is_said() -> None:
    trainer = PaperTrainer()
    craft = crafts.blurred(train, 0.75)
    source, one, two = trainer.trained(), made(craft, trainer, 0), made(craft, trainer, 1)
    assert cosine(one, source) == pytest.approx(0.75, abs=0.05)
    assert cosine(one, two) == pytest.approx(0.75**2, abs=0.1)


def test_parts_of_one_data_set_show_less_each() -> None:
    trainer = PaperTrainer()
    lesson = TASK.lesson(np.zeros(DIMENSION), 0)
    assert cosine(made(crafts.split(4), trainer), lesson) < cosine(trainer.trained(), lesson) - 0.1


def test_habits_change_when_they_are_said_to() -> None:
    craft = crafts.until(3, crafts.absent)
    assert craft(PaperTrainer(round=2), 0) is not None  # type: ignore[arg-type]
    assert craft(PaperTrainer(round=3), 0) is None  # type: ignore[arg-type]


def test_who_misses_rounds_misses_those_alone() -> None:
    craft = crafts.missing({3: (1, 2)})
    missed = [craft(PaperTrainer(person=3, round=number), 0) is None for number in range(4)]  # type: ignore[arg-type]
    assert missed == [False, True, True, False]
    assert craft(PaperTrainer(person=4, round=1), 0) is not None  # type: ignore[arg-type]


def test_what_comes_in_every_other_round_comes_first() -> None:
    craft = crafts.every_other(crafts.noise)
    sent = [craft(PaperTrainer(round=number), 0) is not None for number in range(4)]  # type: ignore[arg-type]
    assert sent == [True, False, True, False]


def test_who_does_not_seal_again_hands_in_once_a_round() -> None:
    trainer, craft = PaperTrainer(), crafts.once_a_round(train)
    assert craft(trainer, 0) is not None  # type: ignore[arg-type]
    trainer.attempt = 1
    assert craft(trainer, 0) is None  # type: ignore[arg-type]
    trainer.round = 1
    assert craft(trainer, 0) is not None  # type: ignore[arg-type]


def test_a_pool_sends_what_shows_the_lesson_better_than_any_of_it() -> None:
    members = [PaperTrainer(person=person) for person in (6, 7, 8)]
    league = SimpleNamespace(trainers=members)
    for member in members:
        member.league = league
    lesson = TASK.lesson(np.zeros(DIMENSION), 0)
    best = max(cosine(member.trained(), lesson) for member in members)
    assert cosine(made(crafts.pooled, members[0]), lesson) > best
    assert np.array_equal(made(crafts.copy_of_first, members[2]), members[0].trained())
