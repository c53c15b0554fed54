"""The receipts that an attestor signed in one job, as it keeps and shows them."""

from __future__ import annotations

from pathlib import Path

from market.protocol.errors import InvalidReceipt
from market.signed_receipts import SignedReceipt
from market.storage.durable_file import make_folder, write_file


class OwnReceipts:
    """One file an attempt, with its latest receipt."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is created before something is kept."""
        self._folder = folder

    def of(self, attempt: int) -> SignedReceipt | None:
        """The receipt of an attempt; None where there is none, or the file is damaged: another is signed then."""
        try:
            return SignedReceipt.parse(self._path(attempt).read_bytes())
        except (FileNotFoundError, InvalidReceipt):
            return None

    def keep(self, signed: SignedReceipt) -> None:
        """Put a receipt in the place of the attempt's last one.

        Raises:
            StorageError: the disk refuses.
        """
        make_folder(self._folder)
        write_file(self._path(signed.receipt.attempt), [signed.to_bytes()])

    def _path(self, attempt: int) -> Path:
        return self._folder / f"attempt-{attempt:06}.json"
