"""The exam of a job that is being posted: cut once for each job, and found again by a posting that was interrupted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from fedmarket.connection import Actor
from fedmarket.exam_folder import ExamFolder, exams_in
from fedmarket.owner import cut_exam
from market.protocol.errors import InvalidInput
from market.protocol.job_spec import JobSpec
from trainer_client.data import Dataset
from trainer_client.exam import slice_bytes


def opening_key(intent: bytes) -> str:
    """The intent to open a job, by its document's digest; by its key's salt where its models are sealed."""
    return f"open/{intent.hex()}"


def prepare_exam(actor: Actor, spec: JobSpec, reference_set: Dataset, folder: Path | None, again: bool) -> ExamFolder:
    """The exam that this posting is about: the one cut for it before it was killed, or a new one.

    Cutting is random, so that an exam that is on the disk is the job's for good. No two jobs share one: at the end of
    the first everybody sees what the second would ask.

    Args:
        actor: whose job; it is kept under its work folder.
        spec: of the job.
        reference_set: what to cut it from.
        folder: where to keep it instead.
        again: whether what was posted before is to be posted once more.

    Raises:
        InvalidData: there are too few samples.
        InvalidInput: the folder named holds another job's exam, or one that is damaged.
        StorageError: the disk refuses.
    """
    if folder is not None:
        return _named(actor, spec, reference_set, folder, again)
    name, number = _fingerprint(actor, spec, reference_set), 0
    while True:
        path = exams_in(actor.work) / f"{name}-{number}"
        if not ExamFolder.exists(path):
            return _cut(spec, reference_set, path)
        exam = ExamFolder.open(path)
        if not (again and _is_used(actor, exam)):
            return exam
        number += 1


def _named(actor: Actor, spec: JobSpec, reference_set: Dataset, folder: Path, again: bool) -> ExamFolder:
    if not ExamFolder.exists(folder):
        return _cut(spec, reference_set, folder)
    exam = ExamFolder.open(folder)
    if len(exam.slices) != spec.exam_slices:
        raise InvalidInput(f"{folder} holds an exam of {len(exam.slices)} slices, the spec {spec.exam_slices}")
    if again and _is_used(actor, exam):
        raise InvalidInput(f"{folder} holds the exam of a job that was posted before: name another folder for --again")
    return exam


def _cut(spec: JobSpec, reference_set: Dataset, path: Path) -> ExamFolder:
    return ExamFolder.create(path, [slice_bytes(part) for part in cut_exam(spec, reference_set)])


def _is_used(actor: Actor, exam: ExamFolder) -> bool:
    """Whether a job was opened with this exam, for certain."""
    if exam.posted is None:
        return False
    key = opening_key(exam.posted)
    return actor.sender.knows(key) and key not in actor.sender.unresolved()


def _fingerprint(actor: Actor, spec: JobSpec, reference_set: Dataset) -> str:
    """Names a job to be: this market, this spec, these samples."""
    genesis = bytes(actor.network.chain.block(0)["hash"])
    digest = hashlib.sha256(genesis + actor.network.market.address.lower().encode())
    digest.update(json.dumps(spec.model_dump(mode="json"), sort_keys=True).encode())
    for name, array in reference_set.arrays().items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
