"""The structured reference string: [τ^i]1 for i < m, [τ]2 and [τ²]2, for a τ that nobody may know.

**Where it comes from.** A public ceremony's `.ptau` file, in which τ stays unknown if one of all contributors forgot
their part. `import_ptau` checks such a file completely and keeps a compact copy of it. For development chains and tests
`make_insecure` makes one whose τ is public: whoever knows τ opens a commitment to anything. It is the same everywhere,
so that it is recognised by its id, and `refuse_insecure` keeps it off every other chain.

**What the check of the powers proves.** For fresh random ρ_i < 2^128, not known to whoever made the file,

    e(Σ ρ_i·P_(i+1), [1]2) = e(Σ ρ_i·P_i, [τ]2)

If P_(i+1) ≠ τ·P_i for any i, at most one value of ρ_i makes this true, whatever the others are: a wrong file passes
with a probability of at most 2^-128. P_0 = [1]1 and e([τ]1, [τ]2) = e([1]1, [τ²]2) leave nothing else to choose. All of
it is judged on the very bytes that are written.

**What changing the copy afterwards does.** `open_srs` looks again at what decides the id, and whether all points are on
the curve, so that a damaged disk is noticed. It does not check the powers again. Points swapped for others on the curve
change the commitments that are computed here: they match nobody else's, an aggregator excludes such an update, a
prover's own verification of its proof fails before anything is sent, and a proof's verifier uses only what the id
binds. But who opens a model computes with all points, and so does who blinds an update: somebody who can write to this
folder can make this machine take another model for the chain's, or send what hides nothing. Keep it as one keeps keys.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from eth_utils.crypto import keccak

from zk.cores import kernel
from zk.curve import Points, check_points, generator, generator_multiples, negate, point_bytes
from zk.errors import InvalidPoint, InvalidSrs
from zk.field import R, Words, r_element, r_mul, r_plain, single, store
from zk.msm import msm
from zk.pairing import pairing_check
from zk.ptau import COMPACT_G2_POINTS, LARGEST_POWER, Ptau, folder_lock, most_g1_points, write_compact
from zk.twist import G2_GENERATOR, multiply_g2

Progress = Callable[[int, int], None]
"""Called with the number of points done, and of all."""

INSECURE_TAU = int.from_bytes(keccak(text="fedmarket insecure tau"), "big") % R
"""Public: for development chains only."""

INSECURE_SRS_ID = bytes.fromhex("651ce4a918d6c6b5463083250098bf3fba570c1309e5540891e19e9ebda455e6")
"""The id of every SRS of the insecure tau."""

INSECURE_FILE = "insecure.ptau"
SMALLEST = 2
"""Points: the id has [τ]1 in it."""

BLINDER_POINTS = 12
"""Points that a commitment needs beyond its chunk's coordinates."""

_TAG = keccak(text="fedmarket/srs/1")
_BLOCK = 1 << 16
_CHALLENGE_BITS = 128
_ID_NAME = re.compile(r"[0-9a-f]{64}")


def _unseen(done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True, eq=False)
class Srs:
    """A structured reference string that is fit for use.

    Attributes:
        points: [τ^i]1, uint64 of shape (m, 8) as in zk.curve, mapped from the file, read-only.
        tau_g1: [τ]1, 64 bytes as in the EVM.
        tau_g2: [τ]2, 128 bytes.
        tau2_g2: [τ²]2, 128 bytes.
        path: of the file.
        ceremony_power: of the ceremony it comes from; zero for none.
        id: keccak256 of the tag, [τ]1, [τ]2 and [τ²]2. It binds all powers, and says nothing of how many there are.
    """

    points: Points
    tau_g1: bytes
    tau_g2: bytes
    tau2_g2: bytes
    path: Path
    ceremony_power: int
    id: bytes

    @property
    def is_insecure(self) -> bool:
        """Whether its τ is public."""
        return self.id == INSECURE_SRS_ID

    @property
    def largest_chunk(self) -> int:
        """The most coordinates that a chunk of a vector can have."""
        return len(self.points) - BLINDER_POINTS

    def require(self, points: int) -> None:
        """Make sure that there are enough points.

        Raises:
            InvalidSrs: there are fewer.
        """
        if len(self.points) < points:
            raise InvalidSrs(
                f"SRS too short for d = {points - BLINDER_POINTS}: {self.path} has {len(self.points)} points, "
                f"expected {points}"
            )


def open_srs(path: Path) -> Srs:
    """Open a file that `import_ptau` or `make_insecure` wrote, and check it as far as this module's docstring says.

    Raises:
        InvalidSrs: it cannot be read, is damaged, is another than its name says, or was never imported.
    """
    ptau = Ptau.read(path)
    if not ptau.is_compact:
        raise InvalidSrs(f"{path} has not been checked: `fedmarket srs import {path}` does, and keeps what it takes")
    anchor = Anchor.read(ptau)
    _check_name(path, anchor.id)
    points = ptau.map_points()
    _check_points(path, points, 0)
    for start in (0, len(points) - 2):
        _check_powers(path, points[start : start + 2], start, anchor.tau_g2)
    return Srs(points, anchor.tau_g1, anchor.tau_g2, anchor.tau2_g2, path, ptau.ceremony_power, anchor.id)


