from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from market.protocol.errors import InvalidModel
from market.protocol.manifest import ParameterManifest
from trainer_client.parameters import manifest_of, read_vector, write_vector


@pytest.fixture
def module() -> nn.Module:
    return nn.Sequential(OrderedDict(body=nn.Linear(2, 3), norm=nn.BatchNorm1d(3), head=nn.Linear(3, 2)))


def test_floating_point_state_is_laid_out_by_name_and_counters_are_not(module: nn.Module) -> None:
    assert [(e.name, e.shape, e.offset) for e in manifest_of(module).entries] == [
        ("body.bias", (3,), 0),
        ("body.weight", (3, 2), 3),
        ("head.bias", (2,), 9),
        ("head.weight", (2, 3), 11),
        ("norm.bias", (3,), 17),
        ("norm.running_mean", (3,), 20),
        ("norm.running_var", (3,), 23),
        ("norm.weight", (3,), 26),
    ]


def test_a_subset_is_chosen_by_patterns(module: nn.Module) -> None:
    manifest = manifest_of(module, ["head.*", "*.weight"])
    assert [e.name for e in manifest.entries] == ["body.weight", "head.bias", "head.weight", "norm.weight"]
    assert manifest.dimension == 6 + 2 + 6 + 3


def test_a_pattern_that_matches_nothing_is_refused(module: nn.Module) -> None:
    with pytest.raises(InvalidModel, match=r"'tail\.\*' matches none of the parameters body\.bias"):
        manifest_of(module, ["head.*", "tail.*"])
    with pytest.raises(InvalidModel, match="no floating-point parameter"):
        manifest_of(module, [])


def test_a_vector_is_read_row_major(module: nn.Module) -> None:
    with torch.no_grad():
        module.get_parameter("body.weight").copy_(torch.arange(6.0).reshape(3, 2))
        module.get_parameter("body.bias").copy_(torch.tensor([7.0, 8.0, 9.0]))
    vector = read_vector(module, manifest_of(module, ["body.*"]))
    assert vector.dtype == np.float32
    assert vector.tolist() == [7, 8, 9, 0, 1, 2, 3, 4, 5]


def test_what_is_written_is_read_back(module: nn.Module) -> None:
    manifest = manifest_of(module)
    vector = np.random.default_rng(1).normal(size=manifest.dimension).astype(np.float32)
    vector.flags.writeable = False
    write_vector(module, manifest, vector)
    assert (read_vector(module, manifest) == vector).all()
    assert module.get_parameter("head.weight").detach().numpy().reshape(-1).tolist() == vector[11:17].tolist()


def test_entries_outside_the_manifest_keep_their_values(module: nn.Module) -> None:
    before = read_vector(module, manifest_of(module, ["body.*"]))
    manifest = manifest_of(module, ["head.*"])
    write_vector(module, manifest, np.full(manifest.dimension, 5, np.float32))
    assert (read_vector(module, manifest_of(module, ["body.*"])) == before).all()


def test_reading_does_not_share_memory(module: nn.Module) -> None:
    manifest = manifest_of(module)
    vector = read_vector(module, manifest)
    vector[:] = 99
    assert not (read_vector(module, manifest) == 99).any()


def test_half_precision_is_read_as_float32() -> None:
    module = nn.Linear(2, 2).half()
    assert read_vector(module, manifest_of(module)).dtype == np.float32


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"head.weight": (2, 3), "tail.bias": (2,)}, r"no parameter 'tail\.bias': expected one of body\.bias"),
        ({"head.weight": (3, 2)}, r"'head\.weight' has shape \(2, 3\) in the model, expected \(3, 2\)"),
        ({"norm.num_batches_tracked": ()}, r"'norm\.num_batches_tracked' is torch\.int64"),
    ],
)
def test_a_manifest_of_another_model_is_refused(
    module: nn.Module, shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    manifest = ParameterManifest.from_shapes(shapes)
    before = read_vector(module, manifest_of(module))
    with pytest.raises(InvalidModel, match=message):
        read_vector(module, manifest)
    with pytest.raises(InvalidModel, match=message):
        write_vector(module, manifest, np.zeros(manifest.dimension, np.float32))
    assert (read_vector(module, manifest_of(module)) == before).all()


@pytest.mark.parametrize("vector", [np.zeros(28, np.float32), np.zeros(30, np.float32), np.zeros(29)])
def test_a_vector_of_another_length_or_type_is_refused(module: nn.Module, vector: np.ndarray) -> None:
    with pytest.raises(InvalidModel, match=r"expected float32 of \(29,\)"):
        write_vector(module, manifest_of(module), vector)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_and_nothing_is_written(module: nn.Module, bad: float) -> None:
    manifest = manifest_of(module)
    before = read_vector(module, manifest)
    vector = np.zeros(29, np.float32)
    vector[18] = bad
    with pytest.raises(InvalidModel, match=r"'norm\.bias': its entry 1 is"):
        write_vector(module, manifest, vector)
    assert (read_vector(module, manifest) == before).all()
