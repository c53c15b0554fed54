"""How many bits honest and deviating replicas of one interval lie apart: the table of docs/consensus.md."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from rich.console import Console
from rich.table import Table

from market.protocol.replication_spec import TOLERANCE_BITS
from market.protocol.update import Counts
from tests import replicas
from tests.replicas import Interval

pytestmark = pytest.mark.bench

SEEDS, PARTS = range(5), range(2)
Replica = Callable[[Interval], Counts]


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_other_threads(interval: Interval) -> Counts:
    with threads(2 if torch.get_num_threads() == 1 else 1):
        return interval.train()


def flipped(bit: int) -> Replica:
    def damaged(interval: Interval) -> Counts:
        counts = interval.honest.copy()
        counts[100] ^= 1 << bit
        return counts

    return damaged


HONEST: dict[str, Replica] = {
    "float32, other threads": on_other_threads,
    "float32, batches in parts of 7": lambda interval: interval.train(micro_batch=7),
    "float32, a sample at a time": lambda interval: interval.train(micro_batch=1),
}
OTHERS: dict[str, Replica] = {
    "float16": lambda interval: interval.train(precision="float16"),
    "bfloat16": lambda interval: interval.train(precision="bfloat16"),
    "one epoch less": replicas.one_epoch_less,
    "bit 13 of a count flipped": flipped(13),
    "bit 14 of a count flipped": flipped(14),
    "another order": replicas.another_seed,
    "one epoch only": replicas.one_epoch,
    "half of the data": replicas.half_the_data,
    "an older model": replicas.old_model,
    "other data": replicas.other_data,
    "noise": replicas.noise,
    "no training": replicas.no_training,
}


def test_bits_between_replicas() -> None:
    intervals = [Interval(seed, part) for seed in SEEDS for part in PARTS]
    table = Table(title=f"Bits of 256 from an honest replica, {len(intervals)} intervals ({platform.machine()})")
    for column in ("replica", "least", "most"):
        table.add_column(column)
    for name, replica in {**HONEST, **OTHERS}.items():
        bits = [interval.bits(replica(interval)) for interval in intervals]
        table.add_row(name, str(min(bits)), str(max(bits)))
        if name in HONEST:
            assert max(bits) <= TOLERANCE_BITS
    Console(width=100).print(table)
