"""What a project owner does before the money moves: build the model, warm it, commit to it, publish the document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from market.model_opening import check_length
from market.protocol import integer_model
from market.protocol.errors import InvalidInput
from market.protocol.job_spec import JobDocument, JobSpec
from market.protocol.terms import JobTerms
from market.storage import Cid, ContentStore
from trainer_client.data import Dataset
from trainer_client.job_model import JobModel
from trainer_client.parameters import read_vector
from trainer_client.training import Progress, train
from zk.commitment import BLINDER_PAIRS, Blinders, Layout, commit
from zk.srs import Srs

WARM_EPOCHS = 10
"""Passes over the owner's own data: from a random model, rules that look for agreement may find none."""


@dataclass(frozen=True, eq=False)
class PreparedJob:
    """A job whose document and initial model are in storage, ready to be opened on the chain.

    Attributes:
        spec: the owner's decisions, the number of chunks among them.
        document: what everyone will read.
        document_cid: its name in storage; the digest goes on-chain.
        model: M_0, int64 (d,).
        model_cid: its name in storage; the digest goes on-chain.
        commitment: C(M_0), without blinders, so that whoever enrols can open it; goes on-chain.
        srs_id: of the SRS that it was made with; goes on-chain.
    """

    spec: JobSpec
    document: JobDocument
    document_cid: Cid
    model: NDArray[np.int64]
    model_cid: Cid
    commitment: bytes
    srs_id: bytes

    def terms(self, now_s: int) -> JobTerms:
        """The terms that the contract will hold, for a job posted at this block timestamp.

        Raises:
            InvalidTerms: values of the spec that cannot hold together.
        """
        return self.spec.to_terms(self.document.parameters.dimension, now_s)


def initial_model(
    spec: JobSpec,
    warm_start: Dataset | None,
    epochs: int = WARM_EPOCHS,
    progress: Callable[[Progress], None] | None = None,
) -> NDArray[np.int64]:
    """M_0 as int64 (d,): the spec's seeded weights, trained on the owner's own samples where there are any.

    Raises:
        InvalidModel: the spec's model cannot be built, or its parameters do not fit the integer range.
        InvalidData: the samples do not fit the model.
    """
    built = JobModel.of_spec(spec)
    parameters = read_vector(built.module, built.manifest)
    if warm_start is not None:
        settings = replace(built.training, epochs=epochs)
        warmed = train(
            built.module,
            warm_start,
            settings,
            seed=spec.model.seed,
            manifest=built.manifest,
            progress=progress,
        )
        parameters = parameters + warmed.delta
    return integer_model.quantise(parameters, built.scale_exponent)


def fewest_chunks(dimension: int, points: int) -> int:
    """Into how many parts a vector has to be cut for an SRS of so many points.

    Raises:
        InvalidInput: no number of parts is enough.
    """
    longest = points - 2 * BLINDER_PAIRS
    if longest < 1:
        raise InvalidInput(f"the SRS at hand has {points} points: too few to commit to anything")
    return -(-dimension // longest)


def publish(spec: JobSpec, model: NDArray[np.int64], store: ContentStore, srs: Srs) -> PreparedJob:
    """Commit to the initial model, and put it and the job's document into storage, pinned.

    Args:
        spec: the job; where it does not say how many chunks, they are as few as the SRS allows.
        model: M_0, int64 (d,).
        store: where everyone will look.
        srs: the deployment's.

    Raises:
        InvalidInput: the SRS is too short for the spec's number of chunks.
        InvalidJobSpec: the document does not fit one block of storage.
        StorageError: the store refused.
    """
    manifest = JobModel.of_spec(spec).manifest
    layout = Layout(manifest.dimension, spec.update.chunks or fewest_chunks(manifest.dimension, len(srs.points)))
    check_length(srs, layout)
    spec = spec.with_chunks(layout.chunks)
    commitment = commit(srs, layout, model, Blinders.zero(layout))
    model_cid = store.add_bytes(integer_model.to_bytes(model))
    document = JobDocument(spec=spec, manifest=manifest.to_json(), initial_model=str(model_cid))
    document_cid = store.add_bytes(document.to_bytes())
    for cid in (model_cid, document_cid):
        store.pin(cid, f"job {spec.name}")
    return PreparedJob(spec, document, document_cid, model, model_cid, commitment, srs.id)
