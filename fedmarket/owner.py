"""What a project owner does before the money moves: build the model, warm it, publish the job's document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from market.protocol import integer_model
from market.protocol.job_spec import JobDocument, JobSpec
from market.storage import Cid, ContentStore
from trainer_client.data import Dataset
from trainer_client.job_model import JobModel
from trainer_client.parameters import read_vector
from trainer_client.training import Progress, train

WARM_EPOCHS = 10
"""Passes over the owner's own data: from a random model, rules that look for agreement may find none."""


@dataclass(frozen=True, eq=False)
class PreparedJob:
    """A job whose document and initial model are in storage, ready to be opened on the chain.

    Attributes:
        document: what everyone will read.
        document_cid: its name in storage; the digest goes on-chain.
        model: M_0, int64 (d,).
        model_cid: its name in storage; the digest goes on-chain.
    """

    document: JobDocument
    document_cid: Cid
    model: NDArray[np.int64]
    model_cid: Cid


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


def publish(spec: JobSpec, model: NDArray[np.int64], store: ContentStore) -> PreparedJob:
    """Put the initial model and the job's document into storage, pinned.

    Raises:
        InvalidJobSpec: the document does not fit one block of storage.
        StorageError: the store refused.
    """
    manifest = JobModel.of_spec(spec).manifest
    model_cid = store.add_bytes(integer_model.to_bytes(model))
    document = JobDocument(spec=spec, manifest=manifest.to_json(), initial_model=str(model_cid))
    document_cid = store.add_bytes(document.to_bytes())
    for cid in (model_cid, document_cid):
        store.pin(cid, f"job {spec.name}")
    return PreparedJob(document, document_cid, model, model_cid)
