"""Daemons that speak a little of Kubo's RPC, and may be told to misbehave: what a real one does only when it is ill."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from market.storage.cid import DAG_PB, RAW, Cid

Refusal = tuple[int, str]


@dataclass
class Daemon:
    """What it keeps, and how it misbehaves."""

    url: str = ""
    blocks: dict[str, bytes] = field(default_factory=dict)
    pins: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    name_of: Callable[[Cid], str] = str
    refuse: Callable[[str], Refusal | None] = lambda call: None
    alter: Callable[[bytes], bytes] = lambda block: block


@contextmanager
def daemon() -> Iterator[Daemon]:
    """A running daemon."""
    told = Daemon()

    class Asked(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body, parts = self.rfile.read(length), urlsplit(self.path)
            call, query = parts.path.removeprefix("/api/v0/"), parse_qs(parts.query)
            told.asked.append(call)
            told.headers.append(dict(self.headers))
            refusal = told.refuse(call)
            status, answer = (refusal[0], _error(refusal[1])) if refusal else _answer(told, call, query, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

    with Quiet(("127.0.0.1", 0), Asked) as server:
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield told
        server.shutdown()
        thread.join()


def _error(message: str) -> bytes:
    return json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode()


def _answer(told: Daemon, call: str, query: dict[str, list[str]], body: bytes) -> tuple[int, bytes]:
    name = query.get("arg", [""])[0]
    if call == "block/put":
        block = body.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
        form = query["format"][0]
        cid = Cid.of_block(block, RAW if form == "raw" else DAG_PB, 0 if form == "v0" else 1)
        told.blocks[str(cid)] = block
        return 200, json.dumps({"Key": told.name_of(cid), "Size": len(block)}).encode()
    if call == "version":
        return 200, json.dumps({"Version": "0.39.0"}).encode()
    if call == "pin/rm" and name not in told.pins:
        return 500, _error("not pinned or pinned indirectly")
    if call == "pin/rm":
        told.pins.remove(name)
        return 200, json.dumps({"Pins": [name]}).encode()
    if call == "pin/ls" and name not in told.pins:
        return 500, _error(f"path {name} is not pinned")
    if call == "pin/ls":
        return 200, json.dumps({"Keys": {name: {"Type": "recursive"}}}).encode()
    if name not in told.blocks:
        return 500, _error("block was not found locally (offline): ipld: could not find " + name)
    if call == "pin/add":
        told.pins.add(name)
        return 200, json.dumps({"Pins": [told.name_of(Cid.parse(name))]}).encode()
    if call == "block/get":
        return 200, told.alter(told.blocks[name])
    return 200, json.dumps({"Key": name, "Size": len(told.blocks[name])}).encode()
