"""Up to where the chain was read."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from market.db.tables import SyncRow
from market.views import Network


def network(session: Session) -> Network | None:
    """The chain as far as it was read; None before its first block was."""
    row = session.scalar(select(SyncRow))
    return row and Network(
        chain_id=row.chain_id,
        contract=row.contract,
        block_number=row.block_number,
        block_hash=row.block_hash,
        timestamp_s=row.timestamp_s,
    )


def now_s(session: Session) -> int:
    """The last block's timestamp; zero before the first was read."""
    return session.scalar(select(SyncRow.timestamp_s)) or 0
