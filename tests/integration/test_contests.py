"""Contests on a real chain before real attestors: who shows what it sealed is heard, and who sealed garbage is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedmarket.devnet import Devnet
from market.chain.job_market import JobMarket
from market.chain.records import ExclusionReason, Fact
from market.contests import hand_over
from market.protocol.errors import InvalidInput
from market.protocol.identifiers import Seat
from market.protocol.packing import pack_update
from market.protocol.rounds import Phase
from market.protocol.update import parse_update
from market.sealed_update import packed, seal_update
from market.sealing import new_ephemeral, update_ephemeral
from tests.integration.court import ANSWER_S, ATTESTORS, BOND_WEI, Court, attend, attestor, audited, dispute, watch
from tests.integration.marketplace import ON_ANVIL
from tests.integration.sealings import D, Sealing, commit_content, committed, put, reveal_content, some_counts, stored
from tests.sealed_updates import holds
from trainer_client.contests import show_update

pytestmark = ON_ANVIL

CONTESTED = "trainer 3"


@pytest.fixture
def court(devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path) -> Court:
    opened = Court(devnet, deployed, actors, tmp_path).post().join()
    for name in ATTESTORS:
        attestor(opened, name).announce()
    return opened


def show(court: Court, name: str, attempt: int = 0) -> list[str]:
    """Let a trainer hand over what its update was sealed with, as the command does."""
    people, work = court.people(name), court.work_folder(name)
    seat = court.seat(name)
    return show_update(court.view(name), people, court.actor(name), work, court.attempt(attempt), seat)


def show_otherwise(court: Court, ephemeral: bytes, by: str = CONTESTED) -> None:
    """Let somebody hand over a key of its choice for the contested seat."""
    people, place = court.people(by), court.market.seal_context(court.id, 0, 0)
    handed = hand_over(people.directory, place, court.seat(CONTESTED), ephemeral, people.attestors())
    assert handed is not None
    court.send(by, "show", handed[0])


def holds_at_once(court: Court) -> bool:
    """Let the attestors look; whether they say that the exclusion holds, without waiting for more."""
    attend(court)
    return (court.phase, court.state.round, court.ledger.burned_wei) == (Phase.COMMIT, 1, BOND_WEI)


def play_with(court: Court, sealing: Sealing) -> None:
    """A round in which the contested seat reveals something of its own making, and is excluded for it."""
    honest = [name for name in court.trainers if name != CONTESTED]
    court.commit(honest)
    salt = commit_content(court, CONTESTED, sealing)
    court.reveal(honest)
    reveal_content(court, CONTESTED, sealing, salt)
    watch(court)
    assert court.settle()
    reason = court.attempt(0).exclusions[court.seat(CONTESTED)].reason
    assert reason in (ExclusionReason.UNREADABLE, ExclusionReason.MISMATCH)


def sealed_to(court: Court, public: bytes, data: bytes, commitment: bytes) -> tuple[Sealing, bytes]:
    """Seal an update of the running attempt to any key; returns what it was sealed with."""
    account, view = court.actor(CONTESTED).account, court.view(CONTESTED)
    place = court.market.seal_context(court.id, court.state.round, court.state.attempt)
    bound_to = view.update_seal(place, account.address, commitment)
    with packed(pack_update(parse_update(data, D, court.terms.chunks)), court.folder) as payload:
        blob = b"".join(seal_update(public, account, bound_to, payload))
        return put(court, blob, commitment), update_ephemeral(account, bound_to, payload.digest)


def aggregator_s_key(court: Court) -> bytes:
    public = court.market.sealing_key(court.id, court.actor("alice").address)
    assert public is not None
    return public


@pytest.mark.parametrize("reason", [ExclusionReason.UNREADABLE, ExclusionReason.MISMATCH])
def test_a_slandered_trainer_shows_its_update_to_the_attestors_and_is_heard(
    court: Court, tmp_path: Path, reason: ExclusionReason
) -> None:
    court.commit()
    court.reveal()
    watch(court)
    court.settle_otherwise(without=Seat(3), reason=reason)
    assert show(court, CONTESTED) == sorted(court.actor(name).address for name in ATTESTORS)
    dispute(court, CONTESTED, Fact.EXCLUSION, 0)
    attend(court)
    assert (court.phase, court.state.round) == (Phase.COMMIT, 0), "the round is undone"
    assert court.market.aggregators(court.id) == [court.actor("bob").address]
    court.check_books()
    attempt = court.state.attempt
    court.commit()
    court.reveal()
    assert court.settle("bob")
    settled = court.attempt(attempt).settled
    assert settled is not None
    assert 3 in settled.accepted
    assert audited(court, tmp_path / "audit") == []


def test_nothing_that_was_shown_stays_with_the_attestors(court: Court) -> None:
    court.commit()
    court.reveal()
    watch(court)
    court.settle_otherwise(without=Seat(3), reason=ExclusionReason.UNREADABLE)
    show(court, CONTESTED)
    opening, update = court.opening(CONTESTED, 0), court.stored(CONTESTED, 0)
    bound_to = court.view(CONTESTED).update_seal(
        court.market.seal_context(court.id, 0, 0), court.actor(CONTESTED).address, opening.commitment
    )
    ephemeral = update_ephemeral(court.actor(CONTESTED).account, bound_to, opening.payload)
    dispute(court, CONTESTED, Fact.EXCLUSION, 0)
    attend(court)
    assert court.state.round == 0
    plain = update.counts.tobytes()
    secrets = (ephemeral, plain, update.blinders, b"".join(pack_update(update)))
    assert holds(court.work_folder(CONTESTED), plain), "it is found where it is"
    for secret in secrets:
        for name in ATTESTORS:
            assert holds(court.work_folder(name), secret) == []
        assert holds(court.store.root, secret) == []


def test_who_hands_over_nothing_loses_once_half_of_the_time_to_answer_is_over(court: Court) -> None:
    court.commit()
    court.reveal()
    watch(court)
    court.settle_otherwise(without=Seat(3), reason=ExclusionReason.UNREADABLE)
    dispute(court, CONTESTED, Fact.EXCLUSION, 0)
    attend(court)
    assert court.phase is Phase.DISPUTED
    assert "is not in storage" in court.told["attestor 0"][-1]
    # What somebody else hands over is no word of the trainer's.
    show_otherwise(court, new_ephemeral(), by="trainer 1")
    attend(court)
    assert court.phase is Phase.DISPUTED
    court.devnet.advance(ANSWER_S // 2)
    assert holds_at_once(court)


def test_what_is_shown_while_the_attestors_wait_is_in_time(court: Court) -> None:
    court.commit()
    court.reveal()
    watch(court)
    court.settle_otherwise(without=Seat(3), reason=ExclusionReason.MISMATCH)
    dispute(court, CONTESTED, Fact.EXCLUSION, 0)
    attend(court)
    assert court.phase is Phase.DISPUTED
    show(court, CONTESTED)
    attend(court)
    assert (court.phase, court.state.round) == (Phase.COMMIT, 0)


def test_who_sealed_garbage_cannot_show_a_sound_update_in_its_place(court: Court) -> None:
    commitment, sound = committed(court, some_counts(5))
    honest, ephemeral = sealed_to(court, aggregator_s_key(court), sound, commitment)
    garbage = put(court, bytes(len_of(court, honest)), commitment)
    play_with(court, garbage)
    show_otherwise(court, ephemeral)
    dispute(court, CONTESTED, Fact.EXCLUSION, 0)
    assert holds_at_once(court)


def test_who_sealed_another_update_than_it_committed_to_loses(court: Court) -> None:
    commitment, _ = committed(court, some_counts(5))
    _, other = committed(court, some_counts(6))
    sealing, ephemeral = sealed_to(court, aggregator_s_key(court), other, commitment)
    play_with(court, sealing)
    show_otherwise(court, ephemeral)
    dispute(court, CONTESTED, Fact.EXCLUSION, 0)
    assert holds_at_once(court)


def test_who_sealed_what_is_out_of_range_loses(court: Court) -> None:
    commitment, sound = committed(court, some_counts(5))
    sealing = stored(court, CONTESTED, b"\x00\x80" * D + sound[2 * D :], commitment)
    play_with(court, sealing)
    show_otherwise(court, new_ephemeral())
    dispute(court, CONTESTED, Fact.EXCLUSION, 0)
    assert holds_at_once(court)


def test_who_sealed_to_another_key_than_the_aggregator_s_loses(court: Court) -> None:
    """Attestors could open it, if they took the trainer's word for whom it was sealed to."""
    commitment, sound = committed(court, some_counts(5))
    others = X25519PrivateKey.generate().public_key().public_bytes_raw()
    sealing, ephemeral = sealed_to(court, others, sound, commitment)
    play_with(court, sealing)
    show_otherwise(court, ephemeral)
    dispute(court, CONTESTED, Fact.EXCLUSION, 0)
    assert holds_at_once(court)


