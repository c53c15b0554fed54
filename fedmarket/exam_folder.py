"""An owner's exam on disk: slices and salts, and what was sealed of them attempt by attempt. Secret until the close.

    exam.json                       the slices' names and salts, written last: with it the exam is complete
    slice-0000.npz …                their bytes; 0 is the public one
    chain-…/job-…/attempt-…/        reference.i32 (r), sealed.bin (r, sealed), opening.json, written last

Whoever sees a slice before its attempt can study for it: the folder is its user's alone. Copied to another machine it
is all that an examiner needs there beside an account; two machines must not examine the same attempt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from market.protocol.errors import InvalidExam, InvalidInput
from market.protocol.exam import ExamSlice, Reference, exam_path, exam_root, read_reference
from market.protocol.exam_spec import ExamDocument, PublicSlice
from market.protocol.identifiers import Digest
from market.protocol.json_text import parse_json
from market.protocol.provenance import POINT_BYTES
from market.protocol.seal import SALT_BYTES, SealContext, new_salt
from market.published_job import PublishedJob
from market.storage import content_cid
from market.storage.durable_file import make_folder, sync_folder, write_file

FORMAT = "fedmarket/exam-folder/1"
INDEX = "exam.json"
POSTED = "document"

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


@dataclass(frozen=True)
class SealedReference:
    """All that opening an exam takes: content digest, commitment and salt open the seal. Secret until then.

    The ephemeral key is secret until the close: whoever has it reads r.

    Attributes:
        content: sha2-256 digest of the CID of r, sealed to the aggregator.
        commitment: C_r, 64 bytes a chunk.
        salt: 32 random bytes.
        model: content digest of the model that r was computed at.
        recipient: the aggregator's public key that r was sealed to.
        ephemeral: the private key that it was sealed with, 32 random bytes.
    """

    content: Digest
    commitment: bytes
    salt: bytes
    model: Digest
    recipient: bytes
    ephemeral: bytes


class ExamFolder:
    """One exam: its slices, and what was made of them for one attempt after the other."""

    def __init__(self, path: Path, slices: tuple[ExamSlice, ...]) -> None:
        self.path, self.slices = path, slices

    @classmethod
    def create(cls, path: Path, samples: Sequence[bytes]) -> ExamFolder:
        """Fix an exam's slices on the disk, durably and readable by this user alone, and draw their salts.

        Args:
            path: the folder; what a creation that was killed left there is replaced.
            samples: each slice's bytes, the public one first.

        Raises:
            StorageError: the disk refuses.
        """
        _make_private(path)
        for index, data in enumerate(samples):
            write_file(_slice_path(path, index), [data], PRIVATE_FILE)
        slices = tuple(ExamSlice(str(content_cid(data)), new_salt()) for data in samples)
        entries = [{"samples": opened.samples, "salt": opened.salt.hex()} for opened in slices]
        # Last: before it is on the disk there is no exam, and nobody was told of one.
        _write_json(path / INDEX, {"format": FORMAT, "slices": entries})
        return cls(path, slices)

    @classmethod
    def open(cls, path: Path) -> ExamFolder:
        """Read an exam's index.

        Raises:
            InvalidInput: there is none, or it is damaged.
        """
        try:
            fields = parse_json((path / INDEX).read_bytes())
            entries = [(entry["samples"], bytes.fromhex(entry["salt"])) for entry in fields["slices"]]
            if fields["format"] != FORMAT or len(entries) < 2:
                raise ValueError(f"expected {FORMAT!r} and at least two slices")
            return cls(path, tuple(ExamSlice(samples, salt) for samples, salt in entries))
        except OSError as error:
            raise InvalidInput(f"{path} holds no exam: {INDEX}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, InvalidExam) as error:
            raise InvalidInput(f"{path / INDEX} is damaged: {error}") from error

    @classmethod
    def exists(cls, path: Path) -> bool:
        """Whether an exam was completed there."""
        return (path / INDEX).is_file()

    @property
    def leaves(self) -> list[bytes]:
        """The tree's leaves, the public slice's first."""
        return [opened.leaf(index) for index, opened in enumerate(self.slices)]

    @property
    def root(self) -> bytes:
        """What the job's terms fix of the exam, 32 bytes."""
        return exam_root(self.leaves)

    def document(self) -> ExamDocument:
        """What everybody may know before the close."""
        path = tuple(sibling.hex() for sibling in exam_path(self.leaves, 0))
        public = PublicSlice(samples=self.slices[0].samples, salt=self.slices[0].salt.hex(), path=path)
        return ExamDocument(root=self.root.hex(), public=public)

    def slice_path(self, index: int) -> Path:
        """Where a slice's bytes are."""
        return _slice_path(self.path, index)

    def slice_data(self, index: int) -> bytes:
        """A slice's bytes.

        Raises:
            InvalidExam: they are lost, or not those that the root was made of.
        """
        path = self.slice_path(index)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InvalidExam(f"slice {index} is lost: {path}: {error.strerror}") from error
        if str(content_cid(data)) != self.slices[index].samples:
            raise InvalidExam(f"slice {index} is damaged: {path} is not {self.slices[index].samples}")
        return data

    def attempt(self, context: SealContext) -> AttemptExam:
        """What is kept of one attempt."""
        market = f"chain-{context.chain_id}-{context.contract.lower()}"
        return AttemptExam(self.path / market / f"job-{context.job}" / f"attempt-{context.attempt:06}")

    @property
    def posted(self) -> bytes | None:
        """What names the opening of the job that was made with this exam, 32 bytes, or None before."""
        try:
            text = (self.path / POSTED).read_text("ascii").strip()
        except FileNotFoundError:
            return None
        return bytes.fromhex(text) if re.fullmatch(r"[0-9a-f]{64}", text) else None

    def note_posted(self, intent: bytes) -> None:
        """Keep which job was made with this exam, by what names its opening: an exam serves one job."""
        write_file(self.path / POSTED, [intent.hex().encode()], PRIVATE_FILE)
        sync_folder(self.path)


