"""Models from storage: fetched anew for every audit; what is not here is told apart from what is false."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from market.protocol import integer_model
from market.protocol.errors import BlockNotFound, CorruptBlock, InvalidContent, InvalidModel
from market.protocol.identifiers import Digest
from market.storage import Cid, ContentReader, content_cid
from zk.commitment import Layout

MODEL_ENTRY_BYTES = 8

Counts = NDArray[np.int16]
Model = NDArray[np.int64]


@dataclass(frozen=True)
class Missing:
    """A vector that is not here now: its blocks are not held, or are damaged. It may be sound elsewhere."""

    reason: str


@dataclass(frozen=True)
class Unfit:
    """Content that never is such a vector: its digest fixes bytes of another length, or values out of range."""

    reason: str


class StoredVectors:
    """Fetches vectors into a folder and maps them. The folder starts empty, so nothing is believed unverified."""

    def __init__(self, store: ContentReader, layout: Layout, folder: Path) -> None:
        """Fetch nothing yet.

        Args:
            store: where the vectors are.
            layout: of the job's vectors.
            folder: an empty folder of the audit's own.
        """
        self._store, self._layout, self._folder = store, layout, folder

    def model(self, digest: Digest) -> Model | Missing | Unfit:
        """An integer model, int64 (d,), mapped.

        Raises:
            StorageError: this machine's disk refuses.
        """
        path, expected_bytes = self._folder / f"{digest.hex()}.model", MODEL_ENTRY_BYTES * self._layout.dimension
        try:
            if not path.exists():
                self._store.copy_to(Cid.from_digest(digest, expected_bytes), path, expected_bytes)
            return integer_model.read(path, self._layout.dimension)
        except (BlockNotFound, CorruptBlock) as error:
            return Missing(str(error))
        except (InvalidContent, InvalidModel) as error:
            return Unfit(str(error))


def model_digest(model: Model) -> Digest:
    """The digest under which storage would keep a model; nothing is stored.

    Raises:
        InvalidModel: an entry is out of range.
    """
    return Digest(content_cid(integer_model.to_bytes(model)).digest)
