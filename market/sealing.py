"""Sealed contents: bytes in the public storage that one account alone can read, at one place of one job.

Hybrid public key encryption in base mode (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305. The
place and the purpose go into `info`, and so into the key: what was sealed for one attempt opens in no other.

What was sealed is a pure function of the recipient's key, the place, the purpose, the content and the sender's
ephemeral key. Whoever shows the last two later lets everybody make the sealed bytes again, and see what they were.

Two forms: a short content is one message; an update, which may be long, is sealed in chunks (`market.chunked_aead`),
and bound to more: its trainer, the manifest of the parameters that it is of, and the commitment that it opens.

The recipient's key follows from its account's private key (HKDF-SHA256, RFC 5869) and from the job: nothing has to be
kept, so nothing can be lost, and what one job's key opens no other job's does.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from market.hpke import Context, decapsulate, encapsulate, seal_base
from market.protocol.errors import CannotUnseal, InvalidInput, InvalidSealingKey
from market.protocol.identifiers import Digest, JobId
from market.protocol.seal import SealContext

KEY_BYTES = 32
"""Length of a public key, and of a private one."""

OVERHEAD_BYTES = 32 + 16
"""How much longer sealed content is: the sender's share of the key agreement, and the authentication tag."""

EXAM = "fedmarket/sealed/exam/1"
"""The purpose of a sealed exam reference."""

UPDATE = "fedmarket/sealed/update/1"
"""The purpose of a sealed update."""

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_KEY_DOMAIN = "fedmarket/sealing-key/1"
_EPHEMERAL_DOMAIN = "fedmarket/update-ephemeral/1"


@dataclass(frozen=True)
class UpdateSeal:
    """What a sealed update is bound to: with another value of any of these it does not open.

    Attributes:
        place: chain, contract, job, round and attempt.
        trainer: the address that commits to it.
        manifest: digest of the parameter manifest, the job's layout of parameters.
        commitment: the update's, 64 bytes a chunk of parameters.
    """

    place: SealContext
    trainer: str
    manifest: Digest
    commitment: bytes

    @property
    def info(self) -> bytes:
        """What goes into the key."""
        place = self.place
        types = ["string", "uint256", "address", "uint256", "uint256", "uint256", "address", "bytes32", "bytes32"]
        where = [place.chain_id, place.contract, place.job, place.round, place.attempt]
        return encode(types, [UPDATE, *where, self.trainer, self.manifest, keccak(self.commitment)])


class Opening(Protocol):
    """Whoever comes to the key that something was sealed with: its recipient, or who was shown the ephemeral key."""

    def context(self, encapsulated: bytes, info: bytes) -> Context:
        """What to open with.

        Args:
            encapsulated: the sender's share of the key agreement, 32 bytes.
            info: what sender and recipient agree on.

        Raises:
            CannotUnseal: nothing can be opened with this share.
        """


@dataclass(frozen=True)
class ShownEphemeral:
    """An opening for one sealing alone, by its ephemeral key, which the sender showed.

    Attributes:
        ephemeral: the sender's private key, 32 bytes.
        recipient_public: the key that was sealed to, 32 bytes.
    """

    ephemeral: bytes = field(repr=False)
    recipient_public: bytes

    def context(self, encapsulated: bytes, info: bytes) -> Context:
        """As `Opening`; a sealing that was made with another ephemeral key is refused."""
        try:
            share, context = encapsulate(self.recipient_public, self.ephemeral, info)
        except ValueError:
            raise CannotUnseal("nothing was sealed with the ephemeral key that was shown, to that key") from None
        if share != encapsulated:
            raise CannotUnseal(f"sealed with another ephemeral key than the one shown, whose share is 0x{share.hex()}")
        return context


def update_ephemeral(account: LocalAccount, update: UpdateSeal, payload: Digest) -> bytes:
    """The ephemeral key that an update is sealed with: nothing has to be kept to seal it again, or to show it later.

    Another payload, or another place, has another key: no two contents ever meet the same one.

    Args:
        account: the trainer's.
        update: what the update is bound to.
        payload: sha2-256 of what is sealed.
    """
    info = encode(["string", "bytes", "bytes32"], [_EPHEMERAL_DOMAIN, update.info, payload])
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(bytes(account.key))


