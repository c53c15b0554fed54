"""Packages of strangers who mean harm: each is refused in one line, before it costs memory, files or a stake."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from market.protocol.errors import InvalidModel
from market.protocol.package_spec import PackageFile, PackageInput, package_arguments
from tests.unit.trainer_client.exported.hostile import (
    described,
    graph_of,
    nodes,
    read_again,
    step,
    tensor,
    with_archive,
    with_graphs,
)
from trainer_client.exported import archive
from trainer_client.exported.archive import GRAPH, MEMBERS, write_graph
from trainer_client.exported.packing import EVALUATION, FROZEN, INITIAL, TRAINING, Packed
from trainer_client.exported.parsing import parse_program
from trainer_client.exported.rehearsal import rehearse


def test_the_honest_one_is_read(packed: Packed) -> None:
    assert read_again(packed.folder.path, packed.folder.arguments).manifest == packed.package.manifest


# ---------------------------------------------------------------------- what a program may do


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.set_.source_Storage",
        "torch.ops.aten.as_strided.default",
        "torch.ops.aten.resize_.default",
        "torch.ops.aten.empty.memory_format",
        "torch.ops.aten.item.default",
        "torch.ops.aten.random_.default",
        "torch.ops.aten.__init__",
        "torch.ops.aten.linear",
        "torch.ops.aten.linear.default.default",
        "torch.ops.aten.__class__.mro",
        "torch.ops.higher_order.cond",
        "torch.ops.higher_order.triton_kernel_wrapper_functional",
        "torch.ops.load_library.default",
        "torch.ops.c10d.send.default",
        "os.system",
        "builtins.eval",
        "_operator.attrgetter",
        "_operator.pow",
        "_operator.lshift",
        "torch.save",
        "torch._C._set_deterministic",
    ],
)
def test_an_operator_that_is_more_than_arithmetic_is_refused_by_its_name(target: str, packed: Packed) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["graph_module"]["graph"]["nodes"].insert(0, step(target, ("self", tensor("x"))))

    with pytest.raises(InvalidModel, match=f"operator '{target}' is not among the .* tensor operators"):
        with_graphs(packed, edit)


def argument_of(document: dict[str, Any], node: int, number: int) -> dict[str, Any]:
    found: dict[str, Any] = nodes(document)[node]["inputs"][number]
    return found


def set_argument(node: int, number: int, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        argument_of(document, node, number)["arg"] = value

    return edit


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"as_string": "__import__('os').system('id')"}, "expected Tensor"),
        ({"as_custom_obj": {"name": "x", "class_fqn": "os.system"}}, "'as_custom_obj', which no model needs"),
        ({"as_graph": {"name": "x", "graph": {}}}, "'as_graph', which no model needs"),
        ({"as_operator": "os.system"}, "'as_operator', which no model needs"),
        ({"as_expr": {"expr_str": "__import__('os')"}}, "'as_expr', which no model needs"),
        ({"as_tensor": {"name": "nothing"}}, "'nothing' is used before anything has given it"),
        ({"as_tensor": {"name": ["x"]}}, "is used before anything has given it"),
        ({"as_tensor": {"name": "linear_1"}}, "'linear_1' is used before anything has given it"),
        ({"as_tensor": {"name": "linear"}}, "'linear' is used before anything has given it"),
        ({"as_sym_int": {"as_name": "x"}}, "'x' is taken for a number"),
        ({}, "expected one tag"),
        ([], "expected a mapping"),
        ({"as_int": 1 << 41}, "expected a whole number"),
        ({"as_int": True}, "expected a whole number"),
        ({"as_float": "1e999"}, "expected a number"),
    ],
)
def test_an_argument_of_another_kind_is_refused(value: Any, reason: str, packed: Packed) -> None:
    with pytest.raises(InvalidModel, match=reason):
        with_graphs(packed, set_argument(0, 0, value))


def test_a_program_that_refers_to_itself_or_to_what_comes_later_is_refused(packed: Packed) -> None:
    with pytest.raises(InvalidModel, match="is used before"):
        with_graphs(packed, lambda document: nodes(document).reverse())


def test_two_values_of_one_name_are_refused(packed: Packed) -> None:
    def edit(document: dict[str, Any]) -> None:
        nodes(document).append(step("torch.ops.aten.relu.default", ("self", tensor("x")), gives="x"))

    with pytest.raises(InvalidModel, match="two values have the name 'x'"):
        with_graphs(packed, edit)


def test_names_of_a_program_are_never_code(packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "x); import os; os.abort() #"

    def edit(document: dict[str, Any]) -> None:
        graph = document["graph_module"]["graph"]
        text = json.dumps(graph).replace('"x"', json.dumps(name)).replace('"linear"', json.dumps(name + "2"))
        document["graph_module"]["graph"] = json.loads(text)
        for spec in document["graph_module"]["signature"]["input_specs"]:
            if "user_input" in spec:
                spec["user_input"]["arg"] = tensor(name)

    package = with_graphs(packed, edit)
    code = package.module._exported.training.code  # type: ignore[union-attr]
    assert "abort" not in code
    assert package.module(torch.zeros(2, 4)).shape == (2, 3)


@pytest.mark.parametrize(
    "name", ["forward", "__class__", "_modules", "training", "_exported", "a/../b", "a..b", "a b", ""]
)
def test_a_tensor_cannot_take_the_place_of_what_a_module_has(name: str, packed: Packed) -> None:
    def edit(document: dict[str, Any]) -> None:
        for spec in document["graph_module"]["signature"]["input_specs"]:
            if spec.get("parameter", {}).get("parameter_name") == "head.bias":
                spec["parameter"]["parameter_name"] = name

    with pytest.raises(InvalidModel, match=r"cannot have|no name of a module's tensor"):
        with_graphs(packed, edit)


# ---------------------------------------------------------------------- what a program may take


def set_shape(value: str, *sides: int) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        described_ = document["graph_module"]["graph"]["tensor_values"][value]
        described_["sizes"] = [{"as_int": side} for side in sides]

    return edit


def test_a_million_million_parameters_are_refused_from_the_shapes_alone(packed: Packed) -> None:
    with pytest.raises(InvalidModel, match="expected at most 1073741824 parameters to train"):
        with_graphs(packed, set_shape("p_head_weight", 1 << 20, 1 << 20))


def test_a_shape_that_fits_nothing_is_refused(packed: Packed) -> None:
    with pytest.raises(InvalidModel, match=r"program: linear.default does not fit"):
        with_graphs(packed, set_shape("p_head_weight", 3, 7))


@pytest.mark.parametrize(
    "grown",
    [
        step("torch.ops.aten.ones.default", ("size", {"as_ints": [1 << 20, 1 << 20]})),
        step("torch.ops.aten.repeat.default", ("self", tensor("x")), ("repeats", {"as_ints": [1 << 20, 1 << 20]})),
        step("torch.ops.aten.arange.default", ("end", {"as_int": 1 << 39})),
        step("torch.ops.aten.outer.default", ("self", tensor("evil2")), ("vec2", tensor("evil2"))),
    ],
)
def test_an_intermediate_of_terabytes_is_refused_before_it_is_asked_for(grown: Any, packed: Packed) -> None:
    def edit(document: dict[str, Any]) -> None:
        wide = step("torch.ops.aten.ones.default", ("size", {"as_ints": [1 << 21]}), gives="evil2")
        document["graph_module"]["graph"]["nodes"][:0] = [wide, grown]

    with pytest.raises(InvalidModel, match=r"samples take [0-9]+ bytes, expected at most"):
        with_graphs(packed, edit)


def test_memory_that_grows_faster_than_the_samples_is_refused(packed: Packed) -> None:
    def edit(document: dict[str, Any]) -> None:
        turned = step("torch.ops.aten.t.default", ("self", tensor("x")), gives="turned")
        square = step("torch.ops.aten.matmul.default", ("self", tensor("x")), ("other", tensor("turned")))
        document["graph_module"]["graph"]["nodes"][:0] = [turned, square]

    with pytest.raises(InvalidModel, match="grows faster than they do"):
        with_graphs(packed, edit)


def test_a_division_by_nothing_is_refused(packed: Packed) -> None:
    def edit(document: dict[str, Any]) -> None:
        pool = step("torch.ops.aten.max_pool1d.default", ("self", tensor("x")), ("kernel_size", {"as_ints": [0]}))
        nodes(document).insert(0, pool)

    with pytest.raises(InvalidModel, match=r"kernel_size is .*expected at least 1"):
        with_graphs(packed, edit)


def test_writing_to_parameters_or_samples_is_refused(packed: Packed, original: Packed) -> None:
    def write_to(name: str) -> Callable[[dict[str, Any]], None]:
        view = step("torch.ops.aten.view.default", ("self", tensor(name)), ("size", {"as_ints": [-1]}), gives="view")
        write = step("torch.ops.aten.zero_.default", ("self", tensor("view")))
        return lambda document: document["graph_module"]["graph"]["nodes"].extend([view, write])

    with pytest.raises(InvalidModel, match=r"writes to the parameter head.bias"):
        with_graphs(packed, write_to("p_head_bias"))
    for name in (TRAINING, EVALUATION):
        (packed.folder.path / name).write_bytes((original.folder.path / name).read_bytes())
    with pytest.raises(InvalidModel, match="writes to the samples"):
        with_graphs(packed, write_to("x"))


def test_an_evaluation_that_draws_or_learns_is_refused(packed: Packed) -> None:
    folder = packed.folder.path
    learning = (folder / TRAINING).read_bytes()
    (folder / EVALUATION).write_bytes(learning)
    with pytest.raises(InvalidModel, match="evaluation program writes to norm"):
        read_again(folder, packed.folder.arguments)


def test_statistics_that_change_but_are_said_to_be_frozen_are_refused(packed: Packed) -> None:
    frozen = {"norm.running_mean": torch.zeros(6), "norm.num_batches_tracked": torch.tensor(0)}
    save_file(frozen, str(packed.folder.path / FROZEN))
    with pytest.raises(InvalidModel, match=r"training writes to norm.running_mean, whose value is frozen"):
        read_again(packed.folder.path, packed.folder.arguments)


# ---------------------------------------------------------------------- archives


def zipped(members: dict[str, bytes], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **options) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def test_what_torch_export_saves_is_refused_since_it_takes_unpickling(packed: Packed) -> None:
    exported = torch.export.export(nn.Linear(4, 3), (torch.zeros(2, 4),))
    buffer = io.BytesIO()
    torch.export.save(exported, buffer)
    with pytest.raises(InvalidModel, match=r"the archive holds .*make it by `fedmarket model pack`"):
        with_archive(packed, buffer.getvalue())


class Bomb:
    """What unpickling would run."""

    fuse = False

    def __reduce__(self) -> Any:
        return setattr, (Bomb, "fuse", True)


@pytest.mark.parametrize(
    "name", ["program/data/sample_inputs/model.pt", "../../evil", "/etc/passwd", "program/../../evil.py", "évil"]
)
def test_no_member_is_ever_written_or_unpickled(name: str, packed: Packed, tmp_path: Path) -> None:
    graph = write_graph(b"{}")
    with zipfile.ZipFile(io.BytesIO(graph)) as file:
        members = {member: file.read(member) for member in file.namelist()}
    before = sorted(path.name for path in packed.folder.path.iterdir())
    with pytest.raises(InvalidModel, match="the archive holds"):
        with_archive(packed, zipped({**members, name: pickle.dumps(Bomb())}))
    assert not Bomb.fuse
    assert sorted(path.name for path in packed.folder.path.iterdir()) == before


def test_a_zip_bomb_is_refused_unopened(packed: Packed) -> None:
    with pytest.raises(InvalidModel, match=r"unpacks from [0-9]+ to 50000000 bytes"):
        with_archive(packed, zipped({**MEMBERS, GRAPH: b" " * 50_000_000}))


def test_a_member_that_is_longer_than_its_directory_says_is_cut_off(
    packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_GRAPH_BYTES", 100)
    with pytest.raises(InvalidModel, match="unpacks to more than 100 bytes"):
        read_again(packed.folder.path, packed.folder.arguments)


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x05\x06" + bytes(18),
        pickle.dumps(Bomb()),
        zipped({GRAPH: b"{}"}),
        zipped({**MEMBERS, "program/byteorder": b"big", GRAPH: b"{}"}),
        write_graph(b"not json"),
        write_graph(b"[]"),
        write_graph(b"{}"),
        write_graph(b"[" * 100_000),
        write_graph(b'{"graph_module": {}, "schema_version": {"major": 9, "minor": 0}}'),
        write_graph(b'{"graph_module": 7, "schema_version": {"major": 8}}'),
    ],
)
def test_what_is_no_program_is_refused(data: bytes, packed: Packed) -> None:
    with pytest.raises(InvalidModel, match="program"):
        with_archive(packed, data)
    assert not Bomb.fuse


# ---------------------------------------------------------------------- weights and arguments


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"norm.num_batches_tracked": torch.tensor(0), "head.bias": torch.tensor([0, float("nan"), 0])}, "not finite"),
        ({"norm.num_batches_tracked": torch.tensor(0), "evil": torch.zeros(3)}, "'evil' is in no program"),
        ({"norm.num_batches_tracked": torch.zeros(2, dtype=torch.int64)}, r"is torch.int64 of \(2,\)"),
        ({"head.bias": torch.zeros(3)}, "num_batches_tracked is torch.int64 and has no frozen value"),
    ],
)
def test_weights_that_no_program_has_are_refused(values: Any, reason: str, packed: Packed) -> None:
    save_file(values, str(packed.folder.path / FROZEN))
    with pytest.raises(InvalidModel, match=reason):
        read_again(packed.folder.path, packed.folder.arguments)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        (1 << 60).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}" + bytes(100),
        (99).to_bytes(8, "little")
        + b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4]}}'.ljust(99)
        + bytes(4),
        pickle.dumps(Bomb()),
    ],
)
def test_a_file_of_weights_that_lies_about_itself_is_refused(data: bytes, packed: Packed) -> None:
    (packed.folder.path / FROZEN).write_bytes(data or b"\0")
    with pytest.raises(InvalidModel, match="weights"):
        read_again(packed.folder.path, packed.folder.arguments)
    assert not Bomb.fuse


def test_samples_of_another_shape_than_the_program_takes_are_refused(packed: Packed) -> None:
    for form, reason in (
        (PackageInput(shape=(5,), classes=3), r"takes float32 \(N, 4\), its samples are float32 \(N, 5\)"),
        (PackageInput(shape=(4,), vocabulary=9), r"its samples are int64 \(N, 4\)"),
        (PackageInput(shape=(4,), classes=4), r"gives \(3,\), expected \(4,\)"),
    ):
        with pytest.raises(InvalidModel, match=reason):
            read_again(packed.folder.path, packed.folder.arguments, input=form)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"training": None}, "exported: training"),
        ({"training": {"cid": "x", "size_bytes": 1 << 40}}, "size_bytes"),
        ({"training": {"cid": "x", "size_bytes": 1 << 30}}, "the training program has 1073741824 bytes"),
        ({"input": {"shape": [1 << 22, 2]}}, "expected at most 4194304"),
        ({"input": {"shape": []}}, "input.shape"),
        ({"input": {"shape": [4], "classes": 3, "outputs": 2}}, "classes and outputs, expected one"),
        ({"code": "import os"}, "code is not a known field"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_fetched(change: Any, reason: str) -> None:
    file = PackageFile(cid="x", size_bytes=1).model_dump()
    arguments = {"input": {"shape": [4], "classes": 3}, "training": file, "evaluation": file, **change}
    with pytest.raises(InvalidModel, match=reason):
        package_arguments(arguments)


ODD = st.sampled_from([None, -1, 1 << 62, 2.5, "x", "torch.ops.aten.relu.default", [], {}, [{}], {"as_int": 3}, True])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_altered_in_a_graph_is_read_or_refused_and_nothing_else(
    data: st.DataObject, original: Packed
) -> None:
    document = graph_of(original.folder.path / TRAINING)
    place: Any = document
    # Go down at random, and put something else where the way ends.
    for _ in range(data.draw(st.integers(2, 12))):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key]:
            break
        place, key = place[key], None
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    place[data.draw(st.sampled_from(keys))] = data.draw(ODD)
    with suppress(InvalidModel):
        rehearse(parse_program(json.dumps(document).encode()))


def test_initial_values_that_are_lost_are_missed(packed: Packed) -> None:
    save_file({"head.bias": torch.zeros(3)}, str(packed.folder.path / INITIAL))
    with pytest.raises(InvalidModel, match=r"lacks body.bias"):
        packed.folder.initial(packed.package.manifest)
    assert described(packed.folder.path / INITIAL).size_bytes
