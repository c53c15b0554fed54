"""What is shown of jobs: what owners write as they wrote it, which is text and never markup, and how rounds ended."""

from types import SimpleNamespace
from typing import Any

from rich.console import Console

from fedmarket.commands.job_overview import AttemptLine
from fedmarket.commands.job_tables import JobLine, _rounds, job_list
from market.protocol.rounds import Phase
from market.protocol.terms import NATIVE


def test_a_name_that_looks_like_markup_is_shown_as_it_is() -> None:
    terms = SimpleNamespace(rounds=5, seats=8, round_reward_wei=1, token=NATIVE)
    state = SimpleNamespace(round=0, seats_taken=0)
    overview: Any = SimpleNamespace(
        id=0, name="[/red] [bold]digits", terms=terms, state=state, moment=SimpleNamespace(phase=Phase.COMMIT)
    )
    screen = Console(width=200)
    with screen.capture() as captured:
        screen.print(job_list([JobLine.of_overview(overview)]))
    assert "[/red] [bold]digits" in captured.get()


def test_a_round_that_accepted_nobody_says_why() -> None:
    terms: Any = SimpleNamespace(token=NATIVE)
    screen = Console(width=200)
    for accepted, words in (((0, 1, 2), "0 1 2"), ((), "nobody"), (None, "")):
        line = AttemptLine(0, 0, "settled", 3, 3, {}, accepted, 0, None, None)  # type: ignore[arg-type]
        with screen.capture() as captured:
            screen.print(_rounds([line], terms))
        assert words in captured.get()
        why = "nobody: no model is made of fewer than 3 updates, or of ones that weigh nothing" in captured.get()
        assert why == (accepted == ())
