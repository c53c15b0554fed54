"""Replicated training in a job's spec: which public shards several trainers train on alike, how often, and for what."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from market.protocol.errors import InvalidJobSpec
from market.protocol.identifiers import Seat, Wei
from market.protocol.spec_fields import Amount, Section

LEAST_REPLICAS, MOST_REPLICAS = 3, 7

STAKE_SHARES = 3
"""A replica's stake is at least so many shares: a majority that is overturned can pay the appeal."""

TOLERANCE_BITS = 3
"""Of 256, for replicas in float32: on digits, five epochs, they differ by 0 bits whatever their threads and batches; a
replica that leaves one epoch out by 4 to 38. In bfloat16 honest ones differ by up to 26: such replicas need shorter
intervals, and a tolerance that is calibrated for them (`tests/unit/trainer_client/test_replication.py`)."""

Period = Annotated[int, Field(ge=60, le=30 * 24 * 3600)]


def _content_id(text: str) -> str:
    if not re.fullmatch(r"b[a-z2-7]{58}", text):
        raise ValueError(f"expected a content id as `fedmarket storage add` prints it, got {text!r:.100}")
    return text


ContentId = Annotated[str, AfterValidator(_content_id)]


class ReplicationSection(Section):
    """Intervals of the job's training that replicas do alike, and whose updates have to agree by their SimHash."""

    shards: Annotated[tuple[ContentId, ...], Field(min_length=1, max_length=256)]
    """Content ids of the public samples, an .npz each; a replica trains on every one of them apart."""
    every: Annotated[int, Field(ge=1, lt=1 << 16)] = 1
    """Rounds from one interval to the next: each begins at its round's model, which is the same for everybody."""
    replicas: Annotated[int, Field(ge=LEAST_REPLICAS, le=MOST_REPLICAS)] = LEAST_REPLICAS
    """How many do the same, an odd number."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Of the order of samples and of the noise; the round's number is added."""
    tolerance_bits: Annotated[int, Field(ge=0, lt=128)] = TOLERANCE_BITS
    """Of 256: by how many two honest replicas' digests may differ."""
    share: Amount
    """What each replica of the majority is paid for an interval."""
    stake: Amount | None = None
    """What a replica loses that deviates, or stays silent; three shares where left out."""
    seat_s: Period
    """To take a seat in, once seats are drawn."""
    commit_s: Period
    """To train, and to commit to the digests under a seal."""
    reveal_s: Period
    """To open the seal."""
    appeal_s: Period
    """To appeal in, once the replicas are compared."""
    seats: Annotated[tuple[Annotated[int, Field(ge=0, lt=64)], ...], Field(min_length=2, max_length=64)] | None = None
    """Seats of the job whose trainers say that they train on the same samples: the rounds' matrices compare them."""

    @property
    def stake_wei(self) -> Wei:
        """What a replica stakes."""
        return Wei(STAKE_SHARES * self.share) if self.stake is None else self.stake

    @property
    def seats_compared(self) -> tuple[Seat, ...]:
        """The seats that are compared by the rounds' matrices."""
        return tuple(Seat(seat) for seat in sorted(self.seats or ()))

    def due(self, round_number: int) -> bool:
        """Whether an interval begins with this round."""
        return round_number % self.every == 0

    def rounds_due(self, rounds: int) -> range:
        """The rounds, of so many, with which an interval begins."""
        return range(0, rounds, self.every)

    def check(self, rounds: int, seats: int, models_sealed: bool) -> None:
        """See that replicas can be compared, and can read the model.

        Args:
            rounds: of the job.
            seats: of the job.
            models_sealed: whether only those who take part read its models.

        Raises:
            InvalidJobSpec: naming the field.
        """
        if self.replicas % 2 == 0:
            raise InvalidJobSpec("replication.replicas", f"is {self.replicas}, expected an odd number")
        if self.every > rounds:
            raise InvalidJobSpec("replication.every", f"is {self.every}, expected at most the job's {rounds} rounds")
        if self.stake_wei < STAKE_SHARES * self.share or not self.share:
            raise InvalidJobSpec(
                "replication.stake",
                f"is {self.stake_wei} wei with a share of {self.share} wei, expected at least {STAKE_SHARES} shares, "
                "and a share above 0",
            )
        if models_sealed:
            raise InvalidJobSpec("replication", "needs models that everybody can read: leave `models: sealed` out")
        self._check_seats(seats)

    def _check_seats(self, seats: int) -> None:
        named = self.seats or ()
        if len(set(named)) < len(named) or any(seat >= seats for seat in named):
            raise InvalidJobSpec(
                "replication.seats", f"are {list(named)}, expected different ones of the job's 0..{seats - 1}"
            )
