"""Where a command serves, and what it announces of it: an address that others can reach, or none at all."""

from __future__ import annotations

from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner

from fedmarket.commands.serving import Serving, served, serving_options
from market.protocol.errors import InvalidInput
from market.storage import EmbeddedStore

URL = "http://127.0.0.1:8081"


@click.command()
@serving_options
def serve(serving: Serving | None) -> None:
    click.echo(repr(serving))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), None),
        (("--serve", "127.0.0.1:8081"), Serving("127.0.0.1", 8081, None)),
        (("--serve", "[::1]:0"), Serving("::1", 0, None)),
        (
            ("--serve", "0.0.0.0:80", "--public-url", "https://example.org"),
            Serving("0.0.0.0", 80, "https://example.org"),
        ),
    ],
)
def test_a_place_is_a_host_and_a_port(arguments: tuple[str, ...], expected: Serving | None) -> None:
    assert CliRunner().invoke(serve, arguments).stdout == f"{expected!r}\n"


@pytest.mark.parametrize("place", ["8081", "127.0.0.1", "127.0.0.1:", ":8081", "a b:1", "127.0.0.1:65536", "host:-1"])
def test_anything_else_is_no_place(place: str) -> None:
    result = CliRunner().invoke(serve, ["--serve", place])
    assert result.exit_code == 2
    assert "expected HOST:PORT" in result.stderr


@pytest.mark.parametrize(
    ("serving", "at_home", "announced"),
    [
        (Serving("127.0.0.1", 0, None), True, URL),
        (Serving("127.0.0.1", 0, None), False, None),
        (Serving("localhost", 0, None), False, None),
        (Serving("0.0.0.0", 0, None), True, None),
        (Serving("::", 0, None), False, None),
        (Serving("127.0.0.1", 0, "https://example.org/blocks/"), False, "https://example.org/blocks"),
        (Serving("0.0.0.0", 0, "https://example.org"), False, "https://example.org"),
        (Serving("198.51.100.7", 0, None), False, URL),
        (Serving("127.0.0.1", 0, "https://somebody@example.org"), False, None),
        (Serving("127.0.0.1", 0, "https://example.org/" + "a" * 200), False, None),
    ],
)
def test_what_others_cannot_reach_is_not_announced(serving: Serving, at_home: bool, announced: str | None) -> None:
    if announced is None:
        with pytest.raises(InvalidInput):
            serving.endpoint(URL, at_home=at_home)
    else:
        assert serving.endpoint(URL, at_home=at_home) == announced


def test_a_store_is_served_while_the_command_runs_and_with_it_what_else_is_to_be_shown(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    cid = store.add_bytes(b"a block")
    with served(Serving("127.0.0.1", 0, None), store, at_home=True, routes={"/said/": str.encode}) as url:
        with httpx.Client(base_url=url, trust_env=False) as http:
            assert http.get(f"/ipfs/{cid}?format=raw").content == b"a block"
            assert http.get("/said/this").content == b"this"
        with (
            pytest.raises(InvalidInput, match="cannot listen on 127"),
            served(Serving("127.0.0.1", int(url.rpartition(":")[2]), None), store, at_home=True),
        ):
            pass
    with httpx.Client(trust_env=False) as http, pytest.raises(httpx.ConnectError):
        http.get(url)


def test_nothing_is_served_where_nobody_asked_for_it(tmp_path: Path) -> None:
    with served(None, EmbeddedStore(tmp_path), at_home=False) as url:
        assert url == ""
