"""Programs that pass every look at their parts, and do harm as a whole: run, and refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from market.protocol.errors import InvalidModel, InvalidUpdate
from market.protocol.package_spec import PackageInput
from tests.unit.trainer_client.exported.hostile import (
    FORM,
    Small,
    nodes,
    step,
    tensor,
    with_graphs,
)
from trainer_client.dataset import Dataset
from trainer_client.engine.execution import CPU
from trainer_client.engine.settings import LocalTraining
from trainer_client.engine.training import train
from trainer_client.exported import trial
from trainer_client.exported.package import ExportedPackage
from trainer_client.exported.packing import EVALUATION, TRAINING, Packed, pack
from trainer_client.losses import batch_loss

ATEN = "torch.ops.aten."


def whole(number: int) -> dict[str, Any]:
    return {"as_int": number}


def wholes(*numbers: int) -> dict[str, Any]:
    return {"as_ints": list(numbers)}


def aten(name: str, *arguments: tuple[str, Any], gives: str = "evil") -> dict[str, Any]:
    return step(ATEN + name, *arguments, gives=gives)


def parts(name: str, *arguments: tuple[str, Any]) -> dict[str, Any]:
    made = aten(name, *arguments)
    return {**made, "outputs": [{"as_tensors": [{"name": "part0"}, {"name": "part1"}]}]}


def number(target: str, *values: dict[str, Any], gives: str) -> dict[str, Any]:
    inputs = [{"name": name, "arg": value, "kind": 1} for name, value in zip("ab", values, strict=False)]
    return {"target": target, "inputs": inputs, "outputs": [{"as_sym_int": {"as_name": gives}}]}


def named(name: str) -> dict[str, Any]:
    return {"as_sym_int": {"as_name": name}}


COUNT = {
    "target": ATEN + "sym_size.int",
    "inputs": [
        {"name": "self", "arg": tensor("x"), "kind": 1},
        {"name": "dim", "arg": whole(0), "kind": 1},
    ],
    "outputs": [{"as_sym_int": {"as_name": "count"}}],
}


def begun_with(packed: Packed, *steps: dict[str, Any]) -> ExportedPackage:
    """Both programs with these steps before all others."""

    def edit(document: dict[str, Any]) -> None:
        nodes(document)[:0] = list(steps)

    return with_graphs(packed, edit)


WIDE = aten("expand.default", ("self", tensor("x")), ("size", wholes(1 << 34, -1, -1)), gives="wide")
X = ("self", tensor("x"))


@pytest.mark.parametrize(
    "apart",
    [
        parts("unbind.int", ("self", tensor("wide"))),
        parts("split.Tensor", ("self", tensor("wide")), ("split_size", whole(1))),
        parts("chunk.default", ("self", tensor("wide")), ("chunks", whole(1 << 34))),
        parts("tensor_split.sections", ("self", tensor("wide")), ("sections", whole(1 << 34))),
    ],
)
def test_a_tensor_is_not_taken_apart_into_thousands_of_millions(apart: dict[str, Any], packed: Packed) -> None:
    with pytest.raises(InvalidModel, match=r"17179869184 tensors, expected at most 4096|operations, expected at most"):
        begun_with(packed, WIDE, apart)


def test_one_operator_that_is_millions_of_them_is_refused(packed: Packed) -> None:
    wide = aten("expand.default", X, ("size", wholes(1 << 18, -1, -1)), gives="wide")
    many = aten("diff.default", ("self", tensor("wide")), ("n", whole(1 << 18)), ("dim", whole(0)))
    with pytest.raises(InvalidModel, match=r"diff.default .*expected at most"):
        begun_with(packed, wide, many)


def test_work_without_memory_is_counted(packed: Packed) -> None:
    one = aten("ones.default", ("size", wholes(1)), gives="one")
    wide = aten("expand.default", ("self", tensor("one")), ("size", wholes(1 << 40)), gives="wide")
    with pytest.raises(InvalidModel, match=r"takes [0-9]+ operations, expected at most"):
        begun_with(packed, one, wide, aten("sum.default", ("self", tensor("wide"))))


def test_work_in_one_place_again_and_again_is_counted(packed: Packed) -> None:
    wide = aten("ones.default", ("size", wholes(1 << 29)), gives="wide")
    again = [
        aten("mul_.Scalar", ("self", tensor("wide")), ("other", {"as_float": 1.0}), gives=f"w{at}") for at in range(600)
    ]
    with pytest.raises(InvalidModel, match=r"mul_.Scalar it takes [0-9]+ operations"):
        begun_with(packed, wide, *again)


def test_memory_that_an_operator_takes_on_its_way_is_counted(packed: Packed) -> None:
    one = aten("ones.default", ("size", wholes(1 << 18)), gives="one")
    product = aten(
        "einsum.default",
        ("equation", {"as_string": "a,b,ab->"}),
        ("tensors", {"as_tensors": [{"name": "one"}, {"name": "one"}, {"name": "square"}]}),
    )
    column = aten("unsqueeze.default", ("self", tensor("one")), ("dim", whole(1)), gives="column")
    square = aten("expand.default", ("self", tensor("column")), ("size", wholes(-1, 1 << 18)), gives="square")
    with pytest.raises(InvalidModel, match="expected at most"):
        begun_with(packed, one, column, square, product)


def test_dimensions_by_the_thousand_are_refused(packed: Packed) -> None:
    with pytest.raises(InvalidModel, match="gives 302 dimensions, expected at most 16"):
        begun_with(packed, aten("view.default", X, ("size", wholes(-1, 4, *[1] * 300))))


@pytest.mark.parametrize("first", [4, 32, 100])
def test_memory_that_wakes_with_the_number_of_samples_is_refused(first: int, packed: Packed) -> None:
    rest = aten("slice.Tensor", X, ("dim", whole(0)), ("start", whole(first)), ("end", whole((1 << 63) - 1)), gives="r")
    bomb = aten("repeat.default", ("self", tensor("r")), ("repeats", wholes(1 << 28, 1)))
    with pytest.raises(InvalidModel, match=r"grows faster than they do|expected a fixed number a sample"):
        begun_with(packed, rest, bomb)


def test_a_number_that_is_nothing_where_it_is_looked_at_is_refused(packed: Packed) -> None:
    """(N - 2)(N - 4): no memory at all of two and of four samples, terabytes of 32."""
    minus = [number("_operator.sub", named("count"), whole(less), gives=f"minus{less}") for less in (2, 4)]
    both = number("_operator.mul", named("minus2"), named("minus4"), gives="both")
    bomb = aten("zeros.default", ("size", {"as_sym_ints": [{"as_name": "both"}, {"as_int": 1 << 20}]}))
    with pytest.raises(InvalidModel, match=r"program: .*zeros.default|grows faster|a fixed number a sample"):
        begun_with(packed, COUNT, *minus, both, bomb)


def test_a_product_of_numbers_of_samples_is_refused(packed: Packed) -> None:
    with pytest.raises(InvalidModel, match=r"_operator.mul gives sizes .* expected a fixed number a sample"):
        begun_with(packed, COUNT, number("_operator.mul", named("count"), named("count"), gives="square"))


def test_a_division_by_a_number_of_samples_that_is_nothing_once_is_refused(packed: Packed) -> None:
    minus = number("_operator.sub", named("count"), whole(7), gives="minus")
    with pytest.raises(InvalidModel, match="expected a fixed number a sample"):
        begun_with(packed, COUNT, minus, number("_operator.floordiv", whole(1 << 30), named("minus"), gives="part"))


@pytest.mark.parametrize("divisor", [{"as_int": -1}, {"as_int": 0}, tensor("whole")])
def test_a_division_that_ends_the_process_is_refused(divisor: dict[str, Any], packed: Packed) -> None:
    """The least whole number by -1: no exception, but a signal."""
    least = aten("to.dtype", X, ("dtype", {"as_scalar_type": 5}), gives="whole")
    divide = aten(
        "div.Tensor_mode", ("self", tensor("whole")), ("other", divisor), ("rounding_mode", {"as_string": "trunc"})
    )
    with pytest.raises(InvalidModel, match=r"of whole numbers by .*, expected a number of at least 1"):
        begun_with(packed, least, divide)


def test_a_division_of_whole_numbers_by_a_whole_number_is_none_of_those(packed: Packed) -> None:
    least = aten("to.dtype", X, ("dtype", {"as_scalar_type": 5}), gives="whole")
    assert begun_with(packed, least, aten("floor_divide.default", ("self", tensor("whole")), ("other", whole(2))))


def altered_evaluation(packed: Packed, edit: Callable[[dict[str, Any]], object]) -> ExportedPackage:
    return with_graphs(packed, edit, EVALUATION)


def test_a_conversion_that_is_none_in_an_exam_writes_to_nothing(packed: Packed) -> None:
    """To float64: a copy where a trainer computes, the tensor itself where an examiner does."""
    same = aten("to.dtype", ("self", tensor("b_norm_running_mean")), ("dtype", {"as_scalar_type": 8}), gives="same")
    write = aten("zero_.default", ("self", tensor("same")))
    with pytest.raises(InvalidModel, match=r"evaluation program writes to norm.running_mean"):
        altered_evaluation(packed, lambda document: nodes(document).extend([same, write]))


def test_statistics_are_not_written_by_another_name(packed: Packed) -> None:
    views = [
        aten("view.default", ("self", tensor(f"b_norm_running_{what}")), ("size", wholes(6)), gives=f"view_{what}")
        for what in ("mean", "var")
    ]

    def edit(document: dict[str, Any]) -> None:
        at = next(at for at, one in enumerate(nodes(document)) if "batch_norm" in one["target"])
        for one in nodes(document)[at]["inputs"]:
            if one["name"] in ("running_mean", "running_var"):
                one["arg"] = tensor("view_" + one["name"].removeprefix("running_"))
            if one["name"] == "training":
                one["arg"] = {"as_bool": True}
        nodes(document)[at:at] = views

    with pytest.raises(InvalidModel, match=r"evaluation program writes to norm.running"):
        altered_evaluation(packed, edit)


def test_an_evaluation_that_draws_in_its_attention_is_refused(packed: Packed) -> None:
    """Its dropout is told by a rate alone."""
    shaped = aten("reshape.default", X, ("shape", wholes(-1, 1, 1, 4)), gives="heads")
    attention = aten(
        "scaled_dot_product_attention.default",
        *((name, tensor("heads")) for name in ("query", "key", "value")),
        ("attn_mask", {"as_none": True}),
        ("dropout_p", {"as_float": 0.5}),
    )
    with pytest.raises(InvalidModel, match="evaluation program draws random numbers"):
        altered_evaluation(packed, lambda document: nodes(document).extend([shaped, attention]))


class Remembering(nn.Module):
    """A recurrent network of two layers, with dropout between them."""

    def __init__(self) -> None:
        super().__init__()
        self.recur = nn.GRU(4, 3, num_layers=2, dropout=0.5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.recur(x.reshape(-1, 1, 4))[0][:, 0]


def test_an_evaluation_that_draws_between_recurrent_layers_is_refused(tmp_path: Path) -> None:
    packed = pack(Remembering(), FORM, tmp_path)

    def edit(document: dict[str, Any]) -> None:
        recurrent = next(one for one in nodes(document) if "aten.gru.input" in one["target"])
        training = next(one for one in recurrent["inputs"] if one["name"] == "train")
        assert training["arg"] == {"as_bool": False}
        training["arg"] = {"as_bool": True}

    with pytest.raises(InvalidModel, match="evaluation program draws random numbers"):
        altered_evaluation(packed, edit)


class Flattening(nn.Module):
    """Looks tokens up in one row, as `view` gives it: of samples in one piece alone."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 9)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table(tokens.view(-1)).view(tokens.shape[0], tokens.shape[1], 9)


