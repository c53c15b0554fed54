"""One flipped bit anywhere in a block: detected, named, fetched again from another source, never used."""

from __future__ import annotations

import random
import re
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from market.protocol.errors import CorruptBlock
from market.storage import CHUNK_BYTES, CarBlocks, Cid, EmbeddedStore, car
from market.storage.block_server import BlockServer
from market.storage.cid import RAW
from market.storage.flat_blocks import FlatBlocks
from market.storage.gateway import GatewayBlocks
from market.storage.sourced_store import SourcedStore
from tests.unit.storage.hostile_servers import Conduct, behaving, request

SEED = 20_261
SIZE_BYTES = 3 * CHUNK_BYTES + 7
DATA = random.Random(SEED).randbytes(SIZE_BYTES)
FLIPS_A_BLOCK = 8


@pytest.fixture
def root(tmp_path: Path) -> Cid:
    """Content of five blocks: in the own store, and in another's."""
    EmbeddedStore(tmp_path / "other").add_bytes(DATA)
    return EmbeddedStore(tmp_path / "own").add_bytes(DATA)


def flip(path: Path, generator: random.Random) -> None:
    """Flip one bit of a file, anywhere."""
    place = generator.randrange(path.stat().st_size)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << generator.randrange(8)]))


def flipped_files(own: EmbeddedStore) -> list[tuple[Path, Cid]]:
    """Every block's file, several times over, with the CID of which nothing but the digest is in its name."""
    return [(held.path, Cid(1, RAW, held.digest)) for held in FlatBlocks(own.root / "blocks")] * FLIPS_A_BLOCK


def digest_named(error: Exception) -> bytes:
    [named] = re.findall(r"block (b[a-z2-7]{58}) is corrupt", str(error))
    return Cid.parse(named).digest


def test_a_flipped_bit_in_the_own_store_is_named_and_its_block_never_used(root: Cid, tmp_path: Path) -> None:
    own, generator = EmbeddedStore(tmp_path / "own"), random.Random(SEED)
    for path, cid in flipped_files(own):
        whole = path.read_bytes()
        flip(path, generator)
        pieces: list[bytes] = []
        with pytest.raises(CorruptBlock) as refused:
            pieces.extend(own.open(root))
        assert digest_named(refused.value) == cid.digest
        assert DATA.startswith(b"".join(pieces))
        with pytest.raises(CorruptBlock):
            own.copy_to(root, tmp_path / "copy", SIZE_BYTES)
        assert not (tmp_path / "copy").exists()
        path.write_bytes(whole)


@pytest.mark.parametrize("source", ["gateway", "car"])
def test_a_flipped_bit_is_made_good_from_another_source(root: Cid, tmp_path: Path, source: str) -> None:
    own, other, generator = EmbeddedStore(tmp_path / "own"), EmbeddedStore(tmp_path / "other"), random.Random(SEED)
    with (tmp_path / "other.car").open("wb") as out:
        car.export([root], other, out)
    with BlockServer(other) as server, CarBlocks(tmp_path / "other.car") as archive:
        store = SourcedStore(own, [GatewayBlocks(server.url) if source == "gateway" else archive])
        for path, _ in flipped_files(own):
            flip(path, generator)
            assert store.read(root, SIZE_BYTES) == DATA
            assert own.verify(root) == SIZE_BYTES


def lying(store: EmbeddedStore) -> Conduct:
    """Serve the store's blocks, each with one bit flipped."""

    def conduct(connection: socket.socket, over: threading.Event) -> None:
        asked = re.match(rb"GET /ipfs/(\w+)", request(connection))
        assert asked is not None
        block = bytearray(store.get_block(Cid.parse(asked[1].decode())))
        block[len(block) // 2] ^= 4
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(block) + block)

    return conduct


def test_a_source_that_flips_bits_is_named_and_the_next_one_asked(root: Cid, tmp_path: Path) -> None:
    other = EmbeddedStore(tmp_path / "other")
    with ExitStack() as opened:
        liar = opened.enter_context(behaving(lying(other)))
        server = opened.enter_context(BlockServer(other))
        alone = SourcedStore(EmbeddedStore(tmp_path / "misled"), [GatewayBlocks(liar)])
        with pytest.raises(CorruptBlock, match=liar):
            alone.read(root, SIZE_BYTES)
        assert list((tmp_path / "misled").glob("blocks/*/*")) == []
        both = SourcedStore(EmbeddedStore(tmp_path / "wary"), [GatewayBlocks(liar), GatewayBlocks(server.url)])
        assert both.read(root, SIZE_BYTES) == DATA
        assert EmbeddedStore(tmp_path / "wary").verify(root) == SIZE_BYTES
