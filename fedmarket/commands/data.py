"""Example data for trying the market out."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from fedmarket.commands.options import FILE
from market.protocol.errors import InvalidData, InvalidInput
from trainer_client.data import Dataset, dirichlet_split, save_npz, train_test_split
from trainer_client.data import digits as load_digits

OWNER_SAMPLES = 676
"""What the example's exam takes: a public slice of 100, and 9 secret ones of 64."""

TEST_FRACTION = 0.2


@click.group()
def data() -> None:
    """Prepare example data."""


@data.command()
@click.argument("folder", metavar="DIR", type=FILE)
@click.option("--parts", default=8, show_default=True, type=click.IntRange(1, 64), help="How many trainers.")
@click.option("--alpha", default=0.5, show_default=True, help="Of the Dirichlet split: the smaller, the more unlike.")
@click.option("--owner", default=OWNER_SAMPLES, show_default=True, type=click.IntRange(1), help="The owner's samples.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The split depends on it alone.")
@click.option("--force", is_flag=True, help="Replace files that are there already.")
def digits(folder: Path, parts: int, alpha: float, owner: int, seed: int, force: bool) -> None:
    """Write 1,797 handwritten digits to DIR: an owner's reference set, each trainer's part, and one to test with.

    owner.npz is what `fedmarket job post --reference` cuts an exam from.
    """
    sets = split_digits(parts, alpha, seed, owner)
    taken = [name for name in sets if (folder / name).exists()]
    if taken and not force:
        raise InvalidInput(f"{folder / taken[0]} exists already: name another folder, or replace it with --force")
    folder.mkdir(parents=True, exist_ok=True)
    for name, dataset in sets.items():
        save_npz(dataset, folder / name)
        counts = " ".join(f"{count:3}" for count in np.bincount(dataset.labels, minlength=10))
        click.echo(f"{name:<15} {len(dataset):5} samples; of each digit: {counts}")


def split_digits(parts: int, alpha: float, seed: int, owner_samples: int = OWNER_SAMPLES) -> dict[str, Dataset]:
    """The digits by the file that they go to: a held-out test part, the owner's reference set, and the trainers' parts.

    Raises:
        InvalidData: alpha is not above zero, or the parts would be too small.
    """
    rest, test = train_test_split(load_digits(), TEST_FRACTION, seed)
    if owner_samples >= len(rest):
        raise InvalidData(
            f"{owner_samples} samples for the owner: expected fewer than the {len(rest)} not to test with"
        )
    order = np.random.default_rng(seed).permutation(len(rest))
    owner, others = (rest.subset(np.sort(part)) for part in np.split(order, [owner_samples]))
    sets = {"owner.npz": owner, "test.npz": test}
    for number, indices in enumerate(dirichlet_split(others.labels, parts, alpha, seed)):
        sets[f"trainer-{number}.npz"] = others.subset(indices)
    return sets
