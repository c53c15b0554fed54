"""The merged log: aligned, plain where nobody watches, and nothing in it that a terminal would obey."""

from __future__ import annotations

import io
import re

import pytest

from fedmarket.network.merged_log import MergedLog, clean


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_names_are_aligned_and_the_text_is_plain() -> None:
    stream = io.StringIO()
    log = MergedLog(stream, ["chain", "trainer-0"])

    log.line("chain", "block 1\n")
    log.line("trainer-0", "committed")
    log.line("chain", "   \n")
    log.note("ready")

    assert stream.getvalue().splitlines() == [
        "chain     | block 1",
        "trainer-0 | committed",
        "network   | ready",
    ]


def test_every_name_has_a_colour_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    log = MergedLog(stream, ["chain", "market"])

    log.line("chain", "x")
    log.line("market", "x")

    first, second = stream.getvalue().splitlines()
    assert first.startswith("\x1b[36m")
    assert second.startswith("\x1b[32m")


def test_no_colour_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()

    MergedLog(stream, ["chain"]).line("chain", "x")

    assert stream.getvalue() == "chain   | x\n"


def test_lines_begin_with_the_time_if_asked() -> None:
    stream = io.StringIO()

    MergedLog(stream, ["chain"], timestamps=True).line("chain", "x")

    assert re.fullmatch(r"\d\d:\d\d:\d\d chain   \| x\n", stream.getvalue())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m\n", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("10 %\r20 %\r\n", "20 %"),
        ("a\x08b\x07c", "abc"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("tab\tstays", "tab\tstays"),
        ("naïve ×", "naïve ×"),
    ],
)
def test_nothing_that_a_terminal_would_obey_gets_through(text: str, shown: str) -> None:
    assert clean(text) == shown
