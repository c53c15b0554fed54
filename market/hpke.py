"""Hybrid public key encryption in base mode (RFC 9180), with an ephemeral key that is given.

One suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305. The library's own `Suite.encrypt` draws the
ephemeral key, forgets it, and seals one message a key agreement. With a given ephemeral key a sealing can be made
again, and so be shown; with a context many messages are sealed one after the other.

Both sides of the key agreement come to the same context. Whoever is shown the ephemeral key comes to it as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from market.protocol.errors import CannotUnseal

ENCAPSULATED_BYTES = 32
"""Of the sender's share of a key agreement."""

TAG_BYTES = 16
"""How much longer a sealed message is than what was sealed."""

_VERSION = b"HPKE-v1"
_KEM = b"KEM\x00\x20"
_SUITE = b"HPKE\x00\x20\x00\x01\x00\x03"
_BASE_MODE = b"\x00"

_SECRET_BYTES, _KEY_BYTES, _NONCE_BYTES = 32, 32, 12

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Context:
    """What both sides of a key agreement seal and open with: a message's number goes into its nonce (section 5.2).

    One number seals one message: a context is used up to a number once, by one sender. It shows nothing of itself.

    Attributes:
        key: 32 bytes.
        base_nonce: 12 bytes, that of message 0.

    Raises:
        ValueError: another length.
    """

    key: bytes = field(repr=False)
    base_nonce: bytes = field(repr=False)
    _cipher: ChaCha20Poly1305 = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.base_nonce) != _NONCE_BYTES:
            raise ValueError(f"the base nonce has {len(self.base_nonce)} bytes, expected {_NONCE_BYTES}")
        object.__setattr__(self, "_cipher", ChaCha20Poly1305(self.key))

    def seal(self, sequence: int, associated: bytes, plaintext: Buffer) -> bytes:
        """Seal the message of this number: ciphertext and tag.

        Args:
            sequence: from 0; never twice with one context.
            associated: what is authenticated beside the message, and not sent.
            plaintext: the message.
        """
        return self._cipher.encrypt(self._nonce(sequence), plaintext, associated)

    def open(self, sequence: int, associated: bytes, unverified_sealed: Buffer) -> bytes:
        """Open the message of this number.

        Raises:
            CannotUnseal: it was altered, cut or sealed otherwise: with another key, number or associated bytes.
        """
        try:
            return self._cipher.decrypt(self._nonce(sequence), unverified_sealed, associated)
        except (InvalidTag, ValueError):
            # Its cause says no more than this.
            raise CannotUnseal(f"message {sequence}, {len(unverified_sealed)} sealed bytes, does not open") from None

    def _nonce(self, sequence: int) -> bytes:
        if not 0 <= sequence < 1 << 8 * _NONCE_BYTES:
            raise ValueError(f"message {sequence}: expected a number from 0 that fits a nonce")
        return (int.from_bytes(self.base_nonce, "big") ^ sequence).to_bytes(_NONCE_BYTES, "big")


def encapsulate(public: bytes, ephemeral: bytes, info: bytes) -> tuple[bytes, Context]:
    """The sender's side: its share of the key agreement, which is sent, and what to seal with (section 5.1.1).

    Two contents sealed with the same ephemeral key to the same recipient for the same `info` share key and nonces: an
    ephemeral key serves one content.

    Args:
        public: the recipient's, 32 bytes.
        ephemeral: a private key of 32 random bytes.
        info: what sender and recipient must agree on; it goes into the key.

    Raises:
        ValueError: a key has another length, or everybody would agree on the same secret with this public key.
    """
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    share = private.public_key().public_bytes_raw()
    agreed = private.exchange(X25519PublicKey.from_public_bytes(public))
    return share, _schedule(agreed, share, public, info)


def decapsulate(encapsulated: bytes, private: X25519PrivateKey, info: bytes) -> Context:
    """The recipient's side: what to open with, from the sender's share (section 5.1.1).

    Raises:
        ValueError: the share has another length, or is one with which everybody would agree on the same secret.
    """
    agreed = private.exchange(X25519PublicKey.from_public_bytes(encapsulated))
    return _schedule(agreed, encapsulated, private.public_key().public_bytes_raw(), info)


def seal_base(public: bytes, ephemeral: bytes, info: bytes, content: bytes, associated: bytes = b"") -> bytes:
    """Seal one message: the ephemeral key's public half, then ciphertext and tag (section 6.1).

    Args:
        public: the recipient's, 32 bytes.
        ephemeral: a private key of 32 random bytes, that serves no other content.
        info: what sender and recipient must agree on; it goes into the key.
        content: what only the recipient is to read.
        associated: what is authenticated beside the content, and not sent.

    Raises:
        ValueError: a key has another length, or everybody would agree on the same secret with this public key.
    """
    share, context = encapsulate(public, ephemeral, info)
    return share + context.seal(0, associated, content)


def _schedule(agreed: bytes, share: bytes, public: bytes, info: bytes) -> Context:
    """From what the key agreement came to (section 4.1) to the keys (section 5.1)."""
    extracted = _extract(_KEM, b"", b"eae_prk", agreed)
    secret = _expand(_KEM, extracted, b"shared_secret", share + public, _SECRET_BYTES)
    context = _BASE_MODE + _extract(_SUITE, b"", b"psk_id_hash", b"") + _extract(_SUITE, b"", b"info_hash", info)
    scheduled = _extract(_SUITE, secret, b"secret", b"")
    return Context(
        _expand(_SUITE, scheduled, b"key", context, _KEY_BYTES),
        _expand(_SUITE, scheduled, b"base_nonce", context, _NONCE_BYTES),
    )


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return HKDF.extract(SHA256(), salt, _VERSION + suite + label + material)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + _VERSION + suite + label + info
    return HKDFExpand(SHA256(), length, labelled).derive(key)
