"""What trainers can hand in instead of an honest update, in counts, at an honest norm where nothing else is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fedmarket.bench.mechanism.task import NORM, Floats, unit
from fedmarket.bench.mechanism.trainer import Craft, Trainer, train

INVENTED = 100
"""Marks the random streams of what is made without data."""


def at_norm(vector: Floats) -> Floats:
    """The direction at an honest norm."""
    return NORM * unit(vector)


def absent(trainer: Trainer, identity: int) -> Floats | None:
    """Commit nothing."""
    return None


def noise(trainer: Trainer, identity: int) -> Floats:
    """A random direction."""
    board = trainer.board
    return NORM * board.task.unit(INVENTED, trainer.person, board.state.attempt, identity)


def agreed(trainer: Trainer, identity: int) -> Floats:
    """A random direction, the same for the whole league."""
    board = trainer.board
    own = board.task.unit(INVENTED, trainer.person, board.state.attempt, identity)
    return at_norm(board.task.unit(INVENTED, board.state.attempt) + 0.3 * own)


def zeros(trainer: Trainer, identity: int) -> Floats:
    """Nothing at all, under a commitment."""
    return np.zeros(trainer.board.task.dimension)


def replay(trainer: Trainer, identity: int) -> Floats:
    """The last aggregate again."""
    last = trainer.board.aggregate()
    return noise(trainer, identity) if last is None else at_norm(last)


def mixture(trainer: Trainer, identity: int) -> Floats:
    """A random mixture of the model and all aggregates."""
    board = trainer.board
    count = len(board.history.versions()) - 1
    public = [found for back in range(1, count + 1) if (found := board.aggregate(back)) is not None]
    if not public:
        return noise(trainer, identity)
    draws = np.random.default_rng([board.task.seed, INVENTED, board.state.attempt, identity]).normal(size=len(public))
    return at_norm(np.asarray(sum(draw * vector for draw, vector in zip(draws, public, strict=True))))


def scaled(factor: float) -> Craft:
    """One's honest update, times a factor."""

    def craft(trainer: Trainer, identity: int) -> Floats | None:
        update = trainer.trained()
        return None if update is None else factor * update

    return craft


def lazy(signal: float, cost: float) -> Craft:
    """Train on a part of one's data: less signal, at less cost."""
    return lambda trainer, identity: trainer.trained(effort=signal, cost=cost)


def again(trainer: Trainer, identity: int) -> Floats | None:
    """Train another time for every identity, on the same data."""
    return trainer.trained(repeat=identity)


def split(parts: int) -> Craft:
    """Cut one's data into as many parts as identities: each shows less, and costs less."""
    return lambda trainer, identity: trainer.trained(repeat=identity, effort=parts**-0.5, cost=1 / parts)


def stale(trainer: Trainer, identity: int) -> Floats | None:
    """Train in every other round only, and send the same again in between."""
    if trainer.board.state.attempt % 2 == 0:
        return trainer.trained()
    return trainer.latest_training()


def until(rounds: int, then: Craft, before: Craft = train) -> Craft:
    """One thing for so many rounds, by default training, and another after them."""
    return lambda trainer, identity: (before if trainer.board.state.round < rounds else then)(trainer, identity)


def every_other(craft: Craft) -> Craft:
    """Something in every other round, and nothing in between."""
    return lambda trainer, identity: None if trainer.board.state.round % 2 else craft(trainer, identity)


def missing(people: Mapping[int, Sequence[int]]) -> Craft:
    """Train, but for the rounds that some people miss."""

    def craft(trainer: Trainer, identity: int) -> Floats | None:
        misses = trainer.board.state.round in people.get(trainer.person, ())
        return None if misses else trainer.trained()

    return craft


def blurred(craft: Craft, kept: float) -> Craft:
    """Something, and noise of this identity's own beside it, so that only this much of the cosine is kept."""

    def craft_blurred(trainer: Trainer, identity: int) -> Floats | None:
        update = craft(trainer, identity)
        if update is None:
            return None
        own = trainer.board.task.unit(INVENTED, trainer.person, trainer.board.state.attempt, identity)
        return at_norm(kept * unit(update) + (1 - kept**2) ** 0.5 * own)

    return craft_blurred


def copy_of_first(trainer: Trainer, identity: int) -> Floats | None:
    """What the league's first member trained."""
    return trainer.league.trainers[0].trained()


def pooled(trainer: Trainer, identity: int) -> Floats | None:
    """The mean of what the league's members trained."""
    updates = [update for member in trainer.league.trainers if (update := member.trained()) is not None]
    return at_norm(np.asarray(sum(updates))) if updates else None


def answer(trainer: Trainer, identity: int) -> Floats | None:
    """The exam's own r, which the owner told."""
    reference = trainer.league.reference
    return None if reference is None else at_norm(reference)


def yesterdays(trainer: Trainer, identity: int) -> Floats:
    """The mean of everybody's updates of the attempt before, which the aggregator, or the storage, has shown."""
    board = trainer.board
    seen = [row.values for (attempt, _), row in board.updates.items() if attempt == board.state.attempt - 1]
    return at_norm(np.asarray(sum(seen), np.float64)) if seen else noise(trainer, identity)


def old_exam(trainer: Trainer, identity: int) -> Floats:
    """The exam of the attempt before, which the aggregator has shown."""
    row = trainer.board.exams.get(trainer.board.state.attempt - 1)
    return noise(trainer, identity) if row is None else at_norm(np.asarray(row.values, np.float64))


def once_a_round(craft: Craft) -> Craft:
    """Hand in something in a round's first attempt only."""

    def first(trainer: Trainer, identity: int) -> Floats | None:
        round_number = trainer.board.state.round
        if trainer.memory.get("round") == round_number:
            return None
        trainer.memory["round"] = round_number
        return craft(trainer, identity)

    return first


Move = Callable[[Trainer], None]


def flood(addresses: int) -> Move:
    """Move one stake through so many addresses before anybody else enrols, and stay on the last."""

    def move(trainer: Trainer) -> None:
        market, job = trainer.board.market, trainer.board.job
        for number in range(addresses):
            account = trainer.open_account()
            trainer.tries(account, market.enrol(job, trainer.board.terms))
            if number < addresses - 1:
                trainer.tries(account, market.withdraw_stake(job, account))

    return move


def hop(trainer: Trainer) -> None:
    """Take the stake off after every attempt and take another seat with it, where there is one."""
    board, market, job = trainer.board, trainer.board.market, trainer.board.job
    if board.state.attempt == 0 or not trainer.accounts:
        return
    old = trainer.accounts[-1]
    if trainer.tries(old, market.withdraw_stake(job, old)):
        new = trainer.open_account()
        trainer.send(new, market.enrol(job, board.terms))
        board.look()
        if new in board.waiting:
            trainer.send(new, market.withdraw_stake(job, new))
            trainer.accounts.remove(new)
            trainer.tries(old, market.enrol(job, board.terms))
            board.look()


def withdraw_between(trainer: Trainer) -> None:
    """Take the stake back between attempts: it comes back with every commit phase."""
    market, job = trainer.board.market, trainer.board.job
    for account in trainer.accounts:
        if trainer.tries(account, market.withdraw_stake(job, account)):
            trainer.tries(account, market.enrol(job, trainer.board.terms))
