"""What a verifier seals, and with which salt: nothing that it cannot make again from its account and its outputs."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount

from market.protocol.generation import digests_hash, seal_of

SALT_BYTES = 32
NO_OUTPUTS = bytes(32)
_SALT_DOMAIN = "fedmarket/outputs-salt/1"


@dataclass(frozen=True)
class SealPlace:
    """What binds a seal: opened anywhere else, or by anybody else, it is another one.

    Attributes:
        chain_id: of the chain.
        contract: address of the consensus contract.
        task: the task's number.
        panel: 0 the first, 1 the second draw, 2 an appeal's.
        verifier: the address that commits.
    """

    chain_id: int
    contract: str
    task: int
    panel: int
    verifier: str


@dataclass(frozen=True)
class Opening:
    """All that a reveal takes. Secret until then.

    Attributes:
        digests: one a sample, 32 bytes each; none where nothing can be done.
        outputs: sha2-256 digest of the outputs' content id; zeros where nothing can be done.
        salt: 32 bytes.
    """

    digests: tuple[bytes, ...]
    outputs: bytes
    salt: bytes = field(repr=False)

    @property
    def is_void(self) -> bool:
        """Whether it says that what was asked for cannot be done."""
        return not self.digests

    @classmethod
    def derive(
        cls, account: LocalAccount, place: SealPlace, digests: tuple[bytes, ...] = (), outputs: bytes = NO_OUTPUTS
    ) -> Opening:
        """The opening of some outputs, or of none: the same account has the same one for the same outputs, always.

        The salt follows from the account's private key (HKDF-SHA256, RFC 5869), the place and what is sealed: other
        outputs have another salt, and whoever lost its disk makes the seal's opening again.

        Args:
            account: the verifier's.
            place: what the seal is bound to.
            digests: of the outputs.
            outputs: sha2-256 digest of their content id.
        """
        types = ["string", "uint256", "address", "uint256", "uint256", "bytes32", "bytes32"]
        where = [place.chain_id, place.contract, place.task, place.panel]
        info = encode(types, [_SALT_DOMAIN, *where, digests_hash(digests), outputs])
        salt = HKDF(algorithm=SHA256(), length=SALT_BYTES, salt=None, info=info).derive(bytes(account.key))
        return cls(digests, outputs, salt)

    def seal(self, place: SealPlace) -> bytes:
        """What is committed to."""
        where = (place.chain_id, place.contract, place.task, place.panel, place.verifier)
        return seal_of(*where, self.digests, self.outputs, self.salt)
