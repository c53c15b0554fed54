"""What owners write is shown as they wrote it: it is text, never markup."""

from types import SimpleNamespace
from typing import Any

from rich.console import Console

from fedmarket.commands.job_tables import JobLine, job_list
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
