"""Models from storage: fetched anew for every audit; what is not here is told apart from what is false."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from market.protocol import integer_model
from market.protocol.errors import BlockNotFound, CorruptBlock, InvalidContent, InvalidModel, ModelsSealed
from market.protocol.identifiers import Digest
from market.sealed_model import MODEL_ENTRY_BYTES
from market.storage import Cid, ContentReader, content_cid
from market.stored_models import StoredModels
from zk.commitment import Layout

Counts = NDArray[np.int16]
Model = NDArray[np.int64]


@dataclass(frozen=True)
class Missing:
    """A vector that is not here now: its blocks are not held, or are damaged. It may be sound elsewhere."""

    reason: str


@dataclass(frozen=True)
class Sealed(Missing):
    """A model that only those who take part can read: whoever audits has no key to it."""

    reason: str = "the job's models are sealed, and no key to them is at hand"


@dataclass(frozen=True)
class Unfit:
    """Content that never is such a vector: its digest fixes bytes of another length, or values out of range."""

    reason: str


class StoredVectors:
    """Fetches vectors into a folder and maps them. The folder starts empty, so nothing is believed unverified."""

    def __init__(
        self, store: ContentReader, layout: Layout, folder: Path, sealed_models: StoredModels | None = None
    ) -> None:
        """Fetch nothing yet.

        Args:
            store: where the vectors are.
            layout: of the job's vectors.
            folder: an empty folder of the audit's own.
            sealed_models: the job's, where they are sealed; unlocked where a key is at hand.
        """
        self._store, self._layout, self._folder, self._sealed = store, layout, folder, sealed_models

    def model(self, digest: Digest) -> Model | Missing | Unfit:
        """An integer model, int64 (d,), mapped.

        Raises:
            StorageError: this machine's disk refuses.
        """
        path = self._folder / f"{digest.hex()}.model"
        try:
            if path.exists():
                return integer_model.read(path, self._layout.dimension)
            return self._fetch(digest, path)
        except ModelsSealed:
            return Sealed()
        except (BlockNotFound, CorruptBlock) as error:
            return Missing(str(error))
        except (InvalidContent, InvalidModel) as error:
            return Unfit(str(error))

    def model_digest(self, model: Model) -> Digest:
        """The digest under which storage would keep a model; nothing is stored.

        Raises:
            ModelsSealed: the job's models are sealed, and no key is at hand.
            InvalidModel: an entry is out of range.
        """
        return model_digest(model) if self._sealed is None else self._sealed.digest(model)

    def _fetch(self, digest: Digest, path: Path) -> Model:
        if self._sealed is not None:
            return self._sealed.fetch(digest, path)
        expected_bytes = MODEL_ENTRY_BYTES * self._layout.dimension
        self._store.copy_to(Cid.from_digest(digest, expected_bytes), path, expected_bytes)
        return integer_model.read(path, self._layout.dimension)


def model_digest(model: Model) -> Digest:
    """The digest under which storage would keep a model; nothing is stored.

    Raises:
        InvalidModel: an entry is out of range.
    """
    return Digest(content_cid(integer_model.to_bytes(model)).digest)
