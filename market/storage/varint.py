"""Unsigned LEB128 integers, as in multiformats and protobuf: seven bits a byte, least significant first."""

from __future__ import annotations

MAX_VARINT_BYTES = 9
"""Longest encoding that is read: 63 bits, the multiformats limit, which also covers every size in UnixFS."""


def encode_varint(value: int) -> bytes:
    """The shortest encoding of a non-negative integer below 2^63.

    Raises:
        ValueError: the value is out of that range.
    """
    if not 0 <= value < 1 << 7 * MAX_VARINT_BYTES:
        raise ValueError(f"varint {value} is not in [0, 2^63)")
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def decode_varint(unverified_data: bytes, offset: int) -> tuple[int, int]:
    """Read one integer and return it with the offset behind it; only the shortest encoding is accepted.

    Raises:
        ValueError: the data ends inside the integer, or it is longer than needed or than 63 bits.
    """
    value = 0
    for index in range(MAX_VARINT_BYTES):
        if offset + index >= len(unverified_data):
            raise ValueError("the data ends inside a varint")
        byte = unverified_data[offset + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if byte == 0 and index:
                raise ValueError("a varint is not in its shortest form")
            return value, offset + index + 1
    raise ValueError("a varint is longer than 63 bits")
