import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from eth_utils.crypto import keccak
from hypothesis import assume, given
from hypothesis import strategies as st

from market.protocol.errors import InvalidExam
from market.protocol.exam import (
    MAX_BOOK_BYTES,
    MAX_SECRET_SLICES,
    ExamBook,
    ExamSlice,
    check_slice,
    exam_path,
    exam_root,
    format_reference,
    parse_reference,
    read_reference,
    reference_bytes,
    slice_of_attempt,
)

CID_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
cids = st.text(CID_LETTERS, min_size=58, max_size=58).map(lambda text: "b" + text)
words = st.binary(min_size=32, max_size=32)
exam_slices = st.builds(ExamSlice, cids, words)
exams = st.lists(exam_slices, min_size=2, max_size=20, unique=True)


def cid(number: int) -> str:
    digits = [CID_LETTERS[number >> shift & 31] for shift in range(25, -5, -5)]
    return "b" + "".join(digits).rjust(58, "a")


def exam_of(count: int) -> list[ExamSlice]:
    return [ExamSlice(cid(number), number.to_bytes(32, "big")) for number in range(count)]


def leaves_of(exam: list[ExamSlice]) -> list[bytes]:
    return [opened.leaf(index) for index, opened in enumerate(exam)]


def book_of(count: int) -> ExamBook:
    references = {attempt: cid(1000 + attempt) for attempt in range(count - 1)}
    return ExamBook.of_slices(exam_of(count), references, {attempt: bytes([7]) * 32 for attempt in references})


# ---------------------------------------------------------------------- the tree


@given(exams, st.data())
def test_every_slice_is_under_the_root_at_its_own_place_and_at_no_other(exam: list[ExamSlice], data: Any) -> None:
    leaves = leaves_of(exam)
    root, count = exam_root(leaves), len(exam)
    index = data.draw(st.integers(0, count - 1))
    path = exam_path(leaves, index)
    check_slice(root, count, index, exam[index], path)
    elsewhere = data.draw(st.integers(-1, count + 1).filter(lambda other: other != index))
    with pytest.raises(InvalidExam, match=f"slice {elsewhere} "):
        check_slice(root, count, elsewhere, exam[index], path)


@given(exams, exam_slices, st.data())
def test_no_other_slice_salt_or_path_is_under_the_root(exam: list[ExamSlice], other: ExamSlice, data: Any) -> None:
    leaves = leaves_of(exam)
    root, count = exam_root(leaves), len(exam)
    index = data.draw(st.integers(0, count - 1))
    path = exam_path(leaves, index)
    assume(other.samples != exam[index].samples and other.salt != exam[index].salt)
    for false in (other, replace(exam[index], samples=other.samples), replace(exam[index], salt=other.salt)):
        with pytest.raises(InvalidExam, match=f"slice {index} is not under"):
            check_slice(root, count, index, false, path)
    at = data.draw(st.integers(0, len(path) - 1))
    bent = [*path[:at], data.draw(words.filter(lambda word: word != path[at])), *path[at + 1 :]]
    with pytest.raises(InvalidExam, match=f"slice {index} is not under"):
        check_slice(root, count, index, exam[index], bent)


@given(exams, st.data())
def test_another_root_has_none_of_the_slices(exam: list[ExamSlice], data: Any) -> None:
    leaves = leaves_of(exam)
    index = data.draw(st.integers(0, len(exam) - 1))
    root = data.draw(words.filter(lambda word: word != exam_root(leaves)))
    with pytest.raises(InvalidExam, match="not under the exam's root"):
        check_slice(root, len(exam), index, exam[index], exam_path(leaves, index))


@given(exams, st.integers(0, 8), words)
def test_a_path_of_another_length_is_refused_before_it_is_followed(
    exam: list[ExamSlice], length: int, sibling: bytes
) -> None:
    leaves = leaves_of(exam)
    assume(length != len(exam_path(leaves, 0)))
    with pytest.raises(InvalidExam, match="path of slice 0"):
        check_slice(exam_root(leaves), len(exam), 0, exam[0], [sibling] * length)
    with pytest.raises(InvalidExam, match="path of slice 0"):
        check_slice(exam_root(leaves), len(exam), 0, exam[0], [sibling[:31]] * len(exam_path(leaves, 0)))


