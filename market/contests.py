"""Contests: who was excluded for what it had sealed shows the attestors the key that it was sealed with.

Data's path: the trainer's ephemeral key, sealed to each attestor's own key -> `Directory` -> each attestor,
which opens the blob with it, as the aggregator should have.

Nobody else learns what the update was. The attestors do: whoever contests chooses to show it to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from market.chain.calls import PreparedCall
from market.chain.directory import Announcement, Directory
from market.protocol.errors import CannotUnseal, InvalidSealingKey
from market.protocol.identifiers import Seat
from market.protocol.seal import SealContext
from market.sealing import KEY_BYTES, SealingKey, new_ephemeral, seal_to

CONTEST = "fedmarket/sealed/contest/1"
"""The purpose of an ephemeral key that is shown to an attestor."""

MOST_SHOWN = 4
"""How many of a trainer's deliveries to one attestor are looked at, the latest first: each costs opening an update."""

_TOPIC_DOMAIN = "fedmarket/contest/1"


def contest_topic(place: SealContext, seat: Seat) -> bytes:
    """What the deliveries of one contest are found by, 32 bytes."""
    types = ["string", "uint256", "address", "uint256", "uint256", "uint256", "uint256"]
    return keccak(
        encode(types, [_TOPIC_DOMAIN, place.chain_id, place.contract, place.job, place.round, place.attempt, seat])
    )


def hand_over(
    directory: Directory, place: SealContext, seat: Seat, ephemeral: bytes, announced: Mapping[str, Announcement]
) -> tuple[PreparedCall, list[str]] | None:
    """The call that shows attestors what a seat's update was sealed with, and to whom; None where it can be to nobody.

    Args:
        directory: by which it is handed over.
        place: of the attempt.
        seat: whose update.
        ephemeral: that it was sealed with.
        announced: by attestor. Who announced a key that nothing can be sealed to is left out.
    """
    sealed: dict[str, bytes] = {}
    for attestor, announcement in sorted(announced.items()):
        try:
            sealed[attestor] = seal_to(announcement.sealing_key, place, CONTEST, ephemeral, new_ephemeral())
        except InvalidSealingKey:
            continue
    if not sealed:
        return None
    call = directory.deliver(place.job, contest_topic(place, seat), list(sealed), list(sealed.values()))
    return call, list(sealed)


def shown_to(
    directory: Directory, place: SealContext, seat: Seat, trainer: str, attestor: str, key: SealingKey
) -> Iterator[bytes]:
    """The ephemeral keys that a trainer has shown to an attestor, the latest first; what does not open is none.

    Args:
        directory: by which it was handed over.
        place: of the attempt.
        seat: whose update.
        trainer: whose seat it was. What others handed over counts for nothing.
        attestor: the recipient.
        key: the recipient's.

    Raises:
        ChainError: the node's answers are not of one chain.
    """
    deliveries = directory.deliveries(place.job, contest_topic(place, seat), attestor)
    own = [delivery for delivery in deliveries if delivery.by == trainer]
    for delivery in reversed(own[-MOST_SHOWN:]):
        try:
            shown = key.unseal(place, CONTEST, delivery.sealed)
        except CannotUnseal:
            continue
        if len(shown) == KEY_BYTES:
            yield shown
