from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from market.protocol.errors import InvalidData, InvalidModel
from trainer_client.models import ARCHITECTURES, MAX_PARAMETERS, build_model
from trainer_client.parameters import manifest_of, read_vector

IMAGE = {"channels": 1, "height": 8, "width": 8, "classes": 10}
EXAMPLES: dict[str, dict[str, Any]] = {
    "logistic_regression": {"features": 64, "classes": 10},
    "mlp": {"features": 64, "hidden": [20, 12], "classes": 10},
    "cnn": IMAGE,
    "resnet_small": {**IMAGE, "base_filters": 8, "blocks": [2, 1]},
    "linear_regression": {"features": 64, "outputs": 10},
    "text_transformer": {"vocabulary": 20, "width": 12, "layers": 1, "context": 6},
    "autoencoder": {"features": 64, "hidden": [20], "code": 4},
    "variational_autoencoder": {"features": 64, "hidden": [20], "code": 4},
    "denoiser": {"features": 64, "hidden": [20]},
    "conditional_denoiser": {"features": 64, "hidden": [20], "classes": 10},
}
ANSWERING = ["logistic_regression", "mlp", "cnn", "resnet_small", "linear_regression"]


def weights(architecture: str, seed: int) -> np.ndarray:
    model = build_model(architecture, EXAMPLES[architecture], seed)
    return read_vector(model, manifest_of(model))


def test_every_architecture_has_an_example_here() -> None:
    assert EXAMPLES.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize(
    ("architecture", "arguments", "dimension"),
    [
        ("logistic_regression", EXAMPLES["logistic_regression"], 650),
        ("mlp", EXAMPLES["mlp"], 64 * 20 + 20 + 20 * 12 + 12 + 12 * 10 + 10),
        ("cnn", IMAGE, 38_282),
        ("cnn", {**IMAGE, "filters": [4], "hidden": 5}, 4 * 9 + 4 + 5 * 64 + 5 + 50 + 10),
        ("linear_regression", {"features": 10, "outputs": 1}, 11),
        ("text_transformer", EXAMPLES["text_transformer"], 26 * 12 + 12 * 144 + 13 * 12 + 24 + 20 * 13),
        ("autoencoder", EXAMPLES["autoencoder"], 64 * 20 + 20 + 20 * 4 + 4 + 4 * 20 + 20 + 20 * 64 + 64),
        (
            "variational_autoencoder",
            EXAMPLES["variational_autoencoder"],
            64 * 20 + 20 + 20 * 8 + 8 + 4 * 20 + 20 + 20 * 64 + 64,
        ),
        ("denoiser", EXAMPLES["denoiser"], (64 + 32) * 20 + 20 + 20 * 64 + 64),
        ("conditional_denoiser", EXAMPLES["conditional_denoiser"], 11 * 32 + (64 + 64) * 20 + 20 + 20 * 64 + 64),
    ],
)
def test_models_have_the_expected_size(architecture: str, arguments: dict[str, Any], dimension: int) -> None:
    assert manifest_of(build_model(architecture, arguments, 0)).dimension == dimension


@pytest.mark.parametrize("architecture", ANSWERING)
def test_flat_samples_and_images_give_the_same_outputs(architecture: str) -> None:
    model = build_model(architecture, EXAMPLES[architecture], 3)
    flat = torch.rand(5, 64, generator=torch.Generator().manual_seed(1))
    outputs = model(flat)
    assert outputs.shape == (5, 10)
    assert torch.equal(model(flat.reshape(5, 1, 8, 8)), outputs)
    assert model(flat[:0]).shape == (0, 10)


@pytest.mark.parametrize("architecture", [*ANSWERING, "autoencoder"])
@pytest.mark.parametrize("shape", [(5, 63), (5, 1, 8, 9)])
def test_samples_of_another_shape_are_refused(architecture: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidData, match="64 values"):
        build_model(architecture, EXAMPLES[architecture], 3)(torch.zeros(shape))


def parameters_of(architecture: str, arguments: dict[str, Any]) -> np.ndarray:
    model = build_model(architecture, arguments, 0)
    return read_vector(model, manifest_of(model))


@pytest.mark.parametrize("architecture", ANSWERING[:4])
def test_a_model_that_tells_classes_apart_can_give_values_instead(architecture: str) -> None:
    arguments = EXAMPLES[architecture]
    values = {name: value for name, value in arguments.items() if name != "classes"} | {"outputs": 10}
    assert (parameters_of(architecture, values) == parameters_of(architecture, arguments)).all()
    with pytest.raises(InvalidModel, match="unknown argument 'outputs', expected"):
        build_model(architecture, {**arguments, "outputs": 10}, 0)


