"""What every table is made of: exact amounts, bytes that can be read, one naming of constraints."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, MetaData, String
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

AMOUNT_DIGITS = 39
"""Decimal digits of the largest uint128."""

ADDRESS_CHARACTERS = 42
DIGEST_BYTES = 32


class Amount(TypeDecorator[int]):
    """A uint128 as decimal text of one length: exact in every database, and in the order of the amounts."""

    impl = String(AMOUNT_DIGITS)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        """To the database.

        Raises:
            ValueError: it is negative, or longer than a uint128.
        """
        if value is None:
            return None
        if not 0 <= value < 1 << 128:
            raise ValueError(f"amount {value} is none of the contract's: expected 0 to 2^128 - 1")
        return f"{value:0{AMOUNT_DIGITS}d}"

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:
        """From the database."""
        return None if value is None else int(value)


class Hex(TypeDecorator[bytes]):
    """Bytes as text that begins with 0x: what people and logs call them by."""

    impl = String
    cache_ok = True

    def __init__(self, size_bytes: int | None = None) -> None:
        super().__init__(None if size_bytes is None else 2 + 2 * size_bytes)

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else "0x" + value.hex()

    def process_result_value(self, value: str | None, dialect: Dialect) -> bytes | None:
        """From the database."""
        return None if value is None else bytes.fromhex(value[2:])


def address() -> String:
    """A column's type for accounts, checksummed."""
    return String(ADDRESS_CHARACTERS)


def digest() -> Hex:
    """A column's type for hashes and content digests."""
    return Hex(DIGEST_BYTES)


class Base(DeclarativeBase):
    """Of all tables. Constraints are named, so that a migration can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )

    def __repr__(self) -> str:
        """The class and its key."""
        key: dict[str, Any] = {column.name: getattr(self, column.name) for column in self.__mapper__.primary_key}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in key.items())})"
