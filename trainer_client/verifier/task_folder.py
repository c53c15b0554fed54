"""What a verifier keeps on disk of its part in one panel: being killed at any moment neither loses nor changes it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from market.protocol.errors import InvalidContent
from market.storage.durable_file import disk_errors, make_folder, sweep_leftovers, sync_folder, write_file
from trainer_client.attempt_folder import make_private
from trainer_client.verifier.opening import SALT_BYTES, Opening, SealPlace

PRIVATE_FILE = 0o600


class TaskFolder:
    """One panel's part. Files appear whole, with nobody else's permission to read them.

    Attributes:
        place: what the seal is bound to.
        path: the folder; another task under the same number, after a reorganisation, has another one.
    """

    def __init__(self, work_folder: Path, place: SealPlace, task: bytes) -> None:
        """Name the folder; nothing is created before something is kept.

        Args:
            work_folder: of the account.
            place: what the seal is bound to.
            task: what tells this task from another one under the same number.
        """
        self.place = place
        market = f"consensus-{place.chain_id}-{place.contract.lower()}"
        named = sha256(task).hexdigest()[:16]
        self.path = work_folder / market / f"task-{place.task:06}" / f"panel-{place.panel}-{named}"

    @property
    def outputs_path(self) -> Path:
        """All outputs, in one file."""
        return self.path / "outputs.bin"

    @property
    def _opening_path(self) -> Path:
        return self.path / "opening.json"

    @property
    def _delivered_path(self) -> Path:
        return self.path / "delivered"

    @property
    def _batches(self) -> Path:
        return self.path / "batches"

    # ------------------------------------------------------------------ the opening

    def opening(self) -> Opening | None:
        """What was sealed, or None before.

        Raises:
            InvalidContent: the file is damaged.
            StorageError: the disk refuses.
        """
        if not self.is_sealed:
            return None
        with disk_errors(self._opening_path):
            text = self._opening_path.read_bytes()
        try:
            fields = json.loads(text)
            digests = tuple(bytes.fromhex(word) for word in fields["digests"])
            opening = Opening(digests, bytes.fromhex(fields["outputs"]), bytes.fromhex(fields["salt"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidContent(str(self._opening_path), f"it is no opening: {error}") from error
        if {len(word) for word in (*opening.digests, opening.outputs, opening.salt)} != {SALT_BYTES}:
            raise InvalidContent(str(self._opening_path), "it has words of another length than 32 bytes")
        return opening

    @property
    def is_sealed(self) -> bool:
        """Whether there is an opening, be it damaged."""
        return self._opening_path.exists()

    def seal(self, opening: Opening) -> None:
        """Put the opening on the disk; from here on what is committed to is fixed."""
        digests, outputs, salt = [word.hex() for word in opening.digests], opening.outputs.hex(), opening.salt.hex()
        self._write(self._opening_path, json.dumps({"digests": digests, "outputs": outputs, "salt": salt}).encode())

    # ------------------------------------------------------------------ the batches

    def begin(self, execution: Mapping[str, Any]) -> None:
        """Let go of batches that were generated in another way: what is committed to is all of one piece.

        Raises:
            StorageError: the disk refuses.
        """
        told = json.dumps(dict(execution), sort_keys=True).encode()
        marker = self._batches / "execution.json"
        with disk_errors(self._batches):
            if marker.exists() and marker.read_bytes() == told:
                sweep_leftovers(self._batches)
                return
            if self._batches.exists():
                shutil.rmtree(self._batches)
        self._write(marker, told)

    def batch_path(self, number: int) -> Path:
        """Where a batch's outputs are, once they are there."""
        return self._batches / f"batch-{number:04}.bin"

    def draft_path(self, number: int) -> Path:
        """Where a batch's outputs are written to first."""
        return self._batches / f".batch-{number:04}.part"

    def keep_batch(self, number: int) -> None:
        """Give a batch that was written as a draft its name."""
        draft = self.draft_path(number)
        keep(draft, self.batch_path(number))

    def missing(self, batches: int) -> list[int]:
        """The batches that are still to be generated."""
        return [number for number in range(batches) if not self.batch_path(number).exists()]

    def discard_batches(self) -> None:
        """Let the batches go, once they are in one file."""
        shutil.rmtree(self._batches, ignore_errors=True)

    # ------------------------------------------------------------------ the outputs

    def keep_outputs(self, content: bytes) -> None:
        """Put all outputs on the disk."""
        self._write(self.outputs_path, content)

    @property
    def is_delivered(self) -> bool:
        """Whether the outputs are where others find them."""
        return self._delivered_path.exists()

    def mark_delivered(self) -> None:
        """Note that they are."""
        self._write(self._delivered_path, b"")

    def _write(self, path: Path, content: bytes) -> None:
        write_private(path, content)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, and that is still there after a power cut.

    Raises:
        StorageError: the disk refuses.
    """
    make_folder(path.parent)
    make_private(path.parent)
    write_file(path, [content], PRIVATE_FILE)
    sync_folder(path.parent)


def keep(draft: Path, path: Path) -> None:
    """Give a whole file its name, durably, for its owner alone.

    Raises:
        StorageError: the disk refuses.
    """
    with disk_errors(path):
        descriptor = os.open(draft, os.O_RDONLY)
        try:
            os.fchmod(descriptor, PRIVATE_FILE)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.replace(path)
        sync_folder(path.parent)
