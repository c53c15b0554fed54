"""Hybrid public key encryption in base mode, written a second time from RFC 9180, for the one suite that is used."""

from __future__ import annotations

import hmac
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEM = b"KEM\x00\x20"
SUITE = b"HPKE\x00\x20\x00\x01\x00\x03"
BASE_MODE = b"\x00"


def extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, "sha256")


def expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    assert length <= sha256().digest_size  # one block is enough for all that is asked for here
    return hmac.digest(key, labelled + b"\x01", "sha256")[:length]


def open_sealed(private: bytes, info: bytes, sealed: bytes, aad: bytes = b"") -> bytes:
    """Open one message that was sealed to this private key."""
    share, ciphertext = sealed[:32], sealed[32:]
    key = X25519PrivateKey.from_private_bytes(private)
    agreed = key.exchange(X25519PublicKey.from_public_bytes(share))
    pseudorandom = extract(KEM, b"", b"eae_prk", agreed)
    secret = expand(KEM, pseudorandom, b"shared_secret", share + key.public_key().public_bytes_raw(), 32)

    context = BASE_MODE + extract(SUITE, b"", b"psk_id_hash", b"") + extract(SUITE, b"", b"info_hash", info)
    scheduled = extract(SUITE, secret, b"secret", b"")
    sealing = expand(SUITE, scheduled, b"key", context, 32)
    return ChaCha20Poly1305(sealing).decrypt(expand(SUITE, scheduled, b"base_nonce", context, 12), ciphertext, aad)
