"""An application behind a real server on a loopback port, for as long as a test needs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from market.api.metrics import Metrics
from market.api.service import Service
from market.api.upload_places import UploadPlaces
from market.app import application
from market.server import bound
from market.settings import Settings
from market.storage import EmbeddedStore

STARTED_WITHIN_S = 20.0


def reader(engine: Engine, folder: Path, **settings: object) -> FastAPI:
    """The application over rows that are there: nothing that it is asked for in these tests needs a chain."""
    unlimited = {"reads_a_minute": 10**9, "writes_a_minute": 10**9}
    service = Service(
        settings=Settings(**{**unlimited, **settings}),
        engine=engine,
        store=EmbeddedStore(folder / "store"),
        deployment=None,  # type: ignore[arg-type]
        market=None,  # type: ignore[arg-type]
        metrics=Metrics(),
        upload_places=UploadPlaces(4),
    )
    return application(service)


@contextmanager
def served(app: FastAPI, *, lifespan: bool = False) -> Iterator[str]:
    """Serve an application, and stop it; yields its address."""
    listening = bound("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, lifespan="on" if lifespan else "off", timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        deadline_s = time.monotonic() + STARTED_WITHIN_S
        while not server.started and thread.is_alive() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert server.started
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        if hasattr(app.state, "service"):
            app.state.service.stopping.set()
        server.should_exit = True
        thread.join(STARTED_WITHIN_S)
        listening.close()
