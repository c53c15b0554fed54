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
from dataclasses import dataclass
from pathlib import Path
from threading import local

import numpy as np
import zstandard
from numpy.typing import NDArray

from market.protocol.errors import InvalidUpdate
from market.protocol.run_ahead import map_ahead
from market.protocol.update import CHUNK_BLINDER_BYTES, Counts, StoredUpdate, check_counts, update_bytes
from market.protocol.vector_file import check_vector_file, read_tail

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
    """An update's payload, part by part; the same one for the same update and library."""
    counts = update.counts
    frames = (counts[start : start + FRAME_COUNTS] for start in range(0, len(counts), FRAME_COUNTS))
    return _pack(frames, len(counts), update.blinders)


def pack_file(path: Path, dimension: int, chunks: int) -> Iterator[Buffer]:
    """The same of an update in a file, of which a few frames are held at a time.

    Raises:
        InvalidUpdate: the file cannot be read, is not exactly 2*d + 192*c bytes long, or holds -32768.
    """
    blinders_bytes = CHUNK_BLINDER_BYTES * chunks
    check_vector_file(path, _DTYPE, dimension, InvalidUpdate, blinders_bytes)
    return _pack(_frames_in(path, dimension), dimension, read_tail(path, blinders_bytes, InvalidUpdate))


def _frames_in(path: Path, dimension: int) -> Iterator[Counts]:
    try:
        with path.open("rb") as file:
            for start in range(0, dimension, FRAME_COUNTS):
                frame = np.fromfile(file, _DTYPE, min(FRAME_COUNTS, dimension - start))
                check_counts(frame, start)
                yield frame
    except OSError as error:
        raise InvalidUpdate(f"{path} cannot be read: {error.strerror or error}") from error


def _pack(frames: Iterable[Counts], dimension: int, blinders: bytes) -> Iterator[Buffer]:
    chunks = len(blinders) // CHUNK_BLINDER_BYTES
    if not is_packed(dimension, chunks):
        for frame in frames:
            yield np.ascontiguousarray(frame, _DTYPE).tobytes()
        yield blinders
        return
    total = len(blinders)
    for packed in map_ahead(pack_frame, frames):
        total += len(packed)
        yield packed
    yield blinders
    yield from _zeros(_padded(total) - total)


def pack_frame(counts: Counts) -> bytes:
    """One frame of some counts, int16, at most `FRAME_COUNTS` of them."""
    low, high = (_shortest(plane) for plane in _planes(counts))
    return b"".join((_HEADER.pack(len(low), len(high)), low, high))


def unpack_update(unverified_parts: Iterable[Buffer], dimension: int, chunks: int) -> Iterator[Buffer]:
    """What an update's payload stands for, part by part: counts, little-endian, and blinders, 2*d + 192*c bytes.

    Whether blinders are scalars is for whoever reads them.

    Args:
        unverified_parts: the payload, cut anyhow.
        dimension: d.
        chunks: c.

    Raises:
        InvalidUpdate: it is no payload of such an update, or holds -32768; where a frame is at fault it is named.
    """
    source = _Source(unverified_parts)
    total = 0
    if is_packed(dimension, chunks):
        yield from map_ahead(_unpack_frame, _packed_frames(source, dimension))
        yield source.take(CHUNK_BLINDER_BYTES * chunks, "the blinders")
        total = _padded(source.taken)
        source.skip_zeros(total - source.taken)
    else:
        counts = source.take(_COUNT_BYTES * dimension, "the update")
        check_counts(np.frombuffer(counts, _DTYPE), 0)
        yield counts
        yield source.take(CHUNK_BLINDER_BYTES * chunks, "the blinders")
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


def _counts(low: Plane, high: Plane) -> Counts:
    """The counts whose zigzag has these planes."""
    folded = np.empty(len(low), "<u2")
    pairs = folded.view(np.uint8).reshape(-1, _COUNT_BYTES)
    pairs[:, 0], pairs[:, 1] = low, high
    signs = folded & 1
    folded >>= 1
    np.negative(signs, out=signs)
    folded ^= signs
    return folded.view(_DTYPE)


_OF_THREAD = local()


def _shortest(plane: Plane) -> Buffer:
    compressor: zstandard.ZstdCompressor | None = getattr(_OF_THREAD, "compressor", None)
    if compressor is None:  # one compresses for one thread at a time
        compressor = _OF_THREAD.compressor = zstandard.ZstdCompressor(LEVEL, write_content_size=True)
    compressed = compressor.compress(plane.data)
    return compressed if len(compressed) < len(plane) else plane.data


def _packed_frames(source: _Source, dimension: int) -> Iterator[_PackedFrame]:
    for number, start in enumerate(range(0, dimension, FRAME_COUNTS)):
        name, counts = f"chunk {number}", min(FRAME_COUNTS, dimension - start)
        low, high = _HEADER.unpack(source.take(_HEADER.size, name))
        if max(low, high) > counts:
            raise InvalidUpdate(f"the update's {name} has a plane of {max(low, high)} bytes, expected at most {counts}")
        yield _PackedFrame(name, start, counts, source.take(low, name), source.take(high, name))


@dataclass(frozen=True, eq=False)
class _PackedFrame:
    """A frame as it came: its name, its first count, how many it has, and its planes."""

    name: str
    start: int
    counts: int
    unverified_low: Buffer
    unverified_high: Buffer


def _unpack_frame(frame: _PackedFrame) -> bytes:
    planes = (_plane(it, frame.name, frame.counts) for it in (frame.unverified_low, frame.unverified_high))
    counts = _counts(*planes)
    check_counts(counts, frame.start)
    return counts.tobytes()


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
