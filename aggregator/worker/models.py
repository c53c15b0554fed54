"""The models that a round is proven on: fetched, in range, and opened against the chain's commitments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aggregator.proving import CommittedModel
from aggregator.round import AGGREGATES, ModelVersion
from aggregator.worker.progress import Progress, ShowProgress, show_nothing
from market.job_history import JobHistory, Version
from market.model_opening import model_blinders, verify_model
from market.protocol import integer_model
from market.protocol.errors import AuditMismatch, InvalidModel
from market.protocol.terms import JobTerms
from market.protocol.update import UPDATE_LIMIT
from market.published_job import PublishedJob
from zk.commitment import Blinders, Layout
from zk.srs import Srs


def check_headroom(initial_model: NDArray[np.int64], terms: JobTerms) -> None:
    """Refuse a job in which honest rounds could drive the model out of its range: settling would be impossible.

    Args:
        initial_model: M_0, int64 (d,).
        terms: how far a round can move an entry: server rate · 32767 · 2^e counts of 2^-16 base counts.

    Raises:
        InvalidModel: naming the entry that has come too close.
    """
    furthest = terms.rounds * terms.rules.server_rate_q16 * UPDATE_LIMIT << terms.initial_shift
    largest = int(np.abs(initial_model).max())
    if largest + furthest > integer_model.MODEL_LIMIT:
        raise InvalidModel(
            f"the initial model has an entry of magnitude {largest}, and {terms.rounds} rounds can add {furthest}: "
            f"expected at most {integer_model.MODEL_LIMIT} together; a round beyond could not be settled"
        )


class CommittedModels:
    """Fetches and opens a job's models, each once."""

    def __init__(self, job: PublishedJob, srs: Srs, layout: Layout, progress: ShowProgress = show_nothing) -> None:
        """Look at nothing yet.

        Args:
            job: whose models.
            srs: under which they were committed.
            layout: of the job's vectors.
            progress: is told of every model that was opened.
        """
        self._job, self._srs, self._layout, self._progress = job, srs, layout, progress
        self._opened: set[tuple[bytes, bytes]] = set()

    def needed(self, history: JobHistory, before: int | None = None) -> list[CommittedModel]:
        """The models that an attempt's public rows are made of: the initial one and the last four.

        That each opens its commitment is what makes a proof on them possible: the aggregates are their differences.

        Args:
            history: the job's.
            before: the attempt; None for the next one.

        Raises:
            StorageError: one is not in this store.
            InvalidModel: one is out of range.
            AuditMismatch: one does not open the chain's commitment with the blinders that were published.
        """
        versions = history.versions(before)
        places = [0, *range(1, len(versions))[-1 - AGGREGATES :]]
        return [self._model(versions[: place + 1]) for place in places]

    def _model(self, versions: Sequence[Version]) -> CommittedModel:
        """The last of these versions."""
        version = versions[-1]
        model = self._job.model(version.digest)
        blinders = model_blinders(self._layout, versions)
        key = bytes(version.digest), version.commitment + blinders.to_bytes()
        if key not in self._opened:
            self._progress(Progress(f"opening {version.name}", 0, 1))
            try:
                verify_model(self._srs, self._layout, versions, model)
            except AuditMismatch as mismatch:
                raise AuditMismatch(f"{mismatch}: no round can be proven on it") from mismatch
            self._opened.add(key)
            self._progress(Progress(f"opening {version.name}", 1, 1))
        return CommittedModel(
            ModelVersion(model, version.shift),
            version.commitment,
            blinders,
            version.aggregate,
            Blinders.parse(self._layout, version.blinders),
        )
