"""The sender's side of hybrid public key encryption in base mode (RFC 9180), with an ephemeral key that is given.

One suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, and one message a key agreement. The library's own
`Suite.encrypt` draws the ephemeral key and forgets it; with a given one a sealing can be made again, and so be shown.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

_VERSION = b"HPKE-v1"
_KEM = b"KEM\x00\x20"
_SUITE = b"HPKE\x00\x20\x00\x01\x00\x03"
_BASE_MODE = b"\x00"

_SECRET_BYTES, _KEY_BYTES, _NONCE_BYTES = 32, 32, 12


def seal_base(public: bytes, ephemeral: bytes, info: bytes, content: bytes, associated: bytes = b"") -> bytes:
    """Seal one message: the ephemeral key's public half, then ciphertext and tag (RFC 9180, section 6.1).

    Two contents sealed with the same ephemeral key to the same recipient for the same `info` share key and nonce: an
    ephemeral key serves one content.

    Args:
        public: the recipient's, 32 bytes.
        ephemeral: a private key of 32 random bytes.
        info: what sender and recipient must agree on; it goes into the key.
        content: what only the recipient is to read.
        associated: what is authenticated beside the content, and not sent.

    Raises:
        ValueError: a key has another length, or everybody would agree on the same secret with this public key.
    """
    share, secret = _encapsulate(public, ephemeral)
    context = _BASE_MODE + _extract(_SUITE, b"", b"psk_id_hash", b"") + _extract(_SUITE, b"", b"info_hash", info)
    scheduled = _extract(_SUITE, secret, b"secret", b"")
    key = _expand(_SUITE, scheduled, b"key", context, _KEY_BYTES)
    nonce = _expand(_SUITE, scheduled, b"base_nonce", context, _NONCE_BYTES)
    return share + ChaCha20Poly1305(key).encrypt(nonce, content, associated)


def _encapsulate(public: bytes, ephemeral: bytes) -> tuple[bytes, bytes]:
    """The sender's share of the key agreement, and what it came to: 32 bytes each (section 4.1)."""
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    share = private.public_key().public_bytes_raw()
    agreed = private.exchange(X25519PublicKey.from_public_bytes(public))
    extracted = _extract(_KEM, b"", b"eae_prk", agreed)
    return share, _expand(_KEM, extracted, b"shared_secret", share + public, _SECRET_BYTES)


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return HKDF.extract(SHA256(), salt, _VERSION + suite + label + material)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + _VERSION + suite + label + info
    return HKDFExpand(SHA256(), length, labelled).derive(key)
