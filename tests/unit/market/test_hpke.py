from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given
from hypothesis import strategies as st

from market.hpke import Context, decapsulate, encapsulate
from market.protocol.errors import CannotUnseal

INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
EPHEMERAL = bytes.fromhex("f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600")
PUBLIC = bytes.fromhex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")
PRIVATE = bytes.fromhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb")
SHARE = bytes.fromhex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")
KEY = bytes.fromhex("ad2744de8e17f4ebba575b3f5f5a8fa1f69c2a07f6e7500bc60ca6e3e3ec1c91")
BASE_NONCE = bytes.fromhex("5c4d98150661b848853b547f")
MESSAGE = b"Beauty is truth, truth beauty"

SEALED = {
    0: "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
    1: "6b53c051e4199c518de79594e1c4ab18b96f081549d45ce015be002090bb119e85285337cc95ba5f59992dc98c",
    2: "71146bd6795ccc9c49ce25dda112a48f202ad220559502cef1f34271e0cb4b02b4f10ecac6f48c32f878fae86b",
    4: "63357a2aa291f5a4e5f27db6baa2af8cf77427c7c1a909e0b37214dd47db122bb153495ff0b02e9e54a50dbe16",
    255: "18ab939d63ddec9f6ac2b60d61d36a7375d2070c9b683861110757062c52b8880a5f6b3936da9cd6c23ef2a95c",
    256: "7a4a13e9ef23978e2c520fd4d2e757514ae160cd0cd05e556ef692370ca53076214c0c40d4c728d6ed9e727a5b",
}
"""RFC 9180, appendix A.2.1.1: by sequence number."""


def contexts() -> list[Context]:
    """Both ways to the vector's context."""
    share, sender = encapsulate(PUBLIC, EPHEMERAL, INFO)
    assert share == SHARE
    recipient = decapsulate(share, X25519PrivateKey.from_private_bytes(PRIVATE), INFO)
    return [sender, recipient]


def test_sender_and_recipient_come_to_the_vectors_keys() -> None:
    assert contexts() == [Context(KEY, BASE_NONCE)] * 2


@pytest.mark.parametrize("sequence", SEALED)
def test_the_vectors_of_rfc_9180_are_sealed_and_opened(sequence: int) -> None:
    associated = f"Count-{sequence}".encode()
    for context in contexts():
        assert context.seal(sequence, associated, MESSAGE).hex() == SEALED[sequence]
        assert context.open(sequence, associated, bytes.fromhex(SEALED[sequence])) == MESSAGE


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.binary(), st.binary())
def test_the_library_opens_the_first_message_and_its_own_opens_here(
    private: bytes, ephemeral: bytes, info: bytes, content: bytes
) -> None:
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    key = X25519PrivateKey.from_private_bytes(private)
    public = key.public_key()
    share, context = encapsulate(public.public_bytes_raw(), ephemeral, info)
    assert suite.decrypt(share + context.seal(0, b"", content), key, info) == content
    sealed = suite.encrypt(content, public, info)
    assert decapsulate(sealed[:32], key, info).open(0, b"", sealed[32:]) == content


@pytest.mark.parametrize(("sequence", "associated"), [(1, b"Count-0"), (0, b"Count-1"), (0, b"")])
def test_a_message_opens_as_no_other_number_and_with_nothing_else_associated(sequence: int, associated: bytes) -> None:
    with pytest.raises(CannotUnseal, match=f"message {sequence}, 45 sealed bytes, does not open"):
        Context(KEY, BASE_NONCE).open(sequence, associated, bytes.fromhex(SEALED[0]))


def test_what_is_shorter_than_a_tag_does_not_open() -> None:
    with pytest.raises(CannotUnseal, match="15 sealed bytes"):
        Context(KEY, BASE_NONCE).open(0, b"", bytes(15))


@pytest.mark.parametrize("sequence", [-1, 1 << 96])
def test_a_number_that_fits_no_nonce_is_refused(sequence: int) -> None:
    with pytest.raises(ValueError, match="fits a nonce"):
        Context(KEY, BASE_NONCE).seal(sequence, b"", b"")


def test_a_context_shows_neither_its_key_nor_its_nonce() -> None:
    shown = repr(Context(KEY, BASE_NONCE))
    assert KEY.hex() not in shown
    assert str(KEY)[2:20] not in shown
    assert str(BASE_NONCE)[2:10] not in shown


@pytest.mark.parametrize(("key", "nonce"), [(bytes(31), bytes(12)), (bytes(32), bytes(11))])
def test_a_key_or_nonce_of_another_length_is_refused(key: bytes, nonce: bytes) -> None:
    with pytest.raises(ValueError, match=r"32|12"):
        Context(key, nonce)
