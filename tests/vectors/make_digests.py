"""Writes digests.json: some outputs of each kind, and their digests as they are and have to stay.

    python -m tests.vectors.make_digests

What is there already is kept as it is: digests are on chains. Only outputs that are new are added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.trainer_client.digests.outputs import outputs_of
from trainer_client.digests import DIGESTS

PATH = Path(__file__).with_name("digests.json")


def written(*shape: int, step: int, modulus: int) -> dict[str, Any]:
    """An array by a rule in whole numbers: see `outputs_of`."""
    return {"shape": shape, "step": step, "modulus": modulus}


IMAGES = (
    (written(3, 8, 8, step=3, modulus=17), {}),
    (written(2, 28, 28, step=5, modulus=101), {}),
    (written(2, 64, 48, 3, step=7, modulus=251), {}),
)
OUTPUTS: Mapping[str, tuple[tuple[Any, dict[str, int]], ...]] = {
    "dct": IMAGES,
    "difference": IMAGES,
    "wavelet": IMAGES,
    "simhash": (
        (written(3, 64, step=3, modulus=257), {}),
        (written(2, 9000, step=11, modulus=65537), {"seed": 7}),
        (written(2, 9000, step=13, modulus=4099), {"centre": 1}),
    ),
    "update_simhash": (
        (written(3, 64, step=3, modulus=257), {}),
        (written(2, 9000, step=11, modulus=65521), {"seed": 2**64 - 1}),
    ),
    "exact": (([[0], [0, 0], [1, 2, 3], [-1, 2**63 - 1]], {}), (["a", "ab", "déjà vu"], {})),
    "minhash": (
        (["a", "déjà vu", "the quick brown fox jumps over the lazy dog"], {}),
        ([list(range(100)), [5] * 40], {"shingle": 3, "seed": 9}),
    ),
    "activations": (
        (written(2, 3, 64, step=3, modulus=257), {}),
        (written(2, 5, 1000, step=11, modulus=65537), {"top": 64, "seed": 7}),
    ),
}


def vector(name: str, outputs: Any, parameters: dict[str, int]) -> dict[str, Any]:
    """Outputs of a kind, and their digests."""
    digests = DIGESTS[name].digest(outputs_of(name, outputs), **parameters)
    return {"outputs": outputs, "parameters": parameters, "digests": [digest.tobytes().hex() for digest in digests]}


def main() -> None:
    """Write the file."""
    vectors = json.loads(PATH.read_text()) if PATH.exists() else {}
    for name, cases in OUTPUTS.items():
        known = vectors.setdefault(name, [])
        known += [vector(name, outputs, parameters) for outputs, parameters in cases[len(known) :]]
    PATH.write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