@given(exams)
def test_an_inner_node_is_no_leaf_of_a_smaller_tree(exam: list[ExamSlice]) -> None:
    """What is hashed for a node, 0x01 and 64 bytes, is never what is hashed for a leaf, 0x00 and 95."""
    leaves = leaves_of(exam)
    left, right = leaves[0], leaves[1]
    node = keccak(b"\x01" + left + right)
    assert exam_root(leaves[:2]) == node
    # A tree of one leaf has that leaf as its root: only a slice that hashes to the node could stand for it.
    for opened in exam:
        with pytest.raises(InvalidExam, match="not under"):
            check_slice(node, 1, 0, opened, [])
    assert exam_root([node, bytes(32)]) != exam_root(leaves[:2])


def test_the_leaf_and_the_node_are_what_the_format_says() -> None:
    opened = ExamSlice("b" + "a" * 58, b"\x05" * 32)
    assert opened.leaf(258) == keccak(b"\x00\x00\x00\x01\x02" + b"\x05" * 32 + b"b" + b"a" * 58)
    one, two, three = (ExamSlice(cid(n), bytes([n]) * 32).leaf(n) for n in range(3))
    left, right = keccak(b"\x01" + one + two), keccak(b"\x01" + three + bytes(32))
    assert exam_root([one, two, three]) == keccak(b"\x01" + left + right)
    assert exam_path([one, two, three], 2) == (bytes(32), left)


def test_a_filled_up_place_is_no_slice() -> None:
    exam = exam_of(3)
    leaves = leaves_of(exam)
    path = (leaves[2], exam_root(leaves[:2]))
    with pytest.raises(InvalidExam, match="slice 3 is not among the 3"):
        check_slice(exam_root(leaves), 3, 3, exam[2], path)


def test_an_exam_of_no_slices_has_no_root_and_no_path() -> None:
    with pytest.raises(InvalidExam, match="0 slices"):
        exam_root([])
    with pytest.raises(InvalidExam, match="slice 0 is not among the 0"):
        exam_path([], 0)


def test_no_attempt_is_examined_with_the_public_slice() -> None:
    assert [slice_of_attempt(attempt) for attempt in range(3)] == [1, 2, 3]


# ---------------------------------------------------------------------- the book


@given(exams, st.data())
def test_a_book_survives_its_bytes_and_opens_the_root(exam: list[ExamSlice], data: Any) -> None:
    attempts = st.integers(0, len(exam) - 2)
    references, sealings = data.draw(st.dictionaries(attempts, cids)), data.draw(st.dictionaries(attempts, words))
    book = ExamBook.of_slices(exam, references, sealings)
    assert (book.references, book.sealings) == (references, sealings)
    assert ExamBook.from_bytes(book.to_bytes()) == book
    book.check(exam_root(leaves_of(exam)), len(exam) - 1)


def test_a_book_with_a_slice_that_is_not_under_the_root_is_refused_by_its_name() -> None:
    book = book_of(5)
    false = replace(book, slices=(*book.slices[:3], replace(book.slices[3], samples=cid(99)), book.slices[4]))
    with pytest.raises(InvalidExam, match="slice 3 is not under the exam's root"):
        false.check(book.root, 4)
    swapped = replace(book, slices=(book.slices[1], book.slices[0], *book.slices[2:]))
    with pytest.raises(InvalidExam, match="slice 0 is not under"):
        swapped.check(book.root, 4)


def test_the_book_of_another_exam_is_refused() -> None:
    with pytest.raises(InvalidExam, match="the exam book's root is 0x"):
        book_of(5).check(b"\x01" * 32, 4)
    with pytest.raises(InvalidExam, match="has 5 slices, the job 6"):
        book_of(5).check(book_of(5).root, 5)


def test_the_largest_book_fits_one_block() -> None:
    slices = MAX_SECRET_SLICES + 1
    size = len(book_of(slices).to_bytes())
    assert size <= MAX_BOOK_BYTES
    assert size * (slices + slices // 40) > MAX_BOOK_BYTES * slices, "nor could there be many more"


def test_a_book_with_too_few_or_too_many_slices_is_refused() -> None:
    with pytest.raises(InvalidExam, match="1 slices"):
        book_of(1)
    with pytest.raises(InvalidExam, match=f"{MAX_SECRET_SLICES + 2} slices"):
        book_of(MAX_SECRET_SLICES + 2)


def test_a_reference_without_a_slice_is_refused() -> None:
    with pytest.raises(InvalidExam, match="reference for attempt 4, expected 0 to 3"):
        ExamBook.of_slices(exam_of(5), {4: cid(0)}, {})


def test_a_sealing_without_a_slice_or_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidExam, match="sealing for attempt 4, expected 0 to 3"):
        ExamBook.of_slices(exam_of(5), {}, {4: bytes(32)})
    with pytest.raises(InvalidExam, match="sealing of attempt 3 in the exam book has 31 bytes, expected 32"):
        ExamBook.of_slices(exam_of(5), {}, {3: bytes(31)})


