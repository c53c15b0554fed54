"""The reference string: what is taken from a ceremony's file, what is refused, and the insecure one."""

from __future__ import annotations

import multiprocessing
import secrets
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from eth_utils.crypto import keccak
from py_ecc import optimized_bn128 as oracle

from tests.unit.zk.ptau_files import INFINITY_G1, TAU, PtauFile, evm, g1, g2, header, raw, regions
from zk import srs as srs_module
from zk.curve import point_bytes
from zk.errors import InvalidSrs
from zk.field import P, R
from zk.srs import (
    BLINDER_POINTS,
    INSECURE_FILE,
    INSECURE_SRS_ID,
    INSECURE_TAU,
    Srs,
    find_srs,
    import_ptau,
    imported_file,
    make_insecure,
    open_srs,
    refuse_insecure,
)

VECTORS = Path(__file__).parents[2] / "vectors"


def srs_id(tau: int) -> bytes:
    """The id as the specification has it."""
    left = evm(oracle.multiply(oracle.G1, tau))
    right = [evm(oracle.multiply(oracle.G2, power)) for power in (tau, tau * tau % R)]
    return keccak(keccak(text="fedmarket/srs/1") + left + b"".join(right))


def unreduced(point: bytes, coordinate: int) -> bytes:
    """The same point, with p added to the Montgomery form of a coordinate."""
    start = 32 * coordinate
    value = int.from_bytes(point[start : start + 32], "little") + P
    return point[:start] + value.to_bytes(32, "little") + point[start + 32 :]


def negative(point: bytes) -> bytes:
    value = int.from_bytes(point[32:], "little")
    return point[:32] + (P - value).to_bytes(32, "little")


def with_g1(**replaced: bytes) -> PtauFile:
    """A file with other points of G1, named p0, p1, …"""
    return PtauFile(tau_g1=[replaced.get(f"p{k}", g1(k)) for k in range(15)])


def with_g2(**replaced: bytes) -> PtauFile:
    return PtauFile(tau_g2=[replaced.get(f"q{k}", g2(k)) for k in range(8)])


