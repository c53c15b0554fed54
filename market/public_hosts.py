"""Going to addresses that strangers announced: by http or https, on the public internet, and no further.

An address on the chain is a stranger's word. Followed blindly it would let whoever wrote it ask things of machines that
only this one can reach. So a name is looked up once, every address that it stands for has to be a public one, and the
connection goes to what was looked at; redirects are not followed, and answers are bounded in length and time.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from urllib.parse import urlsplit

import httpx

from market.protocol.errors import InvalidInput

MAX_ENDPOINT_BYTES = 200
"""Of an endpoint's address, as the contract announces it."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses of IPv4 hosts (RFC 6052)."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def checked_endpoint(unverified_url: str) -> str:
    """An endpoint's address: scheme, host, port where one is named, and a path without its last slash.

    Raises:
        InvalidInput: it is none that is followed.
    """
    shown = repr(unverified_url[:MAX_ENDPOINT_BYTES])
    try:
        parts = urlsplit(unverified_url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"{shown} is no address of an endpoint: {error}") from error
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise InvalidInput(f"{shown} is no address of an endpoint: expected http://HOST:PORT or https://HOST")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InvalidInput(f"{shown}: an endpoint's address names nobody, and has neither query nor fragment")
    if len(unverified_url.encode()) > MAX_ENDPOINT_BYTES or not unverified_url.isascii():
        raise InvalidInput(f"{shown}: an endpoint's address has at most {MAX_ENDPOINT_BYTES} ASCII characters")
    if any(character.isspace() or not character.isprintable() for character in unverified_url):
        raise InvalidInput(f"{shown}: an endpoint's address has no spaces")
    return unverified_url.rstrip("/")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; those that stand for an IPv4 address are as public as it."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return all(each.is_global and not each.is_multicast for each in (parsed, *_stood_for(parsed)))


def _stood_for(address: _Address) -> list[_Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[_Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]


class PublicHosts(httpx.BaseTransport):
    """Connects to the public internet alone: to the very address that was looked at, whatever the name says later."""

    def __init__(self, *, allow_private: bool = False) -> None:
        """Connect to nothing yet.

        Args:
            allow_private: on a development chain, whose roles are all on one machine.
        """
        self._allow_private, self._inner = allow_private, httpx.HTTPTransport(trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to where its host is now.

        Raises:
            httpx.ConnectError: the host is not to be found, or is no public one.
        """
        url = request.url
        address = self._address(url.host, url.port or (443 if url.scheme == "https" else 80), request)
        # The certificate has to be that of the name.
        extensions = {**request.extensions, "sni_hostname": url.host}
        sent = httpx.Request(
            request.method,
            url.copy_with(host=address),
            headers=request.headers,
            stream=request.stream,
            extensions=extensions,
        )
        return self._inner.handle_request(sent)

    def close(self) -> None:
        """Let the connections go."""
        self._inner.close()

    def _address(self, host: str, port: int, request: httpx.Request) -> str:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"{host} is not to be found: {error}", request=request) from error
        addresses = [str(entry[4][0]) for entry in found]
        if not self._allow_private:
            for address in addresses:
                if not is_public(address):
                    raise httpx.ConnectError(f"{host} is {address}, which is no public address", request=request)
        return addresses[0]


def get_bounded(http: httpx.Client, url: str, limit_bytes: int, limit_s: float) -> bytes:
    """What a GET answers with, in so many bytes and seconds at most.

    Args:
        http: a client that follows no redirects.
        url: where.
        limit_bytes: of the answer.
        limit_s: for the whole of it.

    Raises:
        httpx.HTTPError: it is another status than 200, longer, later, or nothing answers.
    """
    until_s = time.monotonic() + limit_s
    with http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer:
        if answer.status_code != httpx.codes.OK:
            raise httpx.HTTPStatusError(
                f"{url} answered with status {answer.status_code}", request=answer.request, response=answer
            )
        body = bytearray()
        for part in answer.iter_raw():
            body += part
            if len(body) > limit_bytes:
                raise httpx.ReadError(f"{url} answered with more than {limit_bytes} bytes", request=answer.request)
            if time.monotonic() > until_s:
                raise httpx.ReadTimeout(f"{url} took longer than {limit_s:g} s", request=answer.request)
    return bytes(body)
