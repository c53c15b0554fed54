"""How often one address may ask: buckets that fill as time goes by, and never more of them than fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.api import limits
from market.api.client_address import ClientAddresses, counted_as
from market.api.limits import TokenBuckets


class Clock:
    """A clock that is moved by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_minute_of_requests_may_come_at_once_and_then_as_time_goes_by() -> None:
    clock = Clock()
    buckets = TokenBuckets(60, clock)

    assert [buckets.take("a").left for _ in range(60)] == list(range(59, -1, -1))
    refused = buckets.take("a")
    assert (refused.allowed, refused.wait_s) == (False, 1)
    assert buckets.take("b").allowed
    clock.now_s = 1.0
    assert buckets.take("a").allowed
    assert not buckets.take("a").allowed


def test_slow_limit_says_how_long_to_wait() -> None:
    buckets = TokenBuckets(2, Clock())
    buckets.take("a")
    buckets.take("a")

    assert buckets.take("a").wait_s == 30


def test_who_waits_as_long_as_told_is_let_in() -> None:
    clock = Clock()
    for a_minute in (1, 7, 60, 1_200):
        buckets = TokenBuckets(a_minute, clock)
        while (verdict := buckets.take("a")).allowed:
            pass
        clock.now_s += verdict.wait_s
        assert buckets.take("a").allowed, a_minute


@given(st.integers(1, 600), st.lists(st.floats(0, 30), max_size=200))
def test_never_more_are_let_in_than_a_full_bucket_and_what_filled_it(a_minute: int, pauses_s: list[float]) -> None:
    clock = Clock()
    buckets = TokenBuckets(a_minute, clock)
    allowed = 0
    for pause_s in pauses_s:
        clock.now_s += pause_s
        allowed += buckets.take("a").allowed
    assert allowed <= a_minute * (1 + clock.now_s / 60) + 1e-6


def test_addresses_are_forgotten_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 10)
    buckets = TokenBuckets(60, Clock())
    for number in range(1_000):
        buckets.take("steady")
        buckets.take(str(number))
        assert len(buckets) <= 10
    assert not buckets.take("steady").allowed, "who keeps asking is not forgotten"


@pytest.mark.parametrize(
    ("peer", "said", "found"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # no proxy of ours
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the left is whatever the client wrote
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("", None, "::"),
    ],
)
def test_only_a_trusted_proxy_is_believed(peer: str, said: str | None, found: str) -> None:
    headers = [] if said is None else [(b"x-forwarded-for", said.encode())]
    scope = {"type": "http", "client": (peer, 1) if peer else None, "headers": headers}

    assert str(ClientAddresses(["10.0.0.0/8"]).of(scope)) == found


@pytest.mark.parametrize(
    ("peer", "headers", "trusted", "here"),
    [
        ("127.0.0.1", [], (), True),
        ("::1", [], (), True),
        ("203.0.113.9", [], (), False),
        ("127.0.0.1", [(b"x-forwarded-for", b"203.0.113.9")], (), False),
        ("127.0.0.1", [(b"x-forwarded-for", b"127.0.0.1")], (), False),
        ("127.0.0.1", [(b"x-forwarded-for", b"203.0.113.9")], ("127.0.0.1",), False),
        ("203.0.113.9", [(b"x-forwarded-for", b"127.0.0.1")], (), False),
    ],
)
def test_only_this_machine_itself_counts_as_this_machine(
    peer: str, headers: list[tuple[bytes, bytes]], trusted: tuple[str, ...], here: bool
) -> None:
    scope = {"type": "http", "client": (peer, 1), "headers": headers}

    assert ClientAddresses(trusted).is_this_machine(scope) is here


def test_addresses_of_one_subscriber_are_counted_together() -> None:
    of = ClientAddresses([]).of
    names = {
        counted_as(of({"type": "http", "client": (peer, 1), "headers": []}))
        for peer in ("2001:db8::1", "2001:db8::ffff:2")
    }

    assert names == {"2001:db8::/64"}
