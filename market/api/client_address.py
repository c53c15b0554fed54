"""Who asks: the address at the other end, or the one that a trusted proxy says was there."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import Scope

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

IPV6_PREFIX = 64
"""What one subscriber has at least: its addresses are counted together."""

NOWHERE = ipaddress.IPv6Address(0)
"""Where the server does not say who asks."""


class ClientAddresses:
    """Finds out where requests come from."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self._trusted: tuple[Network, ...] = tuple(map(ipaddress.ip_network, trusted_proxies))

    def of(self, scope: Scope) -> Address:
        """The nearest address that is no trusted proxy's."""
        address = _parsed(scope["client"][0] if scope.get("client") else "") or NOWHERE
        said = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
        while self._is_trusted(address) and said:
            nearer = _parsed(said.pop().strip())
            if nearer is None:
                break
            address = nearer
        return address

    def is_this_machine(self, scope: Scope) -> bool:
        """Whether the request was made here, and not by a proxy for somebody else."""
        forwarded = {"x-forwarded-for", "forwarded", "x-real-ip"}.intersection(Headers(scope=scope))
        address = self.of(scope)
        return address.is_loopback and (not forwarded or self._is_trusted(_parsed(scope["client"][0]) or NOWHERE))

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def counted_as(address: Address) -> str:
    """Under which name an address's requests are counted."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))


def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
