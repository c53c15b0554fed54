from __future__ import annotations

import multiprocessing
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk import cores


@pytest.fixture
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "core_count", lambda: 3)


@given(st.integers(0, 10_000), st.integers(1, 5_000))
def test_ranges_cover_everything_once(size: int, grain: int) -> None:
    parts = list(cores.ranges(size, grain))
    assert [at for start, stop in parts for at in range(start, stop)] == list(range(size))
    assert all(stop - start >= grain for start, stop in parts[:-1])
    assert len(parts) <= 4 * cores.core_count() + 1


@pytest.mark.usefixtures("three_cores")
def test_results_come_in_the_order_of_the_items() -> None:
    first_done = threading.Event()

    def square(item: int) -> int:
        if item == 0:
            assert first_done.wait(20)
        first_done.set()
        return item * item

    assert cores.on_all_cores(square, range(50)) == [item * item for item in range(50)]


@pytest.mark.usefixtures("three_cores")
def test_a_task_may_use_the_cores_itself() -> None:
    def total(item: int) -> int:
        return sum(cores.on_all_cores(lambda inner: item * inner, range(10)))

    assert cores.on_all_cores(total, range(20)) == [45 * item for item in range(20)]


@pytest.mark.usefixtures("three_cores")
def test_a_task_that_fails_fails_the_call() -> None:
    def fail(item: int) -> int:
        if item == 7:
            raise ValueError("seven")
        return item

    with pytest.raises(ValueError, match="seven"):
        cores.on_all_cores(fail, range(20))
    assert cores.on_all_cores(abs, [-1, -2]) == [1, 2]


def _double_on_three_cores(item: int) -> int:
    return sum(cores.on_all_cores(lambda part: 2 * part, [item, 0, 0]))


@pytest.mark.usefixtures("three_cores")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own() -> None:
    assert _double_on_three_cores(4) == 8
    with multiprocessing.get_context("fork").Pool(1) as child:
        assert child.apply_async(_double_on_three_cores, (5,)).get(30) == 10
