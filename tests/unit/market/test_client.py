"""The client of the market's service, where there is none to ask."""

from __future__ import annotations

import pytest

from market.client import MarketClient
from market.protocol.errors import InvalidInput, ServiceUnreachable


def test_client_says_that_nothing_answers() -> None:
    with MarketClient("http://127.0.0.1:9") as client, pytest.raises(ServiceUnreachable, match="no market answers"):
        client.account()


@pytest.mark.parametrize("url", ["", "market", "ftp://host", "http://market.example", "http://"])
def test_client_goes_to_safe_addresses_only(url: str) -> None:
    with pytest.raises(InvalidInput):
        MarketClient(url)
