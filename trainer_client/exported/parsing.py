"""Reading the graph that torch.export made of a module, as data.

The JSON is torch.export's own schema, version 8. Of it only the graph and its signature are read; names serve to tell
values apart and then are forgotten, so that none can reach generated code, and no text is ever evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from market.protocol.errors import InvalidModel
from market.protocol.json_text import parse_json
from trainer_client.exported.graph_json import element_type, list_of, mapping, real, tagged, tensor_name, whole
from trainer_client.exported.operators import (
    FACTORIES,
    FLOAT_FACTORIES,
    NUMBER_OPERATORS,
    POSITIVE,
    check_text,
    tensor_operator,
)
from trainer_client.exported.program import (
    DEVICE,
    DTYPE,
    FIRST_STATE,
    MAX_DIMENSIONS,
    MAX_LIST,
    Input,
    Program,
    Ref,
    State,
    Step,
)

SCHEMA_MAJOR = 8
"""Of torch 2.5 and later; another one may mean other things by the same words."""

MAX_STEPS = 50_000
MAX_STATE = 20_000
MAX_NAME = 512

_STRIDED = 7
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_STATE_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


def parse_program(unverified_graph: bytes) -> Program:
    """Read a graph.

    Raises:
        InvalidModel: it is not what torch.export writes, names an operator that is not known to be harmless, or uses a
            value before it is there.
    """
    try:
        unverified_program = parse_json(unverified_graph)
    except ValueError as error:
        raise InvalidModel(f"program: its graph {error}") from error
    module = mapping(unverified_program, "the program").get("graph_module")
    version = mapping(unverified_program.get("schema_version"), "schema_version").get("major")
    if version != SCHEMA_MAJOR:
        raise InvalidModel(f"program: schema version {version!r:.80}, expected {SCHEMA_MAJOR}")
    graph = mapping(mapping(module, "graph_module").get("graph"), "graph")
    signature = mapping(mapping(module, "graph_module").get("signature"), "signature")
    return _Parsing(graph, signature).program()


@dataclass
class _Parsing:
    """One program being read: the names given so far, each with its place and whether it is a tensor."""

    graph: Mapping[str, Any]
    signature: Mapping[str, Any]
    places: dict[str, tuple[int, bool]] = field(default_factory=dict)
    count: int = FIRST_STATE

    def program(self) -> Program:
        state, inputs = self._inputs()
        unverified_steps = list_of(self.graph.get("nodes"), "nodes", MAX_STEPS)
        steps = tuple(self._step(number, mapping(one, "a node")) for number, one in enumerate(unverified_steps))
        return Program(state, inputs, steps, self._result(), self.count)

    # ------------------------------------------------------------------ inputs and result

    def _inputs(self) -> tuple[tuple[State, ...], tuple[Input, ...]]:
        specs = list_of(self.signature.get("input_specs"), "input_specs", MAX_STATE)
        given = [tensor_name(one) for one in list_of(self.graph.get("inputs"), "inputs", MAX_STATE)]
        if len(specs) != len(given):
            raise InvalidModel(f"program: {len(given)} inputs, its signature has {len(specs)}")
        state: list[State] = []
        inputs: list[Input] = []
        for spec, name in zip(specs, given, strict=True):
            kind, body = tagged(spec, "an input")
            self._define(name, is_tensor=True)
            if kind == "user_input":
                inputs.append(self._input(name))
                continue
            if inputs:
                raise InvalidModel(f"program: {name!r:.200} of the module comes after what callers pass")
            state.append(self._state(kind, mapping(body, kind), name))
        return tuple(state), tuple(inputs)

    def _input(self, value: str) -> Input:
        dtype, shape = self._dtype(value), self._shape(value)
        if dtype not in (torch.float32, torch.int64) or not shape or shape[0] is not None or not all(shape[1:]):
            raise InvalidModel(
                f"program: it takes {dtype} of {shape}, expected float32 or int64 of any number of samples and nothing "
                "else that is not fixed"
            )
        return Input(dtype, shape)

    def _state(self, kind: str, body: Mapping[str, Any], value: str) -> State:
        fields = {
            "parameter": "parameter_name",
            "buffer": "buffer_name",
            "tensor_constant": "tensor_constant_name",
        }
        if kind not in fields:
            raise InvalidModel(f"program: an input is a {kind!r:.80}, expected tensors of the module or of a sample")
        name = state_name(body.get(fields[kind]))
        shape = self._shape(value)
        if None in shape:
            raise InvalidModel(f"program: {name} has a side that is not fixed")
        sides = tuple(side for side in shape if side is not None)
        return State(name, kind == "parameter", self._dtype(value), sides)

    def _meta(self, value: str) -> Mapping[str, Any]:
        described = mapping(self.graph.get("tensor_values"), "tensor_values").get(value)
        return mapping(described, f"the description of {value!r:.100}")

    def _shape(self, value: str) -> tuple[int | None, ...]:
        sides: list[int | None] = []
        for one in list_of(self._meta(value).get("sizes"), "sizes", MAX_DIMENSIONS):
            kind, side = tagged(one, "a side")
            sides.append(whole(side, "a side", 0) if kind == "as_int" else None)
        return tuple(sides)

    def _dtype(self, value: str) -> torch.dtype:
        return element_type(self._meta(value).get("dtype"))

    def _result(self) -> Ref:
        outputs = list_of(self.graph.get("outputs"), "outputs", MAX_STATE)
        if len(outputs) != 1:
            raise InvalidModel(f"program: it gives {len(outputs)} values, expected one tensor")
        return self._ref(tensor_name(outputs[0]), is_tensor=True)

    # ------------------------------------------------------------------ steps

    def _step(self, number: int, node: Mapping[str, Any]) -> Step:
        target = node.get("target")
        if not isinstance(target, str):
            raise InvalidModel(f"program: node {number} has the target {target!r:.80}, expected an operator's name")
        if target in NUMBER_OPERATORS:
            return self._number_step(target, node)
        name, function = tensor_operator(target)
        arguments, named = self._arguments(name, function, node)
        outputs, is_many = self._outputs(name, function, node)
        return Step(name, function, arguments, named, outputs, is_many)

    def _number_step(self, target: str, node: Mapping[str, Any]) -> Step:
        function, arity = NUMBER_OPERATORS[target]
        given = list_of(node.get("inputs"), "inputs", 8)
        values = tuple(self._value(target, "a number", mapping(one, "an input").get("arg")) for one in given)
        if len(values) != arity or not all(self._is_number(value) for value in values):
            raise InvalidModel(f"program: {target} of {values!r:.100}, expected {arity} numbers")
        return Step(target, function, values, {}, self._number_output(target, node), is_many=False)

    def _number_output(self, name: str, node: Mapping[str, Any]) -> tuple[int, ...]:
        outputs = list_of(node.get("outputs"), "outputs", 8)
        kind, body = tagged(outputs[0], "an output") if len(outputs) == 1 else ("nothing", None)
        if kind not in ("as_sym_int", "as_sym_float"):
            raise InvalidModel(f"program: {name} gives {kind!r:.80}, expected a number")
        tag, value = tagged(body, "a number")
        if tag != "as_name":
            raise InvalidModel(f"program: {name} gives {tag!r:.80}, expected a number with a name")
        return (self._define(value, is_tensor=False),)

    def _outputs(self, name: str, function: Any, node: Mapping[str, Any]) -> tuple[tuple[int, ...], bool]:
        returns = [str(one.type) for one in function._schema.returns]
        if returns == ["int"]:
            return self._number_output(name, node), False
        outputs = list_of(node.get("outputs"), "outputs", MAX_LIST)
        if returns == ["List[Tensor]"]:
            kind, body = tagged(outputs[0], "an output") if len(outputs) == 1 else ("nothing", None)
            if kind != "as_tensors":
                raise InvalidModel(f"program: {name} gives {kind!r:.80}, expected a list of tensors")
            names = [mapping(one, "a tensor").get("name") for one in list_of(body, "tensors", MAX_LIST)]
            return tuple(self._define(one, is_tensor=True) for one in names), True
        if len(outputs) != len(returns):
            raise InvalidModel(f"program: {name} gives {len(outputs)} values, expected {len(returns)}")
        return tuple(self._define(tensor_name(one), is_tensor=True) for one in outputs), len(returns) > 1

    def _arguments(self, name: str, function: Any, node: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the operator is called with, each by its place or name in the operator's own schema."""
        given: dict[str, Any] = {}
        for one in list_of(node.get("inputs"), "inputs", 64):
            argument = mapping(one, "an input").get("name")
            if not isinstance(argument, str) or argument in given:
                raise InvalidModel(f"program: {name} has the argument {argument!r:.80}, or has it twice")
            given[argument] = one.get("arg")
        schema = {argument.name: argument for argument in function._schema.arguments}
        unknown = next((argument for argument in given if argument not in schema), None)
        if unknown is not None:
            raise InvalidModel(f"program: {name} has no argument {unknown!r:.80}, expected {', '.join(schema)}")
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for argument in schema.values():
            by_name = argument.kwarg_only or len(positional) < sum(not a.kwarg_only for a in _before(schema, argument))
            if argument.name not in given:
                if not argument.has_default_value():
                    raise InvalidModel(f"program: {name} lacks the argument {argument.name}")
                continue
            value = self._checked(name, argument, given[argument.name])
            if argument.name in ("pin_memory", "layout", "generator"):
                continue
            if by_name:
                named[argument.name] = value
            else:
                positional.append(value)
        return tuple(positional), _at_home(name, positional, named)

    def _checked(self, name: str, argument: Any, unverified_value: Any) -> Any:
        value = self._value(name, argument.name, unverified_value)
        kind = str(argument.real_type)
        if not self._fits(kind, value):
            raise InvalidModel(f"program: {name}: {argument.name} is {value!r:.100}, expected {kind}")
        if isinstance(value, str):
            check_text(name, argument.name, value)
        if argument.name in POSITIVE:
            numbers = value if isinstance(value, list) else [value]
            if any(isinstance(number, int) and number < 1 for number in numbers):
                raise InvalidModel(f"program: {name}: {argument.name} is {value!r:.100}, expected at least 1")
        return value

    def _fits(self, kind: str, value: Any) -> bool:
        if kind.startswith("Optional["):
            return value is None or self._fits(kind[9:-1], value)
        if kind.startswith("List["):
            return isinstance(value, list) and all(self._fits(kind[5:-1], one) for one in value)
        match kind:
            case "Tensor":
                # A number is taken for a tensor of no dimensions wherever an operator asks for one.
                return self._is_number(value) or (isinstance(value, Ref) and value not in (DEVICE, DTYPE))
            case "int" | "SymInt":
                return type(value) is int or self._is_number(value)
            case "float" | "number":
                return type(value) in (int, float, bool) or self._is_number(value)
            case "bool":
                return type(value) is bool
            case "str":
                return isinstance(value, str)
            case "ScalarType":
                return isinstance(value, torch.dtype) or value == DTYPE
            case "Device":
                return bool(value == DEVICE)
            case "Layout":
                return value is torch.strided
            case "MemoryFormat":
                return isinstance(value, torch.memory_format)
        return False

    def _is_number(self, value: Any) -> bool:
        if isinstance(value, Ref):
            return value.index in self._number_places
        return type(value) in (int, float)

    # ------------------------------------------------------------------ values

    def _value(self, name: str, argument: str, unverified_value: Any) -> Any:
        kind, body = tagged(unverified_value, f"{name}: {argument}")
        match kind:
            case "as_none":
                return None
            case "as_bool" if type(body) is bool:
                return body
            case "as_int":
                return whole(body, f"{name}: {argument}")
            case "as_float":
                return real(body, f"{name}: {argument}")
            case "as_string" if isinstance(body, str):
                return body
            case "as_tensor":
                return self._ref(mapping(body, "a tensor").get("name"), is_tensor=True)
            case "as_optional_tensor" | "as_sym_int" | "as_sym_float":
                return self._nested(name, argument, body)
            case "as_name":
                return self._ref(body, is_tensor=False)
            case "as_scalar_type":
                dtype = element_type(body)
                return DTYPE if dtype is torch.float32 else dtype
            case "as_device":
                return DEVICE
            case "as_layout" if body == _STRIDED:
                return torch.strided
            case "as_memory_format" if type(body) is int and body in _MEMORY_FORMATS:
                return _MEMORY_FORMATS[body]
            case "as_ints":
                return [whole(one, f"{name}: {argument}") for one in list_of(body, argument, MAX_LIST)]
            case "as_floats":
                return [real(one, f"{name}: {argument}") for one in list_of(body, argument, MAX_LIST)]
            case "as_tensors":
                names = [mapping(one, "a tensor").get("name") for one in list_of(body, argument, MAX_LIST)]
                return [self._ref(one, is_tensor=True) for one in names]
            case "as_optional_tensors" | "as_sym_ints" | "as_sym_floats":
                return [self._nested(name, argument, one) for one in list_of(body, argument, MAX_LIST)]
        raise InvalidModel(f"program: {name}: {argument} is {kind!r:.80}, which no model needs")

    def _nested(self, name: str, argument: str, unverified_value: Any) -> Any:
        """A value in a value: unions of one level, so that nothing recurses."""
        kind, body = tagged(unverified_value, f"{name}: {argument}")
        match kind:
            case "as_none":
                return None
            case "as_tensor":
                return self._ref(mapping(body, "a tensor").get("name"), is_tensor=True)
            case "as_name":
                return self._ref(body, is_tensor=False)
            case "as_int":
                return whole(body, f"{name}: {argument}")
            case "as_float":
                return real(body, f"{name}: {argument}")
        raise InvalidModel(f"program: {name}: {argument} has {kind!r:.80}, which no model needs")

    _number_places: set[int] = field(default_factory=set)

    def _define(self, unverified_name: Any, *, is_tensor: bool) -> int:
        if not isinstance(unverified_name, str) or not 0 < len(unverified_name) <= MAX_NAME:
            raise InvalidModel(f"program: a value has the name {unverified_name!r:.80}")
        if unverified_name in self.places:
            raise InvalidModel(f"program: two values have the name {unverified_name!r:.200}")
        place = self.count
        self.places[unverified_name] = place, is_tensor
        if not is_tensor:
            self._number_places.add(place)
        self.count += 1
        return place

    def _ref(self, unverified_name: Any, *, is_tensor: bool) -> Ref:
        known = self.places.get(unverified_name) if isinstance(unverified_name, str) else None
        if known is None:
            raise InvalidModel(f"program: {unverified_name!r:.200} is used before anything has given it")
        if known[1] != is_tensor:
            raise InvalidModel(
                f"program: {unverified_name!r:.200} is taken for {'a tensor' if is_tensor else 'a number'}"
            )
        return Ref(known[0])


def state_name(unverified_name: Any) -> str:
    """A dotted name of the state dict.

    Raises:
        InvalidModel: it is none, or too long.
    """
    fits = isinstance(unverified_name, str) and len(unverified_name) <= MAX_NAME
    if not fits or not _STATE_NAME.fullmatch(unverified_name):
        raise InvalidModel(f"program: {unverified_name!r:.200} is no name of a module's tensor")
    return str(unverified_name)


def _before(schema: Mapping[str, Any], argument: Any) -> list[Any]:
    names = list(schema)
    return [schema[name] for name in names[: names.index(argument.name)]]


def _at_home(name: str, positional: list[Any], named: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name of what makes a tensor of nothing: it has no other to take device and type from."""
    packet = name.split(".")[0]
    if packet in FACTORIES:
        named.setdefault("device", DEVICE)
    makes_float = packet in FLOAT_FACTORIES or any(type(one) is float for one in positional)
    if packet in FACTORIES and makes_float and named.get("dtype") is None:
        named["dtype"] = DTYPE
    return named
