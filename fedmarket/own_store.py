"""The store that a command works with: its own folder, and behind it the daemon and the gateways that were named."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from market.chain import keystore
from market.protocol.errors import InvalidInput, StorageError
from market.storage import EmbeddedStore, SourcedStore
from market.storage.gateway import GatewayBlocks
from market.storage.kubo import KuboStore


@dataclass(frozen=True)
class SourceOptions:
    """Who else has contents.

    Attributes:
        kubo: address of a Kubo daemon's RPC, which is also given whatever is pinned.
        kubo_auth_file: what lets us in there, in the file's first line: bearer:TOKEN or basic:USER:PASSWORD.
        gateways: addresses of IPFS gateways: markets, attestors, trainers' own nodes.
    """

    kubo: str | None = None
    kubo_auth_file: Path | None = None
    gateways: tuple[str, ...] = ()


def open_store(folder: Path, options: SourceOptions, quota_bytes: int | None = None) -> SourcedStore:
    """The store in a folder, with its sources; nobody is asked yet.

    Args:
        folder: the own store's.
        options: who else has contents.
        quota_bytes: what the own store's blocks may come to.

    Raises:
        InvalidInput: an address is none, or an authorization without a daemon.
        InvalidKeystore: the authorization's file is missing, open to others, or empty.
    """
    sources = [GatewayBlocks(url) for url in dict.fromkeys(options.gateways)]
    return SourcedStore(EmbeddedStore(folder, quota_bytes), sources, _kubo(folder, options), on_trouble=_tell)


def _kubo(folder: Path, options: SourceOptions) -> KuboStore | None:
    file = options.kubo_auth_file
    if options.kubo is None:
        if file is not None:
            raise InvalidInput(f"an authorization in {file} for no daemon: name one with --kubo URL")
        return None
    authorization = None if file is None else keystore.read_password(file, str)
    return KuboStore(options.kubo, folder / "kubo-pins", authorization=authorization)


def _tell(trouble: StorageError) -> None:
    """A role at work goes on without its daemon: others fetch from its own store or from the market."""
    told = f"fedmarket: warning: {trouble}; the own copy is kept, and is given to it with the next pin"
    print(told, file=sys.stderr, flush=True)
