"""The sealed exam: slices of the owner's own samples under one root, and the book that opens all of them at the close.

The root is fixed when the job opens. Slice 0 is public from the start; attempt a is examined with slice a + 1, which
stays secret until the close. With keccak256 as H, and 32 zero bytes for what fills the leaves up to a power of two:

    leaf = H(0x00 || index, 4 bytes || salt, 32 bytes || CID of the slice's bytes, 59 characters),
    node = H(0x01 || left || right).

The tags keep a node from being shown as a leaf (as RFC 9162, section 2.1, does), the index a slice from being shown in
another's place, the salt a slice from being guessed. The whole CID is bound, not its digest alone: one digest can name
a block that is read as bytes and as links to other bytes, and the owner could choose which at the close.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from eth_utils.crypto import keccak
from numpy.typing import NDArray

from market.protocol.errors import InvalidExam
from market.protocol.json_text import parse_json
from market.protocol.seal import SALT_BYTES
from market.protocol.vector_file import map_vector_file, slices, view_vector_bytes

BOOK_FORMAT = "fedmarket/exam/2"

MAX_SECRET_SLICES = 720
"""More, and the book that opens them at the close would not fit one block of storage."""

MAX_BOOK_BYTES = 256 * 1024
"""A book is one block, so that its digest alone names it."""

MAX_REFERENCE = (1 << 31) - 1
"""Largest magnitude of an entry of a reference: its commitment's row of the Gram matrix is bounded by it."""

HASH_BYTES = 32

EPHEMERAL_BYTES = 32
"""Length of the private key that a reference was sealed with."""

_LEAF, _NODE = b"\x00", b"\x01"
_EMPTY = bytes(HASH_BYTES)
_CID = re.compile(r"b[a-z2-7]{58}")
_DTYPE = np.dtype("<i4")
_FIELDS = {"format", "leaves", "slices", "references", "sealings"}

Reference = NDArray[np.int32]


@dataclass(frozen=True)
class ExamSlice:
    """One slice's opening.

    Attributes:
        samples: CID of the slice's bytes, a .npz of arrays ``inputs`` and ``labels``; version 1, in base32.
        salt: 32 random bytes.

    Raises:
        InvalidExam: one of them is none.
    """

    samples: str
    salt: bytes

    def __post_init__(self) -> None:
        _check_cid(self.samples, "the samples of a slice")
        if len(self.salt) != SALT_BYTES:
            raise InvalidExam(f"the salt of a slice has {len(self.salt)} bytes, expected {SALT_BYTES}")

    def leaf(self, index: int) -> bytes:
        """What the tree holds of this slice at its place."""
        return keccak(_LEAF + index.to_bytes(4, "big") + self.salt + self.samples.encode("ascii"))


def slice_of_attempt(attempt: int) -> int:
    """The slice that an attempt is examined with: each is used once, and slice 0, being public, never."""
    return attempt + 1


# ---------------------------------------------------------------------- the tree


