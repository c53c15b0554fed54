"""Events as text: every class comes back as it was, whatever its values."""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass
from enum import IntEnum
from functools import cache
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.chain.events import EVENTS, Event
from market.db.event_codec import PLACE, from_text, to_text


@cache
def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that events have."""
    if isinstance(hint, NewType):
        return values_of(hint.__supertype__)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return st.sampled_from(hint)
    plain = {int: st.integers(-(1 << 31), (1 << 256) - 1), bool: st.booleans(), str: st.text(), bytes: st.binary()}
    if hint in plain:
        return plain[hint]
    if isinstance(hint, type) and is_dataclass(hint):
        return st.builds(hint, **_fields(hint))
    parts = get_args(hint)
    if get_origin(hint) is tuple:
        repeated = parts[1:] == (Ellipsis,)
        return st.lists(values_of(parts[0]), max_size=4).map(tuple) if repeated else st.tuples(*map(values_of, parts))
    assert get_origin(hint) in (Union, types.UnionType), hint
    return st.one_of([st.none() if part is type(None) else values_of(part) for part in parts])


def _fields(kind: Any) -> dict[str, st.SearchStrategy[Any]]:
    hints = get_type_hints(kind)
    return {field.name: values_of(hints[field.name]) for field in fields(kind)}


@pytest.mark.parametrize("kind", EVENTS.values(), ids=EVENTS)
def test_every_event_comes_back_as_it_was(kind: type[Event]) -> None:
    @given(st.builds(kind, **_fields(kind)))
    def check(event: Event) -> None:
        place = {name: getattr(event, name) for name in PLACE}
        assert from_text(kind.__name__, place, to_text(event)) == event

    check()
