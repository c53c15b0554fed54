"""What trainers seal and store of their own making, honest or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from market.protocol.identifiers import Digest
from market.protocol.seal import new_salt, seal
from market.protocol.update import StoredUpdate
from market.storage import Cid
from tests.integration.marketplace import Counts, Marketplace
from tests.sealed_updates import sealed_payload
from zk.commitment import Blinders, commit

D = 15
"""Length of the vectors of a `Marketplace` with its four features."""


@dataclass(frozen=True)
class Sealing:
    """What a trainer seals of its own making, honest or not."""

    content: Digest
    commitment: bytes


def commit_content(place: Marketplace, name: str, sealing: Sealing) -> bytes:
    """Seal a content id without having to have the content; returns the salt."""
    state, salt = place.state, new_salt()
    context = place.market.seal_context(place.id, state.round, state.attempt)
    digest = seal(context, place.actor(name).address, sealing.commitment, sealing.content, salt)
    place.send(name, f"commit {state.attempt}", place.market.commit(place.id, state.attempt, digest))
    return salt


def reveal_content(place: Marketplace, name: str, sealing: Sealing, salt: bytes) -> None:
    attempt, address = place.state.attempt, place.actor(name).address
    call = place.market.reveal(place.id, attempt, address, sealing.commitment, sealing.content, salt)
    place.send(name, f"reveal {attempt}", call)


def played_with(place: Marketplace, honest: list[str], sealings: dict[str, Sealing]) -> None:
    """Commit and reveal: the honest as they do, the others whatever they like."""
    place.commit(honest)
    salts = {name: commit_content(place, name, sealing) for name, sealing in sealings.items()}
    place.reveal(honest)
    for name, salt in salts.items():
        reveal_content(place, name, sealings[name], salt)


def some_counts(seed: int) -> Counts:
    return np.random.default_rng(seed).integers(-900, 900, D).astype(np.int16)


def committed(place: Marketplace, counts: Counts) -> tuple[bytes, bytes]:
    """A commitment to counts, and the bytes that open it, in the clear."""
    blinders = Blinders.fresh(place.layout)
    stored = StoredUpdate(counts, blinders.to_bytes()).to_bytes()
    return commit(place.srs, place.layout, counts, blinders), stored


def sealed_by(place: Marketplace, name: str, data: bytes, commitment: bytes) -> bytes:
    """Seal bytes, an update's or others, to the active aggregator as a trainer does in the running attempt."""
    state, job = place.state, place.view("onlooker")
    public = place.market.sealing_key(place.id, place.market.aggregators(place.id)[0])
    assert public is not None
    where = place.market.seal_context(place.id, state.round, state.attempt)
    return sealed_payload(public, job.update_seal(where, place.actor(name).address, commitment), data)


def stored(place: Marketplace, name: str, data: bytes, commitment: bytes | None = None) -> Sealing:
    """Put sealed bytes into storage, and seal them with a commitment, by default one to something else."""
    sealed_with = commitment or committed(place, some_counts(99))[0]
    return put(place, sealed_by(place, name, data, sealed_with), sealed_with)


def put(place: Marketplace, blob: bytes, commitment: bytes) -> Sealing:
    """Put bytes into storage as they are."""
    return Sealing(Digest(place.store.add_bytes(blob).digest), commitment)


def digest_of(data: bytes) -> Digest:
    return Digest(Cid.of_block(data, 0x55).digest)


def block_of(place: Marketplace, content: Digest) -> Path:
    [block] = [path for path in place.store.root.rglob("*.data") if digest_of(path.read_bytes()) == content]
    return block


def damage(place: Marketplace, content: Digest) -> None:
    block = block_of(place, content)
    block.chmod(0o644)
    block.write_bytes(b"\x00" * block.stat().st_size)
