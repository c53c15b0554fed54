"""Content-addressed storage with true IPFS CIDs."""

from __future__ import annotations

from market.storage import car
from market.storage.car_blocks import CarBlocks
from market.storage.cid import CHUNK_BYTES, Cid
from market.storage.content_store import BlockStore, ContentReader, ContentStore
from market.storage.embedded_store import GRACE_S, Collected, EmbeddedStore
from market.storage.file_dag import content_cid
from market.storage.sourced_store import SourcedStore
from market.storage.sources import BlockSource

__all__ = [
    "CHUNK_BYTES",
    "GRACE_S",
    "BlockSource",
    "BlockStore",
    "CarBlocks",
    "Cid",
    "Collected",
    "ContentReader",
    "ContentStore",
    "EmbeddedStore",
    "SourcedStore",
    "car",
    "content_cid",
]
