"""The gallery itself: every attack by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedmarket.bench.gallery import adaptive
from fedmarket.bench.gallery.corpora import Corpus
from fedmarket.bench.gallery.scene import Act, Attack, Floats, Holding, Scene, Sight
from trainer_client.data import Dataset

TINY = 0.003
IPM_FACTOR = 0.5
"""Of inner-product manipulation (Xie et al. 2020, arXiv:1903.03936)."""
ALIE_DEVIATIONS = 1.0
"""Of ALIE (Baruch et al. 2019, arXiv:1902.06156): how many standard deviations from the mean."""
BACKDOOR_LABEL = 0


def own_data(corpus: Corpus, own: Dataset, public: Dataset, random: np.random.Generator) -> Dataset:
    """Train honestly on one's own data."""
    return own


def flipped_labels(corpus: Corpus, own: Dataset, public: Dataset, random: np.random.Generator) -> Dataset:
    """Label c becomes C - 1 - c."""
    return Dataset(own.inputs, int(corpus.arguments["classes"]) - 1 - own.labels)


def random_labels(corpus: Corpus, own: Dataset, public: Dataset, random: np.random.Generator) -> Dataset:
    """Labels drawn at random."""
    return Dataset(own.inputs, random.integers(0, int(corpus.arguments["classes"]), len(own)))


def patched(corpus: Corpus, data: Dataset) -> Dataset:
    """The same samples with the backdoor's patch on them, labelled as the backdoor wants."""
    inputs = data.inputs.copy()
    inputs[:, list(corpus.patch)] = 1.0
    return Dataset(inputs, np.full(len(data), BACKDOOR_LABEL, dtype=np.int64))


def with_backdoor(corpus: Corpus, own: Dataset, public: Dataset, random: np.random.Generator) -> Dataset:
    """One's own samples, and each of them again with the patch."""
    other = patched(corpus, own)
    return Dataset(np.concatenate([own.inputs, other.inputs]), np.concatenate([own.labels, other.labels]))


def public_samples(corpus: Corpus, own: Dataset, public: Dataset, random: np.random.Generator) -> Dataset:
    """No data of one's own: slice 0, which everybody has."""
    return public


def trained(scene: Scene) -> Floats:
    """What the cheats' own training gave."""
    return scene.trained


def scaled(factor: float) -> Act:
    """What training gave, times a factor."""
    return lambda scene: factor * scene.trained


def cloned(scene: Scene) -> Floats:
    """The first identity's training, sent by all."""
    return np.tile(scene.trained[0], (scene.cheats, 1))


def sign_flip(factor: float) -> Act:
    """-factor times the honest mean: ByzFL's SignFlipping, scaled."""
    return lambda scene: np.tile(-factor * scene.honest.mean(axis=0), (scene.cheats, 1))


def noise(scene: Scene) -> Floats:
    """Gaussian noise at the honest norm."""
    return scene.noise()


def zeros(scene: Scene) -> Floats:
    """Nothing at all."""
    return np.zeros_like(scene.noise())


def inner_product_manipulation(scene: Scene) -> Floats:
    """-ε times the honest mean: short enough not to stand out, and against everybody."""
    return np.tile(-IPM_FACTOR * scene.honest.mean(axis=0), (scene.cheats, 1))


def little_is_enough(scene: Scene) -> Floats:
    """The honest mean less some standard deviations, coordinate by coordinate."""
    return _little_is_enough(scene, scene.honest)


def little_is_enough_blind(scene: Scene) -> Floats:
    """The same from the cheats' own honest trainings: without sight of the others."""
    return _little_is_enough(scene, scene.trained)


def _little_is_enough(scene: Scene, seen: Floats) -> Floats:
    crafted = seen.mean(axis=0) - ALIE_DEVIATIONS * seen.std(axis=0)
    return np.tile(crafted, (scene.cheats, 1))


def mimic(scene: Scene) -> Floats:
    """Everybody sends the first honest trainer's update (Karimireddy et al. 2022, arXiv:2006.09365)."""
    return np.tile(scene.honest[0], (scene.cheats, 1))


def leaked(scene: Scene) -> Floats:
    """Honest updates of the round before, one each."""
    if not len(scene.before):
        return scene.noise()
    return scene.before[np.arange(scene.cheats) % len(scene.before)]


def replay(age: int) -> Act:
    """The aggregate of so many rounds ago, at the honest norm."""
    return lambda scene: scene.at_norm(scene.aggregates[age]) if len(scene.aggregates) > age else scene.noise()


def replay_with_noise(scene: Scene) -> Floats:
    """The last aggregate and half as much noise."""
    return scene.noise() if not scene.aggregates else scene.at_norm(scene.aggregates[0]) + 0.5 * scene.noise()


