"""Content identifiers: the sha2-256 digest of a block, and how to read the block.

Only the digest travels on-chain, as a bytes32. The codec comes back from the content's length, which every reader
knows beforehand (models and updates have the length that the job's terms give, a job spec fits one block): see
`Cid.from_digest`.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from market.protocol.errors import InvalidCid
from market.storage.varint import decode_varint, encode_varint

RAW = 0x55
"""Codec of a block whose bytes are the content itself."""

DAG_PB = 0x70
"""Codec of a protobuf node that links to other blocks."""

CHUNK_BYTES = 262_144
"""Content is cut into blocks of this many bytes (`ipfs add`'s default); what fits one block is one raw block."""

DIGEST_BYTES = 32
_SHA2_256 = b"\x12\x20"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_MAX_TEXT = 100


@dataclass(frozen=True)
class Cid:
    """One content identifier: version 0 or 1, codec `RAW` or `DAG_PB`, and a sha2-256 digest of 32 bytes.

    Raises:
        InvalidCid: another version or codec, a version 0 that is not dag-pb, or a digest of another length.
    """

    version: int
    codec: int
    digest: bytes

    def __post_init__(self) -> None:
        if self.version not in (0, 1):
            raise InvalidCid(f"CID version {self.version}: expected 0 or 1")
        if self.codec not in (RAW, DAG_PB):
            raise InvalidCid(f"CID codec {self.codec:#x}: expected raw (0x55) or dag-pb (0x70)")
        if self.version == 0 and self.codec != DAG_PB:
            raise InvalidCid("a CID of version 0 is always dag-pb")
        if len(self.digest) != DIGEST_BYTES:
            raise InvalidCid(f"CID digest of {len(self.digest)} bytes: expected {DIGEST_BYTES} (sha2-256)")

    @classmethod
    def of_block(cls, block: bytes, codec: int, version: int = 1) -> Cid:
        """The identifier that these bytes have."""
        return cls(version, codec, hashlib.sha256(block).digest())

    @classmethod
    def from_digest(cls, digest: bytes, size_bytes: int) -> Cid:
        """Rebuild a version 1 identifier from a digest found on-chain and the content's expected length.

        The rule: content of at most 262,144 bytes is one raw block, longer content has a dag-pb root. A digest alone
        does not tell: one can craft raw content whose bytes are also a valid dag-pb node. With the length fixed
        beforehand there is no choice left to the writer: the codec follows from it, the digest fixes the bytes, and
        a reader that asks for exactly `size_bytes` gets one content or an error.

        Raises:
            InvalidCid: the digest has another length than 32 bytes, or the size is negative.
        """
        if size_bytes < 0:
            raise InvalidCid(f"content of {size_bytes} bytes: expected a size of at least 0")
        return cls(1, RAW if size_bytes <= CHUNK_BYTES else DAG_PB, bytes(digest))

    @classmethod
    def from_bytes(cls, unverified_cid: bytes) -> Cid:
        """Parse the binary form; nothing may follow it.

        Raises:
            InvalidCid: the bytes are not a CID of version 0 or 1 with a sha2-256 digest and codec raw or dag-pb.
        """
        cid, end = cls.read_prefix(unverified_cid)
        if end != len(unverified_cid):
            raise InvalidCid(f"CID 0x{unverified_cid[:_MAX_TEXT].hex()}: {len(unverified_cid) - end} bytes too many")
        return cid

    @classmethod
    def read_prefix(cls, unverified_data: bytes) -> tuple[Cid, int]:
        """Parse the binary form at the start of some data and return it with the number of bytes that it takes.

        Raises:
            InvalidCid: the data does not begin with a CID that we read.
        """
        if unverified_data[:2] == _SHA2_256:
            return cls(0, DAG_PB, unverified_data[2 : 2 + DIGEST_BYTES]), 2 + DIGEST_BYTES
        try:
            version, offset = decode_varint(unverified_data, 0)
            codec, offset = decode_varint(unverified_data, offset)
        except ValueError as error:
            raise InvalidCid(f"CID 0x{unverified_data[:_MAX_TEXT].hex()}: {error}") from error
        if version != 1:
            raise InvalidCid(f"CID version {version}: expected 1 in this form")
        if unverified_data[offset : offset + 2] != _SHA2_256:
            raise InvalidCid(f"CID 0x{unverified_data[:_MAX_TEXT].hex()}: expected a sha2-256 digest of 32 bytes")
        end = offset + 2 + DIGEST_BYTES
        return cls(1, codec, unverified_data[offset + 2 : end]), end

    def to_bytes(self) -> bytes:
        """The binary form: 34 bytes for version 0, 36 for version 1."""
        if self.version == 0:
            return self.multihash
        return encode_varint(self.version) + encode_varint(self.codec) + self.multihash

    @property
    def multihash(self) -> bytes:
        """The digest with its prefix (0x12 for sha2-256, 0x20 for its length): 34 bytes."""
        return _SHA2_256 + self.digest

    @classmethod
    def parse(cls, unverified_text: str) -> Cid:
        """Parse the text form: `Qm…` in base58 for version 0, `b…` in lower-case base32 for version 1.

        Raises:
            InvalidCid: the text is neither, or is not the one canonical spelling of its CID.
        """
        shown = unverified_text[:_MAX_TEXT]
        if unverified_text.startswith("Qm") and len(unverified_text) == 46:
            encoded = _decode_base58(unverified_text)
        elif unverified_text.startswith("b") and len(unverified_text) <= _MAX_TEXT:
            encoded = _decode_base32(unverified_text[1:])
        else:
            raise InvalidCid(f"{shown!r} is not a CID: expected 'b…' (version 1, base32) or 'Qm…' (version 0)")
        cid = cls.from_bytes(encoded)
        if str(cid) != unverified_text:
            raise InvalidCid(f"{shown!r} is not in canonical form: expected {cid}")
        return cid

    def __str__(self) -> str:
        if self.version == 0:
            return _encode_base58(self.to_bytes())
        return "b" + base64.b32encode(self.to_bytes()).decode("ascii").lower().rstrip("=")


def _decode_base32(unverified_text: str) -> bytes:
    padding = "=" * (-len(unverified_text) % 8)
    try:
        return base64.b32decode(unverified_text.upper() + padding)
    except ValueError as error:
        raise InvalidCid(f"'b{unverified_text}' is not a CID: {error}") from error


def _encode_base58(data: bytes) -> str:
    value = int.from_bytes(data, "big")
    digits: list[str] = []
    while value:
        value, digit = divmod(value, 58)
        digits.append(_BASE58[digit])
    # CIDs of version 0 begin with 0x12: there are no leading zero bytes to spell out.
    return "".join(reversed(digits))


def _decode_base58(unverified_text: str) -> bytes:
    value = 0
    for character in unverified_text:
        digit = _BASE58.find(character)
        if digit < 0:
            raise InvalidCid(f"{unverified_text!r} is not a CID: {character!r} is not a base58 digit")
        value = value * 58 + digit
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
