"""What goes out of a trainer's machine: it opens for one key, at one place, as what it was; and says nothing else."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from eth_account import Account

from market.protocol.errors import CannotUnseal, InvalidContent, InvalidSealingKey, InvalidUpdate
from market.protocol.identifiers import Digest, JobId
from market.protocol.packing import BLOCK_BYTES, FRAME_COUNTS, pack_file, pack_update
from market.protocol.seal import SealContext
from market.protocol.update import StoredUpdate, update_bytes
from market.sealed_update import (
    PackedUpdate,
    check_sealed_length,
    open_update,
    packed,
    seal_update,
    sealed_update_bytes,
    sealed_update_cid,
    spooled_update,
)
from market.sealing import Opening, SealingKey, ShownEphemeral, UpdateSeal, update_ephemeral
from market.storage import Cid, EmbeddedStore, content_cid
from market.storage.part_stream import part_stream
from tests.sealed_updates import RECIPIENT

TRAINER = Account.from_key(bytes(range(1, 33)))
PLACE = SealContext(31337, "0x5FbDB2315678afecb367f032d93F642f64180aa3", JobId(4), round=2, attempt=3)
UPDATE = UpdateSeal(PLACE, TRAINER.address, Digest(b"m" * 32), b"c" * 64)
LONG, SHORT = 3 * FRAME_COUNTS + 11, 500
BLINDERS = bytes(range(192))


def stored(length: int = LONG, sigma: float = 300) -> StoredUpdate:
    counts = np.clip(np.random.default_rng(5).normal(0, sigma, length), -32767, 32767)
    return StoredUpdate(counts.astype("<i2"), BLINDERS)


def payload_of(update: StoredUpdate) -> PackedUpdate:
    data = b"".join(pack_update(update))
    return PackedUpdate(BytesIO(data), Digest(hashlib.sha256(data).digest()))


def sealed(update: StoredUpdate, bound: UpdateSeal = UPDATE, public: bytes = RECIPIENT.public) -> bytes:
    return b"".join(seal_update(public, TRAINER, bound, payload_of(update)))


def opened(blob: bytes, bound: UpdateSeal = UPDATE, opening: Opening = RECIPIENT, length: int = LONG) -> bytes:
    parts = [blob[at : at + 50_001] for at in range(0, len(blob), 50_001)]
    return b"".join(open_update(opening, bound, parts, length, 1))


def shown(update: StoredUpdate) -> ShownEphemeral:
    return ShownEphemeral(update_ephemeral(TRAINER, UPDATE, payload_of(update).digest), RECIPIENT.public)


# ---------------------------------------------------------------------- honest


@pytest.mark.parametrize("length", [SHORT, LONG])
def test_recipient_and_whoever_was_shown_the_ephemeral_key_open_it(length: int) -> None:
    update = stored(length)
    blob = sealed(update)
    for opening in (RECIPIENT, shown(update)):
        assert opened(blob, opening=opening, length=length) == update.to_bytes()


def test_sealed_again_the_same_update_has_the_same_bytes_and_nothing_else_has_its_key() -> None:
    update, other = stored(), stored(sigma=301)
    assert sealed(update) == sealed(update)
    places = [replace(PLACE, attempt=4), replace(PLACE, job=JobId(5))]
    bounds = [UPDATE, *(replace(UPDATE, place=place) for place in places), replace(UPDATE, commitment=b"d" * 64)]
    digests = [payload_of(it).digest for it in (update, other)]
    keys = {
        update_ephemeral(account, bound, digest)
        for account in (TRAINER, Account.create())
        for bound in bounds
        for digest in digests
    }
    assert len(keys) == 2 * len(bounds) * len(digests)


def test_every_leaf_in_storage_is_one_sealed_chunk(tmp_path: Path) -> None:
    store, update = EmbeddedStore(tmp_path / "store"), stored()
    update.write(tmp_path / "update")
    with packed(pack_file(tmp_path / "update", LONG, 1), tmp_path) as payload:
        blocks = list(seal_update(RECIPIENT.public, TRAINER, UPDATE, payload))
        cid = store.add(part_stream(blocks))
    assert [len(block) for block in blocks[:-1]] == [BLOCK_BYTES] * (len(blocks) - 1)
    assert all(store.has(Cid.of_block(block, 0x55)) for block in blocks)
    assert b"".join(blocks) == sealed(update)
    assert cid == sealed_update_cid(Digest(cid.digest), LONG, 1)


def test_what_is_packed_on_the_way_leaves_no_file_behind(tmp_path: Path) -> None:
    with packed(pack_update(stored()), tmp_path) as payload:
        assert list(tmp_path.iterdir()) == []
        assert hashlib.sha256(b"".join(payload.parts())).digest() == payload.digest


@pytest.mark.parametrize("length", [1, SHORT, *range(130_800, 131_100, 8), LONG])
@pytest.mark.parametrize("sigma", [0, 9999])
def test_the_content_id_follows_from_the_digest_and_the_job(length: int, sigma: float) -> None:
    blob = sealed(stored(length, sigma))
    least, most = sealed_update_bytes(length, 1)
    assert least <= len(blob) <= most
    if update_bytes(length, 1) <= BLOCK_BYTES:
        assert least == most
    cid = content_cid(blob)
    assert sealed_update_cid(Digest(cid.digest), length, 1) == cid


def test_a_length_that_no_update_has_is_refused() -> None:
    cid = content_cid(b"")
    for length in (SHORT, LONG):
        least, most = sealed_update_bytes(length, 1)
        for wrong in (least - 1, most + 1):
            with pytest.raises(InvalidContent, match=f"{wrong} bytes, expected {least}"):
                check_sealed_length(cid, wrong, length, 1)


# ---------------------------------------------------------------------- replayed, altered, cut


ELSEWHERE: dict[str, UpdateSeal] = {
    "another attempt": replace(UPDATE, place=replace(PLACE, attempt=4)),
    "another round": replace(UPDATE, place=replace(PLACE, round=3)),
    "another job": replace(UPDATE, place=replace(PLACE, job=JobId(5))),
    "another contract": replace(UPDATE, place=replace(PLACE, contract="0x" + "11" * 20)),
    "another chain": replace(UPDATE, place=replace(PLACE, chain_id=1)),
    "another trainer": replace(UPDATE, trainer="0x" + "22" * 20),
    "another layout of parameters": replace(UPDATE, manifest=Digest(b"n" * 32)),
    "another commitment": replace(UPDATE, commitment=b"d" * 64),
}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_replayed_elsewhere_it_does_not_open_even_with_its_ephemeral_key(where: str) -> None:
    update = stored(SHORT)
    for opening in (RECIPIENT, shown(update)):
        with pytest.raises(CannotUnseal, match="number 0"):
            opened(sealed(update), ELSEWHERE[where], opening, SHORT)


def test_another_key_does_not_open_it() -> None:
    private = X25519PrivateKey.generate()
    other = SealingKey(private.public_key().public_bytes_raw(), private)
    with pytest.raises(CannotUnseal, match="chunk 0"):
        opened(sealed(stored()), opening=other)


def test_an_ephemeral_key_that_is_not_this_sealings_is_refused() -> None:
    blob = sealed(stored())
    for false in (shown(stored(sigma=9)), ShownEphemeral(bytes(32), RECIPIENT.public)):
        with pytest.raises(CannotUnseal, match="another ephemeral key than the one shown"):
            opened(blob, opening=false)
    for nothing in (ShownEphemeral(bytes(31), RECIPIENT.public), ShownEphemeral(bytes(32), bytes(32))):
        with pytest.raises(CannotUnseal, match="nothing was sealed"):
            opened(blob, opening=nothing)
    false = replace(shown(stored()), recipient_public=X25519PrivateKey.generate().public_key().public_bytes_raw())
    with pytest.raises(CannotUnseal, match="chunk 0"):
        opened(blob, opening=false)


@pytest.mark.parametrize("at", [0, 31, 32, 1000, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 7, -1])
def test_one_flipped_bit_anywhere_is_found_and_its_chunk_named(at: int) -> None:
    blob = bytearray(sealed(stored()))
    blob[at] ^= 4
    chunk = (at % len(blob)) // BLOCK_BYTES
    with pytest.raises(CannotUnseal, match=f"(chunk|number) {chunk} "):
        opened(bytes(blob))


CUTS: dict[str, Callable[[bytes], bytes]] = {
    "truncated between chunks": lambda blob: blob[: 2 * BLOCK_BYTES],
    "truncated within a chunk": lambda blob: blob[:-100],
    "reordered": lambda blob: (
        blob[:BLOCK_BYTES]
        + blob[2 * BLOCK_BYTES : 3 * BLOCK_BYTES]
        + blob[BLOCK_BYTES : 2 * BLOCK_BYTES]
        + blob[3 * BLOCK_BYTES :]
    ),
    "repeated": lambda blob: blob[: 2 * BLOCK_BYTES] + blob[BLOCK_BYTES:],
    "extended": lambda blob: blob + bytes(100),
    "of nothing": lambda blob: b"",
    "of half a key": lambda blob: blob[:31],
    "of a key alone": lambda blob: blob[:32],
    "with a share that everybody agrees on": lambda blob: bytes(32) + blob[32:],
    "with the share of another": lambda blob: RECIPIENT.public + blob[32:],
}


@pytest.mark.parametrize("cut", CUTS)
def test_truncated_reordered_or_extended_it_does_not_open(cut: str) -> None:
    with pytest.raises(CannotUnseal):
        opened(CUTS[cut](sealed(stored(sigma=20_000))))


def test_what_is_sealed_well_and_is_no_update_is_refused() -> None:
    for data in (b"", b"hello", bytes(10**6)):
        payload = PackedUpdate(BytesIO(data), Digest(hashlib.sha256(data).digest()))
        blob = b"".join(seal_update(RECIPIENT.public, TRAINER, UPDATE, payload))
        with pytest.raises(InvalidUpdate):
            opened(blob)


def test_nothing_is_sealed_to_a_key_that_nobody_is_meant_by() -> None:
    for public in (bytes(32), b"\x01" + bytes(31), bytes(5)):
        with pytest.raises(InvalidSealingKey, match="nothing can be sealed"):
            sealed(stored(SHORT), public=public)


# ---------------------------------------------------------------------- an eavesdropper

TEXT = b"the quick brown fox jumps over the lazy dog. "
STRUCTURED: dict[str, np.ndarray] = {
    "all zeros": np.zeros(LONG, "<i2"),
    "all the same": np.full(LONG, 12345, "<i2"),
    "text": np.frombuffer((TEXT * (2 * LONG // len(TEXT) + 1))[: 2 * LONG], "<i2"),
    "a ramp": (np.arange(LONG) % 60_000 - 30_000).astype("<i2"),
    "small ones": np.random.default_rng(1).integers(-2, 3, LONG).astype("<i2"),
}


@pytest.mark.parametrize("kind", STRUCTURED)
def test_a_sealed_update_looks_like_random_bytes_whatever_is_in_it(kind: str) -> None:
    """Bytes are equally frequent, nothing compresses, nothing is like itself a little further on."""
    blob = sealed(StoredUpdate(STRUCTURED[kind], BLINDERS))
    data = np.frombuffer(blob, np.uint8)
    frequencies = np.bincount(data, minlength=256)
    expected = len(data) / 256
    chi_squared = float(((frequencies - expected) ** 2 / expected).sum())
    assert abs(chi_squared - 255) < 6 * np.sqrt(2 * 255)
    assert len(zlib.compress(blob, 9)) >= len(blob)
    centred = data - data.mean()
    for lag in (*range(1, 65), 4096, FRAME_COUNTS, BLOCK_BYTES, BLOCK_BYTES - 16):
        if lag < len(data) // 4:
            pairs = len(data) - lag
            correlation = float(centred[:-lag] @ centred[lag:]) / pairs / data.var()
            assert abs(correlation) < 6 / np.sqrt(pairs)
    bits = np.unpackbits(data)
    assert abs(bits.mean() - 0.5) < 6 * 0.5 / np.sqrt(len(bits))


def test_two_sealings_of_one_update_share_nothing() -> None:
    update = StoredUpdate(STRUCTURED["all zeros"], BLINDERS)
    first, second = sealed(update), sealed(update, replace(UPDATE, place=replace(PLACE, attempt=4)))
    assert len(first) == len(second)
    words = [{blob[at : at + 8] for at in range(0, len(blob) - 7, 8)} for blob in (first, second)]
    assert not words[0] & words[1]
    equal = np.frombuffer(first, np.uint8) == np.frombuffer(second, np.uint8)
    assert abs(equal.mean() - 1 / 256) < 6 / np.sqrt(256 * len(first))


def test_no_object_shows_a_secret() -> None:
    ephemeral = update_ephemeral(TRAINER, UPDATE, Digest(bytes(32)))
    words = repr(ShownEphemeral(ephemeral, RECIPIENT.public)) + repr(RECIPIENT)
    assert ephemeral.hex() not in words
    assert not re.search(re.escape(str(ephemeral)[2:-1]), words)


# ---------------------------------------------------------------------- in the clear


def test_while_it_is_opened_an_update_has_no_name_on_the_disk(tmp_path: Path) -> None:
    """A process that is killed leaves nothing of it."""
    update, seen = stored(), []

    def parts() -> Iterator[bytes | bytearray | memoryview]:
        for part in open_update(RECIPIENT, UPDATE, [sealed(update)], LONG, 1):
            seen.append(list(tmp_path.iterdir()))
            yield part

    spooled = spooled_update(tmp_path, parts(), LONG, 1)
    assert seen
    assert not any(seen)
    assert not list(tmp_path.iterdir())
    assert spooled.to_bytes() == update.to_bytes()


def test_what_is_no_update_is_not_spooled(tmp_path: Path) -> None:
    with pytest.raises(InvalidUpdate):
        spooled_update(tmp_path, [bytes(100)], LONG, 1)
