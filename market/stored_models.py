"""A job's models in storage: open, or sealed to those who take part; read and written alike by every role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from market.content_key import ContentKey
from market.protocol import integer_model
from market.protocol.errors import CannotUnseal, InvalidContent, ModelsSealed
from market.protocol.identifiers import Digest
from market.protocol.integer_model import Integers
from market.protocol.job_spec import JobDocument
from market.sealed_model import ModelSeal, job_model_bytes
from market.storage import Cid, ContentReader, ContentStore
from market.storage.durable_file import write_file
from market.storage.part_stream import content_name, part_stream

PRIVATE_FILE = 0o600


class StoredModels:
    """The models of one job in one store.

    Attributes:
        size_bytes: of each, as it is stored.
        seal: what sealed ones are opened with; None where they are open, or this process has no key.
    """

    def __init__(self, store: ContentReader, document: JobDocument) -> None:
        """Look at nothing yet.

        Args:
            store: where they are.
            document: of the job.
        """
        self._store, self._document = store, document
        self.dimension, self.size_bytes = document.parameters.dimension, job_model_bytes(document)
        self.seal: ModelSeal | None = None

    @property
    def are_sealed(self) -> bool:
        """Whether it takes a key to read them."""
        return self._document.spec.seals_models

    @property
    def can_be_read(self) -> bool:
        """Whether this process can read them."""
        return not self.are_sealed or self.seal is not None

    def unlock(self, key: ContentKey, chain_id: int, contract: str) -> None:
        """Read and write with this key from now on.

        Raises:
            CannotUnseal: it is not the job's.
        """
        if key.sealing != self._document.sealing:
            raise CannotUnseal("that is the content key of another job")
        self.seal = ModelSeal(key, chain_id, contract, self._document.parameters)

    def cid(self, digest: Digest) -> Cid:
        """The name in storage of the model of a digest."""
        return Cid.from_digest(digest, self.size_bytes)

    def fetch(self, digest: Digest, path: Path) -> Integers:
        """Write a model's integers to a file, and map them: int64 (d,).

        Raises:
            ModelsSealed: they are sealed, and this process has no key.
            StorageError: it is not in this store, damaged, or of another length.
            InvalidModel: it does not open, or an entry is out of range.
        """
        if not self.are_sealed:
            self._store.copy_to(self.cid(digest), path, self.size_bytes)
            return integer_model.read(path, self.dimension)
        if self.seal is None:
            raise ModelsSealed("the job's models are sealed, and this process has no key to them")
        # A draft has its file's permissions from the start: nobody else ever reads what was sealed.
        write_file(path, self.seal.open(self._sealed_parts(digest)), PRIVATE_FILE)
        return integer_model.read(path, self.dimension)

    def add(self, model: Integers, store: ContentStore) -> Cid:
        """Keep a model in a store, sealed where the job's are.

        Raises:
            ModelsSealed: this process has no key to seal it with.
            StorageError: the store refuses.
            InvalidModel: an entry is out of range.
        """
        return store.add(part_stream(self._stored_parts(model)))

    def digest(self, model: Integers) -> Digest:
        """Under which digest `add` would keep a model; nothing is kept. Raises as `add`."""
        return Digest(content_name(self._stored_parts(model)).digest)

    def _stored_parts(self, model: Integers) -> Iterator[bytes]:
        if not self.are_sealed:
            return integer_model.parts(model)
        if self.seal is None:
            raise ModelsSealed("the job's models are sealed, and this process has no key to them")
        return self.seal.seal(model)

    def _sealed_parts(self, digest: Digest) -> Iterator[bytes]:
        cid = self.cid(digest)
        size_bytes = self._store.size(cid)
        if size_bytes != self.size_bytes:
            raise InvalidContent(str(cid), f"{size_bytes} bytes, expected {self.size_bytes}")
        return self._store.open(cid)
