"""Powers-of-tau files as snarkjs writes them, made of py_ecc's points: whole ones, and ones wrong somewhere."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from py_ecc import optimized_bn128 as oracle

from zk.field import P, R

TAU = 0x1F2E3D4C5B6A79880123456789ABCDEF
POWER = 3
G1_COUNT, G2_COUNT = 15, 8
INFINITY_G1 = bytes(64)
LATER_SECTIONS = {4: 2 * 64, 5: 2 * 64, 6: 128, 7: 4, 12: 15 * 64, 13: 8 * 128, 14: 64, 15: 64}
"""Sizes of what a prepared file has besides: its type numbers are those of snarkjs."""


def montgomery(value: int) -> bytes:
    return ((value << 256) % P).to_bytes(32, "little")


def raw(point: Any) -> bytes:
    """A point in the file's encoding: real parts first."""
    if oracle.is_inf(point):
        return bytes(64 if isinstance(point[0], oracle.FQ) else 128)
    return b"".join(montgomery(int(word)) for value in oracle.normalize(point) for word in words_of(value))


def words_of(value: Any) -> tuple[int, ...]:
    return tuple(value.coeffs) if hasattr(value, "coeffs") else (value,)


def evm(point: Any) -> bytes:
    """A point in the EVM's encoding: imaginary parts first."""
    words = [word for value in oracle.normalize(point) for word in reversed(words_of(value))]
    return b"".join(int(word).to_bytes(32, "big") for word in words)


@cache
def g1(exponent: int, tau: int = TAU) -> bytes:
    return raw(oracle.multiply(oracle.G1, pow(tau, exponent, R)))


@cache
def g2(exponent: int, tau: int = TAU) -> bytes:
    return raw(oracle.multiply(oracle.G2, pow(tau, exponent, R)))


def header(prime: int = P, width: int = 32, power: int = POWER, ceremony_power: int = 28) -> bytes:
    return struct.pack("<I", width) + prime.to_bytes(width, "little") + struct.pack("<II", power, ceremony_power)


@dataclass
class PtauFile:
    """A file in pieces, any of which a test may replace before writing it."""

    magic: bytes = b"ptau"
    version: int = 1
    header: bytes = field(default_factory=header)
    tau_g1: list[bytes] = field(default_factory=lambda: [g1(k) for k in range(G1_COUNT)])
    tau_g2: list[bytes] = field(default_factory=lambda: [g2(k) for k in range(G2_COUNT)])
    count: int | None = None

    def sections(self) -> list[tuple[int, bytes]]:
        ours = [(1, self.header), (2, b"".join(self.tau_g1)), (3, b"".join(self.tau_g2))]
        return ours + [(kind, bytes([kind]) * size) for kind, size in LATER_SECTIONS.items()]

    def data(self) -> bytes:
        return assemble(self.sections(), self.magic, self.version, self.count)

    def write(self, path: Path) -> Path:
        path.write_bytes(self.data())
        return path


def assemble(
    sections: list[tuple[int, bytes]], magic: bytes = b"ptau", version: int = 1, count: int | None = None
) -> bytes:
    parts = [magic, struct.pack("<II", version, len(sections) if count is None else count)]
    parts += [struct.pack("<IQ", kind, len(data)) + data for kind, data in sections]
    return b"".join(parts)


def regions(sections: list[tuple[int, bytes]]) -> dict[str, tuple[int, int]]:
    """Where the parts of an assembled file are, by name: (start, stop)."""
    found = {"magic": (0, 4), "version": (4, 8), "count": (8, 12)}
    at = 12
    for kind, data in sections:
        found[f"type {kind}"] = at, at + 4
        found[f"size {kind}"] = at + 4, at + 12
        found[f"data {kind}"] = at + 12, at + 12 + len(data)
        at += 12 + len(data)
    return found
