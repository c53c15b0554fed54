"""The options of commands that serve a store's blocks, and the server while they run."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from market.announced import checked_endpoint
from market.chain.connection import LOOPBACK_HOSTS
from market.protocol.errors import InvalidInput
from market.storage.block_server import BlockServer, Route
from market.storage.content_store import BlockStore

_PLACE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")
_EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Serving:
    """Where to listen, and what to announce.

    Attributes:
        host: address to listen at.
        port: 0 for any that is free.
        public_url: how others reach it; None where that is the same.
    """

    host: str
    port: int
    public_url: str | None

    def endpoint(self, url: str, *, at_home: bool) -> str:
        """The address that is announced.

        Args:
            url: where the server is on this machine.
            at_home: everybody is on this machine: it is a development chain.

        Raises:
            InvalidInput: nobody elsewhere could reach it.
        """
        if self.public_url is not None:
            return checked_endpoint(self.public_url)
        if self.host in _EVERYWHERE or (self.host in LOOPBACK_HOSTS and not at_home):
            raise InvalidInput(f"others do not reach {self.host}: say with --public-url what they do reach")
        return checked_endpoint(url)


class _Place(click.ParamType[tuple[str, int]]):
    """HOST:PORT."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Host and port; one line of error where it is none."""
        if isinstance(value, tuple):
            return value
        found = _PLACE.fullmatch(value)
        if not found or int(found[2]) > 65_535:
            self.fail(f"{value!r} is no place to listen at: expected HOST:PORT, as in 127.0.0.1:8081", param, ctx)
        return found[1].strip("[]"), int(found[2])


def serving_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `serving: Serving | None`."""

    @functools.wraps(command)
    def run(*, serve: tuple[str, int] | None, public_url: str | None, **rest: Any) -> Any:
        if serve is None and public_url is not None:
            raise InvalidInput("--public-url says how others reach what --serve serves: name --serve HOST:PORT as well")
        return command(serving=Serving(*serve, public_url) if serve else None, **rest)

    run = click.option(
        "--public-url", metavar="URL", help="How others reach --serve; announced on the chain. The same by default."
    )(run)
    return click.option(
        "--serve",
        type=_Place(),
        metavar="HOST:PORT",
        help="Serve the blocks of the own store by HTTP, and announce where; port 0 takes any.",
    )(run)


@contextmanager
def served(
    serving: Serving | None, store: BlockStore, *, at_home: bool, routes: Mapping[str, Route] | None = None
) -> Iterator[str]:
    """Serve a store's blocks while this lasts; yields the endpoint to announce, empty where nothing is served.

    Raises:
        InvalidInput: the place is taken, or nobody elsewhere could reach it.
    """
    if serving is None:
        yield ""
        return
    with listening(store, serving.host, serving.port, routes) as server:
        yield serving.endpoint(server.url, at_home=at_home)


def listening(store: BlockStore, host: str, port: int, routes: Mapping[str, Route] | None = None) -> BlockServer:
    """A server of a store's blocks that listens.

    Raises:
        InvalidInput: the place is taken, or none of this machine.
    """
    try:
        return BlockServer(store, host=host, port=port, routes=routes)
    except OSError as error:
        raise InvalidInput(f"cannot listen on {host} port {port}: {error.strerror}") from error