def exams_in(work: Path) -> Path:
    """Where the exams of the jobs that an account has posted are kept."""
    return work / "exams"


def exam_of_job(work: Path, job: PublishedJob) -> ExamFolder:
    """Find the exam that a job was opened with among those of an account.

    Raises:
        InvalidInput: the job has none, or it is not there.
    """
    if not job.terms.exam.is_set:
        raise InvalidInput(f"job {job.id} has no exam: there is nothing to set")
    damaged = ""
    for index in sorted(exams_in(work).glob(f"*/{INDEX}")):
        try:
            folder = ExamFolder.open(index.parent)
        except InvalidInput as problem:  # another job's, for all one can tell
            damaged = f"; {problem}"
            continue
        if folder.root == job.terms.exam.root:
            return folder
    raise InvalidInput(f"the exam of job {job.id} is not in {exams_in(work)}: name its folder with --exam DIR{damaged}")


class AttemptExam:
    """One attempt's r, and the one seal that it ever has."""

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is created before something is kept."""
        self.path = path

    @property
    def _opening_path(self) -> Path:
        return self.path / "opening.json"

    def seal(self, reference: bytes, blob: bytes, sealed: SealedReference) -> None:
        """Put r, sealed r and the opening on the disk, in this order; from here on the seal is fixed.

        Raises:
            StorageError: the disk refuses.
        """
        _make_private(self.path)
        write_file(self.path / "reference.i32", [reference], PRIVATE_FILE)
        write_file(self.path / "sealed.bin", [blob], PRIVATE_FILE)
        sync_folder(self.path)
        _write_json(self._opening_path, {name: value.hex() for name, value in asdict(sealed).items()})

    def sealed(self) -> SealedReference | None:
        """The opening, or None before anything was sealed.

        Raises:
            InvalidExam: the file is damaged.
        """
        try:
            fields = parse_json(self._opening_path.read_bytes())
            values: dict[str, Any] = {name: bytes.fromhex(value) for name, value in fields.items()}
            sealed = SealedReference(**values)
        except FileNotFoundError:
            return None
        except (ValueError, AttributeError, TypeError) as error:
            raise InvalidExam(f"{self._opening_path} is damaged: {error}") from error
        words = {len(word) for word in (sealed.content, sealed.salt, sealed.model, sealed.recipient, sealed.ephemeral)}
        if words != {SALT_BYTES} or not sealed.commitment or len(sealed.commitment) % POINT_BYTES:
            raise InvalidExam(f"{self._opening_path} is damaged: expected words of 32 bytes and points of 64")
        return sealed

    def blob(self, content: Digest) -> bytes:
        """Sealed r, as it was kept.

        Raises:
            InvalidExam: it is lost, or not what was sealed.
        """
        path = self.path / "sealed.bin"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InvalidExam(f"the sealed reference is lost: {path}: {error.strerror}") from error
        if content_cid(data).digest != content:
            raise InvalidExam(f"the sealed reference is damaged: {path}")
        return data

    def reference(self, dimension: int) -> Reference:
        """R, int32 (d,), mapped.

        Raises:
            InvalidExam: it is lost or damaged.
        """
        return read_reference(self.path / "reference.i32", dimension)


def _slice_path(folder: Path, index: int) -> Path:
    return folder / f"slice-{index:04}.npz"


def _make_private(folder: Path) -> None:
    make_folder(folder)
    folder.chmod(PRIVATE_FOLDER)


def _write_json(path: Path, fields: Mapping[str, Any]) -> None:
    write_file(path, [json.dumps(fields).encode("ascii")], PRIVATE_FILE)
    sync_folder(path.parent)
