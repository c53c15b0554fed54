"""What paths and queries name: numbers that a database can hold, and accounts as the chain writes them."""

from __future__ import annotations

from typing import Annotated, TypeVar

from eth_utils.address import to_checksum_address
from fastapi import Path, Query
from pydantic import AfterValidator

from market.parameters import ADDRESS, LARGEST, SAMPLE
from market.protocol.errors import NotFound

T = TypeVar("T")

AttemptPath = Annotated[int, Path(ge=0, le=LARGEST, description="The attempt's number.", examples=[0])]
VersionPath = Annotated[int, Path(ge=0, le=LARGEST, description="Counted from the initial model, 0.", examples=[0])]

JobQuery = Annotated[int | None, Query(ge=0, le=LARGEST, description="Of this job only.")]
AttemptQuery = Annotated[int | None, Query(ge=0, le=LARGEST, description="Of this attempt only.")]


def _checksummed(address: str | None) -> str | None:
    return None if address is None else to_checksum_address(address)


AddressQuery = Annotated[
    str | None,
    Query(pattern=ADDRESS, description="Of this account only.", examples=[SAMPLE]),
    AfterValidator(_checksummed),
]


def _without_zeros(text: str | None) -> str | None:
    if text is not None and "\0" in text:
        raise ValueError("no database keeps a zero character")
    return text


TextQuery = Annotated[
    str | None,
    Query(
        max_length=100, description="Part of its name or architecture.", json_schema_extra={"pattern": "^[^\\x00]*$"}
    ),
    AfterValidator(_without_zeros),
]


def there(thing: T | None, what: str) -> T:
    """The thing that was asked for.

    Raises:
        NotFound: there is none.
    """
    if thing is None:
        raise NotFound(f"there is no {what}")
    return thing
