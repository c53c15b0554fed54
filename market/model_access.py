"""Who reads the models of a job that seals them: asking for its content key, taking it, and handing it on.

The owner makes the key. Whoever takes part announces in the contract's directory what to seal it to; an aggregator has
with its bond. The owner, and each aggregator in its turn, hand the key to all who have a part in the job and lack it.
The directory believes nobody: that a key is the job's own shows by the job's document, whoever handed it over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount

from market.chain.directory import MAX_DELIVERIES, Announcement, Delivery, Directory
from market.chain.events import TrainerEnrolled, TrainerWaits
from market.chain.transactions import Finality, TransactionSender
from market.content_key import CONTENT_KEY_TOPIC, ContentKey, handover, unseal_content_key
from market.protocol.errors import CannotUnseal, InvalidInput, InvalidSealingKey, ModelsSealed
from market.published_job import PublishedJob
from market.sealing import SealingKey

AT_ONCE = MAX_DELIVERIES
"""To how many accounts the directory takes a key in one transaction."""

TRIED_AT_ONCE = 256
"""How many deliveries are tried in one look: strangers can send any number."""


class ModelAccess:
    """One account's way to the models of one job. In a job with open models there is nothing to do."""

    def __init__(self, job: PublishedJob, account: LocalAccount) -> None:
        """Ask for nothing yet.

        Args:
            job: whose models.
            account: who reads them.
        """
        self._job, self._account = job, account
        chain_id, contract = job.market.chain.chain_id, job.market.address
        self._key = SealingKey.of_account(account, chain_id, contract, job.id)
        self._place = handover(chain_id, contract, job.id)
        self._tried: set[bytes] = set()
        self._looked_at = -1
        self._announced = False

    def look(self) -> bool:
        """Whether the models can be read by now; takes the key where it has come. Asks the chain once a block."""
        if self._job.models.can_be_read:
            return True
        block = self._job.market.chain.block_number()
        if block == self._looked_at:
            return False
        key = self._made() if self._job.owner == self._account.address else self._handed_over()
        self._looked_at = block
        if key is not None:
            self._job.unlock(key)
        return key is not None

    def require(self) -> None:
        """Take the key.

        Raises:
            ModelsSealed: it has not come.
        """
        if not self.look():
            raise ModelsSealed(self.missing())

    def missing(self) -> str:
        """Says that this account has no key."""
        return f"the models of job {self._job.id} are sealed, and {self._account.address} has not been given their key"

    def announce(self, sender: TransactionSender, finality: Finality | None = None) -> bool:
        """Say in the directory what to seal the key to, where this account has not; returns whether that was now.

        Not where it has the key: nobody need hand it over.
        """
        if self._announced or self.look():
            return False
        directory = self._job.directory
        if directory is None:
            return False
        known = directory.announcements(self._job.id, [self._account.address]).get(self._account.address)
        self._announced = True
        if known is not None and known.sealing_key == self._key.public:
            return False
        endpoint = "" if known is None else known.endpoint
        call = directory.announce(self._job.id, self._key.public, endpoint)
        sender.send(f"announce/{self._job.id}/{self._key.public.hex()}", call, finality)
        return True

    def _made(self) -> ContentKey | None:
        sealing = self._job.document.sealing
        if sealing is None:
            return None
        chain_id, contract = self._job.market.chain.chain_id, self._job.market.address
        key = ContentKey.of_owner(self._account, chain_id, contract, bytes.fromhex(sealing.key_salt))
        # A document that another account wrote, and this one posted.
        return key if key.sealing == sealing else self._handed_over()

    def _handed_over(self) -> ContentKey | None:
        sealing = self._job.document.sealing
        if sealing is None:
            return None
        for delivery in self._untried():
            self._tried.add(delivery.sealed)
            with suppress(CannotUnseal):
                return unseal_content_key(self._key, self._place, sealing, delivery.sealed)
        return None

    def _untried(self) -> list[Delivery]:
        """Deliveries that were not looked at: the owner's before those of others, as many as one look takes."""
        directory = self._job.directory
        if directory is None:
            return []
        found = directory.deliveries(self._job.id, CONTENT_KEY_TOPIC, self._account.address)
        new = [delivery for delivery in found if delivery.sealed not in self._tried]
        return sorted(new, key=lambda delivery: delivery.by != self._job.owner)[:TRIED_AT_ONCE]


