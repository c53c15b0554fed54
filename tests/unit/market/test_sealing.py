from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from eth_abi.abi import encode
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from market.hpke import seal_base
from market.protocol.errors import CannotUnseal, InvalidInput, InvalidSealingKey
from market.protocol.identifiers import JobId
from market.protocol.seal import SealContext
from market.sealing import EXAM, OVERHEAD_BYTES, SealingKey, can_seal_to, new_ephemeral, seal_to
from tests.unit.market.rfc9180 import open_sealed

CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
PLACE = SealContext(31337, CONTRACT, JobId(4), round=2, attempt=3)
PRIVATE = bytes(range(1, 33))
ACCOUNT = Account.from_key(PRIVATE)
REFERENCE = bytes(range(200)) * 20
EPHEMERAL = bytes(range(100, 132))

VECTOR = {
    "ephemeral": "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600",
    "public": "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
    "private": "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
    "share": "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
    "info": "4f6465206f6e2061204772656369616e2055726e",
    "aad": "436f756e742d30",
    "ciphertext": "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
}
"""RFC 9180, appendix A.2.1, sequence number 0."""

MESSAGE = b"Beauty is truth, truth beauty"

KEYS: dict[str, list[str]] = json.loads((Path(__file__).parents[2] / "vectors" / "sealing_keys.json").read_text())
OF_LOW_ORDER, USABLE = ([bytes.fromhex(key[2:]) for key in KEYS[of]] for of in ("of_low_order", "usable"))
"""Points of low order (RFC 7748, section 6.1), written in every way that X25519 reads: whoever is meant by one is
everybody; and keys that are close to them. The contract agrees: SealingKeys.t.sol."""

words = st.binary(min_size=32, max_size=32)


def key(account=ACCOUNT, chain_id: int = 31337, contract: str = CONTRACT, job: int = 4) -> SealingKey:
    return SealingKey.of_account(account, chain_id, contract, JobId(job))


def sealed(content: bytes = REFERENCE) -> bytes:
    return seal_to(key().public, PLACE, EXAM, content, EPHEMERAL)


def derived_private() -> bytes:
    info = encode(["string", "uint256", "address", "uint256"], ["fedmarket/sealing-key/1", 31337, CONTRACT, 4])
    return HKDF(SHA256(), 32, None, info).derive(PRIVATE)


def test_the_second_implementation_opens_the_vector_of_rfc_9180() -> None:
    value = {name: bytes.fromhex(text) for name, text in VECTOR.items()}
    opened = open_sealed(value["private"], value["info"], value["share"] + value["ciphertext"], value["aad"])
    assert opened == MESSAGE


def test_the_vector_of_rfc_9180_is_sealed_byte_by_byte() -> None:
    value = {name: bytes.fromhex(text) for name, text in VECTOR.items()}
    found = seal_base(value["public"], value["ephemeral"], value["info"], MESSAGE, value["aad"])
    assert found == value["share"] + value["ciphertext"]


@given(words, words, st.binary(max_size=100), st.binary(max_size=300))
def test_the_library_opens_what_is_sealed_here(private: bytes, ephemeral: bytes, info: bytes, content: bytes) -> None:
    recipient = X25519PrivateKey.from_private_bytes(private)
    found = seal_base(recipient.public_key().public_bytes_raw(), ephemeral, info, content)
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    assert suite.decrypt(found, recipient, info) == content
    assert open_sealed(private, info, found) == content


def test_what_is_sealed_here_opens_by_rfc_9180_with_the_place_as_info() -> None:
    words = [EXAM, 31337, CONTRACT, 4, 2, 3]
    info = encode(["string", "uint256", "address", "uint256", "uint256", "uint256"], words)
    assert open_sealed(derived_private(), info, sealed()) == REFERENCE


@pytest.mark.parametrize("content", [b"", b"x", REFERENCE])
def test_the_account_opens_what_was_sealed_to_its_key(content: bytes) -> None:
    blob = sealed(content)
    assert len(blob) == len(content) + OVERHEAD_BYTES
    assert key().unseal(PLACE, EXAM, blob) == content


def test_sealed_twice_the_same_content_looks_different_and_with_the_same_ephemeral_key_the_same() -> None:
    assert sealed() == sealed()
    anew = {seal_to(key().public, PLACE, EXAM, REFERENCE, new_ephemeral()) for _ in range(3)}
    assert len({*anew, sealed()}) == 4


