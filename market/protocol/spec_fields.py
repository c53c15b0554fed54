"""What the fields of a job's spec and of its document are made of."""

from __future__ import annotations

import re
from typing import Annotated

from eth_utils.address import is_address, to_checksum_address
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from market.protocol.identifiers import Wei
from market.protocol.money import parse_amount
from market.protocol.terms import NATIVE


def _token_address(text: str) -> str:
    if text == "native":
        return NATIVE
    if not is_address(text):
        raise ValueError(f"expected 'native' or a token's address, got {text!r}")
    return to_checksum_address(text)


def _account(value: object) -> str:
    if isinstance(value, int):
        raise ValueError("expected an account's address in quotes: without them YAML reads a number")
    if not isinstance(value, str) or not is_address(value):
        raise ValueError(f"expected an account's address, got {value!r:.100}")
    return to_checksum_address(value)


def _bytes_32(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"expected 64 hexadecimal digits, got {text!r:.100}")
    return text


def printable(text: str) -> str:
    """The text, where every character of it can be shown.

    Raises:
        ValueError: one cannot.
    """
    if not text.isprintable():
        raise ValueError(f"expected printable characters, got {text!r}")
    return text


Amount = Annotated[Wei, BeforeValidator(parse_amount)]
Token = Annotated[str, AfterValidator(_token_address)]
Account = Annotated[str, BeforeValidator(_account)]
Hex32 = Annotated[str, AfterValidator(_bytes_32)]
Seconds = Annotated[int, Field(ge=0, le=5 * 365 * 24 * 3600)]
Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """A part of a spec or a document: unknown fields are refused, and nothing is changed once it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False, protected_namespaces=())