@pytest.mark.parametrize("architecture", [name for name, example in EXAMPLES.items() if "features" in example])
def test_a_model_that_takes_values_can_take_images_instead(architecture: str) -> None:
    arguments = EXAMPLES[architecture]
    image = {name: value for name, value in arguments.items() if name != "features"}
    image |= {"channels": 1, "height": 8, "width": 8}
    assert (parameters_of(architecture, image) == parameters_of(architecture, arguments)).all()
    with pytest.raises(InvalidModel, match="width is missing"):
        build_model(architecture, {name: value for name, value in image.items() if name != "width"}, 0)
    with pytest.raises(InvalidModel, match="at most 4194304 values"):
        build_model(architecture, {**image, "channels": 1024, "height": 4096}, 0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_parameter_is_drawn_from_the_seed(architecture: str) -> None:
    first, second = (build_model(architecture, EXAMPLES[architecture], seed).state_dict() for seed in (1, 2))
    normalisations = [name for name in first if "norm" in name]
    unlike = [name for name in first if not torch.equal(first[name], second[name])]
    assert sorted(normalisations + unlike) == sorted(first)
    assert all(set(first[name].unique().tolist()) <= {0, 1} for name in normalisations)


def test_images_turned_sideways_are_refused() -> None:
    model = build_model("cnn", {"channels": 1, "height": 4, "width": 16, "classes": 2}, 0)
    with pytest.raises(InvalidData, match=r"\(1, 16, 4\)"):
        model(torch.zeros(2, 1, 16, 4))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_depend_on_the_seed_alone(architecture: str) -> None:
    torch.manual_seed(1)
    first = weights(architecture, 7)
    torch.manual_seed(2)
    assert (weights(architecture, 7) == first).all()
    assert (weights(architecture, 8) != first).any()
    assert np.isfinite(first).all()
    assert np.abs(first).max() <= 1


def test_weights_are_the_low_24_bits_of_a_mersenne_twister() -> None:
    # Anyone can recompute an initial model: weights before biases, row-major, uniform in [-1/8, 1/8) for 64 inputs.
    draws = np.random.RandomState(7).randint(0, 1 << 32, 650, dtype=np.uint32) & ((1 << 24) - 1)
    expected = draws / np.float64(1 << 24) / 4 - 0.125
    biases, matrix = np.split(weights("logistic_regression", 7), [10])
    np.testing.assert_allclose(np.concatenate([matrix, biases]), expected, atol=1e-7)


def test_building_leaves_the_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    for architecture in ARCHITECTURES:
        weights(architecture, 7)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_threads_do_not_disturb_one_another() -> None:
    alone = [weights("cnn", seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: weights("cnn", seed), range(8)))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


def test_the_residual_network_keeps_no_running_statistics() -> None:
    model = build_model("resnet_small", EXAMPLES["resnet_small"], 0)
    assert list(model.buffers()) == []
    batch = torch.rand(4, 64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(model(batch)[:1], model(batch[:1]), atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "arguments", "message"),
    [
        ("transformer", {}, "'transformer' is unknown, expected one of logistic_regression, mlp, cnn, resnet_small"),
        ("__class__", {}, "unknown"),
        ("mlp", {"features": 4, "classes": 2}, "mlp: hidden is missing, expected a list of 1..16 integers"),
        ("mlp", {"features": 4, "hiden": [3], "classes": 2}, "unknown argument 'hiden', expected features, hidden"),
        ("mlp", {"features": 4, "hidden": 3, "classes": 2}, "hidden is 3, expected a list"),
        ("mlp", {"features": 4, "hidden": [], "classes": 2}, "expected a list"),
        ("mlp", {"features": 4, "hidden": "12", "classes": 2}, "expected a list"),
        ("mlp", {"features": 4, "hidden": [3, 0], "classes": 2}, "in 1..65536"),
        ("logistic_regression", {"features": 4.0, "classes": 2}, r"features is 4\.0, expected an integer in"),
        ("logistic_regression", {"features": True, "classes": 2}, "features is True"),
        ("logistic_regression", {"features": "4", "classes": 2}, "features is '4'"),
        ("logistic_regression", {"features": 4, "classes": 1}, "classes is 1, expected an integer in 2"),
        ("text_transformer", {"context": 8}, "vocabulary is missing"),
        ("text_transformer", {"vocabulary": 1, "context": 8}, "vocabulary is 1, expected an integer in 2"),
        ("denoiser", {"features": 4, "hidden": [3], "steps": 24}, r"steps is 24, expected an integer in 25\.\.10000"),
        ("conditional_denoiser", {"features": 4, "hidden": [3]}, "classes is missing"),
        ("conditional_denoiser", {"features": 4, "hidden": [3], "outputs": 3}, "unknown argument 'outputs'"),
        ("cnn", {**IMAGE, "height": 1}, "sides of at least 2"),
        ("cnn", {**IMAGE, "channels": 1024, "height": 4096}, "at most 4194304 values"),
    ],
)
def test_wrong_names_and_arguments_are_refused(architecture: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidModel, match=message):
        build_model(architecture, arguments, 0)


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("mlp", {"features": 1 << 22, "hidden": [1 << 16] * 16, "classes": 10}),
        ("cnn", {**IMAGE, "height": 2048, "width": 2048, "filters": [4096] * 16, "hidden": 1 << 16}),
        ("resnet_small", {**IMAGE, "base_filters": 512, "blocks": [32] * 5}),
    ],
)
def test_a_model_that_no_machine_holds_is_refused_before_it_is_built(
    architecture: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidModel, match=f"expected <= {MAX_PARAMETERS}"):
        build_model(architecture, arguments, 0)


@pytest.mark.parametrize("seed", [-1, 1 << 63, 1.5, None])
def test_a_seed_out_of_range_is_refused(seed: Any) -> None:
    with pytest.raises(InvalidModel, match="the seed is"):
        build_model("logistic_regression", EXAMPLES["logistic_regression"], seed)
