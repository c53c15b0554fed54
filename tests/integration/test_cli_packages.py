"""The command line against a real chain: an owner packs a module and posts its job; trainers look before they stake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedmarket.devnet import Devnet
from market.storage import EmbeddedStore
from market.storage.flat_blocks import FlatBlocks
from tests.integration.packages import NET, names, packed, post
from tests.integration.terminal import JOB, TRAINERS, Terminal, refuses


def stores(terminal: Terminal) -> list[Path]:
    return [path.parent for path in terminal.folder.rglob("blocks") if path.is_dir()]


def test_a_packed_model_is_posted_inspected_and_joined(terminal: Terminal) -> None:
    folder, spec = terminal.folder, packed(terminal)
    assert "inputs and class labels" in terminal.told("data", "show", folder / "owner.npz", "--spec", spec)
    post(terminal, spec)
    inspected = terminal.told("trainer", "inspect", JOB)
    assert "exported: its owner's own, read as data" in inspected
    assert "83 values in 6 tensors" in inspected
    assert "inputs and class labels, 4 values each" in inspected
    assert re.search(r"16 min 40 s to commit in: time for 2 epochs of at least [0-9,]{5,} of yours", inspected)
    assert f"seat 0 of job {JOB}" in terminal.told("trainer", "enrol", JOB, who=TRAINERS[0])
    refuses(
        terminal.run("model", "pack", folder / "net.py", folder / "net"), 2, "expected FILE.py:FACTORY", "no factory"
    )


def test_the_store_of_whoever_posts_has_all_that_a_model_is_made_of(terminal: Terminal) -> None:
    post(terminal, packed(terminal, NET.replace("nn.LayerNorm(8)", "nn.BatchNorm1d(8)")))
    assert len(names(terminal)) == 3
    assert any(all(EmbeddedStore(root).has(name) for name in names(terminal)) for root in stores(terminal))


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "altered"])
def test_a_package_that_nobody_gives_whole_is_told_before_there_is_a_stake(
    terminal: Terminal, devnet: Devnet, lost: bool
) -> None:
    """Its owner took the stakes of whoever cannot train: what was posted is gone, or is something else by now."""
    post(terminal, packed(terminal))
    for file in [FlatBlocks(root / "blocks").path(names(terminal)[-1]) for root in stores(terminal)]:
        if file.exists() and lost:
            file.unlink()
        elif file.exists():
            file.chmod(0o600)
            file.write_bytes(file.read_bytes()[::-1])
    before = devnet.balance_wei(terminal.address(TRAINERS[0]))
    for command in ("inspect", "enrol"):
        result = terminal.run("trainer", command, JOB, who=TRAINERS[0])
        refuses(result, 1, str(names(terminal)[-1]), command)
    assert devnet.balance_wei(terminal.address(TRAINERS[0])) == before