def import_ptau(source: Path, target: Path, points: int | None = None, progress: Progress = _unseen) -> Srs:
    """Check a ceremony's file, and keep the beginning of it as a compact file.

    The file is read once, from its beginning to the last point wanted, in blocks of a few MB.

    Args:
        source: a `.ptau` file, from anywhere.
        target: of the file to write. The same bytes that were checked are written, and only if all was in order.
        points: of G1, how many to take; all by default.
        progress: called after every block.

    Raises:
        InvalidSrs: the file is no `.ptau` file of BN254, is truncated, has fewer points, or is wrong anywhere.
        OSError: the target cannot be written.
    """
    ptau = Ptau.read(source)
    count = ptau.points if points is None else points
    if not SMALLEST <= count <= ptau.points:
        raise InvalidSrs(
            f"{source} has {ptau.points} points, expected {count}: {SMALLEST} to {ptau.points} can be taken"
        )
    anchor = Anchor.read(ptau)
    _check_name(target, anchor.id)
    with folder_lock(target.parent):
        there = _long_enough(target, count + 1)
        if there is not None:
            raise InvalidSrs(f"{target} has {len(there.points)} points already: expected more to replace it with")
        write_compact(target, count, ptau.ceremony_power, _checked(ptau, anchor, count, progress), anchor.g2)
    return open_srs(target)


def make_insecure(path: Path, points: int, progress: Progress = _unseen) -> Srs:
    """Make the SRS whose τ is public, or open it where it is long enough already.

    Raises:
        InvalidSrs: the file's name does not say that it is insecure, or it cannot have that many points.
        OSError: the file cannot be written.
    """
    most = most_g1_points(LARGEST_POWER)
    if not SMALLEST <= points <= most:
        raise InvalidSrs(f"an SRS cannot have {points} points, expected {SMALLEST} to {most}")
    _check_name(path, INSECURE_SRS_ID)
    with folder_lock(path.parent):
        there = _long_enough(path, points)
        if there is not None:
            return there
        g2 = [multiply_g2(G2_GENERATOR, pow(INSECURE_TAU, power, R)) for power in range(COMPACT_G2_POINTS)]
        write_compact(path, points, 0, _powers(points, progress), g2)
    return open_srs(path)


def find_srs(folder: Path, srs_id: bytes, points: int, progress: Progress = _unseen) -> Srs:
    """Open the SRS of an id from the folder where they are kept; the insecure one is made on the spot.

    Raises:
        InvalidSrs: it is not there, too short, or damaged. The message says how to get it.
        OSError: the insecure one cannot be written.
    """
    if srs_id == INSECURE_SRS_ID:
        return make_insecure(folder / INSECURE_FILE, points, progress)
    path = imported_file(folder, srs_id)
    how = f"`fedmarket srs import FILE.ptau --points {points}` takes it from the ceremony's file"
    if not path.exists():
        raise InvalidSrs(f"SRS {srs_id.hex()} is not in {folder}: {how}")
    srs = open_srs(path)
    try:
        srs.require(points)
    except InvalidSrs as error:
        raise InvalidSrs(f"{error}; {how}") from error
    return srs


def read_id(source: Path) -> bytes:
    """Return the id that a powers-of-tau file would have here; only the points that decide it are checked.

    Raises:
        InvalidSrs: one of them is wrong, or the file is no `.ptau` file of BN254.
    """
    return Anchor.read(Ptau.read(source)).id


def imported_file(folder: Path, srs_id: bytes) -> Path:
    """Return where an imported SRS is kept."""
    return folder / f"{srs_id.hex()}.ptau"


def refuse_insecure(srs_id: bytes, chain_id: int, is_development_chain: bool) -> None:
    """Keep the insecure SRS off every chain but a development chain.

    Raises:
        InvalidSrs: it is the insecure one, and the chain is none for development.
    """
    if srs_id == INSECURE_SRS_ID and not is_development_chain:
        raise InvalidSrs(
            f"SRS {srs_id.hex()} is insecure, everybody knows its tau, and chain {chain_id} is no development chain: "
            "expected a public ceremony's"
        )


