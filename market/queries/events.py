"""The contract's events as they happened; and what a reorganisation took back."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from market.db.event_codec import exact
from market.db.service_tables import OrphanRow
from market.db.tables import BlockRow, EventRow
from market.queries.paging import Key, Order, Part
from market.views import ChainEvent

IN_ORDER = Order((EventRow.block_number, EventRow.log_index, EventRow.part))
HASH_BYTES = 8
"""Of a block's hash, in an event's id: enough to tell the blocks of one height apart."""

ID = re.compile(r"([0-9]{1,15})-([0-9a-f]{16})-([0-9]{1,9})-([01])")


@dataclass(frozen=True)
class EventFilter:
    """Which events are asked for; None does not matter."""

    job: int | None = None
    account: str | None = None
    kind: str | None = None


@dataclass(frozen=True)
class EventPlace:
    """Where an event is, as its id says."""

    block_number: int
    hash_prefix: bytes
    log_index: int
    part: int

    @property
    def key(self) -> Key:
        """Its place in the list."""
        return self.block_number, self.log_index, self.part

    def __str__(self) -> str:
        """The id."""
        return f"{self.block_number}-{self.hash_prefix.hex()}-{self.log_index}-{self.part}"

    @classmethod
    def parse(cls, unverified_id: str) -> EventPlace:
        """The place that an id says.

        Raises:
            ValueError: it is no id of an event.
        """
        found = ID.fullmatch(unverified_id)
        if found is None:
            raise ValueError(f"{unverified_id!r} is no id of an event")
        number, prefix, index, part = found.groups()
        return cls(int(number), bytes.fromhex(prefix), int(index), int(part))


def events(session: Session, wanted: EventFilter, part: Part) -> tuple[list[ChainEvent], Key | None]:
    """Events in the order of the chain, and where the next part begins."""
    statement = select(EventRow, BlockRow).join(BlockRow, BlockRow.number == EventRow.block_number)
    if wanted.job is not None:
        statement = statement.where(EventRow.job == wanted.job)
    if wanted.account is not None:
        statement = statement.where(EventRow.account == wanted.account)
    if wanted.kind is not None:
        statement = statement.where(EventRow.kind == wanted.kind)
    rows = session.execute(IN_ORDER.apply(statement, part)).all()
    found = [_view(event, block) for event, block in rows[: part.limit]]
    return found, IN_ORDER.next_key(rows, part, lambda row: row[0])


def last_event(session: Session, up_to: Key | None = None) -> EventPlace | None:
    """The place of the last event, of those up to a place where one is given; None where there is none."""
    columns = IN_ORDER.columns
    statement = select(*columns, BlockRow.hash).join(BlockRow, BlockRow.number == EventRow.block_number)
    if up_to is not None:
        statement = statement.where(tuple_(*columns) <= tuple_(*up_to, types=[column.type for column in columns]))
    row = session.execute(statement.order_by(*(column.desc() for column in columns)).limit(1)).first()
    return None if row is None else EventPlace(row[0], row[3][:HASH_BYTES], row[1], row[2])


def kept_block(session: Session, place: EventPlace) -> int | None:
    """The last block that stayed of those that somebody saw who saw this event; None where the event itself stayed.

    An event that this database never had is answered like one of the chain's first block: all is told again.
    """
    block = session.get(BlockRow, place.block_number)
    if block is not None and block.hash.startswith(place.hash_prefix):
        return None
    lost = select(OrphanRow.ordinal, OrphanRow.block_hash).where(OrphanRow.block_number == place.block_number)
    ordinals = [ordinal for ordinal, its in session.execute(lost) if its.startswith(place.hash_prefix)]
    if not ordinals:
        return -1
    return session.scalar(select(func.min(OrphanRow.kept_block)).where(OrphanRow.ordinal >= min(ordinals)))


def last_orphan(session: Session) -> int:
    """The ordinal of the last block that was taken back; 0 where none ever was."""
    return session.scalar(select(func.max(OrphanRow.ordinal))) or 0


def kept_since(session: Session, ordinal: int) -> int | None:
    """The last block that stayed through all that was taken back after this ordinal; None where nothing was."""
    return session.scalar(select(func.min(OrphanRow.kept_block)).where(OrphanRow.ordinal > ordinal))


def _view(event: EventRow, block: BlockRow) -> ChainEvent:
    place = EventPlace(event.block_number, block.hash[:HASH_BYTES], event.log_index, event.part)
    return ChainEvent(
        id=str(place),
        block_number=event.block_number,
        block_hash=block.hash,
        timestamp_s=block.timestamp_s,
        log_index=event.log_index,
        transaction=event.transaction,
        job=event.job,
        kind=event.kind,
        attempt=event.attempt,
        account=event.account,
        arguments=exact(json.loads(event.body)),
    )
