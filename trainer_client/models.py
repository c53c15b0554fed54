"""A small zoo of models, by name and arguments: a job describes its model as data, never as code."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from market.protocol.errors import InvalidModel
from trainer_client.generative import FEWEST_STEPS, Autoencoder, ConditionalDenoiser, Denoiser, VariationalAutoencoder
from trainer_client.layers import ResidualBlock, Samples, group_norm
from trainer_client.text_transformer import TextTransformer

MAX_PARAMETERS = 1 << 28
"""Largest model of the zoo. It is checked before any memory is taken: a typo must not ask for terabytes."""

MAX_FEATURES = 1 << 22
"""Largest number of values in one sample."""

Value = int | tuple[int, ...]


@dataclass(frozen=True)
class Argument:
    """What one argument of an architecture may be.

    Attributes:
        low, high: inclusive bounds of the integer, or of each integer of a list.
        many: whether it is a list of 1 to ``most`` integers.
        default: taken where a job leaves the argument out; None makes it required.
    """

    low: int
    high: int
    many: bool = False
    most: int = 16
    default: Value | None = None

    def __str__(self) -> str:
        """What is expected, in words."""
        kind = f"a list of 1..{self.most} integers in" if self.many else "an integer in"
        return f"{kind} {self.low}..{self.high}"

    def parse(self, where: str, unverified_value: Any) -> Value:
        """Return the value, lists as tuples.

        Raises:
            InvalidModel: it is not what is expected.
        """
        if not self.many and self._fits(unverified_value):
            return int(unverified_value)
        if self.many and isinstance(unverified_value, Sequence) and not isinstance(unverified_value, str):
            values = tuple(unverified_value)
            if 1 <= len(values) <= self.most and all(self._fits(value) for value in values):
                return values
        raise InvalidModel(f"{where} is {unverified_value!r:.80}, expected {self}")

    def _fits(self, value: Any) -> bool:
        return type(value) is int and self.low <= value <= self.high


@dataclass(frozen=True)
class Architecture:
    """A builder and the arguments that it takes, by name.

    Attributes:
        build: takes them.
        arguments: what each may be.
        is_told: whether the model is told a sample's class, so that no values can take the classes' place.
    """

    build: Callable[..., nn.Module]
    arguments: Mapping[str, Argument]
    is_told: bool = False


def build_model(architecture: str, arguments: Mapping[str, Any], seed: int) -> nn.Module:
    """Build a model with initial weights that depend on the seed alone.

    PyTorch's global random state is neither read nor changed, so trainers may run as threads of one process.

    Args:
        architecture: a name in ``ARCHITECTURES``.
        arguments: that architecture's arguments by name, integers and lists of integers.
        seed: of the initial weights, 0..2^63 - 1.

    Returns:
        A float32 module on the CPU. It takes (N, features) or (N, channels, height, width) and gives (N, classes),
        (N, outputs) or as many values as it takes; with a vocabulary it takes int64 (N, T) and gives
        (N, T, vocabulary).

    Raises:
        InvalidModel: the name, an argument or the seed is not what is expected, or the model would be too large.
    """
    chosen = ARCHITECTURES.get(architecture)
    if chosen is None:
        raise InvalidModel(f"architecture {architecture!r} is unknown, expected one of {', '.join(ARCHITECTURES)}")
    if type(seed) is not int or not 0 <= seed < 1 << 63:
        raise InvalidModel(f"the seed is {seed!r}, expected an integer in 0..2^63 - 1")
    values = _parse_arguments(architecture, chosen, arguments)
    # On the meta device constructors neither allocate nor draw random numbers. The context is this thread's alone.
    with torch.device("meta"):
        model = chosen.build(**values)
    size = sum(parameter.numel() for parameter in model.parameters())
    if size > MAX_PARAMETERS:
        raise InvalidModel(f"{architecture} with these arguments has {size} parameters, expected <= {MAX_PARAMETERS}")
    model = model.to_empty(device="cpu")
    _initialise(model, torch.Generator().manual_seed(seed))
    return model


def _parse_arguments(
    architecture: str, chosen: Architecture, unverified_arguments: Mapping[str, Any]
) -> dict[str, Value]:
    expected = _with_alternatives(chosen, unverified_arguments)
    unknown = [str(name) for name in unverified_arguments if name not in expected]
    if unknown:
        raise InvalidModel(f"{architecture}: unknown argument {unknown[0]!r}, expected {', '.join(expected)}")
    values: dict[str, Value] = {}
    for name, argument in expected.items():
        if name in unverified_arguments:
            values[name] = argument.parse(f"{architecture}: {name}", unverified_arguments[name])
        elif argument.default is not None:
            values[name] = argument.default
        else:
            raise InvalidModel(f"{architecture}: {name} is missing, expected {argument}")
    return _for_builder(values, chosen)


def _with_alternatives(chosen: Architecture, given: Mapping[str, Any]) -> Mapping[str, Argument]:
    """What is expected of a job that gives these arguments: some can be given in place of another."""
    expected = dict(chosen.arguments)
    for name, others in ALTERNATIVES.items():
        fixed = chosen.is_told and name == "classes"
        if name in expected and not fixed and name not in given and not others.keys().isdisjoint(given):
            del expected[name]
            expected.update(others)
    return expected


def _for_builder(values: dict[str, Value], chosen: Architecture) -> dict[str, Value]:
    """Builders that take features know nothing of images, and none that answers tells classes from other outputs."""
    if "features" in chosen.arguments and "features" not in values:
        channels, height, width = (cast(int, values.pop(side)) for side in _IMAGE)
        _check_image(channels, height, width, smallest_side=1)
        values["features"] = channels * height * width
    if "classes" in values and not chosen.is_told:
        values["outputs"] = values.pop("classes")
    return values


def _initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Fill weights and biases uniformly within 1/sqrt(fan-in), embeddings within 1/sqrt(width), and normalisations
    with one and zero.

    The uniform draw takes one number of the generator an entry, on every kind of CPU; a normal draw does not.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
            bound = 1.0 / math.sqrt(math.prod(module.weight.shape[1:]))
            for parameter in module.parameters(recurse=False):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def _linear(features: int, outputs: int) -> nn.Module:
    return nn.Sequential(OrderedDict(samples=Samples((features,)), output=nn.Linear(features, outputs)))


def _mlp(features: int, hidden: tuple[int, ...], outputs: int) -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict(samples=Samples((features,)))
    width = features
    for number, neurons in enumerate(hidden, start=1):
        layers[f"hidden{number}"] = nn.Linear(width, neurons)
        layers[f"relu{number}"] = nn.ReLU()
        width = neurons
    layers["output"] = nn.Linear(width, outputs)
    return nn.Sequential(layers)


def _cnn(channels: int, height: int, width: int, outputs: int, filters: tuple[int, ...], hidden: int) -> nn.Module:
    _check_image(channels, height, width, smallest_side=2)
    layers: OrderedDict[str, nn.Module] = OrderedDict(samples=Samples((channels, height, width)))
    depth = channels
    for number, count in enumerate(filters, start=1):
        layers[f"conv{number}"] = nn.Conv2d(depth, count, 3, padding=1)
        layers[f"relu{number}"] = nn.ReLU()
        depth = count
    layers["pool"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["hidden"] = nn.Linear(depth * (height // 2) * (width // 2), hidden)
    layers["relu"] = nn.ReLU()
    layers["output"] = nn.Linear(hidden, outputs)
    return nn.Sequential(layers)


def _resnet_small(
    channels: int, height: int, width: int, outputs: int, base_filters: int, blocks: tuple[int, ...]
) -> nn.Module:
    _check_image(channels, height, width, smallest_side=1)
    layers: OrderedDict[str, nn.Module] = OrderedDict(samples=Samples((channels, height, width)))
    layers["stem"] = nn.Conv2d(channels, base_filters, 3, padding=1, bias=False)
    layers["norm"] = group_norm(base_filters)
    layers["relu"] = nn.ReLU()
    depth = base_filters
    for stage, count in enumerate(blocks):
        filters = base_filters << stage
        for number in range(count):
            # Every stage but the first halves the image and doubles the filters.
            stride = 2 if stage > 0 and number == 0 else 1
            layers[f"stage{stage + 1}_block{number + 1}"] = ResidualBlock(depth, filters, stride)
            depth = filters
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(depth, outputs)
    return nn.Sequential(layers)


def _text_transformer(vocabulary: int, width: int, layers: int, heads: int, context: int) -> nn.Module:
    if width % heads:
        raise InvalidModel(f"text_transformer: width is {width}, expected a multiple of its {heads} heads")
    return TextTransformer(vocabulary, width, layers, heads, context)


def _check_image(channels: int, height: int, width: int, smallest_side: int) -> None:
    if min(height, width) < smallest_side or channels * height * width > MAX_FEATURES:
        raise InvalidModel(
            f"an image of {channels}x{height}x{width}: expected sides of at least {smallest_side} "
            f"and at most {MAX_FEATURES} values"
        )


_FEATURES = Argument(1, MAX_FEATURES)
_CLASSES = Argument(2, 1 << 16)
_OUTPUTS = Argument(1, 1 << 16)
_HIDDEN = Argument(1, 1 << 16, many=True)
_STEPS = Argument(FEWEST_STEPS, 10_000, default=1000)
_IMAGE = {"channels": Argument(1, 1024), "height": Argument(1, 4096), "width": Argument(1, 4096)}

ALTERNATIVES: Mapping[str, Mapping[str, Argument]] = {
    "features": _IMAGE,
    "classes": {"outputs": _OUTPUTS},
}
"""What can be given in place of an argument: an image's sides for its number of values, and a number of values to
predict for a number of classes to tell apart."""

ARCHITECTURES: Mapping[str, Architecture] = {
    "logistic_regression": Architecture(_linear, {"features": _FEATURES, "classes": _CLASSES}),
    "mlp": Architecture(_mlp, {"features": _FEATURES, "hidden": _HIDDEN, "classes": _CLASSES}),
    "cnn": Architecture(
        _cnn,
        {
            **_IMAGE,
            "classes": _CLASSES,
            "filters": Argument(1, 4096, many=True, default=(16, 32)),
            "hidden": Argument(1, 1 << 16, default=64),
        },
    ),
    "resnet_small": Architecture(
        _resnet_small,
        {
            **_IMAGE,
            "classes": _CLASSES,
            "base_filters": Argument(1, 512, default=16),
            "blocks": Argument(1, 32, many=True, most=5, default=(1, 1, 1)),
        },
    ),
    "linear_regression": Architecture(_linear, {"features": _FEATURES, "outputs": _OUTPUTS}),
    "text_transformer": Architecture(
        _text_transformer,
        {
            "vocabulary": Argument(2, 1 << 17),
            "width": Argument(1, 1 << 13, default=32),
            "layers": Argument(1, 64, default=2),
            "heads": Argument(1, 64, default=2),
            "context": Argument(1, 1 << 16),
        },
    ),
    "autoencoder": Architecture(
        Autoencoder, {"features": _FEATURES, "hidden": _HIDDEN, "code": Argument(1, MAX_FEATURES)}
    ),
    "variational_autoencoder": Architecture(
        VariationalAutoencoder, {"features": _FEATURES, "hidden": _HIDDEN, "code": Argument(1, MAX_FEATURES)}
    ),
    "denoiser": Architecture(Denoiser, {"features": _FEATURES, "hidden": _HIDDEN, "steps": _STEPS}),
    "conditional_denoiser": Architecture(
        ConditionalDenoiser,
        {"features": _FEATURES, "hidden": _HIDDEN, "steps": _STEPS, "classes": _CLASSES},
        is_told=True,
    ),
}
"""Every model that a job can name."""
