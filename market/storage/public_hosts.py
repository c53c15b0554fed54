"""Hosts that strangers named: only those of the public internet are gone to.

An address on the chain is a stranger's word. Followed blindly it would let whoever wrote it ask things of machines that
only this one can reach. So a name is looked up once, every address that it stands for has to be a public one, and the
connection goes to what was looked at, whatever the name says a moment later.
"""

from __future__ import annotations

import ipaddress
import socket

import httpcore

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses of IPv4 hosts (RFC 6052)."""

_UNICAST = ipaddress.ip_network("2000::/3")
"""The IPv6 addresses that are given out: others lead into some network's inside, whatever they are called."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def public_address(host: str, port: int) -> str:
    """The IP address that a host has now.

    Raises:
        httpcore.ConnectError: it is not to be found, or one of its addresses is no public one.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} is not to be found") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not is_public(address):
            raise httpcore.ConnectError(f"{host} is {address}, which is no public address")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; those that stand for an IPv4 address are as public as it."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    stood_for = _stood_for(parsed)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed not in _UNICAST and not stood_for:
        return False
    return all(each.is_global and not each.is_multicast for each in (parsed, *stood_for))


def _stood_for(address: _Address) -> list[_Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[_Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]
