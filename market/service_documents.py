"""The documents of services and of requests to them, in storage: a digest on the chain names each."""

from __future__ import annotations

from market.chain.consensus_records import PoolTerms
from market.protocol.errors import InvalidDocument
from market.protocol.generation import MAX_DOCUMENT_BYTES, RequestDocument, ServiceDocument
from market.protocol.identifiers import Digest
from market.storage import Cid, ContentReader, ContentStore


def publish_document(store: ContentStore, document: ServiceDocument | RequestDocument, reason: str) -> Digest:
    """Put a document into storage, pinned; its digest goes on-chain.

    Args:
        store: where everybody will look.
        document: at most one block of storage.
        reason: what it is pinned for.

    Raises:
        InvalidDocument: it is longer than a block.
        StorageError: the store refused.
    """
    cid = store.add_bytes(document.to_bytes())
    store.pin(cid, reason)
    return Digest(cid.digest)


def service_of(store: ContentReader, pool: PoolTerms) -> ServiceDocument:
    """What a pool's verifiers run.

    Raises:
        InvalidDocument: it is malformed, or another tolerance than the pool's.
        StorageError: it is not to be had, or damaged.
    """
    document = ServiceDocument.from_bytes(store.read(document_cid(pool.service), MAX_DOCUMENT_BYTES))
    told = (document.tolerance_bits, document.slack_permille)
    if told != (pool.tolerance_bits, pool.slack_permille):
        expected = f"{pool.tolerance_bits} bits and {pool.slack_permille} thousandths"
        problem = f"says {told[0]} bits and {told[1]} thousandths, the pool {expected}"
        raise InvalidDocument("service document", "tolerance_bits", problem)
    return document


def document_cid(digest: Digest) -> Cid:
    """The content identifier of a document: it is one block."""
    return Cid.from_digest(digest, MAX_DOCUMENT_BYTES)
