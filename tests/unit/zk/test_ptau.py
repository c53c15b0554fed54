"""The format of powers-of-tau files: what is read from whole ones, and what is said of broken ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from py_ecc import optimized_bn128 as oracle

from tests.unit.zk import ptau_files
from tests.unit.zk.ptau_files import G1_COUNT, PtauFile, assemble, evm, g1, g2, header, regions
from zk.curve import Points
from zk.errors import InvalidSrs
from zk.field import P
from zk.ptau import Ptau, folder_lock, write_compact

BLS12_381 = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
BN254_SCALARS = oracle.curve_order


def refused(path: Path, words: str) -> None:
    with pytest.raises(InvalidSrs, match=words) as caught:
        Ptau.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_ceremonys_file_is_read(tmp_path: Path) -> None:
    ptau = Ptau.read(PtauFile().write(tmp_path / "pot.ptau"))

    assert (ptau.points, ptau.power, ptau.ceremony_power) == (15, 3, 28)
    assert not ptau.is_compact
    assert ptau.read_points(4, 6).tobytes() == g1(4) + g1(5)
    assert ptau.read_g2(1) == evm(oracle.multiply(oracle.G2, ptau_files.TAU))


def test_the_order_of_the_sections_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "pot.ptau"
    path.write_bytes(assemble(list(reversed(PtauFile().sections()))))

    assert Ptau.read(path).read_points(2, 3).tobytes() == g1(2)


@pytest.mark.parametrize("size", range(0, 12))
def test_a_file_that_ends_in_its_first_bytes_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "pot.ptau"
    path.write_bytes(PtauFile().data()[:size])

    refused(path, "is no powers-of-tau file" if size < 4 else "is truncated")


BOUNDARIES = sorted({at for region in regions(PtauFile().sections()).values() for at in region} - {0, 4, 8})


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_file_cut_at_a_sections_boundary_is_refused(tmp_path: Path, boundary: int, offset: int) -> None:
    path, data = tmp_path / "pot.ptau", PtauFile().data()
    if boundary + offset >= len(data):
        return
    path.write_bytes(data[: boundary + offset])

    refused(path, "is truncated")


@pytest.mark.parametrize(
    "name", ["magic", "version", "count", *(f"{what} {k}" for k in (1, 2, 3) for what in ("type", "size"))]
)
def test_every_changed_byte_of_the_structure_is_noticed(tmp_path: Path, name: str) -> None:
    path, data = tmp_path / "pot.ptau", PtauFile().data()
    start, stop = regions(PtauFile().sections())[name]
    for at in range(start, stop):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :])

        with pytest.raises(InvalidSrs, match=str(path)):
            Ptau.read(path)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (PtauFile(magic=b"zkey"), "begins with b'zkey', expected b'ptau'"),
        (PtauFile(version=2), "version is 2, expected 1"),
        (PtauFile(count=10), "bytes follow the last of 10 sections"),
        (PtauFile(count=12), "is truncated"),
        (PtauFile(count=2), "bytes follow the last of 2 sections"),
        (PtauFile(header=header(BLS12_381, 48)), "is for BLS12-381, expected BN254"),
        (PtauFile(header=header(BN254_SCALARS)), f"over the prime {BN254_SCALARS:#x}, expected BN254"),
        (PtauFile(header=header(P + 2)), "expected BN254"),
        (PtauFile(header=header(P, 40)), "expected BN254"),
        (PtauFile(header=header()[:-1]), "the header has 43 bytes, expected 44"),
        (PtauFile(header=b""), "the header has 0 bytes, expected 44"),
        (PtauFile(header=header(power=1)), "the power is 1, expected 2 to 28"),
        (PtauFile(header=header(power=29)), "the power is 29, expected 2 to 28"),
        (PtauFile(header=header(power=2)), "section tauG1 has 960 bytes, expected 2 to 7 points of 64"),
        (PtauFile(tau_g1=[g1(0)]), "section tauG1 has 64 bytes, expected 2 to 15 points of 64"),
        (PtauFile(tau_g1=[]), "section tauG1 has 0 bytes"),
        (PtauFile(tau_g1=[g1(0), g1(1), b"\0"]), "section tauG1 has 129 bytes"),
        (PtauFile(tau_g2=[g2(0), g2(1)]), "section tauG2 has 256 bytes, expected 3 to 8 points of 128"),
        (PtauFile(tau_g2=[g2(k) for k in range(9)]), "section tauG2 has 1152 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_structure_that_cannot_be_is_refused(tmp_path: Path, file: PtauFile, words: str) -> None:
    refused(file.write(tmp_path / "pot.ptau"), words)


@pytest.mark.parametrize(("kind", "name"), [(1, "header"), (2, "tauG1"), (3, "tauG2")])
def test_each_needed_section_is_there_once(tmp_path: Path, kind: int, name: str) -> None:
    path, sections = tmp_path / "pot.ptau", PtauFile().sections()

    path.write_bytes(assemble([section for section in sections if section[0] != kind]))
    refused(path, f"section {name} is missing")
    path.write_bytes(assemble([*sections, sections[kind - 1]]))
    refused(path, f"section {name} is there twice")


def test_a_section_longer_than_any_file_is_refused(tmp_path: Path) -> None:
    path, data = tmp_path / "pot.ptau", PtauFile().data()
    start, stop = regions(PtauFile().sections())["size 2"]
    path.write_bytes(data[:start] + b"\xff" * (stop - start) + data[stop:])

    refused(path, "is truncated")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "nothing.ptau", "cannot read .*: No such file or directory")
    refused(tmp_path, "cannot read .*: Is a directory")


def test_a_compact_file_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "srs.ptau"
    blocks = [points(0, 4), points(4, 5)]
    write_compact(path, 5, 28, blocks, [evm(oracle.multiply(oracle.G2, ptau_files.TAU**k)) for k in range(3)])

    ptau = Ptau.read(path)

    assert ptau.is_compact
    assert (ptau.points, ptau.ceremony_power) == (5, 28)
    mapped = ptau.map_points()
    assert (mapped.shape, mapped.dtype, mapped.flags.aligned) == ((5, 8), np.uint64, True)
    assert mapped.tobytes() == b"".join(g1(k) for k in range(5))
    assert ptau.tau_g1.start % 16 == 0
    assert path.read_bytes()[-3 * 128 :] == g2(0) + g2(1) + g2(2)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("count", [2, 3, 7, 8, 15, 16, 31, 32])
def test_a_compact_file_of_any_length_is_read_again(tmp_path: Path, count: int) -> None:
    path = tmp_path / "srs.ptau"
    write_compact(path, count, 0, [np.zeros((count, 8), np.uint64)], [bytes(128)] * 3)

    assert Ptau.read(path).points == count


def test_writing_to_mapped_points_does_not_reach_the_file(tmp_path: Path) -> None:
    path = tmp_path / "srs.ptau"
    write_compact(path, 3, 0, [points(0, 3)], [bytes(128)] * 3)
    before = path.read_bytes()

    Ptau.read(path).map_points()[:] = 0

    assert path.read_bytes() == before


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Points]:
        yield points(0, 1)
        assert len(list(tmp_path.iterdir())) == 2
        raise KeyboardInterrupt

    path = tmp_path / "srs.ptau"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_compact(path, 2, 0, interrupted(), [])

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_refusal_of_a_disk_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "srs.ptau").mkdir()

    with pytest.raises(OSError, match=r"srs\.ptau") as caught:
        write_compact(tmp_path / "srs.ptau", 2, 0, [points(0, 2)], [])

    assert caught.value.filename == str(tmp_path / "srs.ptau")
    assert os.listdir(tmp_path) == ["srs.ptau"]


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()


def points(start: int, stop: int) -> Points:
    return np.frombuffer(b"".join(g1(k) for k in range(start, stop)), np.uint64).reshape(-1, 8)


def test_the_files_here_have_all_powers() -> None:
    assert len(PtauFile().tau_g1) == G1_COUNT
    assert g1(0) == ptau_files.raw(oracle.G1)
