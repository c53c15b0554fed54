"""Updates as they are sent: counts packed without loss where they are long, and padded so that length tells little.

An update that fits one storage block goes as it is: how long it is follows from the job alone. A longer one is cut into
frames of 2^17 counts. A frame's counts become unsigned by zigzag (0, -1, 1, -2, … are 0, 1, 2, 3, …), and all their low
bytes are put before all their high ones: what is small is then in the low plane alone. Each plane is kept as it is or
compressed by zstd, whichever is shorter; the blinders are random and follow as they are.

    frame: length of the low plane (uint32, little-endian), of the high plane, low plane, high plane
    payload: frames, blinders, zeros up to the length that Padmé gives

A plane whose length is that of the counts is one that was kept as it is. Padmé (Nikitin et al. 2019, "Reducing metadata
leakage from encrypted files and communication with PURBs") lets a length tell log log of itself in bits, for at most
12 percent more bytes, and 3 for long ones.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import numpy as np
import zstandard
from numpy.typing import NDArray

from market.protocol.errors import InvalidUpdate
from market.protocol.update import CHUNK_BLINDER_BYTES, Counts, StoredUpdate, update_bytes

BLOCK_BYTES = 262_144
"""Of one storage block: what is at most as long is not packed."""

FRAME_COUNTS = 1 << 17
"""Counts in a frame; the last one may have fewer."""

LEVEL = 1
"""Of the compression. Planes have no repetitions to look for, only bytes that are more frequent than others: higher
levels take longer, and find no more."""

_HEADER = struct.Struct("<II")
_COUNT_BYTES = 2
_DTYPE = np.dtype("<i2")

Buffer = bytes | bytearray | memoryview
Plane = NDArray[np.uint8]


def is_packed(dimension: int, chunks: int) -> bool:
    """Whether updates of this job are packed: those that fit one storage block are sent as they are."""
    return update_bytes(dimension, chunks) > BLOCK_BYTES


def payload_bytes(dimension: int, chunks: int) -> tuple[int, int]:
    """Least and most bytes of an update's payload. They are the same where updates are not packed.

    A packed one is never shorter than a storage block: whether its content is one block or a tree of them follows from
    the job, as it does where updates are sent as they are.
    """
    plain_bytes = update_bytes(dimension, chunks)
    if not is_packed(dimension, chunks):
        return plain_bytes, plain_bytes
    frames = -(-dimension // FRAME_COUNTS)
    return _padded(CHUNK_BLINDER_BYTES * chunks), _padded(plain_bytes + _HEADER.size * frames)


def pack_update(update: StoredUpdate) -> Iterator[Buffer]:
    """An update's payload, part by part; the same one for the same update and library.

    Args:
        update: its counts may be mapped: a frame at a time is looked at.
    """
    chunks = len(update.blinders) // CHUNK_BLINDER_BYTES
    if not is_packed(len(update.counts), chunks):
        yield update.to_bytes()
        return
    total = len(update.blinders)
    for frame in pack_counts(update.counts):
        total += len(frame)
        yield frame
    yield update.blinders
    yield from _zeros(_padded(total) - total)


def pack_counts(counts: Counts) -> Iterator[bytes]:
    """The frames of some counts, int16 (d,)."""
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False, write_content_size=True)
    for start in range(0, len(counts), FRAME_COUNTS):
        low, high = (_shortest(compressor, plane) for plane in _planes(counts[start : start + FRAME_COUNTS]))
        yield b"".join((_HEADER.pack(len(low), len(high)), low, high))


def unpack_update(unverified_parts: Iterable[Buffer], dimension: int, chunks: int) -> Iterator[Buffer]:
    """What an update's payload stands for, part by part: counts, little-endian, and blinders, 2*d + 192*c bytes.

    Whether a count is in range, and whether blinders are scalars, is for whoever reads them.

    Args:
        unverified_parts: the payload, cut anyhow.
        dimension: d.
        chunks: c.

    Raises:
        InvalidUpdate: it is no payload of such an update; where a frame is at fault it is named.
    """
    source = _Source(unverified_parts)
    total = 0
    if is_packed(dimension, chunks):
        for number, start in enumerate(range(0, dimension, FRAME_COUNTS)):
            yield _unpack_frame(source, number, min(FRAME_COUNTS, dimension - start))
        yield source.take(CHUNK_BLINDER_BYTES * chunks, "the blinders")
        total = _padded(source.taken)
        source.skip_zeros(total - source.taken)
    else:
        for missing in _pieces(update_bytes(dimension, chunks)):
            yield source.take(missing, "the update")
    source.end()


def _padded(length: int) -> int:
    """Padmé: as many bits as the exponent's own length takes are kept, and the rest rounded up; from a block on."""
    length = max(length, BLOCK_BYTES)
    exponent = length.bit_length() - 1
    spare = (1 << exponent - exponent.bit_length()) - 1
    return (length + spare) & ~spare