def test_another_place_purpose_content_or_recipient_makes_other_bytes_of_the_same_ephemeral_key() -> None:
    others = [
        seal_to(key().public, replace(PLACE, attempt=4), EXAM, REFERENCE, EPHEMERAL),
        seal_to(key().public, PLACE, "fedmarket/sealed/update/1", REFERENCE, EPHEMERAL),
        seal_to(key().public, PLACE, EXAM, REFERENCE[::-1], EPHEMERAL),
        seal_to(key(job=5).public, PLACE, EXAM, REFERENCE, EPHEMERAL),
    ]
    assert len({sealed(), *others}) == 5


@pytest.mark.parametrize("length", [0, 31, 33])
def test_an_ephemeral_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidInput, match=f"the ephemeral key has {length} bytes, expected 32"):
        seal_to(key().public, PLACE, EXAM, REFERENCE, bytes(length))


def test_the_key_is_the_same_in_every_process_and_another_in_every_job_contract_chain_and_account() -> None:
    others = [
        key(Account.from_key(bytes(range(2, 34)))),
        key(chain_id=1),
        key(contract="0x" + "11" * 20),
        key(job=5),
    ]
    assert key().public == key().public
    assert len({key().public, *(other.public for other in others)}) == 5


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"chain_id": 1},
        {"contract": "0x" + "11" * 20},
        {"job": JobId(5)},
        {"round": 3},
        {"attempt": 4},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_replayed_in_another_place_it_does_not_open(elsewhere: dict) -> None:
    with pytest.raises(CannotUnseal, match="do not open"):
        key().unseal(replace(PLACE, **elsewhere), EXAM, sealed())


def test_relabelled_for_another_purpose_it_does_not_open() -> None:
    with pytest.raises(CannotUnseal, match="expected fedmarket/sealed/update/1"):
        key().unseal(PLACE, "fedmarket/sealed/update/1", sealed())


def test_another_accounts_key_does_not_open_it() -> None:
    with pytest.raises(CannotUnseal):
        key(Account.from_key(bytes(range(2, 34)))).unseal(PLACE, EXAM, sealed())


@pytest.mark.parametrize("length", [0, 1, 31, 32, 47, 48, len(REFERENCE) + OVERHEAD_BYTES - 1])
def test_truncated_it_does_not_open(length: int) -> None:
    with pytest.raises(CannotUnseal, match=f"{length} sealed bytes"):
        key().unseal(PLACE, EXAM, sealed()[:length])


@pytest.mark.parametrize("at", [0, 31, 32, 100, -1])
def test_with_one_bit_flipped_it_does_not_open(at: int) -> None:
    blob = bytearray(sealed())
    blob[at] ^= 1
    with pytest.raises(CannotUnseal):
        key().unseal(PLACE, EXAM, bytes(blob))


def test_with_something_behind_it_it_does_not_open() -> None:
    with pytest.raises(CannotUnseal):
        key().unseal(PLACE, EXAM, sealed() + b"\0")


@pytest.mark.parametrize("public", [*OF_LOW_ORDER, b"", bytes(31), bytes(33)])
def test_nothing_is_sealed_to_a_key_that_everybody_has_or_that_is_none(public: bytes) -> None:
    with pytest.raises(InvalidSealingKey):
        seal_to(public, PLACE, EXAM, REFERENCE, EPHEMERAL)
    assert not can_seal_to(public)


@pytest.mark.parametrize("public", [key().public, *USABLE])
def test_something_can_be_sealed_to_every_other_key(public: bytes) -> None:
    assert can_seal_to(public)


def test_neither_the_key_nor_an_error_shows_a_secret() -> None:
    secrets = (PRIVATE, derived_private(), REFERENCE, EPHEMERAL)
    shown = [repr(key()), str(key()), f"{key()!r}"]
    with pytest.raises(CannotUnseal) as caught:
        key().unseal(PLACE, EXAM, sealed()[:-1])
    shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    for text in shown:
        assert all(secret.hex() not in text and repr(secret)[2:-1] not in text for secret in secrets)


def test_the_key_cannot_be_written_away() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(key())
