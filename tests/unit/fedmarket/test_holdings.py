"""What an attestor keeps: on the record before it is pinned, and until it was promised, whoever restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmarket.holdings import NOTHING, Held, Holdings
from market.protocol.errors import InvalidInput
from market.protocol.identifiers import JobId
from market.storage import Cid, EmbeddedStore

ACCOUNT = "0x00000000000000000000000000000000000000aA"


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store")


def holdings(store: EmbeddedStore, account: str = ACCOUNT) -> Holdings:
    """As a new process opens them."""
    return Holdings(store, store.root.parent / "held" / account, JobId(4), account)


def keep(store: EmbeddedStore, attempt: int, content: bytes, until_s: int, account: str = ACCOUNT) -> Cid:
    cid, kept = store.add_bytes(content), holdings(store, account)
    kept.keep(attempt, cid, until_s)
    store.pin(cid, kept.reason(attempt))
    return cid


def test_what_is_kept_is_known_after_a_restart(store: EmbeddedStore) -> None:
    first, second = keep(store, 3, b"first", 100), keep(store, 3, b"second", 90)
    assert holdings(store).of(3) == Held(100, frozenset({first, second}))
    assert holdings(store).of(2) == NOTHING


def test_nothing_is_released_before_its_time(store: EmbeddedStore) -> None:
    keep(store, 0, b"first", 100)
    keep(store, 1, b"second", 200)
    assert holdings(store).due(100) == []
    assert holdings(store).due(101) == [0]
    holdings(store).prolong(0, 300)
    holdings(store).prolong(0, 250)
    assert holdings(store).due(250) == [1]
    assert holdings(store).due(301) == [0, 1]


def test_a_release_takes_back_what_this_attestor_pinned_and_nobody_else_s_pin(store: EmbeddedStore) -> None:
    first, second = keep(store, 0, b"first", 100), keep(store, 1, b"second", 200)
    keep(store, 0, b"first", 100, account="0xB")
    store.pin(first, "somebody's own reason")
    holdings(store).release(0)
    holdings(store).release(0)
    assert store.pins() == {
        first: {"somebody's own reason", "job 4 attempt 0 attestor 0xB"},
        second: {f"job 4 attempt 1 attestor {ACCOUNT}"},
    }
    assert holdings(store).due(1_000) == [1]


def test_a_record_without_its_pin_can_be_released(store: EmbeddedStore) -> None:
    """The process was killed between the two."""
    holdings(store).keep(0, store.add_bytes(b"first"), 100)
    holdings(store).release(0)
    assert holdings(store).due(1_000) == []


@pytest.mark.parametrize(
    "damage", ["", "{}", "[]", '{"until_s": -1, "contents": []}', '{"until_s": 1, "contents": ["not one"]}', "nonsense"]
)
def test_a_damaged_record_is_named(store: EmbeddedStore, damage: str) -> None:
    keep(store, 0, b"first", 100)
    [path] = (store.root.parent / "held" / ACCOUNT).glob("*.json")
    path.write_text(damage)
    with pytest.raises(InvalidInput, match=r"attempt-000000\.json is damaged"):
        holdings(store).of(0)