def test_windows_of_tokens_come_to_a_model_in_one_piece(tmp_path: Path) -> None:
    packed = pack(Flattening(), PackageInput(shape=(4,), vocabulary=9), tmp_path)
    tokens = Dataset(np.random.default_rng(0).integers(0, 9, (3, 5)))
    assert torch.isfinite(batch_loss("next_token", packed.package.module, tokens))


# ---------------------------------------------------------------------- what honest owners trip over


def test_a_batch_of_one_sample_leaves_no_statistics_that_are_no_numbers(original: Packed) -> None:
    module = original.package.module.train()
    assert torch.isfinite(module(torch.rand(1, 4))).all()
    assert all(bool(torch.isfinite(buffer).all()) for buffer in module.buffers())


def test_fixed_statistics_are_part_of_no_update(tmp_path: Path) -> None:
    packed = pack(Small(), FORM, tmp_path, fixed_statistics=True)
    assert not packed.package.training.changed
    assert not [entry.name for entry in packed.package.manifest.entries if "running" in entry.name]
    samples = torch.rand(8, 4)
    trained, measured = (packed.package.module.train(mode)(samples) for mode in (True, False))
    assert torch.equal(trained, measured)


def test_a_model_beyond_this_machines_memory_is_not_tried(original: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "free_bytes", lambda: 10)
    with pytest.raises(InvalidModel, match=r"2 samples take [0-9,]+ bytes, this machine has 10 free"):
        trial._check_memory(original.package.module, CPU)


