"""Who gets a seat, in a job's spec: on whose word of a trainer's record, and by what order where more come than fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from market.protocol.allow_list import allow_root
from market.protocol.errors import InvalidJobSpec
from market.protocol.seat_draw import DELAY_BLOCKS
from market.protocol.spec_fields import Account, Seconds, Section
from market.protocol.terms import NATIVE, EntryTerms

LEAST_DRAW_BLOCKS = DELAY_BLOCKS + 16
"""What a draw takes: until the block that decides is there, and some for asking twice and for taking seats."""


class EntrySection(Section):
    """What a new trainer is asked for beside its stake, and how seats are given where more enrol than there are."""

    patron: Account | None = None
    """The owner in whose jobs a trainer has to have been paid: one to be believed, for anybody can pay itself."""
    paid_rounds: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    """For how many rounds."""
    draw_s: Seconds = 0
    """How long before the end of enrolment seats are drawn by stake; 0: who comes first sits."""

    cohort: Annotated[int, Field(ge=0, le=64)] = 0
    """How many seats, drawn anew for each attempt, train in it; 0: all. A crowd costs a round what its cohort does."""

    def to_terms(self, trainers: Sequence[str]) -> EntryTerms:
        """The conditions as the contract holds them.

        Args:
            trainers: the accounts that may enrol; none where anybody may.
        """
        return EntryTerms(allow_root(trainers), self.patron or NATIVE, self.paid_rounds, self.draw_s, self.cohort)

    def check(self, enrol_s: int, block_time_s: int) -> None:
        """See that a record is asked of somebody who can have one, and that there is time to draw.

        Args:
            enrol_s: from the posting to the end of the enrolment.
            block_time_s: between blocks.

        Raises:
            InvalidJobSpec: one of the patron and the number of rounds is missing, or the draw has too little time, or
                leaves none to enrol.
        """
        least_s = LEAST_DRAW_BLOCKS * block_time_s
        if self.draw_s and not least_s <= self.draw_s < enrol_s:
            expected = f"at least {least_s}, {LEAST_DRAW_BLOCKS} blocks, and less than periods.enrol_s, {enrol_s}"
            raise InvalidJobSpec("entry.draw_s", f"is {self.draw_s}: expected 0, or {expected}")
        if self.paid_rounds and self.patron is None:
            asked = f"is {self.paid_rounds}: expected entry.patron, too, the owner in whose jobs they were paid"
            raise InvalidJobSpec("entry.paid_rounds", asked)
        if self.patron is not None and not self.paid_rounds:
            raise InvalidJobSpec("entry.paid_rounds", f"is 0: expected at least 1, paid by {self.patron}")


NO_ENTRY = EntrySection()
"""Of a job that asks for nothing, and gives seats to who comes first."""
