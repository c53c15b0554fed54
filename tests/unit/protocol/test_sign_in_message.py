"""EIP-4361: the standard's own examples, every message back from its text, and every line that is not its grammar's."""

from __future__ import annotations

import string
from dataclasses import replace
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import assume, given
from hypothesis import strategies as st

from market.protocol.errors import InvalidInput
from market.protocol.sign_in_message import MAX_CHARACTERS, SignInMessage, moment_text, seconds

IMPLICIT_SCHEME = """\
example.com wants you to sign in with your Ethereum account:
0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2

I accept the ExampleOrg Terms of Service: https://example.com/tos

URI: https://example.com/login
Version: 1
Chain ID: 1
Nonce: 32891756
Issued At: 2021-09-30T16:25:24Z
Resources:
- ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/
- https://example.com/my-web2-claim.json"""
PORT = IMPLICIT_SCHEME.replace("example.com wants", "example.com:3388 wants")
EXPLICIT_SCHEME = IMPLICIT_SCHEME.replace("example.com wants", "https://example.com wants")

MESSAGE = SignInMessage(
    domain="example.com",
    address="0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2",
    statement="I accept the ExampleOrg Terms of Service: https://example.com/tos",
    uri="https://example.com/login",
    chain_id=1,
    nonce="32891756",
    issued_at="2021-09-30T16:25:24Z",
    resources=(
        "ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/",
        "https://example.com/my-web2-claim.json",
    ),
)
FULL = replace(
    MESSAGE,
    expiration_time="2021-10-01T16:25:24.123Z",
    not_before="2021-09-30T18:25:24+02:00",
    request_id="some-id",
)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (IMPLICIT_SCHEME, {}),
        (PORT, {"domain": "example.com:3388"}),
        (EXPLICIT_SCHEME, {"scheme": "https"}),
    ],
    ids=["implicit scheme", "port", "explicit scheme"],
)
def test_examples_of_the_standard_are_read_and_written(text: str, changes: dict[str, Any]) -> None:
    expected = replace(MESSAGE, **changes)

    assert SignInMessage.parse(text) == expected
    assert expected.to_text() == text


def test_without_a_statement_there_are_two_empty_lines() -> None:
    text = replace(MESSAGE, statement=None).to_text()

    assert text.split("\n")[1:5] == [MESSAGE.address, "", "", "URI: https://example.com/login"]
    assert SignInMessage.parse(text).statement is None


uris = st.builds(lambda path: f"https://example.com/{path}", st.text(string.ascii_letters + "/?#[]@!$&'()*+,;=-._~:"))
moments = st.builds(moment_text, st.integers(0, 4_000_000_000))
messages = st.builds(
    SignInMessage,
    scheme=st.none() | st.sampled_from(["http", "https", "a+b-c.d"]),
    domain=st.from_regex(r"[a-z0-9.\-]{1,30}(:[0-9]{1,5})?", fullmatch=True),
    address=st.binary(min_size=20, max_size=20).map(to_checksum_address),
    statement=st.none() | st.text(string.ascii_letters + string.digits + " -._~:/?#[]@!$&'()*+,;=", min_size=1),
    uri=uris,
    chain_id=st.integers(0, 1 << 64),
    nonce=st.text(string.ascii_letters + string.digits, min_size=8, max_size=64),
    issued_at=moments,
    expiration_time=st.none() | moments,
    not_before=st.none() | moments,
    request_id=st.none() | st.text(string.ascii_letters + "-._~!$&'()*+,;=:@"),
    resources=st.none() | st.lists(uris, max_size=4).map(tuple),
)


@given(messages)
def test_every_message_comes_back_from_its_text(message: SignInMessage) -> None:
    assert SignInMessage.parse(message.to_text()) == message


@given(messages, st.data())
def test_text_that_is_changed_anywhere_is_refused_or_another_message(message: SignInMessage, data: Any) -> None:
    text = message.to_text()
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + data.draw(st.text(min_size=1, max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]
    assume(changed != text)

    try:
        read = SignInMessage.parse(changed)
    except InvalidInput:
        return
    assert read != message
    assert read.to_text() == changed


LINES = FULL.to_text().split("\n")


@pytest.mark.parametrize("at", range(len(LINES)), ids=lambda at: LINES[at][:20] or f"empty line {at}")
@pytest.mark.parametrize("change", ["missing", "twice", "blank before", "blank after", "carriage return", "tab"])
def test_line_that_is_not_as_the_grammar_has_it_is_refused(at: int, change: str) -> None:
    line = LINES[at]
    new = {
        "missing": [],
        "twice": [line, line],
        "blank before": [f" {line}"],
        "blank after": [f"{line} "],
        "carriage return": [f"{line}\r"],
        "tab": [f"{line}\t"],
    }[change]
    text = "\n".join([*LINES[:at], *new, *LINES[at + 1 :]])
    try:
        read = SignInMessage.parse(text)
    except InvalidInput:
        return
    # What may be left out, repeated or longer without breaking the grammar is another message all the same.
    assert read != FULL
    assert read.to_text() == text
    assert line.startswith(("Expiration", "Not Before", "Request ID", "- ", "I accept"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0xC02aaA39", "0xC02aaa39"),
        ("0xC02aaA39", "0xC02"),
        ("Version: 1", "Version: 2"),
        ("Version: 1", "Version: 1.0"),
        ("Chain ID: 1", "Chain ID: 0x1"),
        ("Chain ID: 1", "Chain ID: 01"),
        ("Chain ID: 1", "Chain ID: -1"),
        ("Nonce: 32891756", "Nonce: 3289175"),
        ("Nonce: 32891756", "Nonce: 3289-756"),
        ("URI: https:", "URI: "),
        ("URI: https://example.com/login", "URI: https://example.com/%zz"),
        ("T16:25:24Z", " 16:25:24Z"),
        ("T16:25:24Z", "T16:25:24"),
        ("T16:25:24Z", "T25:25:24Z"),
        ("2021-09-30", "2021-02-30"),
        ("2021-09-30", "٢٠٢١-09-30"),
        ("I accept", 'I "accept'),
        ("I accept", "I äccept"),
        ("example.com wants", "example.com/path wants"),
        ("wants you", "wants  you"),
        ("Resources:", "Resources: "),
        ("- https", "* https"),
    ],
)
def test_field_that_is_not_as_the_grammar_has_it_is_refused(old: str, new: str) -> None:
    assert old in IMPLICIT_SCHEME

    with pytest.raises(InvalidInput, match="sign-in message"):
        SignInMessage.parse(IMPLICIT_SCHEME.replace(old, new, 1))


@pytest.mark.parametrize("text", ["", "\n", "x" * (MAX_CHARACTERS + 1), IMPLICIT_SCHEME + "\n", "\n" + IMPLICIT_SCHEME])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="sign-in message"):
        SignInMessage.parse(text)


def test_message_whose_field_hides_another_is_not_written() -> None:
    with pytest.raises(InvalidInput):
        replace(MESSAGE, statement="yes\n\nURI: https://evil.example").to_text()


def test_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no moment"):
        seconds("2021-09-30T16:25:24")
