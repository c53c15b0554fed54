"""Sign-In with Ethereum: the text that a wallet shows and signs (https://eips.ethereum.org/EIPS/eip-4361).

Parsed strictly by the standard's grammar, so that a text has one reading and a message one text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from eth_utils.address import to_checksum_address

from market.protocol.errors import InvalidInput

VERSION = "1"
MAX_CHARACTERS = 4_096
GREETING = " wants you to sign in with your Ethereum account:"

_UNRESERVED = r"A-Za-z0-9\-._~"
_SUB_DELIMS = r"!$&'()*+,;="
_ESCAPED = r"%[0-9A-Fa-f]{2}"

_SCHEME = r"[A-Za-z][A-Za-z0-9+\-.]*"
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_FIRST_LINE = re.compile(
    rf"(?:(?P<scheme>{_SCHEME})://)?(?P<domain>(?:[{_UNRESERVED}{_SUB_DELIMS}:@\[\]]|{_ESCAPED})+){GREETING}"
)
_STATEMENT = re.compile(rf"[{_UNRESERVED}{_SUB_DELIMS}:/?#\[\]@ ]+")
_URI = re.compile(rf"{_SCHEME}:(?:[{_UNRESERVED}{_SUB_DELIMS}:/?#\[\]@]|{_ESCAPED})*")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,77}")
_NONCE = re.compile(r"[A-Za-z0-9]{8,}")
_REQUEST_ID = re.compile(rf"(?:[{_UNRESERVED}{_SUB_DELIMS}:@]|{_ESCAPED})*")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class SignInMessage:
    """One message. Moments are kept as they are written: see `seconds`.

    Attributes:
        scheme: of the address that asks for the sign-in, where it is said.
        domain: host and port that ask for it.
        address: whose account, checksummed.
        statement: for the person who signs, where there is one.
        uri: what the sign-in is for.
        chain_id: to which the session is bound.
        nonce: against replay.
        issued_at: when.
        expiration_time: until when the message is good, where that is said.
        not_before: from when on.
        request_id: the asking system's own.
        resources: what is to be resolved beside it; None where the message has no such part.
    """

    scheme: str | None = None
    domain: str
    address: str
    statement: str | None = None
    uri: str
    chain_id: int
    nonce: str
    issued_at: str
    expiration_time: str | None = None
    not_before: str | None = None
    request_id: str | None = None
    resources: tuple[str, ...] | None = None

    def to_text(self) -> str:
        """What is signed.

        Raises:
            InvalidInput: a field is none that such a message can have.
        """
        text = "\n".join(self._lines())
        if SignInMessage.parse(text) != self:
            raise InvalidInput("sign-in message: a field's text would be read as another field")
        return text

    @classmethod
    def parse(cls, unverified_text: str) -> SignInMessage:
        """Read what was signed.

        Raises:
            InvalidInput: naming the first line that is not as the standard has it.
        """
        if len(unverified_text) > MAX_CHARACTERS:
            raise InvalidInput(f"sign-in message: {len(unverified_text)} characters, expected at most {MAX_CHARACTERS}")
        lines = _Lines(unverified_text)
        greeting = lines.match(_FIRST_LINE, f"DOMAIN{GREETING}")
        address = lines.match(_ADDRESS, "an account's address")[0]
        if to_checksum_address(address) != address:
            raise InvalidInput(f"sign-in message: the address {address} has no true checksum (EIP-55)")
        return cls(
            scheme=greeting["scheme"],
            domain=greeting["domain"],
            address=address,
            statement=_statement(lines),
            uri=lines.field("URI", _URI),
            chain_id=_versioned_chain_id(lines),
            nonce=lines.field("Nonce", _NONCE),
            issued_at=_moment(lines.field("Issued At", _MOMENT)),
            expiration_time=_optional_moment(lines, "Expiration Time"),
            not_before=_optional_moment(lines, "Not Before"),
            request_id=lines.optional_field("Request ID", _REQUEST_ID),
            resources=_resources(lines),
        )

    def _lines(self) -> list[str]:
        origin = self.domain if self.scheme is None else f"{self.scheme}://{self.domain}"
        lines = [f"{origin}{GREETING}", self.address, ""]
        lines += [""] if self.statement is None else [self.statement, ""]
        lines += [f"URI: {self.uri}", f"Version: {VERSION}", f"Chain ID: {self.chain_id}"]
        lines += [f"Nonce: {self.nonce}", f"Issued At: {self.issued_at}"]
        optional = (
            ("Expiration Time", self.expiration_time),
            ("Not Before", self.not_before),
            ("Request ID", self.request_id),
        )
        lines += [f"{name}: {value}" for name, value in optional if value is not None]
        return lines if self.resources is None else [*lines, "Resources:", *(f"- {uri}" for uri in self.resources)]


def seconds(moment: str) -> float:
    """A message's moment in seconds since 1970.

    Raises:
        InvalidInput: it is none (RFC 3339).
    """
    if not _MOMENT.fullmatch(moment):
        raise InvalidInput(f"sign-in message: {moment[:40]!r} is no moment: expected one such as 2026-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(moment).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"sign-in message: {moment[:40]!r} is no moment: {error}") from error


def moment_text(moment_s: int) -> str:
    """A moment as messages have it."""
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Lines:
    """A message's lines, taken one after the other."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._next = 0

    def match(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        found = pattern.fullmatch(self.peek() or "")
        if found is None:
            self.refuse(expected)
        self._next += 1
        return found

    def empty(self) -> None:
        if self.peek() != "":
            self.refuse("an empty line")
        self._next += 1

    def field(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self.optional_field(name, pattern)
        if value is None:
            self.refuse(f"{name}: …")
        return value

    def optional_field(self, name: str, pattern: re.Pattern[str]) -> str | None:
        line = self.peek()
        if line is None or not line.startswith(f"{name}: "):
            return None
        value = line[len(name) + 2 :]
        if not pattern.fullmatch(value):
            self.refuse(f"another text after {name}:")
        self._next += 1
        return value

    def peek(self) -> str | None:
        return self._lines[self._next] if self._next < len(self._lines) else None

    def refuse(self, expected: str) -> NoReturn:
        found = "its end" if self.peek() is None else repr((self.peek() or "")[:80])
        raise InvalidInput(f"sign-in message: line {self._next + 1} is {found}, expected {expected}")


def _statement(lines: _Lines) -> str | None:
    lines.empty()
    if lines.peek() == "":
        lines.empty()
        return None
    statement = lines.match(_STATEMENT, "a statement, of the characters that URIs have, or an empty line")[0]
    lines.empty()
    return statement


def _versioned_chain_id(lines: _Lines) -> int:
    lines.match(re.compile(f"Version: {VERSION}"), f"Version: {VERSION}")
    return int(lines.field("Chain ID", _NUMBER))


def _moment(text: str) -> str:
    seconds(text)
    return text


def _optional_moment(lines: _Lines, name: str) -> str | None:
    text = lines.optional_field(name, _MOMENT)
    return None if text is None else _moment(text)


def _resources(lines: _Lines) -> tuple[str, ...] | None:
    """The last part: nothing may follow it."""
    if lines.peek() is None:
        return None
    lines.match(re.compile("Resources:"), "another field of EIP-4361, in its order, or the end")
    resources = []
    while lines.peek() is not None:
        resources.append(lines.match(re.compile(f"- {_URI.pattern}"), "- URI")[0][2:])
    return tuple(resources)
