"""What an account opens of a job's sealed updates: all that were sealed to it, and what it sealed itself."""

from __future__ import annotations

from pathlib import Path

from eth_account.signers.local import LocalAccount

from market.job_history import Attempt
from market.protocol.errors import InvalidUpdate
from market.protocol.identifiers import JobId
from market.sealing import Opening, SealingKey, ShownEphemeral, UpdateSeal, update_ephemeral
from trainer_client.attempt_folder import AttemptFolder


class AccountOpenings:
    """The openings of one account in one job, for an audit."""

    def __init__(self, account: LocalAccount, chain_id: int, contract: str, job: JobId, work_folder: Path) -> None:
        """Open nothing yet.

        Args:
            account: of an aggregator or a trainer.
            chain_id: of the chain.
            contract: the marketplace's address.
            job: the job's number.
            work_folder: where a trainer keeps of its attempts which payload it sealed.
        """
        self._account, self._work_folder = account, work_folder
        self._key = SealingKey.of_account(account, chain_id, contract, job)

    def of(self, attempt: Attempt, update: UpdateSeal) -> Opening | None:
        """As `aggregator.audit.Openings`: the attempt's aggregator opens all, a trainer what it made."""
        if attempt.started.aggregator == self._account.address:
            return self._key
        if update.trainer != self._account.address:
            return None
        try:
            sealed = AttemptFolder(self._work_folder, update.place).sealed()
        except InvalidUpdate:
            return None
        if sealed is None:
            return None
        return ShownEphemeral(update_ephemeral(self._account, update, sealed.payload), sealed.recipient)
