"""What a strategy is: who plays together, and how each of them differs from an honest agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedmarket.bench.mechanism.aggregator import AggregatorConduct
from fedmarket.bench.mechanism.court import AttestorConduct
from fedmarket.bench.mechanism.owner import OwnerConduct
from fedmarket.bench.mechanism.settings import ATTESTORS, SETTINGS
from fedmarket.bench.mechanism.trainer import TrainerConduct

PEOPLE = 9
"""Trainers of a game, each with data of its own; the last of them are the league's."""
ALONE = (PEOPLE - 1,)
THIRD = tuple(range(PEOPLE - 3, PEOPLE))
MAJORITY = tuple(range(PEOPLE - 5, PEOPLE))
HONEST = "honest"
HONEST_TRAINER, HONEST_OWNER, HONEST_AGGREGATOR = TrainerConduct(), OwnerConduct(), AggregatorConduct()
HONEST_ATTESTOR = AttestorConduct()
COURT, DRAWN, FULL, COHORT = "court", "drawn", "full", "cohort"
"""Where facts can be disputed: with seats for who comes first, drawn, nine of them, or drawn with nine a round."""
EXAMINED = ("pot", "price")
ALL_SETTINGS = ("pot", "price", "median")
UNEXAMINED_TOO = ("pot", "median")


@dataclass(frozen=True)
class Strategy:
    """A way to play, held against what the same accounts earn in another game of the same seed.

    Attributes:
        name: by which it is chosen.
        title: what the league does, in a few words.
        settings: the kinds of job that it is played in.
        people: which trainers are of the league.
        trainer: how they play.
        owner: how the owner plays; it is of the league if `owner_plays`.
        owner_identities: trainers that are the owner's, beside the others.
        aggregators: how each plays, in the order in which they bond; of the league are those in `aggregators_play`.
        attestors: how each answers, where there are any; of the league are those in `attestors_play`.
        grinds: among how many hashes the league chooses that of the block which decides the draw; 0: it has no say.
        others: how the trainers play who are not of the league.
        baseline: the strategy of the game that it is held against.
        known: why the mechanism does not prevent it, where it is known not to; empty: it must not pay.
        known_in_court: why attestors do not prevent it either; empty: it must not pay before them.
    """

    name: str
    title: str
    settings: Sequence[str] = UNEXAMINED_TOO
    people: Sequence[int] = ()
    trainer: TrainerConduct = HONEST_TRAINER
    owner: OwnerConduct = HONEST_OWNER
    owner_plays: bool = False
    owner_identities: Sequence[TrainerConduct] = ()
    aggregators: Sequence[AggregatorConduct] = (HONEST_AGGREGATOR, HONEST_AGGREGATOR)
    aggregators_play: Sequence[int] = ()
    attestors: Sequence[AttestorConduct] = (HONEST_ATTESTOR,) * ATTESTORS
    attestors_play: Sequence[int] = ()
    grinds: int = 0
    others: TrainerConduct = HONEST_TRAINER
    baseline: str = HONEST
    known: str = ""
    known_in_court: str = ""

    def conduct_of(self, person: int) -> TrainerConduct:
        """How a trainer plays."""
        return self.trainer if person in self.people else self.others

    def known_in(self, setting: str) -> str:
        """Why it is not prevented in a kind of job, where it is known not to be."""
        return self.known_in_court if SETTINGS[setting].attested else self.known

    def plays(self, party: str) -> bool:
        """Whether a party of this name is of the league.

        >>> Strategy("x", "x", people=(8,), aggregators_play=(0,)).plays("trainer-8")
        True
        >>> Strategy("x", "x", people=(8,), aggregators_play=(0,)).plays("owner")
        False
        """
        role, _, number = party.partition("-")
        if role == "trainer":
            return int(number) in self.people
        if role == "aggregator":
            return int(number) in self.aggregators_play
        if role == "attestor":
            return int(number) in self.attestors_play
        return role == "owner's" or self.owner_plays
