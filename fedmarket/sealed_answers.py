"""Answers that an account has committed to, and shows later: kept in its work folder, for its user's eyes alone.

The salts are not kept at all: they follow from the account's private key (HKDF-SHA256, RFC 5869) and from what was
sealed. Whoever loses the folder seals the same answers again, and has the same commitment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from market.protocol.consensus import MAX_CANARIES, MAX_SAMPLES
from market.protocol.errors import InvalidInput
from market.protocol.generation import canary_commitment, claim_commitment
from market.protocol.json_text import parse_json
from market.storage.durable_file import make_folder, write_file

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
MAX_FILE_BYTES = 1 << 20

_SALT_DOMAIN = "fedmarket/sealed-answers-salt/1"
_DIGEST = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")


class SealedAnswers:
    """One account's answers to tasks of one contract."""

    def __init__(self, account: LocalAccount, chain_id: int, contract: str, work: Path) -> None:
        """Name the folder; nothing is made yet.

        Args:
            account: whose.
            chain_id: of the chain.
            contract: the consensus contract's address.
            work: the account's work folder.
        """
        self._account, self._chain_id, self._contract = account, chain_id, contract
        self._folder = work / "answers"

    def seal_canaries(self, canaries: Mapping[int, bytes]) -> bytes:
        """Keep canaries, by sample, and return what a task's terms say of them."""
        commitment = canary_commitment(canaries, self.canary_salt(canaries))
        self._keep(commitment, {str(sample): canaries[sample].hex() for sample in sorted(canaries)})
        return commitment

    def seal_claim(self, digests: Sequence[bytes]) -> bytes:
        """Keep a worker's digests, and return what a task's terms say of them."""
        commitment = claim_commitment(digests, self.claim_salt(digests))
        self._keep(commitment, [digest.hex() for digest in digests])
        return commitment

    def canaries(self, commitment: bytes) -> dict[int, bytes]:
        """The canaries that were sealed so.

        Raises:
            InvalidInput: this folder has none, or they are damaged.
        """
        path = self._path(commitment)
        canaries = read_canaries(path)
        if canary_commitment(canaries, self.canary_salt(canaries)) != commitment:
            raise InvalidInput(f"{path} is damaged, or another account's: it is not what 0x{commitment.hex()} seals")
        return canaries

    def claim(self, commitment: bytes) -> tuple[bytes, ...]:
        """The worker's digests that were sealed so. Raises as `canaries`."""
        path = self._path(commitment)
        digests = read_digests(path)
        if claim_commitment(digests, self.claim_salt(digests)) != commitment:
            raise InvalidInput(f"{path} is damaged, or another account's: it is not what 0x{commitment.hex()} seals")
        return digests

    def canary_salt(self, canaries: Mapping[int, bytes]) -> bytes:
        """The salt that canaries are sealed with, 32 bytes."""
        samples = sorted(canaries)
        return self._salt("canaries", encode(["uint16[]", "bytes32[]"], [samples, [canaries[s] for s in samples]]))

    def claim_salt(self, digests: Sequence[bytes]) -> bytes:
        """The salt that a claim is sealed with, 32 bytes."""
        return self._salt("claim", b"".join(digests))

    def _salt(self, kind: str, content: bytes) -> bytes:
        types = ["string", "string", "uint256", "address", "bytes32"]
        info = encode(types, [_SALT_DOMAIN, kind, self._chain_id, self._contract, keccak(content)])
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(bytes(self._account.key))

    def _path(self, commitment: bytes) -> Path:
        return self._folder / f"{commitment.hex()}.json"

    def _keep(self, commitment: bytes, content: Any) -> None:
        make_folder(self._folder)
        self._folder.chmod(PRIVATE_FOLDER)
        write_file(self._path(commitment), [json.dumps(content).encode()], PRIVATE_FILE)


def read_digests(path: Path) -> tuple[bytes, ...]:
    """Digests from a file: a JSON list of 64 hexadecimal digits each, one a sample.

    Raises:
        InvalidInput: it cannot be read, or is no such list.
    """
    listed = _read(path)
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_SAMPLES:
        raise InvalidInput(f"{path}: expected a JSON list of 1 to {MAX_SAMPLES} digests, one a sample")
    return tuple(_digest(path, str(place), entry) for place, entry in enumerate(listed))


def read_canaries(path: Path) -> dict[int, bytes]:
    """Canaries from a file: a JSON mapping of sample numbers to 64 hexadecimal digits each.

    Raises:
        InvalidInput: it cannot be read, or is no such mapping.
    """
    listed = _read(path)
    if not isinstance(listed, dict) or not 1 <= len(listed) <= MAX_CANARIES:
        raise InvalidInput(f"{path}: expected a JSON mapping of 1 to {MAX_CANARIES} samples to their digests")
    canaries: dict[int, bytes] = {}
    for sample, digest in listed.items():
        if not re.fullmatch(r"[0-9]{1,3}", sample) or int(sample) >= MAX_SAMPLES or int(sample) in canaries:
            raise InvalidInput(f"{path}: {sample[:40]!r} is no sample, expected one from 0 to {MAX_SAMPLES - 1}")
        canaries[int(sample)] = _digest(path, sample, digest)
    return canaries


def _digest(path: Path, place: str, unverified_digest: object) -> bytes:
    found = _DIGEST.fullmatch(unverified_digest) if isinstance(unverified_digest, str) else None
    digest = bytes.fromhex(found[1]) if found else b""
    if not any(digest):
        raise InvalidInput(f"{path}: sample {place}: expected a digest of 64 hexadecimal digits that is not zero")
    return digest


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise InvalidInput(f"{path} has more than {MAX_FILE_BYTES} bytes: it holds no digests")
        return parse_json(data)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from error
