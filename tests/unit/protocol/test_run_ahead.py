from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from market.protocol.run_ahead import DEPTH, map_ahead, run_ahead


def failing(after: int) -> Iterator[int]:
    yield from range(after)
    raise LookupError("the end")


def square(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    return number * number


def test_results_come_in_order() -> None:
    assert list(map_ahead(lambda it: it * it, range(100))) == [it * it for it in range(100)]
    assert list(run_ahead(range(100))) == list(range(100))
    assert list(map_ahead(square, [])) == list(run_ahead([])) == []


def test_what_is_raised_comes_where_its_turn_is() -> None:
    results = map_ahead(square, failing(9))
    assert [next(results) for _ in range(7)] == [0, 1, 4, 9, 16, 25, 36]
    with pytest.raises(ValueError, match="seven"):
        next(results)
    with pytest.raises(LookupError):
        list(map_ahead(square, failing(3)))
    items = run_ahead(failing(3))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError):
        next(items)


def test_no_more_than_a_few_go_ahead() -> None:
    made: list[int] = []

    def counted() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    results = map_ahead(lambda it: it, counted())
    next(results)
    assert len(made) <= DEPTH + 1
    results.close()  # type: ignore[attr-defined]


def test_no_thread_stays_behind_whoever_stops_asking() -> None:
    before = threading.active_count()
    for items in (run_ahead(range(10**9)), map_ahead(square, iter(range(6)))):
        next(items)
        items.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
