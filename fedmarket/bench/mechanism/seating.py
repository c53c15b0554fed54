"""Who sits: the draw before the first attempt, and the seats that whoever waits takes from those who do not come."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from random import Random

from fedmarket.bench.mechanism.agent import Agent
from fedmarket.bench.mechanism.board import Board
from fedmarket.bench.mechanism.ground import Ground
from fedmarket.bench.mechanism.trainer import Takes, Trainer
from market.chain.events import TrainerEnrolled, TrainerWaits
from market.protocol.errors import ChainError
from market.protocol.identifiers import Seat
from market.protocol.seat_draw import DELAY_BLOCKS, drawn_number

Worth = Callable[[bytes], float]
"""What a block's hash is worth to whoever produces the block."""

BASE_FEE = hex(10**9)

# ---------------------------------------------------------------------- the draw


def draw(board: Board, trainers: Sequence[Trainer], caller: Agent, league: Collection[str], grinds: int = 0) -> None:
    """Draw the seats where they are drawn, and let everybody sit down who has drawn one.

    Args:
        board: where.
        trainers: who enrolled.
        caller: who asks the contract to draw.
        league: the accounts for which the deciding block is chosen, where it is.
        grinds: among how many blocks its producer chooses; 0: it chooses none.
    """
    if not board.terms.entry.draw_period_s:
        return
    board.ground.devnet.advance_to(board.terms.draw_from_s)
    board.look()
    tickets = tickets_of(board)

    def worth(seed: bytes) -> float:
        return len(winners(seed, tickets, board.terms.seats) & set(league))

    decide(board, caller, worth, grinds, board.task.seed)
    drawn = winners(board.market.draw(board.job).seed, tickets, board.terms.seats)
    for trainer in trainers:
        for account in trainer.accounts:
            if account in drawn and account in board.waiting:
                trainer.send(account, board.market.take_seat(board.job))
    board.look()


def decide(board: Board, caller: Agent, worth: Worth, grinds: int, salt: int = 0) -> None:
    """Have the contract fix a block, and take its hash.

    Args:
        board: where.
        caller: who asks the contract.
        worth: what a hash is worth to the block's producer.
        grinds: among how many blocks it chooses; at least one is tried.
        salt: other blocks for another salt.
    """
    caller.send(caller.accounts[0], board.market.draw_seats(board.job))
    board.ground.mine(DELAY_BLOCKS - 1)
    grind(board.ground, worth, max(1, grinds), salt)
    caller.send(caller.accounts[0], board.market.draw_seats(board.job))


def tickets_of(board: Board) -> dict[str, int]:
    """How many tickets everybody has who sits or waits."""
    least_wei, events = board.terms.trainer_stake_wei, board.history.events
    staked = {event.trainer: event.stake_wei for event in events if isinstance(event, TrainerEnrolled | TrainerWaits)}
    here = (account for account in staked if board.seat(account) is not None or account in board.waiting)
    return {account: staked[account] // least_wei for account in here}


def winners(seed: bytes, tickets: Mapping[str, int], seats: int) -> set[str]:
    """Who has one of the lowest numbers."""
    numbers = {account: drawn_number(seed, account, count) for account, count in tickets.items()}
    return set(sorted(numbers, key=numbers.__getitem__)[:seats])


def grind(ground: Ground, worth: Worth, tries: int, salt: int = 0) -> None:
    """Mine the best for its producer of so many blocks.

    Raises:
        ChainError: the node does not mine the same block twice.
    """
    fees_to = [sha256(f"{salt}/{number}".encode()).hexdigest()[:40] for number in range(tries)]
    at_s = ground.devnet.timestamp() + 1

    def mined(place: int) -> bytes:
        ground.devnet.request("anvil_setCoinbase", f"0x{fees_to[place]}")
        ground.devnet.set_next_timestamp(at_s)
        ground.devnet.request("anvil_setNextBlockBaseFeePerGas", BASE_FEE)  # going back does not take it back
        ground.mine(1)
        return bytes.fromhex(ground.devnet.request("eth_getBlockByNumber", "latest", False)["hash"][2:])

    def tried(place: int) -> tuple[float, bytes]:
        before = ground.devnet.snapshot()
        seed = mined(place)
        ground.devnet.revert(before)
        return worth(seed), seed

    found = [tried(place) for place in range(tries)]
    best = max(range(tries), key=lambda place: found[place][0])
    if mined(best) != found[best][1]:
        raise ChainError("the block that was chosen has another hash when it is mined again")


# ---------------------------------------------------------------------- seats that are given up


def take_over(board: Board, trainers: Sequence[Trainer]) -> None:
    """Let those who wait take what is idle, before anybody commits: first who rushes, then the others by chance."""
    if not any(_coming(board, trainers)) or not any(_idle(board)):
        return
    latest = board.latest
    if latest is not None and latest.vests_at_s > board.ground.devnet.timestamp():
        board.ground.devnet.advance_to(latest.vests_at_s)
    chance = Random(f"{board.task.seed}/{board.state.attempt}")
    for seat in list(_idle(board)):
        coming = list(_coming(board, trainers))
        if not coming:
            return
        first = min(trainer.conduct.takes for trainer, _ in coming)
        trainer, account = chance.choice([one for one in coming if one[0].conduct.takes is first])
        _take(board, trainer, account, seat)
    _take_from_who_waited_less(board, trainers)


def _take_from_who_waited_less(board: Board, trainers: Sequence[Trainer]) -> None:
    """Whoever was first to ask, the seat is in the end with who has waited longest."""
    taken = True
    while taken:
        taken = False
        for trainer, account in list(_coming(board, trainers)):
            places = (Seat(place) for place in range(board.terms.seats))
            seat = next((seat for seat in places if board.market.yields_to(board.job, seat, account)), None)
            if seat is not None:
                _take(board, trainer, account, seat)
                taken = True


def _take(board: Board, trainer: Trainer, account: str, seat: Seat) -> None:
    history = board.history
    records = history.packed_records() if board.terms.exam.is_set else b""
    trainer.send(account, board.market.take_idle_seat(board.job, seat, history.packed_lifetime(), records))
    board.look()


def _coming(board: Board, trainers: Sequence[Trainer]) -> Iterator[tuple[Trainer, str]]:
    """Who waits, and would take a seat."""
    for trainer in trainers:
        if trainer.conduct.takes is not Takes.NEVER:
            yield from ((trainer, account) for account in trainer.accounts if account in board.waiting)


def _idle(board: Board) -> Iterator[Seat]:
    return (seat for place in range(board.terms.seats) if board.market.is_idle(board.job, seat := Seat(place)))