def test_the_key_of_another_attempt_opens_nothing(court: Court) -> None:
    court.commit()
    court.reveal()
    watch(court)
    court.settle_otherwise(without=Seat(3), reason=ExclusionReason.UNREADABLE)
    opening = court.opening(CONTESTED, 0)
    elsewhere = court.view(CONTESTED).update_seal(
        court.market.seal_context(court.id, 0, 1), court.actor(CONTESTED).address, opening.commitment
    )
    show_otherwise(court, update_ephemeral(court.actor(CONTESTED).account, elsewhere, opening.payload))
    dispute(court, CONTESTED, Fact.EXCLUSION, 0)
    assert holds_at_once(court)


def test_what_cannot_be_shown_to_a_quorum_is_not_shown(
    devnet: Devnet, deployed: JobMarket, actors: Any, tmp_path: Path
) -> None:
    court = Court(devnet, deployed, actors, tmp_path).post().join()
    attestor(court, "attestor 1").announce()
    court.commit()
    court.reveal()
    court.settle_otherwise(without=Seat(3), reason=ExclusionReason.UNREADABLE)
    with pytest.raises(InvalidInput, match="1 of 3 attestors of job 0 announced a key to seal to, and 2 have to see"):
        show(court, CONTESTED)
    with pytest.raises(InvalidInput, match="cannot be shown: its opening is not in"):
        show_update(
            court.view(CONTESTED), court.people(CONTESTED), court.actor(CONTESTED), tmp_path / "elsewhere",
            court.attempt(0), Seat(3),
        )  # fmt: skip


def len_of(court: Court, sealing: Sealing) -> int:
    """How long what was sealed is in storage."""
    return court.store.size(court.view("onlooker").update_cid(sealing.content))
