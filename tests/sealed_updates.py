"""Updates sealed by hand, honest or not."""

from __future__ import annotations

import hashlib
from io import BytesIO
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from eth_account import Account

from market.job_history import Attempt
from market.protocol.identifiers import Digest
from market.protocol.packing import pack_update
from market.protocol.update import StoredUpdate
from market.sealed_update import PackedUpdate, seal_update
from market.sealing import Opening, SealingKey, UpdateSeal

_PRIVATE = X25519PrivateKey.from_private_bytes(bytes(range(7, 39)))
RECIPIENT = SealingKey(_PRIVATE.public_key().public_bytes_raw(), _PRIVATE)
"""Whoever the updates of a job that is played in memory are sealed to."""

_SENDERS = count(1)


def sealed_payload(public: bytes, update: UpdateSeal, payload: bytes) -> bytes:
    """Seal whatever bytes, with a key that nothing else is sealed with."""
    sender = Account.from_key(next(_SENDERS).to_bytes(32, "big"))
    packed = PackedUpdate(BytesIO(payload), Digest(hashlib.sha256(payload).digest()))
    return b"".join(seal_update(public, sender, update, packed))


def sealed_update(public: bytes, update: UpdateSeal, stored: StoredUpdate) -> bytes:
    """Pack and seal an update."""
    return sealed_payload(public, update, b"".join(pack_update(stored)))


class OpenedBy:
    """An audit by whoever has this key: every update is opened with it."""

    def __init__(self, key: SealingKey = RECIPIENT) -> None:
        self._key = key

    def of(self, attempt: Attempt, update: UpdateSeal) -> Opening:
        return self._key


def holds(folder: Path, secret: bytes) -> list[Path]:
    """The files below a folder that have a secret in them, raw or as text."""
    words = (secret, secret.hex().encode(), secret.hex().upper().encode())
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(word in path.read_bytes() for word in words)]
