"""The market's service as it runs: a real server on a port, on a real chain, and people who sign in."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount

from fedmarket.devnet import Devnet
from market.api.health import blocks_behind
from market.api.service import Service
from market.chain.deployment import Deployment
from market.server import prepare_server
from market.settings import Settings, load_settings

SERVING_S = 30
PLENTY = 1_000_000


@dataclass
class Running:
    """A service that serves."""

    url: str
    service: Service
    client: httpx.Client

    @property
    def settings(self) -> Settings:
        return self.service.settings

    def wait_until_read(self) -> None:
        """Wait until the rows are those of the latest block."""
        deadline_s = time.monotonic() + SERVING_S
        while blocks_behind(self.service) != 0:
            assert time.monotonic() < deadline_s, self.client.get("/readyz").text
            time.sleep(0.02)

    def offer(self, account: LocalAccount) -> dict[str, Any]:
        answer = self.client.post("/api/v1/sign-in/nonce", json={"address": account.address})
        assert answer.status_code == 200, answer.text
        offered: dict[str, Any] = answer.json()
        return offered

    def sign_in(self, account: LocalAccount) -> dict[str, str]:
        """The header of a session."""
        answer = self.hand_in(self.offer(account)["message"], account)
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    def hand_in(self, message: str, account: LocalAccount) -> httpx.Response:
        body = {"message": message, "signature": signature(message, account)}
        return self.client.post("/api/v1/sign-in", json=body)


def signature(message: str, account: LocalAccount) -> str:
    return "0x" + bytes(account.sign_message(encode_defunct(text=message)).signature).hex()


def settings_for(folder: Path, devnet: Devnet, deployment: Deployment, **changes: Any) -> Settings:
    """The settings of a service in a folder of its own."""
    deployment.save(folder / "deployment.json")
    options = {
        "rpc_url": devnet.url,
        "deployment": folder / "deployment.json",
        "store": folder / "store",
        "database_url": f"sqlite:///{folder / 'market.db'}",
        "port": 0,
        "reads_a_minute": PLENTY,
        "writes_a_minute": PLENTY,
        "poll_s": 0.05,
    }
    return load_settings(**{**options, **changes})


@contextmanager
def serving(settings: Settings) -> Iterator[Running]:
    """Run the service in a thread."""
    served = threading.Event()
    addresses: list[str] = []

    def on_serving(address: str) -> None:
        addresses.append(address)
        served.set()

    server, listening = prepare_server(settings, on_serving)
    thread = threading.Thread(target=server.run, args=([listening],))
    with listening:
        thread.start()
        try:
            assert served.wait(SERVING_S), "the service does not serve"
            with httpx.Client(base_url=addresses[0], timeout=30, trust_env=False) as client:
                yield Running(addresses[0], server._service, client)
        finally:
            server.should_exit = True
            thread.join(SERVING_S)
            assert not thread.is_alive()
