from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.protocol.errors import InvalidModel
from market.protocol.manifest import MAX_DIMENSION, ParameterManifest

names = st.text(min_size=1).filter(str.isprintable)
shapes = st.dictionaries(names, st.lists(st.integers(1, 9), max_size=4), min_size=1, max_size=8)


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "weight", "shape": [2, 3], "offset": 0, **changes}


def test_entries_follow_one_another_by_name() -> None:
    manifest = ParameterManifest.from_shapes({"b": (4,), "a.weight": (2, 3), "a.bias": ()})
    assert [(e.name, e.shape, e.offset, e.size) for e in manifest.entries] == [
        ("a.bias", (), 0, 1),
        ("a.weight", (2, 3), 1, 6),
        ("b", (4,), 7, 4),
    ]
    assert manifest.dimension == 11


@given(shapes)
def test_every_index_belongs_to_exactly_one_entry(laid_out: dict[str, list[int]]) -> None:
    manifest = ParameterManifest.from_shapes(laid_out)
    owned = [index for e in manifest.entries for index in range(e.offset, e.offset + e.size)]
    assert owned == list(range(manifest.dimension))
    assert {e.name: list(e.shape) for e in manifest.entries} == laid_out


@given(shapes)
def test_json_reads_back(laid_out: dict[str, list[int]]) -> None:
    manifest = ParameterManifest.from_shapes(laid_out)
    assert ParameterManifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


def test_order_of_the_given_shapes_does_not_matter() -> None:
    assert ParameterManifest.from_shapes({"a": (1,), "b": (2,)}) == ParameterManifest.from_shapes(
        {"b": (2,), "a": (1,)}
    )


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(InvalidModel, match="no floating-point parameter"):
        ParameterManifest.from_shapes({})
    with pytest.raises(InvalidModel, match="no floating-point parameter"):
        ParameterManifest.from_json([])


@pytest.mark.parametrize("side", [0, -1])
def test_an_empty_or_negative_side_is_refused(side: int) -> None:
    with pytest.raises(InvalidModel, match="'weight' has shape"):
        ParameterManifest.from_shapes({"weight": (2, side)})


def test_the_longest_vector_is_accepted_and_one_more_is_not() -> None:
    assert ParameterManifest.from_shapes({"a": (1 << 15, 1 << 15)}).dimension == MAX_DIMENSION
    with pytest.raises(InvalidModel, match=f"{MAX_DIMENSION + 1} parameters"):
        ParameterManifest.from_shapes({"a": (1 << 15, 1 << 15), "b": ()})


@pytest.mark.parametrize(
    "unverified",
    [
        None,
        "abc",
        {"weight": [2]},
        [None],
        ["weight"],
        [entry(name=3)],
        [entry(name="\ud800")],
        [entry(name="a\nb")],
        [entry(name="a\0")],
        [entry(x=1)],
        [entry(x="\ud800")],
        [entry(shape="23")],
        [entry(shape=[2.5])],
        [entry(shape=["3"])],
        [entry(shape=[True])],
        [entry(shape=[float("inf")])],
        [entry(offset="0")],
        [entry(offset=False)],
        [entry(offset=0.0)],
        [{"name": "weight", "shape": [1]}],
    ],
)
def test_json_of_another_form_is_refused(unverified: Any) -> None:
    with pytest.raises(InvalidModel, match="manifest: "):
        ParameterManifest.from_json(unverified)


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(InvalidModel, match="'weight' appears twice"):
        ParameterManifest.from_json([entry(), entry()])


@pytest.mark.parametrize("offset", [-1, 1, 6])
def test_an_offset_that_leaves_a_gap_or_overlaps_is_refused(offset: int) -> None:
    with pytest.raises(InvalidModel, match=f"offset {offset}, expected 0"):
        ParameterManifest.from_json([entry(offset=offset)])
