"""Packages as somebody with ill will makes them: an honest one, altered, with every name and length made to fit."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from market.protocol.package_spec import PackageArguments, PackageFile, PackageInput
from market.storage.part_stream import content_name
from trainer_client.exported.archive import GRAPH, write_graph
from trainer_client.exported.package import ExportedPackage, read_package
from trainer_client.exported.packing import EVALUATION, FROZEN, TRAINING, PackageFolder, Packed

FORM = PackageInput(shape=(4,), classes=3)


class Small(nn.Module):
    """The honest model that is altered: it draws no numbers, and its statistics change in training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm(self.body(x))))


Edit = Callable[[dict[str, Any]], object]


def graph_of(path: Path) -> dict[str, Any]:
    """A program's document."""
    with zipfile.ZipFile(path) as archive:
        document: dict[str, Any] = json.loads(archive.read(GRAPH))
    return document


def described(path: Path) -> PackageFile:
    """A file as its publisher describes it."""
    return PackageFile(cid=str(content_name([path.read_bytes()])), size_bytes=path.stat().st_size)


def read_again(folder: Path, arguments: PackageArguments, **instead: Any) -> ExportedPackage:
    """What everybody makes of a folder, whatever is in it now."""
    frozen = folder / FROZEN
    names = {
        "training": described(folder / TRAINING),
        "evaluation": described(folder / EVALUATION),
        "frozen": described(frozen) if frozen.exists() else None,
        **instead,
    }
    renewed = arguments.model_copy(update=names)
    return read_package(renewed, PackageFolder(folder, renewed))


def with_graphs(packed: Packed, edit: Edit, *names: str) -> ExportedPackage:
    """Alter programs, both unless told which, and read the package."""
    folder = packed.folder.path
    for name in names or (TRAINING, EVALUATION):
        document = graph_of(folder / name)
        edit(document)
        (folder / name).write_bytes(write_graph(json.dumps(document).encode()))
    return read_again(folder, packed.folder.arguments)


def with_archive(packed: Packed, data: bytes) -> ExportedPackage:
    """Put other bytes in place of the training program, and read the package."""
    (packed.folder.path / TRAINING).write_bytes(data)
    return read_again(packed.folder.path, packed.folder.arguments)


def nodes(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of a program."""
    found: list[dict[str, Any]] = document["graph_module"]["graph"]["nodes"]
    return found


def step(target: str, *arguments: tuple[str, Any], gives: str = "evil") -> dict[str, Any]:
    """One more step: arguments by name."""
    inputs = [{"name": name, "arg": value, "kind": 1} for name, value in arguments]
    return {"target": target, "inputs": inputs, "outputs": [{"as_tensor": {"name": gives}}]}


def tensor(name: str) -> dict[str, Any]:
    """A tensor as an argument."""
    return {"as_tensor": {"name": name}}
