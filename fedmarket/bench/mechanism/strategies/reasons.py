"""Why a strategy pays or harms, where the mechanism is known not to prevent it: the remarks of the tables."""

from __future__ import annotations

SPLIT = "one person's data under several names is not to be told from several people's: stake, allow-lists"
POOLING = "whoever shares updates before the round sends better ones: that is worth more to the owner, too"
MAJORITY_RULES = "without an exam a majority decides what agreement is"
BLURRING = "where marks exceed the cap, noise of one's own costs no score and lowers crowding"
PUBLIC_DATA = "public data of the same kind train, too"
EFFORT = "a price pays up to its target, and a pot up to its cap: who can reach them with less has no reason for more"
EXCLUSIONS = "in a job without attestors an aggregator is believed about what it could not fetch"
WITHHOLDING = "in a job without attestors a model whose bytes are withheld stands"
IDENTITIES = (
    "who examines knows r: a cap bounds what an identity of the owner's takes from a pot, a price what it is paid"
)
LEAKING = "what an aggregator reads it can show: rounds want nearly the same"
FALSE_R = "in a job without attestors a false r is shown at the close and costs nothing"
EXAM_LEFT_OUT = (
    "an exam that is left out costs its aggregator the fee and its turn: where all who are bonded do, nobody else"
)
UNSERVED = "what attestors hold, aggregators have to be able to fetch from them: else a slander needs no lie"
NO_QUORUM = "without a quorum of attestors who answer a dispute is lost, and what was settled stands"
BOUGHT = "a quorum of attestors is believed: it can keep a withheld model, and undo a right one"
HARSHNESS = "under a price the owner saves by a harsh exam: trainers see it in what they are paid"
SEATS_FIRST = "whoever has the seats and does not come loses them to who waits: until then rounds starve"
SEATS_CAME_FIRST = (
    "each name that came before the others can hold a seat for one round, and money that lies still has no price here"
)
SEATS_OF_NOISE = "a seat whose trainer sends noise is not idle: stake, the draw and allow-lists bound how many one has"
SEATS_BY_STAKE = "a draw gives seats in proportion to stakes, and money that lies still has no price here"
PRODUCER = "who produces the block that decides a draw chooses its hash: once in as many blocks as it produces"
RAIDED = "whoever misses two attempts in a row loses the seat to who waits"
CARRIED = "what is not paid goes to those who were ever paid, by what they scored then"
ONE_AGGREGATOR = "a job has as many aggregators as come: trainers see how many have bonded"
UNDELIVERED = "in a job without attestors an owner may open C_r and keep r back: that costs it no deposit"