def replay_older(scene: Scene) -> Floats:
    """The sum of all aggregates but the last three: those that are no public rows any more."""
    return scene.at_norm(np.sum(scene.aggregates[3:], axis=0)) if len(scene.aggregates) > 3 else scene.noise()


def model_replay(current: float, initial: float) -> Act:
    """A multiple of the model and of the initial model, at the honest norm."""
    return lambda scene: scene.at_norm(current * scene.model + initial * scene.initial)


def mixture(scene: Scene) -> Floats:
    """Random mixtures of everything that is public: all aggregates so far, the model, the initial model."""
    rows = np.stack([*scene.aggregates, scene.model, scene.initial])
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    mixed = scene.random.standard_normal((scene.cheats, len(rows))) @ rows
    found: Floats = scene.norm * mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return found


def old_exam(scene: Scene) -> Floats:
    """The exam of the round before, at the honest norm."""
    return scene.at_norm(scene.past_exams[0]) if scene.past_exams else scene.noise()


def the_exam(scene: Scene) -> Floats:
    """The exam's r itself, at the honest norm."""
    return scene.at_norm(scene.exam)


_LIST = (
    Attack("honest", "no attack: as many more honest trainers", trained, own_data),
    Attack("flip-1", "sign flip ×1 of the honest mean", sign_flip(1), sight=Sight.OTHERS),
    Attack("flip-3", "sign flip ×3", sign_flip(3), sight=Sight.OTHERS),
    Attack("flip-10", "sign flip ×10", sign_flip(10), sight=Sight.OTHERS),
    Attack("flip-own", "sign flip of its own honest training", scaled(-1), own_data),
    Attack("noise", "Gaussian noise at honest norm", noise),
    Attack("zeros", "zeros", zeros),
    Attack("label-flip", "trains on flipped labels", trained, flipped_labels),
    Attack("random-labels", "trains on random labels", trained, random_labels),
    Attack("backdoor", "trains on its data and on patched copies", trained, with_backdoor),
    Attack("ipm", "inner-product manipulation, −0.5 × mean", inner_product_manipulation, sight=Sight.OTHERS),
    Attack("alie", "ALIE with sight of the others", little_is_enough, sight=Sight.OTHERS),
    Attack("alie-blind", "ALIE from its own trainings", little_is_enough_blind, own_data),
    Attack("mimic", "sends an honest trainer's update", mimic, sight=Sight.OTHERS),
    Attack("replay", "the last aggregate", replay(0)),
    Attack("replay-noise", "the last aggregate with noise", replay_with_noise),
    Attack("replay-second", "the aggregate of two rounds ago", replay(1)),
    Attack("replay-fifth", "the aggregate of five rounds ago", replay(4)),
    Attack("replay-older", "the sum of all older aggregates", replay_older),
    Attack("model", "the model", model_replay(1, 0)),
    Attack("model-minus", "the model's negative", model_replay(-1, 0)),
    Attack("model-drift", "the model less the initial one", model_replay(1, -1)),
    Attack("mixture", "random mixtures of all of these", mixture),
    Attack("tiny", "its honest update at 0.003 of its norm", scaled(TINY), own_data),
    Attack("scaled-3", "its honest update ×3", scaled(3), own_data),
    Attack("scaled-10", "its honest update ×10", scaled(10), own_data),
    Attack("copies", "k identities over one data set", trained, own_data, holding=Holding.SAME),
    Attack("clones", "k identities with one and the same update", cloned, own_data, holding=Holding.SAME),
    Attack("split", "k identities over one data set, split", trained, own_data, holding=Holding.SPLIT),
    Attack("public", "trains on slice 0, which everybody has", trained, public_samples, epochs=5),
    Attack("leak", "honest updates of the round before", leaked, sight=Sight.LEAK),
    Attack("old-exam", "the exam of the round before", old_exam, sight=Sight.LEAK),
    Attack("exam", "the owner's identity sends the exam itself", the_exam, sight=Sight.EXAM),
    Attack("slice", "the owner's identity trains on the slice", trained, own_data, sight=Sight.EXAM, examined=True),
    *(
        Attack(f"adaptive-{aim:g}", f"harm beside {aim:g} of its own guess at the exam", act, own_data)
        for aim, act in adaptive.GUESSING.items()
    ),
    Attack("adaptive-oracle", "harm just above the line, knowing the exam", adaptive.on_the_line, own_data, Sight.EXAM),
    *(
        Attack(f"oracle-{aim:g}", f"harm beside {aim:g} of the exam, knowing it", act, own_data, Sight.EXAM)
        for aim, act in adaptive.KNOWING.items()
    ),
)

ATTACKS: Mapping[str, Attack] = {attack.name: attack for attack in _LIST}
"""Every attack by name."""
