"""An attacker that knows the rule: as much of the exam's direction as acceptance takes, and harm with all the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fedmarket.bench.gallery.scene import Act, Floats, Scene
from trainer_client.data import Dataset

ASCENT_STEPS = 8
ASCENT_RATE = 0.5
ABOVE_THE_LINE = 1.1
AIMS = (0.1, 0.3, 0.6)


def public_basis(scene: Scene) -> Floats:
    """Orthonormal rows that span what the rule projects out: the last three aggregates, the model, the initial one."""
    rows = [*scene.aggregates[:3], scene.model, scene.initial]
    return orthonormal(rows)


def orthonormal(rows: list[Floats]) -> Floats:
    """An orthonormal basis of the span, shape (rank, d)."""
    basis: list[Floats] = []
    for row in rows:
        left = row.astype(np.float64)
        for _ in range(2):
            for known in basis:
                left = left - (left @ known) * known
        if np.linalg.norm(left) > 1e-3 * max(float(np.linalg.norm(row)), 1e-30):
            basis.append(left / np.linalg.norm(left))
    return np.array(basis).reshape(len(basis), -1)


def residual_direction(vector: Floats, basis: Floats) -> Floats:
    """What is left of a vector once a basis is projected out, at length one."""
    left = vector - (vector @ basis.T) @ basis
    return left / max(float(np.linalg.norm(left)), 1e-30)


def most_harmful(scene: Scene, guide: Floats, aim: float, data: Dataset) -> Floats:
    """Raise the loss on one's data as far as a vector of this norm can that has this cosine with the guide.

    Projected gradient ascent from the loss's gradient at the model, on the sphere across the guide.

    Args:
        scene: the round.
        guide: (d,), of length one and orthogonal to the public rows: where the exam points, or is thought to.
        aim: the cosine with it.
        data: on which harm is measured.

    Returns:
        (d,), of the honest norm.
    """
    across = np.sqrt(1 - aim**2)
    direction = _across(_ascent(scene, scene.model, data), guide)
    for _ in range(ASCENT_STEPS):
        reached = scene.model + scene.norm * (aim * guide + across * direction)
        slope = _across(_ascent(scene, reached, data), guide)
        direction = _across(direction + ASCENT_RATE * slope, guide)
    found: Floats = scene.norm * (aim * guide + across * direction)
    return found


def _ascent(scene: Scene, point: Floats, data: Dataset) -> Floats:
    return scene.learner.gradient(point.astype(np.float32), data)


def _across(vector: Floats, guide: Floats) -> Floats:
    left = vector - (vector @ guide) * guide
    return left / max(float(np.linalg.norm(left)), 1e-30)


def guessing(aim: float) -> Act:
    """The cheats pool their data, make of it what the owner makes of a slice, and aim at a cosine with that."""

    def act(scene: Scene) -> Floats:
        basis = public_basis(scene)
        pooled = pool(scene.data)
        guide = residual_direction(scene.examine(pooled), basis)
        return np.stack([most_harmful(scene, guide, aim, data) for data in scene.data])

    return act


def knowing(aim: float | None) -> Act:
    """The same by one who knows the exam; None: as little of it as acceptance takes."""

    def act(scene: Scene) -> Floats:
        guide = residual_direction(scene.exam, public_basis(scene))
        cosine = ABOVE_THE_LINE * scene.line if aim is None else aim
        return np.stack([most_harmful(scene, guide, cosine, data) for data in scene.data])

    return act


def pool(datasets: Sequence[Dataset]) -> Dataset:
    """All samples together."""
    inputs = np.concatenate([dataset.inputs for dataset in datasets])
    return Dataset(inputs, np.concatenate([dataset.labels for dataset in datasets]))


on_the_line = knowing(None)
GUESSING: Mapping[float, Act] = {aim: guessing(aim) for aim in AIMS}
KNOWING: Mapping[float, Act] = {aim: knowing(aim) for aim in AIMS[:2]}
