"""A model of a job that seals its models, as storage has it: a salt, then chunks that are authenticated one by one.

The key and the nonces of its chunks follow from the job's content key and the salt (`market.content_key`), what they
are bound to from the market and the job's parameters. The salt is part of the first chunk's block, so that every chunk
is a block of storage. How long the sealed model is follows from the number of its parameters, as for an open one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from eth_abi.abi import encode

from market import chunked_aead
from market.content_key import SALT_BYTES, ContentKey
from market.protocol import integer_model
from market.protocol.errors import CannotUnseal, InvalidModel
from market.protocol.identifiers import Digest
from market.protocol.integer_model import Integers
from market.protocol.job_spec import JobDocument
from market.protocol.manifest import ParameterManifest

MODEL_ENTRY_BYTES = 8

_DOMAIN = "fedmarket/sealed-model/1"


def stored_model_bytes(dimension: int, *, sealed: bool) -> int:
    """How long a model of so many parameters is in storage."""
    plain_bytes = MODEL_ENTRY_BYTES * dimension
    return chunked_aead.sealed_bytes(plain_bytes, preceding_bytes=SALT_BYTES) if sealed else plain_bytes


def job_model_bytes(document: JobDocument) -> int:
    """How long a job's models are in storage."""
    return stored_model_bytes(document.parameters.dimension, sealed=document.spec.seals_models)


@dataclass(frozen=True)
class ModelSeal:
    """What a job's models are sealed and opened with, and what they are bound to.

    Attributes:
        key: the job's content key.
        chain_id: of the chain.
        contract: the marketplace's address.
        manifest: the layout of the job's parameters.
    """

    key: ContentKey
    chain_id: int
    contract: str
    manifest: ParameterManifest

    def seal(self, model: Integers) -> Iterator[bytes]:
        """A model's sealed bytes, a chunk at a time: the same ones for the same model.

        Args:
            model: int64 (d,).

        Raises:
            InvalidModel: an entry is out of range.
        """
        plain = hashlib.sha256()
        for part in integer_model.parts(model):
            plain.update(part)
        salt = self.key.model_salt(Digest(plain.digest()))
        yield salt
        yield from chunked_aead.seal_chunks(
            self.key.model_context(salt), self._associated, integer_model.parts(model), preceding_bytes=SALT_BYTES
        )

    def open(self, unverified_parts: Iterable[bytes]) -> Iterator[bytes]:
        """A model's bytes, a chunk at a time; that it is all of it is known once the iterator ends.

        Args:
            unverified_parts: what `seal` gave, cut anyhow.

        Raises:
            InvalidModel: naming the chunk that is not one of a model that was sealed with this key, for this job.
        """
        salt, rest = chunked_aead.split_head(unverified_parts, SALT_BYTES)
        try:
            yield from chunked_aead.open_chunks(
                self.key.model_context(salt), self._associated, rest, preceding_bytes=SALT_BYTES
            )
        except CannotUnseal as problem:
            # Whoever sealed it had the right key or not: it never will be a model of this job.
            raise InvalidModel(f"the sealed model does not open: {problem}") from None

    @property
    def _associated(self) -> bytes:
        types = ["string", "uint256", "address", "bytes32"]
        return encode(types, [_DOMAIN, self.chain_id, self.contract, self.manifest.digest])
