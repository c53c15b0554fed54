"""Who fills seats, in the draw and after it, and who takes those of others."""

from __future__ import annotations

from fedmarket.bench.mechanism import crafts
from fedmarket.bench.mechanism.settings import SEATS
from fedmarket.bench.mechanism.strategies import reasons
from fedmarket.bench.mechanism.strategy import ALL_SETTINGS, ALONE, COHORT, COURT, DRAWN, EXAMINED, FULL, Strategy
from fedmarket.bench.mechanism.trainer import Takes, TrainerConduct

MANY = 12
"""Seats of sixteen: what is left is fewer than the least number of commits."""
CROWD = 60
GRINDS = 256
MISSED = {3: (2, 3), 4: (4, 5)}
"""The rounds that some people miss."""
SOME_MISS = TrainerConduct(crafts.missing(MISSED))

OCCUPYING = TrainerConduct(crafts.absent, identities=MANY, takes=Takes.NEVER)
IN_TURN = TrainerConduct(crafts.absent, identities=MANY + 1, takes=Takes.FIRST)
ONCE = TrainerConduct(crafts.until(1, crafts.absent, crafts.noise), identities=MANY, takes=Takes.NEVER)
OF_NOISE = TrainerConduct(crafts.noise, identities=MANY)
CROWDING = TrainerConduct(crafts.absent, identities=CROWD)
CROWDING_FIRST = TrainerConduct(crafts.absent, identities=CROWD, takes=Takes.FIRST)
ALL_NOISE = TrainerConduct(crafts.noise, identities=SEATS)

FILLED = ("pot", COURT, DRAWN, COHORT)

STRATEGIES = (
    Strategy(
        "occupy",
        "takes twelve of sixteen seats first and never commits",
        settings=(*ALL_SETTINGS, COURT, DRAWN, COHORT),
        people=ALONE,
        trainer=OCCUPYING,
        known=reasons.SEATS_FIRST,
        known_in_court=reasons.SEATS_FIRST,
    ),
    Strategy(
        "occupy-in-turn",
        "the same, and takes its own idle seats again by a thirteenth name, before all others",
        settings=FILLED,
        people=ALONE,
        trainer=IN_TURN,
        known=reasons.SEATS_FIRST,
        known_in_court=reasons.SEATS_FIRST,
    ),
    Strategy(
        "occupy-noise",
        "takes twelve of sixteen seats first and sends noise from all of them",
        settings=FILLED,
        people=ALONE,
        trainer=OF_NOISE,
        known=reasons.SEATS_OF_NOISE,
        known_in_court=reasons.SEATS_OF_NOISE,
    ),
    Strategy(
        "crowd",
        f"{CROWD} identities enrol and never commit; those that wait take idle seats like others",
        settings=FILLED,
        people=ALONE,
        trainer=CROWDING,
        known=reasons.SEATS_BY_STAKE,
        known_in_court=reasons.SEATS_BY_STAKE,
    ),
    Strategy(
        "owner-occupies",
        "the owner's identities fill twelve of sixteen seats and never commit",
        settings=(*ALL_SETTINGS, COURT, DRAWN, COHORT),
        owner_plays=True,
        owner_identities=(OCCUPYING,),
        known=reasons.SEATS_FIRST,
        known_in_court=reasons.SEATS_FIRST,
    ),
    Strategy(
        "owner-occupies-in-turn",
        "the same, and take their own idle seats again by a thirteenth name, before all others",
        settings=FILLED,
        owner_plays=True,
        owner_identities=(IN_TURN,),
        known=reasons.SEATS_FIRST,
        known_in_court=reasons.SEATS_FIRST,
    ),
    Strategy(
        "owner-occupies-once",
        "the owner's identities fill twelve of sixteen seats, commit noise once and then never",
        settings=FILLED,
        owner_plays=True,
        owner_identities=(ONCE,),
        known=reasons.SEATS_FIRST,
        known_in_court=reasons.SEATS_FIRST,
    ),
    Strategy(
        "owner-occupies-noise",
        "the owner's identities fill twelve of sixteen seats and send noise from all of them",
        settings=(*EXAMINED, COURT, DRAWN, COHORT),
        owner_plays=True,
        owner_identities=(OF_NOISE,),
        known=reasons.SEATS_OF_NOISE,
        known_in_court=reasons.SEATS_OF_NOISE,
    ),
    Strategy(
        "owner-fills",
        "the owner's identities fill all sixteen seats and send noise from them",
        settings=FILLED,
        owner_plays=True,
        owner_identities=(ALL_NOISE,),
        known=reasons.SEATS_OF_NOISE,
        known_in_court=reasons.SEATS_OF_NOISE,
    ),
    Strategy(
        "owner-crowds",
        f"{CROWD} of the owner's identities enrol and never commit; those that wait take idle seats like others",
        settings=FILLED,
        owner_plays=True,
        owner_identities=(CROWDING,),
        known=reasons.SEATS_BY_STAKE,
        known_in_court=reasons.SEATS_BY_STAKE,
    ),
    Strategy(
        "owner-crowds-first",
        "the same, and those that wait come before all others",
        settings=FILLED,
        owner_plays=True,
        owner_identities=(CROWDING_FIRST,),
        known=reasons.SEATS_CAME_FIRST,
        known_in_court=reasons.SEATS_CAME_FIRST,
    ),
    Strategy(
        "owner-grinds",
        f"twelve of the owner's identities enrol, and it chooses the draw's block among {GRINDS}",
        settings=(DRAWN,),
        owner_plays=True,
        owner_identities=(OCCUPYING,),
        grinds=GRINDS,
        known_in_court=reasons.PRODUCER,
    ),
    Strategy(
        "owner-grinds-in-turn",
        "the same, and they take their own idle seats again by a thirteenth name, before all others",
        settings=(DRAWN,),
        owner_plays=True,
        owner_identities=(IN_TURN,),
        grinds=GRINDS,
        known_in_court=reasons.PRODUCER,
    ),
    Strategy(
        "misses",
        "two trainers miss two rounds in a row each, where nobody waits",
        settings=(FULL,),
        people=tuple(MISSED),
        trainer=SOME_MISS,
    ),
    Strategy(
        "raider",
        "has three more identities who wait, and take the seats of those who miss two rounds",
        settings=(FULL,),
        people=ALONE,
        trainer=TrainerConduct(crafts.again, identities=4, behind=3, takes=Takes.FIRST),
        others=SOME_MISS,
        baseline="misses",
        known_in_court=reasons.RAIDED,
    ),
    Strategy(
        "squats",
        "the last of nine sends noise in every other round, and keeps its seat",
        settings=(FULL,),
        people=ALONE,
        trainer=TrainerConduct(crafts.every_other(crafts.noise)),
        others=TrainerConduct(),
    ),
)
"""In the order of the tables."""
