"""Reading the models of a job, which may be sealed to those who take part in it."""

from __future__ import annotations

from pathlib import Path

from eth_account.signers.local import LocalAccount

from fedmarket.commands.options import ask_password
from fedmarket.connection import AccountOptions, Network, account_of
from market.content_key import ContentKey
from market.model_access import ModelAccess
from market.protocol.errors import AuditMismatch, InvalidJobSpec, ModelsSealed, StorageError
from market.protocol.identifiers import JobId
from market.published_job import PublishedJob
from market.storage import ContentStore


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


def content_key(
    network: Network, store: ContentStore, job: JobId, cache: Path, account: LocalAccount | None
) -> ContentKey | None:
    """The key of a job's sealed models, where whoever reads has it.

    Args:
        network: the market.
        store: where the job's document is.
        job: the job's number.
        cache: folder for what is looked at.
        account: who reads.
    """
    if account is None:
        return None
    try:
        published = PublishedJob(network.market, store, job, cache, network.directory)
    except (AuditMismatch, InvalidJobSpec, StorageError):
        return None  # what is wrong with its document is the audit's to say
    if not published.models.are_sealed:
        return None
    ModelAccess(published, account).look()
    return None if published.models.seal is None else published.models.seal.key
