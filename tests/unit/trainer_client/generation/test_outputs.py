from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from market.protocol.errors import InvalidOutputs, StorageError
from trainer_client.generation import outputs as module
from trainer_client.generation.outputs import FORMAT, Outputs, joined

IMAGES = Outputs(images=np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4))
TOKENS = Outputs(tokens=np.array([[65, 108], [10, 0]], dtype=np.int32))


def header(*entries: Any, form: Any = FORMAT) -> bytes:
    return json.dumps({"arrays": list(entries), "format": form}, separators=(",", ":")).encode() + b"\n"


@given(
    arrays.arrays(np.float32, st.tuples(*[st.integers(1, 4)] * 3), elements=st.floats(0, 1, width=32)),
    st.booleans(),
)
def test_outputs_are_read_as_they_were_written_and_have_one_file(images: np.ndarray, coloured: bool) -> None:
    outputs = Outputs(images=images[..., None].repeat(3, axis=3) if coloured else images)
    again = Outputs.parse(outputs.to_bytes())
    assert again == outputs
    assert again.images is not None
    assert again.images.tobytes() == outputs.images.tobytes()  # type: ignore[union-attr]
    assert again.to_bytes() == outputs.to_bytes()


def test_the_file_is_a_line_of_json_and_the_values() -> None:
    expected = header(["tokens", "<i4", [2, 2]]) + bytes([65, 0, 0, 0, 108, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0])
    assert TOKENS.to_bytes() == expected
    assert TOKENS.texts == ["Al", "\n\0"]


def test_a_file_is_written_and_read(tmp_path: Path) -> None:
    both = Outputs(tokens=TOKENS.tokens, hidden=np.ones((2, 2, 3), np.float32))
    both.write(tmp_path / "a")
    assert Outputs.read(tmp_path / "a") == both
    with pytest.raises(InvalidOutputs, match="cannot be read"):
        Outputs.read(tmp_path / "b")
    with pytest.raises(StorageError):
        both.write(tmp_path / "none" / "a")


def test_parts_make_the_whole() -> None:
    parts = [IMAGES.subset(0, 1), IMAGES.subset(1, 2)]
    assert joined(parts) == IMAGES
    with pytest.raises(InvalidOutputs, match="2 parts of 2 forms"):
        joined([IMAGES, TOKENS])
    with pytest.raises(InvalidOutputs, match="0 parts"):
        joined([])


BODY = TOKENS.to_bytes().partition(b"\n")[2]
FORGED = {
    "nothing": b"",
    "no line": b"x" * 5000,
    "no JSON": b"{\n" + BODY,
    "deep JSON": b"[" * 1000 + b"\n",
    "a list": b"[]\n",
    "another format": header(["tokens", "<i4", [2, 2]], form="fedmarket/outputs/2") + BODY,
    "an unknown array": header(["pickle", "<i4", [2, 2]]) + BODY,
    "a name that is none": header([["tokens"], "<i4", [2, 2]]) + BODY,
    "another type": header(["tokens", "|O", [2, 2]]) + BODY,
    "another order of bytes": header(["tokens", ">i4", [2, 2]]) + BODY,
    "too few values": header(["tokens", "<i4", [2, 2]]) + BODY[:-1],
    "too many values": header(["tokens", "<i4", [2, 2]]) + BODY + b"\0",
    "more than memory": header(["tokens", "<i4", [1 << 30, 1 << 30]]) + BODY,
    "a negative side": header(["tokens", "<i4", [-2, -2]]) + BODY,
    "a side that is a truth": header(["tokens", "<i4", [2, True, 2]]) + BODY,
    "an empty side": header(["tokens", "<i4", [0, 2]]),
    "one array twice": header(["tokens", "<i4", [1, 2]], ["tokens", "<i4", [1, 2]]) + BODY,
    "arrays in another order": header(["hidden", "<f4", [1, 1, 1]], ["tokens", "<i4", [1, 1]]) + bytes(8),
    "white space": header(["tokens", "<i4", [2, 2]]).replace(b",", b", ") + BODY,
    "unlike numbers of samples": header(["tokens", "<i4", [1, 2]], ["hidden", "<f4", [2, 1, 1]]) + bytes(16),
    "a negative token": header(["tokens", "<i4", [1, 1]]) + b"\xff" * 4,
    "not a number": header(["hidden", "<f4", [1, 1, 1]]) + np.float32(np.nan).tobytes(),
    "brighter than white": header(["images", "<f4", [1, 1, 1]]) + np.float32(2).tobytes(),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_file_that_no_outputs_have_is_refused(what: str) -> None:
    with pytest.raises(InvalidOutputs):
        Outputs.parse(FORGED[what])


@given(st.binary(max_size=200), st.integers(0, 60), st.binary(max_size=3))
def test_whatever_bytes_come_they_are_refused_or_the_only_ones_for_what_they_say(
    noise: bytes, place: int, change: bytes
) -> None:
    good = TOKENS.to_bytes()
    for data in (noise, good[:place] + change + good[place + len(change) :]):
        try:
            found = Outputs.parse(data)
        except InvalidOutputs:
            continue
        assert found.to_bytes() == data


def test_more_than_a_file_may_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 95)
    with pytest.raises(InvalidOutputs, match="more than 95 bytes"):
        IMAGES.to_bytes()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "outputs of 0 kinds"),
        ({"images": np.zeros((1, 2, 2))}, "images are float64"),
        ({"images": np.zeros((2, 2), np.float32)}, r"of shape \(2, 2\)"),
        ({"images": np.full((2, 1, 1), np.inf, np.float32)}, "images: sample 0 has values that are not finite"),
        ({"tokens": np.zeros((1, 0), np.int32)}, r"of shape \(1, 0\)"),
        ({"tokens": np.full((1, 1), 1 << 20, np.int32)}, "expected 0..131071"),
        ({"tokens": TOKENS.tokens, "counts": np.zeros((3, 2), np.int16)}, "as many samples of each"),
    ],
)
def test_what_are_no_outputs_is_refused(arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InvalidOutputs, match=message):
        Outputs(**arrays)  # type: ignore[arg-type]


def test_images_have_no_text() -> None:
    with pytest.raises(InvalidOutputs, match="no bytes"):
        _ = IMAGES.texts