@pytest.mark.parametrize("program", [TRAINING, EVALUATION])
def test_a_model_of_hours_a_step_is_not_tried(program: str, original: Packed, packed: Packed) -> None:
    """Products alone, of little memory: it kept whoever looked at it busy until long after the job was over."""
    side = wholes(1 << 14, 1 << 14)
    ones = aten("ones.default", ("size", side), gives="m0")
    products = [
        aten("mm.default", ("self", tensor(f"m{at}")), ("mat2", tensor("m0")), gives=f"m{at + 1}") for at in range(13)
    ]

    def slow(document: dict[str, Any]) -> None:
        nodes(document)[:0] = [ones, *products]

    with pytest.raises(InvalidModel, match=r"2 samples takes at least [0-9,]+ s .* have to be made within 10 s"):
        trial.check_time(with_graphs(packed, slow, program).module, 10)
    trial.check_time(original.package.module, 10)


class Looking(nn.Module):
    """Takes values for places in a table: those beyond it are found when it is trained, not before."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3)
        self.shift = shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.table((x[:, 0] + self.shift).to(torch.int64))


def test_samples_that_a_program_fails_on_stop_the_training_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"the model fails on samples in -1..1: IndexError"):
        pack(Looking(0), FORM, tmp_path)
    packed = pack(Looking(1), FORM, tmp_path)
    data = Dataset(np.full((4, 4), 9, np.float32), np.zeros(4, np.int64))
    settings = LocalTraining(epochs=1, batch_size=2, learning_rate=0.1)
    with pytest.raises(InvalidModel, match="the job's model cannot be computed on these samples: index out of range"):
        train(packed.package.module, data, settings, seed=0, manifest=packed.package.manifest)


def test_a_loss_that_is_no_number_in_the_second_epoch_stops_the_training_with_one_line(tmp_path: Path) -> None:
    packed = pack(Late(), FORM, tmp_path)
    data = Dataset(np.ones((4, 4), np.float32), np.zeros(4, np.int64))
    settings = LocalTraining(epochs=5, batch_size=2, learning_rate=0.1)
    with pytest.raises(InvalidUpdate, match=r"diverged in epoch [2-5]"):
        train(packed.package.module, data, settings, seed=0, manifest=packed.package.manifest)


class Late(nn.Module):
    """Counts its batches, and gives nothing but NaN once there were three."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.batches.add_(1)
        return torch.where(self.batches > 3, torch.nan, self.head(x))