def _planes(counts: Counts) -> tuple[Plane, Plane]:
    """Low and high bytes of the counts' zigzag."""
    signed = np.asarray(counts, _DTYPE)
    folded = signed << 1
    folded ^= signed >> 15
    pairs = folded.view(np.uint8).reshape(-1, _COUNT_BYTES)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def _counts(low: Plane, high: Plane) -> bytes:
    """The counts, little-endian, whose zigzag has these planes."""
    folded = np.empty(len(low), "<u2")
    pairs = folded.view(np.uint8).reshape(-1, _COUNT_BYTES)
    pairs[:, 0], pairs[:, 1] = low, high
    signs = folded & 1
    folded >>= 1
    np.negative(signs, out=signs)
    folded ^= signs
    return folded.tobytes()


def _shortest(compressor: zstandard.ZstdCompressor, plane: Plane) -> Buffer:
    compressed = compressor.compress(plane.data)
    return compressed if len(compressed) < len(plane) else plane.data


def _unpack_frame(source: _Source, number: int, counts: int) -> bytes:
    name = f"chunk {number}"
    lengths = _HEADER.unpack(source.take(_HEADER.size, name))
    if max(lengths) > counts:
        raise InvalidUpdate(f"the update's {name} has a plane of {max(lengths)} bytes, expected at most {counts}")
    low, high = (_plane(source.take(length, name), name, counts) for length in lengths)
    return _counts(low, high)


def _plane(unverified_plane: Buffer, name: str, counts: int) -> Plane:
    if len(unverified_plane) == counts:
        return np.frombuffer(unverified_plane, np.uint8)
    try:
        # Looked at before a byte is decompressed: nothing gets more memory than its plane.
        size = zstandard.frame_content_size(unverified_plane)
        if size != counts:
            raise InvalidUpdate(f"a plane of the update's {name} says it has {size} bytes, expected {counts}")
        plane = zstandard.ZstdDecompressor(max_window_size=FRAME_COUNTS).decompress(
            unverified_plane, max_output_size=counts, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise InvalidUpdate(f"a plane of the update's {name} cannot be decompressed: {error}") from error
    if len(plane) != counts:
        raise InvalidUpdate(f"a plane of the update's {name} has {len(plane)} bytes, expected {counts}")
    return np.frombuffer(plane, np.uint8)


def _zeros(count: int) -> Iterator[bytes]:
    for piece in _pieces(count):
        yield bytes(piece)


def _pieces(count: int) -> Iterator[int]:
    for start in range(0, count, BLOCK_BYTES):
        yield min(BLOCK_BYTES, count - start)


class _Source:
    """Hands out exactly as many bytes as are asked for of a payload that comes in parts."""

    def __init__(self, unverified_parts: Iterable[Buffer]) -> None:
        self._parts, self._held, self.taken = iter(unverified_parts), memoryview(b""), 0

    def take(self, count: int, name: str) -> Buffer:
        """So many bytes, which are about what is named."""
        if count <= len(self._held):
            found, self._held = self._held[:count], self._held[count:]
            self.taken += count
            return found
        parts = [self._held]
        missing = count - len(self._held)
        self._held = memoryview(b"")
        while missing:
            part = next(self._parts, None)
            if part is None:
                raise InvalidUpdate(f"the update's payload ends within {name}, {missing} bytes early")
            view = memoryview(part).cast("B")
            parts.append(view[:missing])
            self._held = view[missing:]
            missing -= len(parts[-1])
        self.taken += count
        return b"".join(parts)

    def skip_zeros(self, count: int) -> None:
        """So many bytes of padding."""
        for piece in _pieces(count):
            if np.frombuffer(self.take(piece, "its padding"), np.uint8).any():
                raise InvalidUpdate("the update's payload is padded with other bytes than zeros")

    def end(self) -> None:
        """Nothing is left."""
        if len(self._held) or any(len(part) for part in self._parts):
            raise InvalidUpdate("the update's payload goes on behind its end")
