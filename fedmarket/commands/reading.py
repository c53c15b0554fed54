"""Reading the models of a job, which may be sealed to those who take part in it."""

from __future__ import annotations

from fedmarket.commands.options import ask_password
from fedmarket.connection import AccountOptions, Network, account_of
from market.model_access import ModelAccess
from market.protocol.errors import ModelsSealed
from market.published_job import PublishedJob


def take_key(network: Network, job: PublishedJob, account: AccountOptions) -> None:
    """Where a job's models are sealed, take their key, as the account that reads; elsewhere nobody is asked.

    Raises:
        ModelsSealed: no account was named, or it has not been given the key.
        InvalidKeystore: the account's does not open.
    """
    if not job.models.are_sealed:
        return
    if account.keystore is None:
        raise ModelsSealed(
            f"the models of job {job.id} are sealed to those who take part: name an account with their key by "
            "--keystore FILE"
        )
    ModelAccess(job, account_of(network, account, ask_password)).require()
