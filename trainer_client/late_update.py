"""Training that may go on for several rounds from one model: what is trained is kept on the disk until it is committed.

In a job with a maximum age a trainer that is slow loses nothing of its work: what it made of the model of one round is
committed in the first commit phase that is open once it is ready, and counts less by as many rounds as it is late.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from market.chain.records import JobState
from market.protocol.errors import InvalidUpdate
from market.protocol.identifiers import Digest
from market.protocol.vector_file import map_vector_file, write_vector_file
from market.storage.durable_file import sync_folder, write_file
from trainer_client.attempt_folder import make_private

DELTA_DTYPE: Final = np.dtype("<f4")


@dataclass(frozen=True)
class Base:
    """What an update is made from.

    Attributes:
        round: whose model.
        attempt: the one in which its training began; its number enters the training's seed.
        step_q16: that round's multiplier on the learning rate.
        model: the model's content digest.
    """

    round: int
    attempt: int
    step_q16: int
    model: Digest

    @classmethod
    def of(cls, state: JobState) -> Base:
        """Today's."""
        return cls(state.round, state.attempt, state.step_q16, state.model)


@dataclass(frozen=True)
class Record:
    """What the disk says of an update that is not committed yet.

    Attributes:
        base: what it is made from.
        is_trained: whether it is made.
        sealed_in: the attempt that it was last sealed for; None for none.
    """

    base: Base
    is_trained: bool = False
    sealed_in: int | None = None


class PendingUpdate:
    """A trainer's one update of a job that is being made, or made and not committed yet.

    Its record is written after what it speaks of: whoever is killed on the way trains again, or goes on.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is created before something is kept."""
        self.folder = folder

    @property
    def _record_path(self) -> Path:
        return self.folder / "pending.json"

    @property
    def _delta_path(self) -> Path:
        return self.folder / "delta.f32"

    def record(self) -> Record | None:
        """What is there; None for nothing, or for what is damaged: it is made again then."""
        try:
            fields = json.loads(self._record_path.read_text(encoding="ascii"))
            base = Base(**{**fields["base"], "model": Digest(bytes.fromhex(fields["base"]["model"]))})
            return Record(base, bool(fields["is_trained"]), fields["sealed_in"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def begin(self, base: Base) -> None:
        """A training begins; whatever was there is gone."""
        self.drop()
        self._write(Record(base))

    def keep(self, record: Record, delta: NDArray[np.float32]) -> None:
        """What the training came to: float32 (d,)."""
        make_private(self.folder)
        write_vector_file(self._delta_path, delta.astype(DELTA_DTYPE, copy=False))
        self._write(replace(record, is_trained=True))

    def delta(self, dimension: int) -> NDArray[np.float32]:
        """What was kept, mapped.

        Raises:
            InvalidUpdate: it is missing or damaged.
        """
        return map_vector_file(self._delta_path, DELTA_DTYPE, dimension, InvalidUpdate)

    def seal_in(self, attempt: int) -> None:
        """It is about to be sealed for this attempt: before a commit can be signed."""
        record = self.record()
        if record is not None:
            self._write(replace(record, sealed_in=attempt))

    def drop(self) -> None:
        """It was committed, or is given up. It is never looked at again."""
        for path in (self._record_path, self._delta_path):
            path.unlink(missing_ok=True)
        if self.folder.exists():
            sync_folder(self.folder)

    def _write(self, record: Record) -> None:
        make_private(self.folder)
        base = {**asdict(record.base), "model": record.base.model.hex()}
        fields = {"base": base, "is_trained": record.is_trained, "sealed_in": record.sealed_in}
        write_file(self._record_path, [json.dumps(fields).encode("ascii")], mode=0o600)
        sync_folder(self.folder)


def left_to_train_s(state: JobState, last: int, left_s: Callable[[], float]) -> float:
    """Seconds that a training has whose update rounds up to the last one take; infinite before that round's attempts.

    Args:
        state: where the job stands.
        last: the last round that takes the update.
        left_s: to when the rest of the commit phase of an attempt is needed for the commit.
    """
    if state.closed or state.round > last:
        return 0.0
    return left_s() if state.round == last and state.attempt_start_s else math.inf
