"""Powers-of-tau files, `.ptau` as snarkjs writes them: reading any, and writing the compact ones kept on this machine.

    "ptau" ‖ version = 1 ‖ number of sections ‖ sections;    section = type (4 bytes) ‖ length (8 bytes) ‖ data

    section 1    bytes in a coordinate = 32 ‖ the curve's prime p (32 bytes) ‖ power ‖ the ceremony's power
    section 2    tauG1: [τ^i]1 for i < 2·2^power − 1, 64 bytes each: x, y
    section 3    tauG2: [τ^i]2 for i < 2^power, 128 bytes each: real and imaginary part of x, then of y

All is little-endian, numbers have 4 bytes, coordinates are in Montgomery form: what zk.curve computes with, so that a
file can be mapped into memory and used as it is. Sections from 4 on (other powers, contributions, Lagrange bases) are
passed over. A compact file has the sections 1, 2 and 3 in this order, as many points of G1 as were wanted, and 3 of G2.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from zk.curve import Points
from zk.errors import InvalidPoint, InvalidSrs
from zk.field import P, p_element, p_integer
from zk.twist import parse_g2

G1_SIZE = 64
G2_SIZE = 128
COMPACT_G2_POINTS = 3
SMALLEST_POWER, LARGEST_POWER = 2, 28
"""Below, a file has no [τ²]2; above, the scalar field has no domain and no ceremony a file."""

_MAGIC = b"ptau"
_VERSION = 1
_START = struct.Struct("<4sII")
_SECTION = struct.Struct("<IQ")
_HEADER = struct.Struct("<I32sII")
_HEADER_SECTION, _G1_SECTION, _G2_SECTION = 1, 2, 3
_NAMES = {_HEADER_SECTION: "header", _G1_SECTION: "tauG1", _G2_SECTION: "tauG2"}
_COMPACT_G1_START = _START.size + 2 * _SECTION.size + _HEADER.size
_BLS12_381 = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB


@dataclass(frozen=True)
class Section:
    """Where a section's data is.

    Attributes:
        start: offset in the file, in bytes.
        size: in bytes.
    """

    start: int
    size: int


@dataclass(frozen=True)
class Ptau:
    """A powers-of-tau file whose structure is sound; its points have not been looked at.

    Attributes:
        path: of the file.
        power: the file's own; it may have been cut down from the ceremony's.
        ceremony_power: the ceremony's; zero where there was none.
        tau_g1: the points of G1.
        tau_g2: the points of G2.
    """

    path: Path
    power: int
    ceremony_power: int
    tau_g1: Section
    tau_g2: Section

    @classmethod
    def read(cls, path: Path) -> Ptau:
        """Read a file's structure.

        Raises:
            InvalidSrs: it cannot be read, is no `.ptau` file, is truncated, or is for another curve.
        """
        with opened(path) as file:
            sections = _sections(path, file)
            power, ceremony_power = _header(path, file, sections[_HEADER_SECTION])
        ptau = cls(path, power, ceremony_power, sections[_G1_SECTION], sections[_G2_SECTION])
        ptau._check_sizes()
        return ptau

    def _check_sizes(self) -> None:
        for name, section, size, least, most in (
            ("tauG1", self.tau_g1, G1_SIZE, 2, most_g1_points(self.power)),
            ("tauG2", self.tau_g2, G2_SIZE, COMPACT_G2_POINTS, 1 << self.power),
        ):
            count, rest = divmod(section.size, size)
            if rest or not least <= count <= most:
                raise InvalidSrs(
                    f"{self.path}: section {name} has {section.size} bytes, expected {least} to {most} points of {size}"
                )

    @property
    def points(self) -> int:
        """How many points of G1 it has."""
        return self.tau_g1.size // G1_SIZE

    @property
    def is_compact(self) -> bool:
        """Whether it is laid out as this program writes files, and not as ceremonies do."""
        after = self.tau_g1.start + self.tau_g1.size + _SECTION.size
        return self.tau_g1.start == _COMPACT_G1_START and self.tau_g2 == Section(after, COMPACT_G2_POINTS * G2_SIZE)

    def map_points(self) -> Points:
        """Map the points of G1 into memory: uint64 of shape (n, 8). What is written there does not reach the file."""
        # Copy-on-write and not read-only: for numba that would be another type, and everything compiled once more.
        return np.asarray(np.memmap(self.path, np.dtype("<u8"), "c", self.tau_g1.start, (self.points, 8)))

    def read_points(self, start: int, stop: int) -> Points:
        """Read some points of G1: uint64 of shape (stop − start, 8).

        Raises:
            InvalidSrs: the file has become shorter.
        """
        with opened(self.path) as file:
            data = _read(self.path, file, self.tau_g1.start + G1_SIZE * start, G1_SIZE * (stop - start))
        return np.array(np.frombuffer(data, "<u8").reshape(stop - start, 8), np.uint64)

    def read_g2(self, index: int) -> bytes:
        """Read a point of G2, and return it in the EVM's encoding.

        Raises:
            InvalidSrs: a coordinate that is not reduced, not on the twist, not of order r, or infinity.
        """
        at = self.tau_g2.start + G2_SIZE * index
        with opened(self.path) as file:
            words = np.frombuffer(_read(self.path, file, at, G2_SIZE), "<u8").reshape(4, 4)
        try:
            point = g2_from_montgomery(words)
            if parse_g2(point) is None:
                raise InvalidPoint("the point is infinity")
        except InvalidPoint as error:
            raise InvalidSrs(f"{self.path}: point {index} of section tauG2, at byte {at}: {error}") from error
        return point


def most_g1_points(power: int) -> int:
    """Return how many points of G1 a ceremony of this power has."""
    return 2 * (1 << power) - 1


def g2_from_montgomery(words: Points) -> bytes:
    """Return the EVM's encoding of a point of G2 from a file's: uint64 of shape (4, 4), real parts first.

    Raises:
        InvalidPoint: a coordinate is not reduced.
    """
    for word in words:
        if int.from_bytes(word.tobytes(), "little") >= P:
            raise InvalidPoint(f"coordinate 0x{word.tobytes()[::-1].hex()} is not below the field's modulus")
    return b"".join(p_integer(words[index]).to_bytes(32, "big") for index in (1, 0, 3, 2))


def g2_to_montgomery(point: bytes) -> bytes:
    """Return a file's encoding of a point of G2 from the EVM's."""
    words = [int.from_bytes(point[at : at + 32], "big") for at in range(0, G2_SIZE, 32)]
    return b"".join(p_element(words[index]).astype("<u8").tobytes() for index in (1, 0, 3, 2))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read.

    Raises:
        InvalidSrs: it cannot be opened or read.
    """
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InvalidSrs(f"cannot read {path}: {error.strerror or error}") from error


