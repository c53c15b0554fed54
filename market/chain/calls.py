"""A call that is ready to be sent: what a gateway makes and `TransactionSender` signs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PreparedCall:
    """The content of a transaction, without anything that depends on when it is sent.

    Attributes:
        to: the contract's address; None deploys `data`.
        data: selector and encoded arguments, or creation code.
        value_wei: native coin that goes along.
        label: the function's name, for messages and for counting gas.
    """

    to: str | None
    data: bytes
    value_wei: int = 0
    label: str = ""