@dataclass(frozen=True)
class Anchor:
    """The few points of a file that fix all others, checked against one another.

    Attributes:
        tau_g1: [τ]1, 64 bytes.
        g2: [1]2, [τ]2 and [τ²]2, 128 bytes each.
    """

    tau_g1: bytes
    g2: tuple[bytes, bytes, bytes]

    @classmethod
    def read(cls, ptau: Ptau) -> Anchor:
        """Read them from a file.

        Raises:
            InvalidSrs: one is no point of its group, is infinity, or they are not powers of one τ with τ² ≠ 1.
        """
        path, first = ptau.path, ptau.read_points(0, 2)
        _check_points(path, first, 0)
        tau_g1 = point_bytes(first[1])
        g2 = ptau.read_g2(0), ptau.read_g2(1), ptau.read_g2(2)
        for name, is_generator in (("tauG1", np.array_equal(first[0], generator())), ("tauG2", g2[0] == G2_GENERATOR)):
            if not is_generator:
                raise InvalidSrs(f"{path}: point 0 of section {name} is not the group's generator")
        if g2[2] == G2_GENERATOR:
            raise InvalidSrs(f"{path}: tau is 1 or -1, expected a secret")
        _check_powers(path, first, 0, g2[1])
        if not pairing_check([(tau_g1, g2[1]), (point_bytes(negate(first[0])), g2[2])]):
            raise InvalidSrs(f"{path}: point 2 of section tauG2 is not tau times point 1")
        return cls(tau_g1, g2)

    @property
    def tau_g2(self) -> bytes:
        """[τ]2."""
        return self.g2[1]

    @property
    def tau2_g2(self) -> bytes:
        """[τ²]2."""
        return self.g2[2]

    @property
    def id(self) -> bytes:
        """The id of every SRS with this τ."""
        return keccak(_TAG + self.tau_g1 + self.tau_g2 + self.tau2_g2)


def _check_name(path: Path, srs_id: bytes) -> None:
    """Make sure that a file's name does not promise anything else."""
    if (srs_id == INSECURE_SRS_ID) != ("insecure" in path.name):
        problem = "is" if srs_id == INSECURE_SRS_ID else "is not"
        expected = "with" if srs_id == INSECURE_SRS_ID else "without"
        raise InvalidSrs(
            f"{path} {problem} the insecure SRS that `fedmarket srs make` makes: expected a name {expected} `insecure`"
        )
    if _ID_NAME.fullmatch(path.stem) and path.stem != srs_id.hex():
        raise InvalidSrs(f"{path} is another SRS than its name says: it is {srs_id.hex()}")


def _check_points(path: Path, points: Points, start: int) -> None:
    try:
        check_points(points)
    except InvalidPoint as error:
        raise InvalidSrs(f"{path}: section tauG1, from point {start} on: {error}") from error


def _check_powers(path: Path, points: Points, start: int, tau_g2: bytes) -> None:
    """Make sure that each point is τ times the one before it, by a random linear combination of all these equations."""
    challenges = np.zeros((len(points) - 1, 4), np.uint64)
    challenges[:, :2] = np.frombuffer(secrets.token_bytes(16 * len(challenges)), "<u8").reshape(-1, 2)
    following = msm(points[1:], challenges, _CHALLENGE_BITS)
    before = msm(points[:-1], challenges, _CHALLENGE_BITS)
    if not pairing_check([(point_bytes(following), G2_GENERATOR), (point_bytes(negate(before)), tau_g2)]):
        raise InvalidSrs(
            f"{path}: points {start} to {start + len(points) - 1} of section tauG1 are not successive powers of the "
            "tau in section tauG2"
        )


def _checked(ptau: Ptau, anchor: Anchor, count: int, progress: Progress) -> Iterator[Points]:
    """Yield blocks of points of which everything is checked. Each block is tied to the last point of the one before."""
    last = np.empty((0, 8), np.uint64)
    for start in range(0, count, _BLOCK):
        block = ptau.read_points(start, min(start + _BLOCK, count))
        _check_points(ptau.path, block, start)
        chain = np.concatenate([last, block])
        if len(chain) > 1:
            _check_powers(ptau.path, chain, start - len(last), anchor.tau_g2)
        last = block[-1:]
        yield block
        progress(start + len(block), count)


def _powers(points: int, progress: Progress) -> Iterator[Points]:
    """Yield blocks of [τ^i]1 of the insecure τ."""
    for start in range(0, points, _BLOCK):
        scalars = np.empty((min(_BLOCK, points - start), 4), np.uint64)
        _successive(scalars, r_element(pow(INSECURE_TAU, start, R)), r_element(INSECURE_TAU))
        yield generator_multiples(scalars)
        progress(start + len(scalars), points)


@kernel
def _successive(out: Words, first: Words, ratio: Words) -> None:
    """Write first·ratio^i as plain integers; first and ratio are in Montgomery form."""
    power = single(first)
    for row in range(len(out)):
        store(out, row, r_plain(power))
        power = r_mul(power, single(ratio))


def _long_enough(path: Path, points: int) -> Srs | None:
    """Open a file that may be missing, damaged or too short."""
    try:
        srs = open_srs(path)
    except InvalidSrs:
        return None
    return srs if len(srs.points) >= points else None
