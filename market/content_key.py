"""The content key of a job with sealed models: one for all its models, made by its owner, handed to who takes part.

The owner's follows from its account's private key and the salt in the job's document (HKDF-SHA256, RFC 5869): nothing
has to be kept, so nothing can be lost. Everybody else has it sealed to a key that follows from an account in the same
way. So nobody has it on a disk: it is made, or unsealed, anew in every process.

Whoever is handed a key knows it by the check in the document, which is made of the key and whose digest is on-chain:
one false key among many costs a look, and fools nobody. ChaCha20Poly1305 alone would not say that much: it does not
commit to its key.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from market.hpke import Context
from market.protocol.errors import CannotUnseal
from market.protocol.identifiers import Digest, JobId
from market.protocol.model_spec import ModelSealing
from market.protocol.seal import SealContext
from market.sealing import KEY_BYTES, SealingKey, new_ephemeral, seal_to

CONTENT_KEY = "fedmarket/sealed/content-key/1"
"""The purpose of a sealed content key."""

CONTENT_KEY_TOPIC = keccak(text=CONTENT_KEY)
"""Under what the contract's directory hands one over."""

SALT_BYTES = 32

_KEY_DOMAIN = "fedmarket/content-key/1"
_SALT_DOMAIN = "fedmarket/content-key-salt/1"
_CHECK_DOMAIN = b"fedmarket/content-key-check/1"
_MODEL_SALT_DOMAIN = b"fedmarket/sealed-model-salt/1"
_MODEL_DOMAIN = b"fedmarket/sealed-model-key/1"
_NONCE_BYTES = 12


@dataclass(frozen=True)
class ContentKey:
    """What a job's models are sealed and opened with. It shows nothing of itself but its check.

    Attributes:
        salt: what the owner made it with, 32 bytes.
    """

    salt: bytes
    _secret: bytes = field(repr=False)

    @classmethod
    def of_owner(cls, account: LocalAccount, chain_id: int, contract: str, salt: bytes) -> ContentKey:
        """Derive it; the same account gets the same key for the same salt.

        Args:
            account: the owner's.
            chain_id: of the chain.
            contract: the marketplace's address.
            salt: 32 bytes, as the job's document has them, or will have.
        """
        info = encode(["string", "uint256", "address", "bytes32"], [_KEY_DOMAIN, chain_id, contract, salt])
        return cls(salt, _derived(bytes(account.key), info))

    @classmethod
    def recognised(cls, unverified_secret: bytes, sealing: ModelSealing) -> ContentKey:
        """The key that somebody handed over, if it is the one that the job's document speaks of.

        Raises:
            CannotUnseal: it is another.
        """
        key = cls(bytes.fromhex(sealing.key_salt), unverified_secret)
        if len(unverified_secret) != KEY_BYTES or not hmac.compare_digest(key.check, bytes.fromhex(sealing.key_check)):
            raise CannotUnseal(f"a content key was handed over that is not the one whose check is {sealing.key_check}")
        return key

    @property
    def check(self) -> bytes:
        """32 bytes that only this key makes, and that say nothing else of it."""
        return _derived(self._secret, _CHECK_DOMAIN)

    @property
    def sealing(self) -> ModelSealing:
        """What the job's document says of it."""
        return ModelSealing(key_salt=self.salt.hex(), key_check=self.check.hex())

    def model_salt(self, plain: Digest) -> bytes:
        """The salt under which a model is sealed: the same for the same model, and like a random one to anybody else.

        So a model that is sealed again, after a crash or by an auditor, has the same bytes, and no two models meet the
        same key and nonce.

        Args:
            plain: sha2-256 of the model's bytes.
        """
        return _derived(self._secret, _MODEL_SALT_DOMAIN + plain)

    def model_context(self, salt: bytes) -> Context:
        """What one model is sealed and opened with."""
        material = _derived(self._secret, _MODEL_DOMAIN + salt, KEY_BYTES + _NONCE_BYTES)
        return Context(material[:KEY_BYTES], material[KEY_BYTES:])

    def seal_for(self, public: bytes, place: SealContext) -> bytes:
        """Seal it to an account's key in a job: 80 bytes, others every time.

        Raises:
            InvalidSealingKey: nobody can be meant by this public key.
        """
        return seal_to(public, place, CONTENT_KEY, self._secret, new_ephemeral())


def unseal_content_key(
    recipient: SealingKey, place: SealContext, sealing: ModelSealing, unverified_sealed: bytes
) -> ContentKey:
    """Open a content key that was handed over, and see that it is the job's.

    Args:
        recipient: to whom it was sealed.
        place: as `handover` makes it.
        sealing: of the job's document.
        unverified_sealed: as `ContentKey.seal_for` made it.

    Raises:
        CannotUnseal: it was altered, is for another account or job, or is another key.
    """
    return ContentKey.recognised(recipient.unseal(place, CONTENT_KEY, unverified_sealed), sealing)


def handover(chain_id: int, contract: str, job: JobId) -> SealContext:
    """Where a content key is sealed for: a job, whatever its round."""
    return SealContext(chain_id, contract, job, 0, 0)


def new_key_salt(account: LocalAccount, chain_id: int, contract: str, job_to_be: Digest, number: int) -> bytes:
    """The salt of a job to be posted: the same when an interrupted posting is taken up again, new to anybody else.

    Args:
        account: the owner's.
        chain_id: of the chain.
        contract: the marketplace's address.
        job_to_be: names all that is posted.
        number: how often it was posted before.
    """
    types = ["string", "uint256", "address", "bytes32", "uint256"]
    return _derived(bytes(account.key), encode(types, [_SALT_DOMAIN, chain_id, contract, job_to_be, number]))


def _derived(secret: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret)