class KeyGrants:
    """Hands the content key of one job to whoever has a part in it and lacks it."""

    def __init__(self, job: PublishedJob, sender: TransactionSender, named: Collection[str] = ()) -> None:
        """Hand nothing over yet.

        Args:
            job: unlocked by the time that a key is to be handed over.
            sender: of the owner, or of an aggregator.
            named: who is given the key without a part in the job, once it has asked.
        """
        self._job, self._sender, self._chosen = job, sender, frozenset(named)
        self._place = handover(job.market.chain.chain_id, job.market.address, job.id)
        self._looked_at = -1
        self._there: _There | None = None
        self._done: set[str] = {sender.address, job.owner}

    def look(self) -> list[str]:
        """Hand the key over if somebody came; returns to whom. Asks the chain once a block."""
        block = self._job.market.chain.block_number()
        if block == self._looked_at or self._job.models.seal is None or self._job.directory is None:
            return []
        self._looked_at = block
        there = self._who_is_there(self._job.directory)
        if there == self._there:
            return []
        given = self.give()
        self._there = there
        return given

    def give(self, named: Collection[str] = ()) -> list[str]:
        """Hand the key to all that have a part and lack it, and to those that are named; returns to whom.

        Args:
            named: addresses that have announced a key, but need have no part in the job yet.

        Raises:
            ModelsSealed: this account has no key to hand over.
            InvalidInput: one that is named has not announced what to seal to, or nothing can be sealed to it.
        """
        seal, directory = self._job.models.seal, self._job.directory
        if seal is None or directory is None:
            raise ModelsSealed(f"the models of job {self._job.id} are sealed, and their key is not at hand")
        keys = self._named(directory, named) | dict(self._lacking(directory))
        sealed: dict[str, bytes] = {}
        for account, public in keys.items():
            try:
                sealed[account] = seal.key.seal_for(public, self._place)
            except InvalidSealingKey as problem:
                if account in named:
                    raise InvalidInput(f"{account} cannot be given the key: {problem}") from problem
        accounts = sorted(sealed)
        for start in range(0, len(accounts), AT_ONCE):
            self._send(directory, {account: keys[account] for account in accounts[start : start + AT_ONCE]}, sealed)
        self._done |= keys.keys()
        return accounts

    def _send(self, directory: Directory, to: dict[str, bytes], sealed: dict[str, bytes]) -> None:
        call = directory.deliver(self._job.id, CONTENT_KEY_TOPIC, list(to), [sealed[account] for account in to])
        # Sealed anew after a restart, it is still the same intent: the journal sends it once.
        recipients = hashlib.sha256(b"".join(account.encode() + public for account, public in to.items()))
        self._sender.send(f"grant/{self._job.id}/{recipients.hexdigest()[:16]}", call)

    def _named(self, directory: Directory, named: Collection[str]) -> dict[str, bytes]:
        announced = directory.announcements(self._job.id, named)
        keys = {}
        for account in named:
            bonded = self._job.market.sealing_key(self._job.id, account)
            known = announced.get(account)
            if bonded is None and known is None:
                raise InvalidInput(f"{account} has not announced in job {self._job.id} what to seal its key to")
            keys[account] = bonded if bonded is not None else known.sealing_key if known else b""
        return keys

    def _lacking(self, directory: Directory) -> Iterator[tuple[str, bytes]]:
        """Who has a part and was given no key by the owner or by this account, and what to seal to for each."""
        for account, public in self._taking_part(directory):
            if account in self._done:
                continue
            if self._was_given(directory, account):
                self._done.add(account)
            else:
                yield account, public

    def _was_given(self, directory: Directory, account: str) -> bool:
        believed = (self._job.owner, self._sender.address)
        deliveries = directory.deliveries(self._job.id, CONTENT_KEY_TOPIC, account)
        return any(delivery.by in believed for delivery in deliveries)

    def _taking_part(self, directory: Directory) -> Iterator[tuple[str, bytes]]:
        """Everybody with a part in the job who said what to seal to, and that."""
        there = self._who_is_there(directory)
        yield from there.bonded.items()
        for account, announcement in there.announced.items():
            if account not in there.bonded and account not in self._done and self._has_part(account):
                yield account, announcement.sealing_key

    def _who_is_there(self, directory: Directory) -> _There:
        market, job = self._job.market, self._job.id
        keys = {account: market.sealing_key(job, account) for account in market.aggregators(job)}
        came = [event.trainer for event in self._job.events(TrainerEnrolled)]
        came += [event.trainer for event in self._job.events(TrainerWaits)]
        return _There(
            {account: key for account, key in keys.items() if key is not None},
            directory.announcements(job, {*came, *self._appointed}),
            len(came),
        )

    @property
    def _appointed(self) -> set[str]:
        """Who has a part by the job's terms, or is to be given the key without."""
        terms = self._job.terms
        examiner = {terms.exam.examiner_of(self._job.owner)} if terms.exam.is_set else set()
        return {*terms.disputes.attestors, *examiner, *self._chosen}

    def _has_part(self, account: str) -> bool:
        market, job = self._job.market, self._job.id
        has_seat = account in self._appointed or market.seat(job, account) is not None
        return has_seat or market.waiting(job, account).stake_wei > 0


@dataclass(frozen=True)
class _There:
    """Who may lack the key: those with a bond, others who announced what to seal to, and how often anybody came."""

    bonded: dict[str, bytes]
    announced: dict[str, Announcement]
    came: int