def _read(path: Path, file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    data = file.read(size)
    if len(data) != size:
        raise InvalidSrs(
            f"{path} is truncated: it ends at byte {start + len(data)}, expected {size} bytes from {start}"
        )
    return data


def _sections(path: Path, file: BinaryIO) -> dict[int, Section]:
    """Find the sections, every one of which has to end within the file."""
    end = os.fstat(file.fileno()).st_size
    begin = file.read(_START.size)
    if not begin.startswith(_MAGIC):
        raise InvalidSrs(f"{path} is no powers-of-tau file: it begins with {begin[:4]!r}, expected {_MAGIC!r}")
    _, version, count = _START.unpack(_read(path, file, 0, _START.size))
    if version != _VERSION:
        raise InvalidSrs(f"{path}: the format's version is {version}, expected {_VERSION}")
    sections: dict[int, Section] = {}
    at = _START.size
    for _ in range(count):
        kind, size = _SECTION.unpack(_read(path, file, at, _SECTION.size))
        at += _SECTION.size + size
        if at > end:
            raise InvalidSrs(f"{path} is truncated: it has {end} bytes, and section {kind} ends at byte {at}")
        if kind in sections and kind in _NAMES:
            raise InvalidSrs(f"{path}: section {_NAMES[kind]} is there twice")
        sections[kind] = Section(at - size, size)
    if at != end:
        raise InvalidSrs(f"{path}: {end - at} bytes follow the last of {count} sections, expected none")
    for kind, name in _NAMES.items():
        if kind not in sections:
            raise InvalidSrs(f"{path}: section {name} is missing")
    return sections


def _header(path: Path, file: BinaryIO, section: Section) -> tuple[int, int]:
    """Read the powers, after making sure that the curve is BN254."""
    width = int.from_bytes(_read(path, file, section.start, min(section.size, 4)), "little")
    if section.size != width + _HEADER.size - 32:
        raise InvalidSrs(f"{path}: the header has {section.size} bytes, expected {_HEADER.size}")
    prime = int.from_bytes(_read(path, file, section.start + 4, width), "little")
    if width != 32 or prime != P:
        name = "BLS12-381" if prime == _BLS12_381 else f"a curve over the prime {prime:#x}"
        raise InvalidSrs(f"{path} is for {name}, expected BN254 (over the prime {P:#x})")
    _, _, power, ceremony_power = _HEADER.unpack(_read(path, file, section.start, _HEADER.size))
    if not SMALLEST_POWER <= power <= LARGEST_POWER:
        raise InvalidSrs(f"{path}: the power is {power}, expected {SMALLEST_POWER} to {LARGEST_POWER}")
    return power, ceremony_power


def write_compact(path: Path, points: int, ceremony_power: int, blocks: Iterable[Points], g2: Sequence[bytes]) -> None:
    """Write a compact file, which appears under its name only when it is complete and on the disk.

    Hold `folder_lock` meanwhile. A failure leaves nothing behind; a process killed on the way leaves a hidden file,
    which the next writer of the same name writes over.

    Args:
        path: of the file, in a folder that exists.
        points: of G1, how many there will be.
        ceremony_power: of the ceremony that they come from; zero for none.
        blocks: the points of G1 in their order, uint64 of shape (n, 8) each. What it raises is passed on.
        g2: the three points of G2, in the EVM's encoding.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(_compact_start(points, ceremony_power))
            for block in blocks:
                file.write(np.ascontiguousarray(block, "<u8").tobytes())
            file.write(_SECTION.pack(_G2_SECTION, G2_SIZE * len(g2)) + b"".join(map(g2_to_montgomery, g2)))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        part.unlink(missing_ok=True)  # on an interrupt too: the error goes on, only its litter does not
        raise


def _compact_start(points: int, ceremony_power: int) -> bytes:
    power = max(SMALLEST_POWER, (points // 2).bit_length())  # the least with as many points or more
    header = _HEADER.pack(32, P.to_bytes(32, "little"), power, ceremony_power)
    return (
        _START.pack(_MAGIC, _VERSION, len(_NAMES))
        + _SECTION.pack(_HEADER_SECTION, len(header))
        + header
        + _SECTION.pack(_G1_SECTION, G1_SIZE * points)
    )


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Make a folder if there is none, and be the only one that writes there; the kernel frees it when we die."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