def exam_root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaves 0 .. n - 1, 32 bytes.

    Raises:
        InvalidExam: there is no leaf.
    """
    return _levels(leaves)[-1][0]


def exam_path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The siblings from a leaf up to the root, 32 bytes each.

    Raises:
        InvalidExam: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise InvalidExam(f"slice {index} is not among the {len(leaves)} of the exam")
    return tuple(level[index >> height ^ 1] for height, level in enumerate(_levels(leaves)[:-1]))


def check_slice(root: bytes, count: int, index: int, opened: ExamSlice, unverified_path: Sequence[bytes]) -> None:
    """See that a slice is under an exam's root, at its place.

    Args:
        root: of the job's terms.
        count: how many slices the tree holds, the public one included.
        index: the slice's place.
        opened: the slice.
        unverified_path: the siblings from its leaf up to the root.

    Raises:
        InvalidExam: it is not; the message names the slice.
    """
    height = _height(count)
    if not 0 <= index < count:
        raise InvalidExam(f"slice {index} is not among the {count} of the exam")
    if len(unverified_path) != height or any(len(sibling) != HASH_BYTES for sibling in unverified_path):
        raise InvalidExam(f"the path of slice {index} is not {height} hashes of {HASH_BYTES} bytes")
    node = opened.leaf(index)
    for level, sibling in enumerate(unverified_path):
        node = _node(sibling, node) if index >> level & 1 else _node(node, sibling)
    if node != root:
        raise InvalidExam(f"slice {index} is not under the exam's root 0x{root.hex()}: it leads to 0x{node.hex()}")


def _height(count: int) -> int:
    return (count - 1).bit_length()


def _node(left: bytes, right: bytes) -> bytes:
    return keccak(_NODE + left + right)


def _levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    if not leaves:
        raise InvalidExam("an exam has 0 slices, expected at least the public one")
    levels = [[*leaves, *[_EMPTY] * ((1 << _height(len(leaves))) - len(leaves))]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([_node(below[at], below[at + 1]) for at in range(0, len(below), 2)])
    return levels


# ---------------------------------------------------------------------- the book


@dataclass(frozen=True)
class ExamBook:
    """All of an exam, as its owner publishes it at the close: every slice, every reference, and how each was sealed.

    Attributes:
        leaves: the tree's, by which a single slice that is not under the root can be named.
        slices: their openings, in the same order; the first is the public one.
        references: CID of each attempt's r, by the attempt's number, where an exam was set.
        sealings: the ephemeral private key that each attempt's r was sealed to its aggregator with, 32 bytes, by the
            attempt's number: with it the sealed bytes can be made again (`market.sealing.seal_to`).

    Raises:
        InvalidExam: other numbers of leaves and slices than an exam has, or a value that is none.
    """

    leaves: tuple[bytes, ...]
    slices: tuple[ExamSlice, ...]
    references: Mapping[int, str]
    sealings: Mapping[int, bytes]

    def __post_init__(self) -> None:
        count = len(self.slices)
        if not 2 <= count <= MAX_SECRET_SLICES + 1 or len(self.leaves) != count:
            raise InvalidExam(
                f"the exam book has {count} slices and {len(self.leaves)} leaves, expected as many of each, "
                f"2 to {MAX_SECRET_SLICES + 1}"
            )
        for index, leaf in enumerate(self.leaves):
            if len(leaf) != HASH_BYTES:
                raise InvalidExam(f"leaf {index} of the exam book has {len(leaf)} bytes, expected {HASH_BYTES}")
        for attempt, reference in self.references.items():
            self._check_attempt(attempt, "a reference")
            _check_cid(reference, f"the reference of attempt {attempt}")
        for attempt, ephemeral in self.sealings.items():
            self._check_attempt(attempt, "a sealing")
            if len(ephemeral) != EPHEMERAL_BYTES:
                length = f"{len(ephemeral)} bytes, expected {EPHEMERAL_BYTES}"
                raise InvalidExam(f"the sealing of attempt {attempt} in the exam book has {length}")

    def _check_attempt(self, attempt: int, what: str) -> None:
        last = len(self.slices) - 2
        if not 0 <= attempt <= last:
            raise InvalidExam(f"the exam book has {what} for attempt {attempt}, expected 0 to {last}")

    @classmethod
    def of_slices(
        cls, openings: Sequence[ExamSlice], references: Mapping[int, str], sealings: Mapping[int, bytes]
    ) -> ExamBook:
        """The book of these slices, their leaves computed.

        Raises:
            InvalidExam: other numbers of slices than an exam has, or a reference or a sealing without a slice.
        """
        leaves = tuple(opened.leaf(index) for index, opened in enumerate(openings))
        return cls(leaves, tuple(openings), dict(references), dict(sealings))

    @property
    def root(self) -> bytes:
        """The root that the book's leaves have."""
        return exam_root(self.leaves)

    def check(self, root: bytes, secret_slices: int) -> None:
        """See that this is the book of an exam, and each slice the one that the root was made of.

        Args:
            root: of the job's terms.
            secret_slices: of the job's terms; the public slice comes on top.

        Raises:
            InvalidExam: naming the first slice that is not under the root, or the book's root.
        """
        if len(self.slices) != secret_slices + 1:
            raise InvalidExam(f"the exam book has {len(self.slices)} slices, the job {secret_slices + 1}")
        if self.root != root:
            raise InvalidExam(f"the exam book's root is 0x{self.root.hex()}, the job's 0x{root.hex()}")
        for index in range(len(self.slices)):
            self.check_slice(index)

    def check_slice(self, index: int) -> None:
        """See that one slice is the one that the book's leaf was made of.

        Raises:
            InvalidExam: it is not.
        """
        found = self.slices[index].leaf(index)
        if found != self.leaves[index]:
            raise InvalidExam(
                f"slice {index} is not under the exam's root: its leaf is 0x{found.hex()}, "
                f"the tree's 0x{self.leaves[index].hex()}"
            )

    def to_bytes(self) -> bytes:
        """The canonical JSON: sorted keys, no white space."""
        value = {
            "format": BOOK_FORMAT,
            "leaves": [leaf.hex() for leaf in self.leaves],
            "slices": [{"samples": opened.samples, "salt": opened.salt.hex()} for opened in self.slices],
            "references": {str(attempt): reference for attempt, reference in self.references.items()},
            "sealings": {str(attempt): ephemeral.hex() for attempt, ephemeral in self.sealings.items()},
        }
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_bytes(cls, unverified_data: bytes) -> ExamBook:
        """Parse what storage returned.

        Raises:
            InvalidExam: not such a book; whether it is the job's is for `check` to say.
        """
        fields = _parse_json(unverified_data)
        if not isinstance(fields, dict) or fields.keys() != _FIELDS or fields["format"] != BOOK_FORMAT:
            raise InvalidExam(f"the exam book is not an object of {', '.join(sorted(_FIELDS))} with {BOOK_FORMAT!r}")
        leaves, entries = fields["leaves"], fields["slices"]
        references, sealings = fields["references"], fields["sealings"]
        if not isinstance(leaves, list) or not isinstance(entries, list):
            raise InvalidExam("the exam book's leaves and slices are not two lists")
        if not isinstance(references, dict) or not isinstance(sealings, dict):
            raise InvalidExam("the exam book's references and sealings are not two objects")
        return cls(
            tuple(_parse_hex(leaf, f"leaf {index}") for index, leaf in enumerate(leaves)),
            tuple(_parse_slice(entry, index) for index, entry in enumerate(entries)),
            {_parse_attempt(attempt, "a reference"): reference for attempt, reference in references.items()},
            {_parse_attempt(attempt, "a sealing"): _parse_sealing(text, attempt) for attempt, text in sealings.items()},
        )


