"""Jobs whose model is an owner's own, packed and posted by the commands that people type."""

from __future__ import annotations

from pathlib import Path

from market.storage import Cid
from tests.integration.terminal import SPEC, Terminal
from trainer_client.exported.packing import PackageFolder

NET = """
from torch import nn

def make():
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))
"""


def packed(terminal: Terminal, code: str = NET) -> Path:
    """The spec of a job whose model is this code's, packed; nothing is posted yet."""
    folder = terminal.folder
    (folder / "net.py").write_text(code)
    terminal.told("model", "pack", f"{folder / 'net.py'}:make", folder / "net", "--input", 4, "--classes", 3)
    spec = folder / "job.yaml"
    spec.write_text(
        SPEC.replace("{architecture: logistic_regression, arguments: {features: 4, classes: 3}}", "{package: net}")
    )
    return spec


def post(terminal: Terminal, spec: Path, *options: str) -> None:
    terminal.told("job", "post", spec, "--warm-start", terminal.folder / "owner.npz", *options, who="owner")


def names(terminal: Terminal) -> list[Cid]:
    """What a package is made of, as it is stored."""
    return [Cid.parse(file.cid) for file, _ in PackageFolder.open(terminal.folder / "net").files()]
