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
FALSE_R_PAID = "what a false r paid is final when it is shown; the deposits taken for it go to those who were ever paid"
EXAM_LEFT_OUT = "that an opened exam was left out is no fact that can be disputed"
UNSERVED = "what attestors hold, aggregators have to be able to fetch from them: else a slander needs no lie"
NO_QUORUM = "without a quorum of attestors who answer a dispute is lost, and what was settled stands"
BOUGHT = "a quorum of attestors is believed: it can keep a withheld model, and undo a right one"
HARSHNESS = "under a price the owner saves by a harsh exam: trainers see it in what they are paid"
SEATS_FIRST = "whoever stakes first takes a seat: an owner that fills them gets its money back, and no model"
CARRIED = "what is not paid goes to those who were ever paid, by what they scored then"
ONE_AGGREGATOR = "a job has as many aggregators as come: trainers see how many have bonded"
UNDELIVERED = "an owner may open C_r and keep r back: it costs no deposit, and under a pot no money at all"
