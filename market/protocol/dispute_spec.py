"""The attestors in a job's spec: who answers when somebody disputes what no proof shows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from market.protocol.errors import InvalidJobSpec
from market.protocol.identifiers import Wei
from market.protocol.spec_fields import Account, Amount, Seconds, Section
from market.protocol.terms import MAX_ATTESTORS, DisputeTerms


class DisputesSection(Section):
    """Disputes of fact: the model's bytes, an exclusion, an exam that was published."""

    attestors: Annotated[tuple[Account, ...], Field(min_length=1, max_length=MAX_ATTESTORS)]
    """Who answers. Whoever enrols trusts that more than half of them tell the truth."""
    quorum: Annotated[int, Field(ge=1, le=MAX_ATTESTORS)] | None = None
    """How many have to agree; where left out, the smallest majority."""
    answer_s: Seconds
    """How long the job stands still at most for one dispute."""
    bond: Amount | None = None
    """What a dispute costs whoever is wrong; where left out, a round's reward."""

    def to_terms(self, round_reward_wei: Wei) -> DisputeTerms:
        """The attestors as the contract holds them."""
        attestors = tuple(sorted(self.attestors, key=lambda account: int(account, 16)))
        quorum = len(attestors) // 2 + 1 if self.quorum is None else self.quorum
        bond_wei = round_reward_wei if self.bond is None else self.bond
        return DisputeTerms(quorum, self.answer_s, bond_wei, attestors)

    def check(self) -> None:
        """See that every attestor has one voice.

        Raises:
            InvalidJobSpec: one is named twice.
        """
        differing = len(set(self.attestors))
        if differing < len(self.attestors):
            raise InvalidJobSpec(
                "disputes.attestors", f"names {len(self.attestors)} accounts, of which only {differing} differ"
            )