@dataclass(frozen=True)
class SealingKey:
    """What one account opens with in one job. It shows nothing of itself but the public half.

    Attributes:
        public: 32 bytes, what others seal to.
    """

    public: bytes
    _private: X25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def of_account(cls, account: LocalAccount, chain_id: int, contract: str, job: JobId) -> SealingKey:
        """Derive it; the same account gets the same key in the same job.

        Args:
            account: whose private key it follows from.
            chain_id: of the chain.
            contract: the marketplace's address.
            job: the job's number.
        """
        info = encode(["string", "uint256", "address", "uint256"], [_KEY_DOMAIN, chain_id, contract, job])
        secret = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(bytes(account.key))
        private = X25519PrivateKey.from_private_bytes(secret)
        return cls(private.public_key().public_bytes_raw(), private)

    def context(self, encapsulated: bytes, info: bytes) -> Context:
        """As `Opening`, for everything that was sealed to this key."""
        try:
            return decapsulate(encapsulated, self._private, info)
        except ValueError:
            shown = encapsulated[:KEY_BYTES].hex()
            raise CannotUnseal(f"0x{shown} ({len(encapsulated)} bytes) is no share of a key agreement") from None

    def unseal(self, context: SealContext, purpose: str, unverified_sealed: bytes) -> bytes:
        """Open what was sealed to this key.

        Args:
            context: where it was sealed for.
            purpose: what for.
            unverified_sealed: as `seal_to` made it.

        Raises:
            CannotUnseal: it was altered or cut, or was sealed to another key, for another place or purpose.
        """
        try:
            return _SUITE.decrypt(unverified_sealed, self._private, _info(context, purpose))
        except (InvalidTag, ValueError):
            # Its cause would say no more than this, and may hold what the key agreement came to.
            sealed = f"{len(unverified_sealed)} sealed bytes"
            raise CannotUnseal(f"{sealed} do not open: {_expected(context, purpose)}") from None


def new_ephemeral() -> bytes:
    """32 bytes from the operating system's generator: the sender's private key, for one sealing."""
    return secrets.token_bytes(KEY_BYTES)


def seal_to(public: bytes, context: SealContext, purpose: str, content: bytes, ephemeral: bytes) -> bytes:
    """Seal content to a key: `OVERHEAD_BYTES` more than there were, the same ones for the same arguments.

    Args:
        public: the recipient's, 32 bytes.
        context: where it is for.
        purpose: what for.
        content: what only the recipient is to read.
        ephemeral: the sender's private key, 32 random bytes: secret for as long as the content is, and never used for
            another one.

    Raises:
        InvalidSealingKey: nobody can be meant by this public key.
        InvalidInput: the ephemeral key has another length.
    """
    if len(public) != KEY_BYTES:
        raise InvalidSealingKey(f"the public key has {len(public)} bytes, expected {KEY_BYTES}")
    if len(ephemeral) != KEY_BYTES:
        raise InvalidInput(f"the ephemeral key has {len(ephemeral)} bytes, expected {KEY_BYTES}")
    try:
        return seal_base(public, ephemeral, _info(context, purpose), content)
    except ValueError as error:
        # A point of low order, with which everybody would agree on the same key.
        raise InvalidSealingKey(f"nothing can be sealed to the public key 0x{public.hex()}") from error


def can_seal_to(public: bytes) -> bool:
    """Whether anything can be sealed to a public key: with a point of low order no ephemeral key agrees on a secret."""
    try:
        seal_base(public, bytes(KEY_BYTES), b"", b"")
    except ValueError:
        return False
    return True


def _info(context: SealContext, purpose: str) -> bytes:
    types = ["string", "uint256", "address", "uint256", "uint256", "uint256"]
    place = [context.chain_id, context.contract, context.job, context.round, context.attempt]
    return encode(types, [purpose, *place])


def _expected(context: SealContext, purpose: str) -> str:
    return f"expected {purpose} for this key in job {context.job}, round {context.round}, attempt {context.attempt}"