def _parse_json(unverified_data: bytes) -> Any:
    if len(unverified_data) > MAX_BOOK_BYTES:
        raise InvalidExam(f"the exam book has {len(unverified_data)} bytes, at most {MAX_BOOK_BYTES} are read")
    try:
        return parse_json(unverified_data)
    except ValueError as error:
        raise InvalidExam(f"the exam book is not JSON: {error}") from error


def _parse_slice(unverified_entry: Any, index: int) -> ExamSlice:
    if not isinstance(unverified_entry, dict) or unverified_entry.keys() != {"samples", "salt"}:
        raise InvalidExam(f"slice {index} of the exam book is {unverified_entry!r:.100}, expected samples and salt")
    return ExamSlice(unverified_entry["samples"], _parse_hex(unverified_entry["salt"], f"the salt of slice {index}"))


def _parse_hex(unverified_text: Any, name: str) -> bytes:
    if not isinstance(unverified_text, str) or not re.fullmatch(r"[0-9a-f]{64}", unverified_text):
        raise InvalidExam(f"{name} of the exam book is {unverified_text!r:.100}, expected 64 hexadecimal digits")
    return bytes.fromhex(unverified_text)


def _parse_sealing(unverified_text: Any, attempt: str) -> bytes:
    return _parse_hex(unverified_text, f"the sealing of attempt {attempt}")


