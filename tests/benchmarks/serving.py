"""Serves a made-up market, or a route that does nothing, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from market.db.engine import connect
from market.server import bound
from tests.served import reader


def bare() -> FastAPI:
    """The least that the framework can do."""
    app = FastAPI()

    @app.get("/")
    def answer() -> dict[str, str]:
        return {"status": "ok"}

    return app


def main(database: str, folder: str) -> None:
    """Serve until killed; the port is the first line of the output."""
    app = bare() if database == "bare" else reader(connect(f"sqlite:///{database}"), Path(folder))
    listening = bound("127.0.0.1", 0)
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")).run([listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
