"""Example data for trying the market out."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from fedmarket.commands.options import FILE
from market.protocol.errors import InvalidInput
from trainer_client.data import Dataset, dirichlet_split, save_npz, train_test_split
from trainer_client.data import digits as load_digits

WARM_START_SAMPLES = 100
TEST_FRACTION = 0.2


@click.group()
def data() -> None:
    """Prepare example data."""


@data.command()
@click.argument("folder", metavar="DIR", type=FILE)
@click.option("--parts", default=8, show_default=True, type=click.IntRange(1, 64), help="How many trainers.")
@click.option("--alpha", default=0.5, show_default=True, help="Of the Dirichlet split: the smaller, the more unlike.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The split depends on it alone.")
@click.option("--force", is_flag=True, help="Replace files that are there already.")
def digits(folder: Path, parts: int, alpha: float, seed: int, force: bool) -> None:
    """Write 1,797 handwritten digits to DIR: for an owner's warm start, for each trainer, and to test with."""
    sets = split_digits(parts, alpha, seed)
    taken = [name for name in sets if (folder / name).exists()]
    if taken and not force:
        raise InvalidInput(f"{folder / taken[0]} exists already: name another folder, or replace it with --force")
    folder.mkdir(parents=True, exist_ok=True)
    for name, dataset in sets.items():
        save_npz(dataset, folder / name)
        counts = " ".join(f"{count:3}" for count in np.bincount(dataset.labels, minlength=10))
        click.echo(f"{name:<15} {len(dataset):5} samples; of each digit: {counts}")


def split_digits(parts: int, alpha: float, seed: int) -> dict[str, Dataset]:
    """The digits by the file that they go to: a held-out test part, the owner's few, and the trainers' parts.

    Raises:
        InvalidData: alpha is not above zero, or the parts would be too small.
    """
    rest, test = train_test_split(load_digits(), TEST_FRACTION, seed)
    order = np.random.default_rng(seed).permutation(len(rest))
    owner, others = (rest.subset(np.sort(part)) for part in np.split(order, [WARM_START_SAMPLES]))
    sets = {"owner.npz": owner, "test.npz": test}
    for number, indices in enumerate(dirichlet_split(others.labels, parts, alpha, seed)):
        sets[f"trainer-{number}.npz"] = others.subset(indices)
    return sets
