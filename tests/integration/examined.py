"""A small job with an exam on a real chain: its owner, or whom the owner names, sets and opens it a phase at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmarket.exam_folder import ExamFolder
from fedmarket.examiner import ExamSession
from fedmarket.owner import cut_exam, initial_model
from market.chain.events import ExamCommitted
from market.protocol.job_spec import JobSpec
from market.protocol.rounds import Phase
from market.storage import Cid
from tests.integration.marketplace import REWARD_WEI, Killed, Marketplace, samples
from trainer_client.crafting import train_locally
from trainer_client.data import Dataset
from trainer_client.exam import load_slice, slice_bytes
from trainer_client.job_model import JobModel

EXAM_DEPOSIT_WEI = 3 * REWARD_WEI // 2
EXAM = {"samples": 16, "public_samples": 24, "spares": 2, "period_s": 200, "deposit": EXAM_DEPOSIT_WEI}
# With so few parameters three standard deviations of chance are most of the way to one.
RULES = {"accept": ["exam"], "score": "exam", "significance": 1.0}
REFERENCE_SEED = 1_000


@dataclass
class ExaminedMarketplace(Marketplace):
    """One job with an exam, cut from a reference set.

    Attributes:
        reference_set: what the owner has; samples like the trainers' by default.
    """

    reference_set: Dataset | None = None

    @property
    def exam_path(self) -> Path:
        """Where the owner keeps the exam."""
        return self.work_folder("owner") / "exam"

    @property
    def exam(self) -> ExamFolder:
        """The exam, as it is on the disk."""
        return ExamFolder.open(self.exam_path)

    def post(self, **changes: Any) -> ExaminedMarketplace:
        """Cut the exam, and publish and open the job."""
        changes = {"rules": RULES, "exam": EXAM, **changes}
        changes["exam"] = {**EXAM, **changes["exam"]}
        super().post(**changes)
        return self

    def cut_exam(self, parsed: JobSpec) -> ExamFolder:
        """The exam, cut from the owner's reference set."""
        reference_set = self.reference_set or samples(REFERENCE_SEED, self.features, 200)
        return ExamFolder.create(self.exam_path, [slice_bytes(part) for part in cut_exam(parsed, reference_set)])

    def first_model(self, parsed: JobSpec, exam: ExamFolder | None) -> NDArray[np.int64]:
        """Trained on the public slice."""
        assert exam is not None
        warm = load_slice(exam.slice_path(0), JobModel.of_spec(parsed, self.package))
        return initial_model(parsed, warm, epochs=1, package=self.package)

    def join(self, trainers: int, aggregators: Any = ("alice",)) -> ExaminedMarketplace:
        """Let trainers enrol, who from then on train on data of their own, and aggregators bond."""
        super().join(trainers, aggregators)
        for name in self.trainers:
            self.crafts[name] = train_locally
        return self

    def examiner(self, name: str = "owner", folder: Path | None = None) -> ExamSession:
        """An examiner's session as a new process starts it."""
        exam = ExamFolder.open(folder or self.exam_path)
        return ExamSession(self.view(name), exam, self.actor(name), self.srs, report=self.listen(name), poll_s=0.01)

    def examine(self, name: str = "owner") -> bool:
        """Let a new session do what is due; returns whether there was anything."""
        return self.examiner(name).advance(*self.now())

    def kill_examiner(self, before: str | None = None, after: str | None = None) -> None:
        """Let the owner do what is due in a process that is killed at an act, and give it a new process."""
        self.restart("owner", before, after)
        with pytest.raises(Killed):
            self.examine()
        self.restart("owner")

    def reveal_all(self) -> None:
        """Let everybody commit and reveal who can yet, and go to the exam phase."""
        self.act()
        self.reveal()
        self.advance("reveal_end_s")

    def open_exam(self, name: str = "owner") -> bool:
        """Go to the exam phase and let a new session act."""
        self.advance("reveal_end_s")
        return self.examine(name)

    def settle(self, name: str = "alice") -> bool:
        """Go to the settle phase and let a new worker act."""
        if self.phase is not Phase.SETTLE:
            self.advance("exam_end_s")
        return super().settle(name)

    def play_examined(self) -> Any:
        """One round, its exam set and opened in time; returns what happened in it."""
        number = self.state.attempt
        self.commit()
        self.examine()
        self.reveal()
        self.open_exam()
        assert self.settle(), self.told
        return self.attempt(number)

    def finish(self) -> ExaminedMarketplace:
        """Play what is left of the job's rounds."""
        while self.phase not in (Phase.FINISHED, Phase.CLOSED):
            self.play_examined()
        return self

    def seals(self) -> list[ExamCommitted]:
        """Every seal of an exam that was ever committed."""
        return self._events(ExamCommitted)

    def slice(self, index: int) -> Dataset:
        """The samples of a slice."""
        return load_slice(self.exam.slice_path(index), JobModel.of_document(self.prepared.document, self.package))

    def stored_slices(self) -> list[int]:
        """Which slices are in the storage that everybody shares."""
        return [index for index in range(len(self.exam.slices)) if self._is_stored(index)]

    def _is_stored(self, index: int) -> bool:
        return self.store.has(Cid.parse(self.exam.slices[index].samples))
