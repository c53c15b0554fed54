"""One step on an update's way, in a process of its own: it prints its seconds and its largest memory as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from eth_account import Account

from market.protocol.identifiers import Digest, JobId
from market.protocol.packing import pack_file
from market.protocol.run_ahead import run_ahead
from market.protocol.seal import SealContext
from market.protocol.update import StoredUpdate, map_update
from market.sealed_update import open_update, packed, seal_update, spooled_update
from market.sealing import SealingKey, UpdateSeal
from market.storage import Cid, EmbeddedStore
from market.storage.file_dag import walk_blocks
from market.storage.part_stream import part_stream

TRAINER = Account.from_key(bytes(range(1, 33)))
_PRIVATE = X25519PrivateKey.from_private_bytes(bytes(range(32)))
AGGREGATOR = SealingKey(_PRIVATE.public_key().public_bytes_raw(), _PRIVATE)
PLACE = SealContext(1, "0x" + "11" * 20, JobId(0), 0, 0)
UPDATE = UpdateSeal(PLACE, TRAINER.address, Digest(bytes(32)), bytes(64))


class Steps:
    """The way of one update, from a trainer's file to an aggregator's."""

    def __init__(self, folder: Path, dimension: int, chunks: int) -> None:
        self.plain, self._cid = folder / "update.bin", folder / "cid"
        self._size = (dimension, chunks)
        self._own, self._market, self._fetched = (EmbeddedStore(folder / name) for name in ("own", "market", "fetched"))

    def seal(self) -> None:
        """Pack, seal, and add to the trainer's own store."""
        self._own.root.mkdir()
        with packed(pack_file(self.plain, *self._size), self._own.root) as payload:
            blob = part_stream(seal_update(AGGREGATOR.public, TRAINER, UPDATE, payload))
            self._cid.write_text(str(self._own.add(blob)))

    def publish(self) -> None:
        """From the trainer's own store to the one that others fetch from, and pin it there."""
        self._market.adopt(self.cid, self._own)
        self._market.pin(self.cid, "published")

    def fetch(self) -> None:
        """From there to the aggregator's own store, as if from another disk."""
        held = walk_blocks(self.cid, self._market.get_block, raw_leaves=False)
        blocks = ((cid, block or self._market.get_block(cid)) for cid, block in held)
        self._fetched.put_blocks(run_ahead(blocks))

    def verify(self) -> None:
        """Hash every block of it."""
        self._fetched.verify(self.cid)

    def open(self) -> StoredUpdate:
        """Unseal and unpack it into a file without a name, and see that every count is in range."""
        blob = run_ahead(self._fetched.open(self.cid))
        parts = open_update(AGGREGATOR, UPDATE, blob, *self._size)
        return spooled_update(self.plain.parent, parts, *self._size)

    def compare(self) -> None:
        """See that what was opened is what was sealed."""
        opened, plain = self.open(), map_update(self.plain, *self._size)
        if opened.blinders != plain.blinders or not np.array_equal(opened.counts, plain.counts):
            raise SystemExit("another update was opened than was sealed")

    @property
    def cid(self) -> Cid:
        """The sealed update's name."""
        return Cid.parse(self._cid.read_text())


def main() -> None:
    """Take a step: its name, the folder, d and c are the arguments."""
    step, folder, dimension, chunks = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    steps = Steps(folder, dimension, chunks)
    act: Callable[[], object] = getattr(steps, step)
    start = time.perf_counter()
    act()
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    told = {"seconds": seconds, "peak_mib": peak_memory_mib(), "processor_s": used.ru_utime + used.ru_stime}
    print(json.dumps(told))


def peak_memory_mib() -> float:
    """The largest memory of this program: `ru_maxrss` would count what it was started from as well."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
