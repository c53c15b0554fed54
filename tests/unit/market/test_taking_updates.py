"""Updates that are taken to be kept for others: one that somebody holds back is waited for in its turn alone."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from market.protocol.errors import BlockNotFound
from market.protocol.identifiers import Digest
from market.published_job import PublishedJob
from market.storage import CHUNK_BYTES, Cid, EmbeddedStore, SourcedStore
from market.storage.cid import DAG_PB


class HoldingLeavesBack:
    name = "holding leaves back"

    def __init__(self, store: EmbeddedStore) -> None:
        self._store, self.over = store, threading.Event()

    def get_block(self, cid: Cid) -> bytes:
        if cid.codec != DAG_PB:
            self.over.wait(60)
        return self._store.get_block(cid)


def test_who_holds_leaves_back_is_waited_for_in_its_turn_and_kept_once_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market.published_job.TURN_S", 0.05)
    theirs = EmbeddedStore(tmp_path / "theirs")
    cid = theirs.add_bytes(bytes(CHUNK_BYTES + 1))
    source = HoldingLeavesBack(theirs)
    mine = SourcedStore(EmbeddedStore(tmp_path / "mine"), [source], read_limit_s=None)
    job: Any = SimpleNamespace(store=mine, checked_update=lambda digest: cid)
    try:
        with pytest.raises(BlockNotFound, match="the rest is on its way"):
            PublishedJob.take_update(job, Digest(cid.digest), "job 1")
        assert not mine.pins()
    finally:
        source.over.set()
    monkeypatch.setattr("market.published_job.TURN_S", 60)
    PublishedJob.take_update(job, Digest(cid.digest), "job 1")
    assert mine.pins() == {cid: {"job 1"}}