def of_tau(tau: int) -> PtauFile:
    return PtauFile(tau_g1=[g1(k, tau) for k in range(15)], tau_g2=[g2(k, tau) for k in range(8)])


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of four points, so that fifteen points have seams."""
    monkeypatch.setattr(srs_module, "_BLOCK", 4)


def imported(folder: Path, file: PtauFile, points: int | None = None) -> Srs:
    source = file.write(folder / "pot.ptau")
    return import_ptau(source, folder / "srs" / "own.ptau", points)


def refused(folder: Path, file: PtauFile, words: str, points: int | None = None) -> None:
    """The import says what is wrong in one line, and writes nothing."""
    with pytest.raises(InvalidSrs, match=words) as caught:
        imported(folder, file, points)
    assert str(folder / "pot.ptau") in str(caught.value)
    assert "\n" not in str(caught.value)
    left = [path.name for path in (folder / "srs").iterdir()] if (folder / "srs").exists() else []
    assert left in ([], [".lock"])


@pytest.mark.usefixtures("small_blocks")
def test_a_ceremonys_file_is_taken_over_as_it_is(tmp_path: Path) -> None:
    srs = imported(tmp_path, PtauFile())

    assert srs.points.tobytes() == b"".join(g1(k) for k in range(15))
    assert srs.tau_g1 == evm(oracle.multiply(oracle.G1, TAU))
    assert srs.tau_g2 == evm(oracle.multiply(oracle.G2, TAU))
    assert srs.tau2_g2 == evm(oracle.multiply(oracle.G2, TAU * TAU % R))
    assert srs.id == srs_id(TAU)
    assert (srs.is_insecure, srs.ceremony_power, srs.largest_chunk) == (False, 28, 3)


def test_a_file_of_snarkjs_is_imported(tmp_path: Path) -> None:
    """Made by snarkjs 0.7.6: a ceremony of power 8 with a contribution, prepared for phase 2, then truncated."""
    srs = import_ptau(VECTORS / "snarkjs-power-2.ptau", tmp_path / "own.ptau")

    assert srs.id.hex() == "59f9f1e9716290346e046adc29dd98f435872bc944dc9be4102c270aa75f47bf"
    assert (len(srs.points), srs.ceremony_power) == (7, 8)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("points", [2, 3, 4, 5, 8, 9, 14, 15])
def test_as_many_points_are_taken_as_are_wanted(tmp_path: Path, points: int) -> None:
    srs = imported(tmp_path, PtauFile(), points)

    assert srs.points.tobytes() == b"".join(g1(k) for k in range(points))
    assert srs.id == srs_id(TAU)


def test_an_imported_file_can_be_imported_again(tmp_path: Path) -> None:
    first = imported(tmp_path, PtauFile(), 9)

    again = import_ptau(first.path, tmp_path / "again.ptau", 5)

    assert (again.points.tobytes(), again.id) == (first.points[:5].tobytes(), first.id)


@pytest.mark.usefixtures("small_blocks")
def test_progress_is_told_block_by_block(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    import_ptau(PtauFile().write(tmp_path / "a"), tmp_path / "b", 10, lambda *state: told.append(state))

    assert told == [(4, 10), (8, 10), (10, 10)]


def test_a_file_that_is_wrong_only_after_what_is_taken_is_taken(tmp_path: Path) -> None:
    assert len(imported(tmp_path, with_g1(p10=g1(11)), 10).points) == 10


@pytest.mark.parametrize("points", [-1, 0, 1, 16])
def test_more_points_than_there_are_cannot_be_taken(tmp_path: Path, points: int) -> None:
    refused(tmp_path, PtauFile(), f"has 15 points, expected {points}: 2 to 15 can be taken", points)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("index", range(1, 15))
def test_one_wrong_power_anywhere_is_found(tmp_path: Path, index: int) -> None:
    """Also first and last of a block, and last of all: each is a point of the curve that is another power."""
    words = "are not successive powers of the tau in section tauG2"
    refused(tmp_path, with_g1(**{f"p{index}": g1(index + 1)}), words)
    refused(tmp_path, with_g1(**{f"p{index}": negative(g1(index))}), words)


@pytest.mark.usefixtures("small_blocks")
def test_where_the_powers_are_wrong_is_said(tmp_path: Path) -> None:
    refused(tmp_path, with_g1(p9=g1(3)), "points 7 to 11 of section tauG1 are not successive powers")


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("one", "other"), [(1, 2), (5, 6), (3, 4), (2, 13)])
def test_swapped_points_are_found(tmp_path: Path, one: int, other: int) -> None:
    refused(tmp_path, with_g1(**{f"p{one}": g1(other), f"p{other}": g1(one)}), "are not successive powers")


def test_errors_that_would_cancel_in_a_plain_sum_are_found(tmp_path: Path) -> None:
    """P + h and Q − h leave the sums as they are; a random combination does not forgive them."""
    h = oracle.multiply(oracle.G1, secrets.randbelow(R))
    points = [oracle.multiply(oracle.G1, pow(TAU, k, R)) for k in (6, 8)]
    changed = raw(oracle.add(points[0], h)), raw(oracle.add(points[1], oracle.neg(h)))

    refused(tmp_path, with_g1(p6=changed[0], p8=changed[1]), "are not successive powers")


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("index", [0, 1, 4, 7, 14])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda point: INFINITY_G1, "is infinity"),
        (lambda point: unreduced(point, 0), "is not a reduced point on the curve"),
        (lambda point: unreduced(point, 1), "is not a reduced point on the curve"),
        (lambda point: b"\xff" * 64, "is not a reduced point on the curve"),
        (lambda point: point[32:] + point[:32], "is not a reduced point on the curve"),
        (lambda point: point[::-1], "is not a reduced point on the curve"),
    ],
    ids=["infinity", "x + p", "y + p", "largest", "x and y swapped", "big-endian"],
)
def test_what_is_no_point_of_g1_is_refused(
    tmp_path: Path, index: int, wrong: Callable[[bytes], bytes], words: str
) -> None:
    refused(tmp_path, with_g1(**{f"p{index}": wrong(g1(index))}), f"section tauG1, .*{words}")


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda point: bytes(128), "the point is infinity"),
        *((lambda point, k=k: unreduced(point, k), "is not below the field's modulus") for k in range(4)),
        (lambda point: point[32:64] + point[:32] + point[64:], "is not on the twist"),
        (lambda point: point[:127] + bytes([point[127] ^ 1]), "is not on the twist"),
    ],
    ids=["infinity", "x + p", "x.i + p", "y + p", "y.i + p", "parts of x swapped", "a bit"],
)
def test_what_is_no_point_of_g2_is_refused(
    tmp_path: Path, index: int, wrong: Callable[[bytes], bytes], words: str
) -> None:
    refused(
        tmp_path, with_g2(**{f"q{index}": wrong(g2(index))}), f"point {index} of section tauG2, at byte .*: .*{words}"
    )


def test_a_point_of_the_twist_outside_g2_is_refused(tmp_path: Path) -> None:
    x = oracle.FQ2([1, 0])
    while True:  # a point of the twist with a real x² whose norm's root is simple
        y_square = x * x * x + oracle.b2
        real, imaginary = (int(part) for part in y_square.coeffs)
        root = pow(real * real + imaginary * imaginary, (P + 1) // 4, P)
        half = (real + root) * pow(2, -1, P) % P
        y_real = pow(half, (P + 1) // 4, P)
        y = oracle.FQ2([y_real, imaginary * pow(2 * y_real, -1, P) % P])
        if y * y == y_square:
            break
        x += oracle.FQ2([1, 0])

    refused(tmp_path, with_g2(q2=raw((x, y, oracle.FQ2.one()))), "point 2 .* not of the group's order")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (with_g1(p0=g1(1), p1=g1(2)), "point 0 of section tauG1 is not the group's generator"),
        (with_g1(p0=negative(g1(0)), p1=negative(g1(1))), "point 0 of section tauG1 is not the group's generator"),
        (with_g2(q0=g2(1), q1=g2(2)), "point 0 of section tauG2 is not the group's generator"),
        (with_g2(q1=g2(2)), "are not successive powers"),
        (with_g2(q1=g2(1, TAU + 1)), "are not successive powers"),
        (with_g2(q2=g2(3)), "point 2 of section tauG2 is not tau times point 1"),
        (with_g2(q2=g2(2, TAU + 1)), "point 2 of section tauG2 is not tau times point 1"),
        (of_tau(1), "tau is 1 or -1, expected a secret"),
        (of_tau(R - 1), "tau is 1 or -1, expected a secret"),
        (of_tau(0), "is infinity"),
    ],
    ids=[
        "G1-shifted",
        "G1-negative",
        "G2-shifted",
        "tau-squared",
        "other-tau",
        "tau-cubed",
        "other-square",
        "one",
        "minus-one",
        "zero",
    ],
)
def test_points_that_do_not_fit_one_tau_are_refused(tmp_path: Path, file: PtauFile, words: str) -> None:
    refused(tmp_path, file, words)


@pytest.mark.usefixtures("small_blocks")
def test_one_changed_byte_of_any_point_that_is_taken_is_found(tmp_path: Path) -> None:
    file, source = PtauFile(), tmp_path / "pot.ptau"
    data, found = file.data(), regions(file.sections())
    start, stop = found["data 2"][0], found["data 3"][0] + 3 * 128
    for at in [*range(start, start + 15 * 64, 31), *range(found["data 3"][0], stop, 31)]:
        source.write_bytes(data[:at] + bytes([data[at] ^ (1 + at % 255)]) + data[at + 1 :])

        with pytest.raises(InvalidSrs, match=str(source)):
            import_ptau(source, tmp_path / "srs" / "own.ptau")


def test_what_is_not_taken_is_not_looked_at(tmp_path: Path) -> None:
    file, source = PtauFile(), tmp_path / "pot.ptau"
    data, found = bytearray(file.data()), regions(file.sections())
    for kind in (4, 7, 12, 15):
        data[found[f"data {kind}"][0]] ^= 0xFF
    source.write_bytes(data)

    assert import_ptau(source, tmp_path / "own.ptau").id == srs_id(TAU)


@pytest.mark.usefixtures("small_blocks")
def test_an_interrupted_import_leaves_what_was_there(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 4:
            raise KeyboardInterrupt

    target = tmp_path / "srs" / "own.ptau"
    before = imported(tmp_path, PtauFile(), 5)
    with pytest.raises(KeyboardInterrupt):
        import_ptau(tmp_path / "pot.ptau", target, 15, interrupt)

    assert sorted(path.name for path in target.parent.iterdir()) == [".lock", "own.ptau"]
    assert len(open_srs(target).points) == len(before.points) == 5


def test_a_longer_import_takes_the_place_of_a_shorter_one(tmp_path: Path) -> None:
    shorter = imported(tmp_path, PtauFile(), 5)
    longer = imported(tmp_path, PtauFile(), 15)

    assert shorter.points.tobytes() == longer.points[:5].tobytes()  # still mapped
    assert len(open_srs(shorter.path).points) == 15


def test_a_shorter_import_does_not_take_the_place_of_a_longer_one(tmp_path: Path) -> None:
    path = imported(tmp_path, PtauFile(), 9).path

    with pytest.raises(InvalidSrs, match="has 9 points already: expected more"):
        imported(tmp_path, PtauFile(), 8)

    assert len(open_srs(path).points) == 9
    path.write_bytes(path.read_bytes()[:-1])
    assert len(imported(tmp_path, PtauFile(), 8).points) == 8


def test_a_file_that_was_never_imported_does_not_open(tmp_path: Path) -> None:
    path = PtauFile().write(tmp_path / "pot.ptau")

    with pytest.raises(InvalidSrs, match=f"`fedmarket srs import {path}`"):
        open_srs(path)


def test_every_changed_byte_of_an_imported_file_is_noticed(tmp_path: Path) -> None:
    path = imported(tmp_path, PtauFile(header=header()), 7).path
    data = path.read_bytes()
    power = range(60, 64)  # of the file and of the ceremony: they decide nothing
    for at in set(range(0, len(data), 7)) | set(range(80)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        if at in (*power, *range(64, 68)):
            continue
        with pytest.raises(InvalidSrs, match=str(path)):
            open_srs(path)


@pytest.mark.parametrize("swap", [(1, 2), (5, 6)])
def test_an_imported_file_with_its_first_or_last_points_swapped_does_not_open(
    tmp_path: Path, swap: tuple[int, int]
) -> None:
    path = imported(tmp_path, PtauFile(), 7).path
    data = bytearray(path.read_bytes())
    one, other = (80 + 64 * index for index in swap)
    data[one : one + 64], data[other : other + 64] = data[other : other + 64], data[one : one + 64]
    path.write_bytes(data)

    with pytest.raises(InvalidSrs, match="are not successive powers"):
        open_srs(path)


def test_a_file_named_after_another_id_does_not_open(tmp_path: Path) -> None:
    srs = imported(tmp_path, PtauFile())
    right, wrong = imported_file(tmp_path, srs.id), imported_file(tmp_path, bytes(32))
    right.write_bytes(srs.path.read_bytes())
    wrong.write_bytes(srs.path.read_bytes())

    assert open_srs(right).id == srs.id
    with pytest.raises(InvalidSrs, match=f"is another SRS than its name says: it is {srs.id.hex()}"):
        open_srs(wrong)


def test_too_few_points_are_told_with_the_dimension(tmp_path: Path) -> None:
    srs = imported(tmp_path, PtauFile())

    srs.require(15)
    with pytest.raises(InvalidSrs, match=r"SRS too short for d = 4: .*own\.ptau has 15 points, expected 16"):
        srs.require(4 + BLINDER_POINTS)


def test_the_insecure_tau_and_its_id_are_what_everybody_can_compute() -> None:
    assert int.from_bytes(keccak(text="fedmarket insecure tau"), "big") % R == INSECURE_TAU
    assert srs_id(INSECURE_TAU) == INSECURE_SRS_ID


def test_the_insecure_srs_has_the_powers_of_the_insecure_tau(tmp_path: Path) -> None:
    srs = make_insecure(tmp_path / "new" / INSECURE_FILE, 30)

    assert (srs.is_insecure, srs.id, srs.ceremony_power) == (True, INSECURE_SRS_ID, 0)
    expected = [evm(oracle.multiply(oracle.G1, pow(INSECURE_TAU, k, R))) for k in range(30)]
    assert [point_bytes(point) for point in srs.points] == expected


def test_the_insecure_srs_passes_the_full_check(tmp_path: Path) -> None:
    srs = make_insecure(tmp_path / INSECURE_FILE, 300)

    assert import_ptau(srs.path, tmp_path / "insecure-too.ptau").points.tobytes() == srs.points.tobytes()


@pytest.mark.usefixtures("small_blocks")
def test_the_insecure_srs_is_the_same_in_any_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seamed = make_insecure(tmp_path / "insecure-a.ptau", 11).path.read_bytes()
    monkeypatch.undo()

    assert make_insecure(tmp_path / "insecure-b.ptau", 11).path.read_bytes() == seamed


def test_the_insecure_srs_grows_and_never_shrinks(tmp_path: Path) -> None:
    path = tmp_path / INSECURE_FILE
    short = make_insecure(path, 20)
    made = path.stat().st_mtime_ns

    assert len(make_insecure(path, 15).points) == 20
    assert path.stat().st_mtime_ns == made
    longer = make_insecure(path, 40)
    assert len(longer.points) == 40
    assert longer.points[:20].tobytes() == short.points.tobytes()


def test_a_damaged_insecure_srs_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / INSECURE_FILE
    whole = make_insecure(path, 20).path.read_bytes()
    path.write_bytes(whole[:-1])

    make_insecure(path, 20)

    assert path.read_bytes() == whole


@pytest.mark.parametrize("points", [-1, 0, 1, 2**29, 2**63])
def test_an_insecure_srs_of_an_impossible_length_is_refused(tmp_path: Path, points: int) -> None:
    with pytest.raises(InvalidSrs, match=f"an SRS cannot have {points} points, expected 2 to 536870911"):
        make_insecure(tmp_path / INSECURE_FILE, points)
    assert list(tmp_path.iterdir()) == []


def test_the_insecure_srs_says_so_in_its_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidSrs, match="expected a name with `insecure`"):
        make_insecure(tmp_path / "srs.ptau", 20)
    insecure = make_insecure(tmp_path / INSECURE_FILE, 20).path
    with pytest.raises(InvalidSrs, match="expected a name with `insecure`"):
        import_ptau(insecure, tmp_path / "secure.ptau")
    insecure.rename(tmp_path / "secure.ptau")
    with pytest.raises(InvalidSrs, match="expected a name with `insecure`"):
        open_srs(tmp_path / "secure.ptau")
    with pytest.raises(InvalidSrs, match="expected a name without `insecure`"):
        import_ptau(PtauFile().write(tmp_path / "pot.ptau"), insecure)


def test_processes_that_make_it_at_once_all_get_enough(tmp_path: Path) -> None:
    wanted = [30, 90, 60, 120]
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        lengths = list(pool.map(length_made, [tmp_path / INSECURE_FILE] * 4, wanted))

    assert all(length >= points for length, points in zip(lengths, wanted, strict=True))
    assert len(open_srs(tmp_path / INSECURE_FILE).points) == 120
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", INSECURE_FILE]


def length_made(path: Path, points: int) -> int:
    return len(make_insecure(path, points).points)


def test_the_insecure_srs_is_made_when_it_is_asked_for(tmp_path: Path) -> None:
    assert len(find_srs(tmp_path, INSECURE_SRS_ID, 25).points) == 25
    assert len(find_srs(tmp_path, INSECURE_SRS_ID, 35).points) == 35


def test_an_imported_srs_is_found_by_its_id(tmp_path: Path) -> None:
    source = PtauFile().write(tmp_path / "pot.ptau")
    import_ptau(source, imported_file(tmp_path, srs_id(TAU)))

    assert find_srs(tmp_path, srs_id(TAU), 15).id == srs_id(TAU)
    with pytest.raises(InvalidSrs, match=r"expected 16; `fedmarket srs import FILE\.ptau --points 16`"):
        find_srs(tmp_path, srs_id(TAU), 16)


def test_an_srs_that_is_not_here_is_refused_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidSrs, match=f"SRS {'11' * 32} is not in .*: `fedmarket srs import FILE.ptau --points 20`"):
        find_srs(tmp_path, b"\x11" * 32, 20)
    assert list(tmp_path.iterdir()) == []


def test_the_insecure_srs_is_refused_off_development_chains() -> None:
    refuse_insecure(INSECURE_SRS_ID, 31337, is_development_chain=True)
    refuse_insecure(srs_id(TAU), 1, is_development_chain=False)
    with pytest.raises(InvalidSrs, match="is insecure, everybody knows its tau, and chain 1 is no development chain"):
        refuse_insecure(INSECURE_SRS_ID, 1, is_development_chain=False)