def _parse_attempt(unverified_text: str, what: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,8}", unverified_text):
        raise InvalidExam(f"the exam book has {what} for attempt {unverified_text!r:.100}, expected its number")
    return int(unverified_text)


def _check_cid(unverified_text: Any, name: str) -> None:
    if not isinstance(unverified_text, str) or not _CID.fullmatch(unverified_text):
        raise InvalidExam(f"{name}: {unverified_text!r:.100} is not a CID of version 1 in base32")


# ---------------------------------------------------------------------- references


def reference_bytes(dimension: int) -> int:
    """Length of a stored reference of d entries."""
    return _DTYPE.itemsize * dimension


def format_reference(reference: Reference) -> bytes:
    """R as 4*d bytes, little-endian.

    Raises:
        InvalidExam: an entry is -2^31.
    """
    return _checked(reference).astype(_DTYPE, copy=False).tobytes()


def parse_reference(unverified_data: bytes, dimension: int) -> Reference:
    """View a reference's bytes: int32 (d,), read-only.

    Raises:
        InvalidExam: there are not exactly 4*d bytes, or an entry is -2^31.
    """
    return _checked(view_vector_bytes(unverified_data, _DTYPE, dimension, InvalidExam))


def read_reference(path: Path, dimension: int) -> Reference:
    """Map a reference's file: int32 (d,), read-only.

    Raises:
        InvalidExam: the file cannot be read, is not exactly 4*d bytes long, or an entry is -2^31.
    """
    return _checked(map_vector_file(path, _DTYPE, dimension, InvalidExam))


def agrees(published: Reference, recomputed: Reference) -> bool:
    """Whether two references, int32 (d,) each, are the same training result: a cosine of at least 1 - 1/(200*d).

    Arithmetic in floating point differs by the order of its sums, from one machine to another. Decided in integers:
    ``x > 0`` and ``x^2 * (200*d)^2 >= (200*d - 1)^2 * a * b`` for the inner products x, a and b.

    Raises:
        InvalidExam: their lengths differ.
    """
    if published.shape != recomputed.shape or published.ndim != 1:
        raise InvalidExam(f"references of shape {published.shape} and {recomputed.shape}, expected two of (d,)")
    part = 200 * len(published)
    inner = _inner_product(published, recomputed)
    norms = _inner_product(published, published) * _inner_product(recomputed, recomputed)
    return inner > 0 and (inner * part) ** 2 >= (part - 1) ** 2 * norms


def _inner_product(left: Reference, right: Reference) -> int:
    """Exact: halves of 16 bits have products of at most 2^32, and 2^20 of them add up within float64's 53 bits."""
    total = 0
    for span in slices(len(left)):
        (a_high, a_low), (b_high, b_low) = _halves(left[span]), _halves(right[span])
        middle = int(a_high @ b_low) + int(a_low @ b_high)
        total += (int(a_high @ b_high) << 32) + (middle << 16) + int(a_low @ b_low)
    return total


def _halves(values: Reference) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (values >> 16).astype(np.float64), (values & 0xFFFF).astype(np.float64)


def _checked(reference: Reference) -> Reference:
    for span in slices(len(reference)):
        low = np.flatnonzero(reference[span] < -MAX_REFERENCE)
        if len(low):
            raise InvalidExam(f"the reference's entry {span.start + int(low[0])} is -2^31, expected |x| < 2^31")
    return reference
