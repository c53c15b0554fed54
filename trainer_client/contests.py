"""A trainer that was excluded for what it had sealed shows the attestors what it was."""

from __future__ import annotations

from pathlib import Path

from market.announced import JobDirectory
from market.chain.transactions import TransactionSender
from market.contests import hand_over
from market.job_history import Attempt
from market.protocol.errors import InvalidInput, InvalidUpdate
from market.protocol.identifiers import Seat
from market.protocol.seal import SealContext
from market.published_job import PublishedJob
from market.sealing import update_ephemeral
from trainer_client.attempt_folder import AttemptFolder


def show_update(
    job: PublishedJob, people: JobDirectory, sender: TransactionSender, work_folder: Path, attempt: Attempt, seat: Seat
) -> list[str]:
    """Hand the key that an attempt's update was sealed with to every attestor that announced one; returns to whom.

    The attestors can read the update from then on, and nobody else.

    Args:
        job: the job.
        people: by whom keys are announced.
        sender: the trainer's account.
        work_folder: the trainer's.
        attempt: in which it was excluded.
        seat: its own.

    Raises:
        InvalidInput: the update is not there any more, or too few attestors announced a key to hand it over to.
    """
    place = job.market.seal_context(job.id, attempt.started.round, attempt.number)
    ephemeral = _ephemeral(job, sender, AttemptFolder(work_folder, place), place)
    handed = hand_over(people.directory, place, seat, ephemeral, people.attestors())
    quorum = job.terms.disputes.quorum
    if handed is None or len(handed[1]) < quorum:
        count = 0 if handed is None else len(handed[1])
        raise InvalidInput(
            f"{count} of {len(job.terms.disputes.attestors)} attestors of job {job.id} announced a key to seal to, "
            f"and {quorum} have to see the update to decide: have them run `fedmarket attestor run`"
        )
    call, shown_to = handed
    sender.send(f"contest/{job.id}/{attempt.number}/{seat}", call)
    return shown_to


def _ephemeral(job: PublishedJob, sender: TransactionSender, folder: AttemptFolder, place: SealContext) -> bytes:
    """The key that the attempt's update was sealed with, which follows from the account's and from what was sealed."""
    cannot = f"the update of attempt {place.attempt} cannot be shown"
    try:
        sealed = folder.sealed()
    except InvalidUpdate as problem:
        raise InvalidInput(f"{cannot}: {problem}") from problem
    if sealed is None:
        raise InvalidInput(f"{cannot}: its opening is not in {folder.path}")
    return update_ephemeral(sender.account, job.update_seal(place, sender.address, sealed.commitment), sealed.payload)
