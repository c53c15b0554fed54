"""The same rules in ByzFL, where it is installed: floating point there, integers and inner products alone here."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from types import ModuleType

import numpy as np
import pytest

from aggregator.centred_clipping import Centre, centred_clipping
from aggregator.geometric_median import geometric_median
from aggregator.mixing import mix
from aggregator.shares import ONE_Q32

SPEC = importlib.util.find_spec("byzfl")
pytestmark = pytest.mark.skipif(SPEC is None, reason="byzfl is not installed")

SEEDS = range(5)


@pytest.fixture
def byzfl(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Its aggregators alone: the package itself imports torchvision for its data sets."""
    assert SPEC is not None
    package = ModuleType("byzfl")
    package.__path__ = list(SPEC.submodule_search_locations or [])
    monkeypatch.setitem(sys.modules, "byzfl", package)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("byzfl.aggregators")


def updates(seed: int, rows: int = 11, outliers: int = 3) -> np.ndarray:
    source = np.random.default_rng(seed)
    vectors = source.normal(0, 300, 50) + source.normal(0, 200, (rows, 50))
    vectors[:outliers] = source.normal(0, 5_000, (outliers, 50))
    return np.rint(vectors).astype(np.int64)


def products(vectors: np.ndarray) -> list[list[int]]:
    return [[int(entry) for entry in row] for row in vectors @ vectors.T]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("faults", [0, 1, 3, 5])
def test_nearest_neighbour_mixing_is_byzfls(byzfl: ModuleType, seed: int, faults: int) -> None:
    vectors = updates(seed)
    ours = [vectors[list(chosen)].mean(axis=0) for chosen in mix(products(vectors), faults).neighbours]
    assert np.allclose(ours, byzfl.NNM(f=faults)(vectors.astype(np.float64)))


@pytest.mark.parametrize("seed", SEEDS)
def test_geometric_median_is_byzfls(byzfl: ModuleType, seed: int) -> None:
    """Other starts, the same end."""
    vectors = updates(seed)
    shares = geometric_median(products(vectors), 32)
    ours = np.array(shares.parts) / shares.whole @ vectors
    theirs = byzfl.GeometricMedian(nu=1.0, T=500)(vectors.astype(np.float64))
    assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("steps", [1, 3, 8])
def test_centred_clipping_is_byzfls(byzfl: ModuleType, seed: int, steps: int) -> None:
    vectors, at = updates(seed), updates(seed + 100)[5]
    rule = byzfl.CenteredClipping(L=steps, tau=1_500.0)
    rule.m = at.astype(np.float64)
    theirs = rule(vectors.astype(np.float64))
    around = Centre(int(at @ at), tuple(int(x) for x in vectors @ at))
    parts = np.array(centred_clipping(products(vectors), around, 1_500 << 32, steps).parts) / ONE_Q32
    assert np.allclose(parts @ vectors + (1 - parts.sum()) * at, theirs, atol=1e-3)
