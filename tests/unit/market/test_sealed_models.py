"""Sealed models: what the content key is made of, who recognises it, and what does not open."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from market.chunked_aead import CHUNK_BYTES
from market.content_key import (
    CONTENT_KEY_TOPIC,
    ContentKey,
    handover,
    new_key_salt,
    unseal_content_key,
)
from market.protocol import integer_model
from market.protocol.errors import CannotUnseal, CorruptBlock, InvalidContent, InvalidModel, ModelsSealed
from market.protocol.identifiers import Digest, JobId
from market.protocol.integer_model import Integers
from market.protocol.job_spec import JobDocument
from market.protocol.manifest import ParameterManifest
from market.sealed_model import ModelSeal, stored_model_bytes
from market.sealing import SealingKey
from market.storage import Cid, EmbeddedStore
from market.stored_models import StoredModels
from tests.integration.marketplace import spec

CHAIN, CONTRACT = 31337, "0x" + "11" * 20
SALT = bytes(range(32))
LONG = 100_000
"""Entries of a model that takes four blocks."""


def account(name: str) -> LocalAccount:
    made: LocalAccount = Account.from_key(hashlib.sha256(name.encode()).digest())
    return made


OWNER, TRAINER, STRANGER = account("owner"), account("trainer"), account("stranger")


def owners_key(salt: bytes = SALT) -> ContentKey:
    return ContentKey.of_owner(OWNER, CHAIN, CONTRACT, salt)


def recipient(who: LocalAccount, job: int = 0) -> SealingKey:
    return SealingKey.of_account(who, CHAIN, CONTRACT, JobId(job))


def model(dimension: int = LONG, seed: int = 0) -> Integers:
    return np.random.default_rng(seed).integers(-(1 << 40), 1 << 40, dimension)


def manifest(dimension: int) -> ParameterManifest:
    return ParameterManifest.from_shapes({"w": (dimension,)})


def sealer(key: ContentKey, dimension: int = LONG, contract: str = CONTRACT, chain: int = CHAIN) -> ModelSeal:
    return ModelSeal(key, chain, contract, manifest(dimension))


def document(key: ContentKey, dimension: int = LONG) -> JobDocument:
    return JobDocument(
        spec=spec(4, models="sealed"),
        manifest=manifest(dimension).to_json(),
        initial_model=str(Cid.from_digest(Digest(bytes(32)), stored_model_bytes(dimension, sealed=True))),
        sealing=key.sealing,
    )


def stored(store: EmbeddedStore, key: ContentKey | None, of: ContentKey | None = None) -> StoredModels:
    models = StoredModels(store, document(of or key or owners_key()))
    if key is not None:
        models.unlock(key, CHAIN, CONTRACT)
    return models


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store")


# ---------------------------------------------------------------------- the key


def test_the_owner_makes_the_same_key_again_and_another_for_every_salt_chain_contract_and_account() -> None:
    assert owners_key() == owners_key()
    others = [
        owners_key(bytes(32)),
        ContentKey.of_owner(OWNER, 1, CONTRACT, SALT),
        ContentKey.of_owner(OWNER, CHAIN, "0x" + "22" * 20, SALT),
        ContentKey.of_owner(STRANGER, CHAIN, CONTRACT, SALT),
    ]
    assert len({owners_key().check, *(other.check for other in others)}) == 5


def test_a_salt_is_the_same_for_the_same_posting_and_another_for_every_other() -> None:
    def salt(who: LocalAccount = OWNER, job: bytes = SALT, number: int = 0) -> bytes:
        return new_key_salt(who, CHAIN, CONTRACT, Digest(job), number)

    assert salt() == salt()
    assert len({salt(), salt(STRANGER), salt(job=bytes(32)), salt(number=1)}) == 4


def test_the_key_shows_nothing_of_itself() -> None:
    key = owners_key()
    shown = f"{key!r} {key} {sealer(key)!r} {key.sealing!r} {key.model_context(SALT)!r}"
    assert key._secret.hex() not in shown
    assert repr(key._secret) not in shown
    assert key.check.hex() != key._secret.hex()


def test_a_key_that_is_handed_over_is_recognised() -> None:
    key, public = owners_key(), recipient(TRAINER).public
    sealed = key.seal_for(public, handover(CHAIN, CONTRACT, JobId(0)))
    assert len(sealed) == 80
    assert unseal_content_key(recipient(TRAINER), handover(CHAIN, CONTRACT, JobId(0)), key.sealing, sealed) == key
    assert sealed != key.seal_for(public, handover(CHAIN, CONTRACT, JobId(0)))
    assert len(CONTENT_KEY_TOPIC) == 32


def test_a_key_for_another_account_or_job_does_not_unseal() -> None:
    key, here = owners_key(), handover(CHAIN, CONTRACT, JobId(0))
    sealed = key.seal_for(recipient(TRAINER).public, here)
    for who, where in (
        (recipient(STRANGER), here),
        (recipient(TRAINER), handover(CHAIN, CONTRACT, JobId(1))),
        (recipient(TRAINER, job=1), here),
        (recipient(TRAINER), handover(1, CONTRACT, JobId(0))),
    ):
        with pytest.raises(CannotUnseal, match="do not open"):
            unseal_content_key(who, where, key.sealing, sealed)


def test_a_false_key_is_not_believed_whoever_hands_it_over() -> None:
    here, false = handover(CHAIN, CONTRACT, JobId(0)), ContentKey.of_owner(STRANGER, CHAIN, CONTRACT, SALT)
    sealed = false.seal_for(recipient(TRAINER).public, here)
    with pytest.raises(CannotUnseal, match="not the one whose check is"):
        unseal_content_key(recipient(TRAINER), here, owners_key().sealing, sealed)
    with pytest.raises(CannotUnseal, match="not the one whose check is"):
        ContentKey.recognised(b"", owners_key().sealing)


# ---------------------------------------------------------------------- a model's bytes


@pytest.mark.parametrize("dimension", [1, 4, 32_762, 32_763, 32_764, LONG])
def test_a_sealed_model_opens_and_its_length_follows_from_its_dimension(dimension: int) -> None:
    sealing, plain = sealer(owners_key(), dimension), model(dimension)
    sealed = b"".join(sealing.seal(plain))
    assert len(sealed) == stored_model_bytes(dimension, sealed=True)
    assert b"".join(sealing.open([sealed])) == integer_model.to_bytes(plain)
    assert b"".join(sealing.open(sealed[i : i + 7_777] for i in range(0, len(sealed), 7_777))) == plain.tobytes()


def test_the_same_model_has_the_same_sealed_bytes_and_two_models_share_no_key() -> None:
    sealing = sealer(owners_key())
    first, again, other = (b"".join(sealing.seal(it)) for it in (model(), model(), model(seed=1)))
    assert first == again
    assert first[:32] != other[:32]


def test_every_chunk_is_a_block_of_storage(store: EmbeddedStore) -> None:
    models = stored(store, owners_key())
    cid = models.add(model(), store)
    assert [len(block) for block in store.open(cid)][:-1] == [CHUNK_BYTES] * (models.size_bytes // CHUNK_BYTES)
    assert models.size_bytes == store.size(cid)
    assert models.cid(Digest(cid.digest)) == cid
    assert models.digest(model()) == cid.digest


def test_nothing_of_the_model_shows_in_what_is_stored(store: EmbeddedStore) -> None:
    sealed = store.read(stored(store, owners_key()).add(np.zeros(LONG, np.int64), store), 1 << 20)
    counts = np.bincount(np.frombuffer(sealed, np.uint8), minlength=256)
    expected = len(sealed) / 256
    # Chi-squared of 255 degrees of freedom: beyond 400 once in 10^8 runs, and these bytes are always the same.
    assert ((counts - expected) ** 2 / expected).sum() < 400


@pytest.mark.parametrize("place_of_flip", [0, 31, 32, 5_000, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 9, -1])
def test_a_flipped_bit_is_told_by_its_chunk(place_of_flip: int) -> None:
    sealing = sealer(owners_key())
    sealed = bytearray(b"".join(sealing.seal(model())))
    sealed[place_of_flip] ^= 1
    chunk = place_of_flip % len(sealed) // CHUNK_BYTES
    with pytest.raises(InvalidModel, match=rf"(chunk|number) {chunk} \(\d+ bytes\) does not open"):
        b"".join(sealing.open([bytes(sealed)]))


def test_cut_reordered_repeated_and_mixed_chunks_do_not_open() -> None:
    sealing = sealer(owners_key())
    sealed = b"".join(sealing.seal(model()))
    other = b"".join(sealing.seal(model(seed=1)))
    chunks = [sealed[i : i + CHUNK_BYTES] for i in range(0, len(sealed), CHUNK_BYTES)]
    foreign = [other[i : i + CHUNK_BYTES] for i in range(0, len(other), CHUNK_BYTES)]
    for false in (
        chunks[:-1],
        chunks[:1],
        [sealed[:40]],
        [sealed[:3]],
        [],
        [chunks[0], chunks[2], chunks[1], chunks[3]],
        [*chunks[:2], chunks[1], *chunks[2:]],
        [*chunks, b"more"],
        [chunks[0], foreign[1], *chunks[2:]],
    ):
        with pytest.raises(InvalidModel, match="does not open"):
            b"".join(sealing.open(false))


def test_a_model_of_another_job_market_or_layout_does_not_open() -> None:
    sealed = b"".join(sealer(owners_key()).seal(model()))
    others = [
        sealer(owners_key(bytes(32))),
        sealer(owners_key(), contract="0x" + "22" * 20),
        sealer(owners_key(), chain=1),
        ModelSeal(owners_key(), CHAIN, CONTRACT, ParameterManifest.from_shapes({"v": (LONG,)})),
    ]
    for other in others:
        with pytest.raises(InvalidModel, match="chunk 0"):
            b"".join(other.open([sealed]))


def test_neither_sealing_nor_opening_holds_a_long_model_in_memory(store: EmbeddedStore, tmp_path: Path) -> None:
    long = model(1 << 22)
    models = StoredModels(store, document(owners_key(), len(long)))
    models.unlock(owners_key(), CHAIN, CONTRACT)
    tracemalloc.start()
    try:
        cid = models.add(long, store)
        models.fetch(Digest(cid.digest), tmp_path / "model.i64")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A slice of 2^20 entries, its checks, and a few chunks.
    assert peak_bytes < long.nbytes


# ---------------------------------------------------------------------- in a store


def test_who_has_the_key_reads_what_was_stored_and_keeps_it_private(store: EmbeddedStore, tmp_path: Path) -> None:
    cid = stored(store, owners_key()).add(model(), store)
    path = tmp_path / "model.i64"
    found = stored(store, owners_key()).fetch(Digest(cid.digest), path)
    assert np.array_equal(found, model())
    assert path.stat().st_mode & 0o777 == 0o600


def test_who_has_no_key_neither_reads_nor_writes(store: EmbeddedStore, tmp_path: Path) -> None:
    cid = stored(store, owners_key()).add(model(), store)
    without = stored(store, None)
    assert without.are_sealed
    assert not without.can_be_read
    with pytest.raises(ModelsSealed, match="sealed, and this process has no key"):
        without.fetch(Digest(cid.digest), tmp_path / "model.i64")
    with pytest.raises(ModelsSealed):
        without.add(model(), store)
    assert not (tmp_path / "model.i64").exists()


def test_the_key_of_another_job_does_not_unlock(store: EmbeddedStore) -> None:
    with pytest.raises(CannotUnseal, match="another job"):
        stored(store, owners_key(bytes(32)), of=owners_key())


def test_what_does_not_open_leaves_no_file(store: EmbeddedStore, tmp_path: Path) -> None:
    models = stored(store, owners_key())
    sealed = bytearray(b"".join(sealer(owners_key()).seal(model())))
    sealed[-1] ^= 1
    cid = store.add_bytes(bytes(sealed))
    folder = tmp_path / "cache"
    folder.mkdir()
    with pytest.raises(InvalidModel, match="the last chunk"):
        models.fetch(Digest(cid.digest), folder / "model.i64")
    assert not list(folder.iterdir())


def test_an_open_model_in_place_of_a_sealed_one_is_of_another_length(store: EmbeddedStore, tmp_path: Path) -> None:
    cid = store.add_bytes(model().tobytes())
    with pytest.raises(InvalidContent, match="bytes, expected"):
        stored(store, owners_key()).fetch(Digest(cid.digest), tmp_path / "model.i64")


def test_a_damaged_block_is_told_before_it_is_opened(store: EmbeddedStore, tmp_path: Path) -> None:
    models = stored(store, owners_key())
    cid = models.add(model(), store)
    leaf = max((path for path in store.root.rglob("*.data")), key=lambda path: path.stat().st_size)
    damaged = bytearray(leaf.read_bytes())
    damaged[100] ^= 1
    leaf.chmod(0o600)
    leaf.write_bytes(damaged)
    with pytest.raises(CorruptBlock):
        models.fetch(Digest(cid.digest), tmp_path / "model.i64")
