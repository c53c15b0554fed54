"""What paths of the API and of pages name: numbers that a database can hold, and accounts as the chain writes them."""

from __future__ import annotations

from typing import Annotated

from eth_utils.address import to_checksum_address
from fastapi import Path
from pydantic import AfterValidator

LARGEST = (1 << 53) - 1
"""The largest integer that every reader of JSON has."""

ADDRESS = "^0x[0-9a-fA-F]{40}$"
SAMPLE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"

JobPath = Annotated[int, Path(ge=0, le=LARGEST, description="The job's number.", examples=[0])]
AddressPath = Annotated[str, Path(pattern=ADDRESS, examples=[SAMPLE]), AfterValidator(to_checksum_address)]
