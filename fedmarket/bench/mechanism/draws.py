"""How many seats a draw on the real contract gives to stakes, to names, and to who produces the block that decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from fedmarket.bench.mechanism.agent import Agent
from fedmarket.bench.mechanism.board import Board
from fedmarket.bench.mechanism.game import open_board
from fedmarket.bench.mechanism.ground import Ground
from fedmarket.bench.mechanism.seating import decide, winners
from fedmarket.bench.mechanism.settings import SEATS, SETTINGS
from fedmarket.bench.mechanism.strategy import DRAWN
from fedmarket.bench.mechanism.summary import Estimate
from fedmarket.bench.processes import Progress
from fedmarket.bench.report import Machine, package_versions
from market.protocol.errors import ChainError

FORMAT = "fedmarket-bench-draws/1"
OTHERS = 20
"""Who enrol beside the league, each with the least stake."""


TITLE = f"{SEATS} seats, {OTHERS} others with one ticket each"


@dataclass(frozen=True)
class Case:
    """A way to enrol for the draw.

    Attributes:
        names: the league's identities.
        tickets: that each of them stakes for.
        blocks: among how many the league chooses the deciding one; 1: it is what it is.
    """

    names: int = 1
    tickets: int = 1
    blocks: int = 1

    @property
    def stakes(self) -> int:
        """How many least stakes the league puts down."""
        return self.names * self.tickets


CASES = (
    *(Case(tickets=tickets) for tickets in (1, 2, 4, 8, 16)),
    *(Case(names=names) for names in (4, 12, 60)),
    *(Case(blocks=blocks) for blocks in (4, 16)),
    *(Case(names=12, blocks=blocks) for blocks in (16, 256)),
)
"""In the order of the table."""


@dataclass(frozen=True)
class Drawn:
    """What came of a case.

    Attributes:
        case: how the league enrolled.
        draws: how often.
        seats: that the league has after a draw.
        starving: in what share of the draws so many of its names sit that fewer others are left than a round needs.
    """

    case: Case
    draws: int
    seats: Estimate
    starving: float

    @property
    def cells(self) -> tuple[str, ...]:
        """For a row of the table."""
        case, seats = self.case, self.seats
        counts = (str(case.names), str(case.tickets), "" if case.blocks == 1 else str(case.blocks), str(self.draws))
        measured = f"{seats.mean:.2f} ± {seats.error:.2f}", f"{seats.mean / case.stakes:.2f}"
        return (*counts, *measured, f"{100 * self.starving:.0f} %")


COLUMNS = ("names", "tickets each", "blocks to choose from", "draws", "seats", "seats a stake", "rounds starve")


def document(found: Sequence[Drawn]) -> dict[str, Any]:
    """What `--json` prints."""
    machine, versions = asdict(Machine.here()), package_versions(("fedmarket", "web3"))
    return {"format": FORMAT, "machine": machine, "versions": versions, "cases": [asdict(case) for case in found]}


def show(found: Sequence[Drawn], console: Console) -> None:
    """Print the table."""
    table = Table(title=TITLE, title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for drawn in found:
        table.add_row(*drawn.cells)
    console.print(table)


def markdown(found: Sequence[Drawn]) -> str:
    """The table as it stands in the documentation."""
    rows = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    return "\n".join([*rows, *(f"| {' | '.join(drawn.cells)} |" for drawn in found)])


def measure(draws: int, progress: Progress, cases: Sequence[Case] = CASES) -> list[Drawn]:
    """Draw every case so many times."""
    found = []
    with Ground() as ground:
        for done, case in enumerate(cases):
            progress(f"{case.names} names, {case.tickets} tickets, {case.blocks} blocks", done, len(cases))
            found.append(_drawn(ground, case, draws))
    return found


def _drawn(ground: Ground, case: Case, draws: int) -> Drawn:
    ground.clear()
    board, owner = open_board(ground, SETTINGS[DRAWN], 0)
    caller = Agent("owner", board, accounts=[owner])
    tickets = _enrolled(board, case)
    ground.devnet.advance_to(board.terms.draw_from_s)
    counts = []
    for number in range(draws):
        before = ground.devnet.snapshot()
        counts.append(_seats_of_league(board, caller, tickets, case, number))
        ground.devnet.revert(before)
    left = board.terms.seats - board.terms.minimum_commits
    starving = sum(count > left for count in counts) / draws
    return Drawn(case, draws, Estimate.of([float(count) for count in counts]), starving)


def _enrolled(board: Board, case: Case) -> dict[str, int]:
    """Everybody's tickets: the league comes first."""
    staked = {f"league/{name}": case.tickets for name in range(case.names)}
    staked |= {f"other/{name}": 1 for name in range(OTHERS)}
    tickets = {board.ground.account(name): count for name, count in staked.items()}
    for account, count in tickets.items():
        call = board.market.enrol(board.job, board.terms, count * board.terms.trainer_stake_wei)
        board.ground.send(account, call)
    return tickets


def _seats_of_league(board: Board, caller: Agent, tickets: dict[str, int], case: Case, number: int) -> int:
    league = set(list(tickets)[: case.names])
    decide(board, caller, lambda seed: len(winners(seed, tickets, SEATS) & league), case.blocks, number)
    drawn = winners(board.market.draw(board.job).seed, tickets, SEATS)
    sitting = {account for account in tickets if board.market.seat(board.job, account) is not None}
    for account in drawn - sitting:
        board.ground.send(account, board.market.take_seat(board.job))
    if set(board.market.trainers(board.job)) != drawn:
        raise ChainError("others sit than have drawn a seat")
    return len(drawn & league)
