"""Receipts for what was revealed: asked of the attestors, kept as evidence, and filed on the chain once for all.

An exclusion as unavailable of a seat that a quorum of attestors holds is refused by the contract. One filing covers all
seats that enough attestors hold: whoever has the lowest seat files once all have revealed and all are held; where it
does not, the others do, one after the other, while there is still time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from market.announced import JobDirectory
from market.chain.attestation import HeldReceipt, seals_digest
from market.chain.records import JobState
from market.chain.transactions import TransactionSender
from market.protocol.errors import ContractRevert, InvalidReceipt, SourceUnavailable
from market.protocol.identifiers import Seat, seats_in
from market.protocol.rounds import Phase, Schedule
from market.published_job import PublishedJob
from market.signed_receipts import SignedReceipt, fetch_receipt
from market.storage.durable_file import write_file
from trainer_client.attempt_folder import AttemptFolder

LATE = 0.7
"""Share of the time from the first reveal to the settle phase after which whatever receipts there are get filed."""

LAST = 0.85
"""By then everybody who has a reason to file has had its turn."""

ASK_S = 3.0
"""How often the attestors are asked."""


@dataclass(frozen=True)
class ReceiptPlace:
    """What the receipts of one attempt have to say.

    Attributes:
        chain_id: of the chain.
        contract: the marketplace's address.
        job: the job's number.
        round: the attempt's round.
        attempt: the attempt's number.
        seals: of the seats that revealed.
        held_until_s: no receipt may end before.
    """

    chain_id: int
    contract: str
    job: int
    round: int
    attempt: int
    seals: Mapping[Seat, bytes]
    held_until_s: int

    def check(self, signed: SignedReceipt, attestor: str) -> None:
        """Refuse a receipt that the contract would, or that is another's.

        Raises:
            InvalidReceipt: naming what is wrong with it.
        """
        receipt = signed.receipt
        if signed.attestor != attestor:
            raise InvalidReceipt(f"a receipt of {signed.attestor}, expected one of {attestor}")
        here = (self.chain_id, self.contract, self.job, self.round, self.attempt)
        there = (receipt.chain_id, receipt.contract, receipt.job, receipt.round, receipt.attempt)
        if here != there:
            raise InvalidReceipt(f"a receipt of {there}, expected chain, contract, job, round and attempt {here}")
        unrevealed = [seat for seat in receipt.held if seat not in self.seals]
        if unrevealed or not receipt.held:
            raise InvalidReceipt(f"a receipt over seats {receipt.held}, expected some of {sorted(self.seals)}")
        if receipt.seals != seals_digest(self.seals[seat] for seat in receipt.held):
            raise InvalidReceipt(f"a receipt over seats {receipt.held} for other contents than they sealed")
        if receipt.held_until_s < self.held_until_s:
            raise InvalidReceipt(f"a receipt until {receipt.held_until_s}, expected {self.held_until_s} at least")


class ReceiptFiling:
    """One trainer's part in having receipts on the chain."""

    def __init__(
        self,
        job: PublishedJob,
        people: JobDirectory,
        sender: TransactionSender,
        work_folder: Path,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Ask for nothing yet.

        Args:
            job: the job.
            people: where its attestors announce their endpoints.
            sender: the trainer's account.
            work_folder: the trainer's; receipts are kept with the attempt that they are of.
            report: is told what happens, a line at a time.
        """
        self._job, self._people, self._sender = job, people, sender
        self._work_folder, self._report = work_folder, report
        self._done = -1
        """The attempt in which nothing is left to do."""
        self._asked_at, self._told = float("-inf"), ""

    def advance(self, state: JobState, phase: Phase, seat: Seat) -> bool:
        """Do what is due now; returns whether there was anything."""
        mine = state.revealed >> seat & 1
        if phase not in (Phase.REVEAL, Phase.EXAM) or not mine or self._done == state.attempt:
            return False
        schedule = self._job.terms.schedule(state.attempt_start_s)
        now_s = self._job.market.chain.timestamp()
        is_complete = state.revealed == state.committed
        if not (is_complete or now_s >= _moment(schedule, LATE)):
            return False
        if time.monotonic() - self._asked_at < ASK_S:
            return False
        self._asked_at = time.monotonic()
        place = self._place(state, schedule)
        receipts = self._gather(state, place)
        if seat in self._job.market.covered_seats(self._job.id, state.attempt):
            self._done = state.attempt
            return False
        covered = covered_by(receipts.values(), self._job.terms.disputes.quorum)
        rank = state.revealed_seats.index(seat)
        serves_all = is_complete and not rank and covered == set(place.seals)
        is_late = now_s >= _turn(schedule, rank, len(place.seals))
        if seat not in covered:
            if is_late:
                self._tell_once(f"round {state.round}: too few attestors have given a receipt that counts")
            return False
        return (serves_all or is_late) and self._file(state, receipts, covered)

    # ------------------------------------------------------------------ asking

    def _place(self, state: JobState, schedule: Schedule) -> ReceiptPlace:
        market, job = self._job.market, self._job.id
        seals = {seat: market.sealed(job, seat) for seat in state.revealed_seats}
        chain_id, contract = market.chain.chain_id, market.address
        return ReceiptPlace(chain_id, contract, job, state.round, state.attempt, seals, schedule.settle_end_s)

    def _gather(self, state: JobState, place: ReceiptPlace) -> dict[str, SignedReceipt]:
        """By attestor: what it gives now, or gave before."""
        folder = self._folder(state)
        found: dict[str, SignedReceipt] = {}
        endpoints = self._people.endpoints()
        for attestor in self._job.terms.disputes.attestors:
            path = folder / f"{attestor}.json"
            kept, given = self._kept(path, place, attestor), None
            if attestor in endpoints:
                given = self._ask(endpoints[attestor], place, attestor)
            if given and (kept is None or kept != given):
                folder.mkdir(parents=True, exist_ok=True)
                write_file(path, [given.to_bytes()])
            if receipt := given or kept:
                found[attestor] = receipt
        return found

    def _ask(self, endpoint: str, place: ReceiptPlace, attestor: str) -> SignedReceipt | None:
        try:
            given = fetch_receipt(
                endpoint, self._job.id, place.attempt, public_only=not self._people.takes_private_hosts
            )
            if given is not None:
                place.check(given, attestor)
        except (InvalidReceipt, SourceUnavailable) as problem:
            self._tell_once(f"round {place.round}: no receipt of attestor {attestor}: {problem}")
            return None
        return given

    def _kept(self, path: Path, place: ReceiptPlace, attestor: str) -> SignedReceipt | None:
        # What was kept before a reorganisation, or is damaged, counts for nothing.
        with suppress(FileNotFoundError, InvalidReceipt):
            signed = SignedReceipt.parse(path.read_bytes())
            place.check(signed, attestor)
            return signed
        return None

    def _folder(self, state: JobState) -> Path:
        context = self._job.market.seal_context(self._job.id, state.round, state.attempt)
        return AttemptFolder(self._work_folder, context).path / "receipts"

    # ------------------------------------------------------------------ filing

    def _file(self, state: JobState, receipts: Mapping[str, SignedReceipt], covered: set[Seat]) -> bool:
        """File once, whatever comes of it: the deposit that is at stake is the aggregator's, not the trainer's."""
        self._done = state.attempt
        chosen = fewest(receipts.values(), self._job.terms.disputes.quorum)
        signed: list[tuple[HeldReceipt, bytes]] = [(it.receipt, it.signature) for it in chosen]
        key = f"receipts/{self._job.id}/{state.attempt}"
        try:
            self._sender.send(key, self._job.market.file_receipts(self._job.id, state.attempt, signed))
        except ContractRevert as refusal:
            # Somebody else was faster, or time is over.
            self._report(f"round {state.round}: receipts were not filed: {refusal}")
            return False
        seats = ", ".join(map(str, sorted(covered)))
        signers = "1 attestor" if len(signed) == 1 else f"{len(signed)} attestors"
        self._report(f"round {state.round}: filed receipts of {signers} over seats {seats}")
        return True

    def _tell_once(self, line: str) -> None:
        if line != self._told:
            self._told = line
            self._report(line)


def covered_by(receipts: Iterable[SignedReceipt], quorum: int) -> set[Seat]:
    """The seats that at least `quorum` receipts, each of another attestor, are over."""
    held = [signed.receipt.seats for signed in receipts]
    named = seats_in(sum(1 << seat for seat in range(64) if any(mask >> seat & 1 for mask in held)))
    return {seat for seat in named if sum(mask >> seat & 1 for mask in held) >= quorum}


def fewest(receipts: Iterable[SignedReceipt], quorum: int) -> list[SignedReceipt]:
    """Those that cover as much as all of them do: each one more costs whoever files it."""
    by_seats = sorted(receipts, key=lambda signed: -signed.receipt.seats.bit_count())
    covered, chosen = covered_by(by_seats, quorum), list[SignedReceipt]()
    for signed in by_seats:
        if covered_by(chosen, quorum) == covered:
            break
        chosen.append(signed)
    return chosen


def _moment(schedule: Schedule, share: float) -> int:
    """A moment between the start of the reveals and the settle phase."""
    return schedule.commit_end_s + int(share * (schedule.exam_end_s - schedule.commit_end_s))


def _turn(schedule: Schedule, rank: int, count: int) -> int:
    """From when on the trainer of this rank files what others have not: not all of them at once."""
    return _moment(schedule, LATE + (LAST - LATE) * rank / count)