def _changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    value = json.loads(book_of(3).to_bytes())
    change(value)
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("unverified_book", "said"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 50_000, "not JSON: is nested"),
        (b"[]", "is not an object of"),
        (b" " * (MAX_BOOK_BYTES + 1), "at most"),
        (_changed(lambda book: book.pop("leaves")), "is not an object of"),
        (_changed(lambda book: book.update(more=1)), "is not an object of"),
        (_changed(lambda book: book.update(format="fedmarket/exam/1")), "is not an object of"),
        (_changed(lambda book: book.pop("sealings")), "is not an object of .*sealings"),
        (_changed(lambda book: book.update(slices={})), "two lists"),
        (_changed(lambda book: book.update(references=[])), "two objects"),
        (_changed(lambda book: book.update(sealings=[])), "two objects"),
        (_changed(lambda book: book["leaves"].pop()), "3 slices and 2 leaves"),
        (_changed(lambda book: book["leaves"].__setitem__(1, 7)), "leaf 1 .* is 7"),
        (_changed(lambda book: book["leaves"].__setitem__(1, "AB" * 32)), "leaf 1 .* expected 64 hex"),
        (_changed(lambda book: book["slices"].__setitem__(2, 7)), "slice 2 .* is 7, expected samples and salt"),
        (_changed(lambda book: book["slices"][2].update(x=1)), "slice 2 .* expected samples and salt"),
        (_changed(lambda book: book["slices"][2].update(salt="00")), "salt of slice 2 .* '00'"),
        (_changed(lambda book: book["slices"][2].update(samples=5)), "samples of a slice: 5 is not a CID"),
        (_changed(lambda book: book["slices"][2].update(samples="Qm" + "a" * 44)), "is not a CID of version 1"),
        (_changed(lambda book: book["references"].update({"0": None})), "reference of attempt 0: None"),
        (_changed(lambda book: book["references"].update({"00": cid(1)})), "attempt '00', expected its number"),
        (_changed(lambda book: book["references"].update({"-1": cid(1)})), "attempt '-1', expected its number"),
        (_changed(lambda book: book["references"].update({"9" * 5000: cid(1)})), "expected its number"),
        (_changed(lambda book: book["references"].update({"2": cid(1)})), "attempt 2, expected 0 to 1"),
        (_changed(lambda book: book["sealings"].update({"2": "00" * 32})), "sealing for attempt 2, expected 0 to 1"),
        (_changed(lambda book: book["sealings"].update({"x": "00" * 32})), "sealing for attempt 'x', expected its"),
        (_changed(lambda book: book["sealings"].update({"1": "00" * 31})), "sealing of attempt 1 .* expected 64 hex"),
        (_changed(lambda book: book["sealings"].update({"1": None})), "sealing of attempt 1 .* is None"),
    ],
)
def test_a_book_that_is_none_is_refused_with_what_is_wrong(unverified_book: bytes, said: str) -> None:
    with pytest.raises(InvalidExam, match=said):
        ExamBook.from_bytes(unverified_book)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(unverified_book: bytes) -> None:
    with pytest.raises(InvalidExam):
        ExamBook.from_bytes(unverified_book)


# ---------------------------------------------------------------------- references


@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=50))
def test_a_reference_survives_its_bytes(entries: list[int]) -> None:
    reference = np.array(entries, dtype=np.int32)
    data = format_reference(reference)
    assert len(data) == reference_bytes(len(entries))
    assert data == b"".join(entry.to_bytes(4, "little", signed=True) for entry in entries)
    assert np.array_equal(parse_reference(data, len(entries)), reference)


def test_a_reference_of_another_length_or_with_the_one_entry_too_low_is_refused(tmp_path: Any) -> None:
    with pytest.raises(InvalidExam, match="has 8 bytes, expected 12"):
        parse_reference(bytes(8), 3)
    lowest = np.array([1, -(2**31), 0], dtype=np.int32)
    with pytest.raises(InvalidExam, match="entry 1 is -2"):
        format_reference(lowest)
    with pytest.raises(InvalidExam, match="entry 1 is -2"):
        parse_reference(lowest.tobytes(), 3)
    path = tmp_path / "r.i32"
    with pytest.raises(InvalidExam, match="cannot be read"):
        read_reference(path, 3)
    path.write_bytes(lowest.tobytes())
    with pytest.raises(InvalidExam, match="entry 1 is -2"):
        read_reference(path, 3)
    path.write_bytes(np.array([1, -5, 0], dtype="<i4").tobytes())
    assert read_reference(path, 3).tolist() == [1, -5, 0]
