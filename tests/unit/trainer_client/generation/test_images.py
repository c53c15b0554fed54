"""Diffusion and decoding of codes: what they compute, and what it depends on."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from market.protocol.errors import InvalidData, InvalidModel, InvalidOutputs
from trainer_client.generation import Execution, Generator, Prompt, joined
from trainer_client.generation.coding import CodeGenerator
from trainer_client.generation.diffusion import (
    ConditionalDiffusionGenerator,
    DiffusionGenerator,
    as_images,
    denoised,
    image_shape,
    steps_of,
)
from trainer_client.generation.draws import draw_normal
from trainer_client.generative import Denoiser, signal_shares
from trainer_client.models import build_model

IMAGE = {"channels": 1, "height": 4, "width": 3}
FLOAT32 = Execution()


def generator_for(kind: str) -> Generator:
    hidden = {**IMAGE, "hidden": [16]}
    if kind == "conditional":
        arguments: dict[str, Any] = {**hidden, "classes": 3, "steps": 100}
        return ConditionalDiffusionGenerator(build_model("conditional_denoiser", arguments, 1), arguments)
    if kind == "vae":
        arguments = {**hidden, "code": 2}
        return CodeGenerator(build_model("variational_autoencoder", arguments, 1), arguments)
    arguments = {**hidden, "steps": 100}
    return DiffusionGenerator(build_model("denoiser", arguments, 1), arguments)


DECODINGS: dict[str, dict[str, Any]] = {
    "ddim": {"steps": 8},
    "ddpm": {"sampler": "ddpm", "steps": 8},
    "conditional": {"steps": 8, "guidance": 1.5},
    "vae": {},
}
PROMPTS: dict[str, list[Prompt]] = {
    kind: [0, 1, None, 2, 1] if kind == "conditional" else [None] * 5 for kind in DECODINGS
}


def images(kind: str, execution: Execution = FLOAT32, seed: int = 7, **others: Any) -> np.ndarray:
    found = generator_for(kind).generate(PROMPTS[kind], seed, DECODINGS[kind], execution, **others).images
    assert found is not None
    return found


@pytest.mark.parametrize("kind", DECODINGS)
class TestEveryKind:
    def test_images_are_of_the_models_shape_and_the_same_whenever_they_are_asked_for(self, kind: str) -> None:
        first = images(kind)
        assert first.shape == (5, 4, 3)
        assert (images(kind) == first).all()
        assert 0 <= first.min() < first.max() <= 1

    def test_a_sample_is_its_own_and_another_seeds_is_another(self, kind: str) -> None:
        first, other = images(kind), images(kind, seed=8)
        gaps = np.abs(first[:, None] - first[None]).max(axis=(2, 3)) + np.eye(5)
        assert gaps.min() > 1e-3
        assert np.abs(first - other).max(axis=(1, 2)).min() > 1e-3

    @pytest.mark.parametrize("batch_size", [1, 2, 5])
    def test_what_else_is_in_the_batch_does_not_matter(self, kind: str, batch_size: int) -> None:
        np.testing.assert_allclose(images(kind, Execution(batch_size=batch_size)), images(kind), atol=1e-5)

    def test_what_is_there_already_is_not_made_again(self, kind: str) -> None:
        generator, done = generator_for(kind), []
        whole = generator.generate(PROMPTS[kind], 7, DECODINGS[kind], Execution(batch_size=2))
        part = generator.generate(
            PROMPTS[kind][2:],
            7,
            DECODINGS[kind],
            Execution(batch_size=2),
            first_sample=2,
            progress=lambda *so_far: done.append(so_far),
        )
        assert joined([whole.subset(0, 2), part]) == whole
        assert done == [(2, 3), (3, 3)]

    @pytest.mark.parametrize(("dtype", "within"), [("bfloat16", 0.03), ("float16", 0.005)])
    def test_narrower_numbers_give_nearly_the_same(self, kind: str, dtype: Any, within: float) -> None:
        narrow = images(kind, Execution(dtype))
        assert 0 < np.abs(narrow - images(kind)).max() < within

    def test_written_out_kernels_and_more_threads_give_the_same_up_to_rounding(self, kind: str) -> None:
        threads = torch.get_num_threads()
        np.testing.assert_allclose(images(kind, Execution(threads=3, kernels="plain")), images(kind), atol=1e-5)
        assert torch.get_num_threads() == threads

    def test_a_model_that_gives_no_numbers_is_told(self, kind: str) -> None:
        generator: Any = generator_for(kind)
        with torch.no_grad():
            next(generator._model.parameters()).fill_(float("nan"))
            generator._model.apply(lambda layer: layer.bias.fill_(np.nan) if isinstance(layer, nn.Linear) else None)
        with pytest.raises(InvalidOutputs, match="images: sample 0 has values that are not finite"):
            generator.generate(PROMPTS[kind], 7, DECODINGS[kind], FLOAT32)

    def test_no_prompts_and_those_of_other_models_are_refused(self, kind: str) -> None:
        generator = generator_for(kind)
        with pytest.raises(InvalidData, match="there are no prompts"):
            generator.generate([], 7, DECODINGS[kind], FLOAT32)
        for prompt in ("a text", -1, 3, True):
            with pytest.raises(InvalidData, match=r"prompts\[1\] is .*, expected (null|a class, 0\.\.2, or null)"):
                generator.check([None, prompt], {})

    @pytest.mark.parametrize("decoding", [{"beams": 2}, {"steps": 0}, {"steps": 2.0}, {"temperature": True}])
    def test_settings_that_it_has_not_are_refused(self, kind: str, decoding: dict[str, Any]) -> None:
        with pytest.raises(InvalidData, match=f"decoding: '?{next(iter(decoding))}"):
            generator_for(kind).check(PROMPTS[kind], decoding)


class Perfect(Denoiser):
    """Knows the sample, and so finds all of the noise."""

    def __init__(self, sample: Tensor, steps: int) -> None:
        super().__init__(len(sample), (2,), steps)
        self.sample = nn.Parameter(sample)

    def forward(self, batch: Tensor, times: Tensor) -> Tensor:
        share = torch.from_numpy(signal_shares(self.steps)).float()[times, None]
        return (batch - share.sqrt() * self.sample) / (1 - share).sqrt()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4),
    st.sampled_from(["ddim", "ddpm"]),
    st.integers(1, 60),
    st.integers(25, 200),
)
def test_a_perfect_denoiser_recovers_the_sample(values: list[float], sampler: str, steps: int, of: int) -> None:
    generator = DiffusionGenerator(Perfect(torch.tensor(values), of), {"features": 4})
    found = generator.generate([None] * 2, 3, {"sampler": sampler, "steps": steps}, FLOAT32).images
    assert found is not None
    np.testing.assert_allclose(found.reshape(2, 4) * 2 - 1, [values] * 2, atol=2e-3)


@given(st.integers(25, 1000), st.integers(1, 1200), st.booleans())
def test_steps_go_from_noise_to_the_sample(of: int, steps: int, ancestral: bool) -> None:
    made = steps_of(of, steps, ancestral=ancestral)
    assert len(made) == min(of, steps)
    assert (made[0].time, made[-1].target) == (of - 1, 1)
    assert all(step.target == after.share for step, after in pairwise(made))
    assert all(step.share < step.target for step in made)
    assert all((step.spread > 0) == (ancestral and step.target < 1) for step in made)
    assert all(step.spread**2 <= 1 - step.target for step in made)


def test_a_step_without_noise_moves_along_the_straight_line_between_noise_and_sample() -> None:
    sample, noise = torch.tensor([[0.5, -0.25]]), torch.tensor([[1.0, -2.0]])
    [step, *_] = steps_of(100, 10, ancestral=False)
    before = step.share**0.5 * sample + (1 - step.share) ** 0.5 * noise
    after = step.target**0.5 * sample + (1 - step.target) ** 0.5 * noise
    torch.testing.assert_close(denoised(before, noise, step), after, atol=1e-4, rtol=0)


def test_the_sample_depends_on_the_class_by_the_guidance() -> None:
    generator = generator_for("conditional")

    def drawn(prompt: Prompt, guidance: float) -> np.ndarray:
        found = generator.generate([prompt], 1, {"guidance": guidance, "steps": 8}, FLOAT32).images
        assert found is not None
        return found

    # The start depends on the prompt as well: only one prompt's images can be compared.
    assert (drawn(1, 0) != drawn(1, 1)).any()
    np.testing.assert_allclose(drawn(None, 0), drawn(None, 3), atol=1e-5)
    np.testing.assert_allclose(drawn(1, 1), drawn(1, 1.0000001), atol=1e-4)


def test_a_code_is_drawn_for_each_sample_and_widened_by_the_decoder() -> None:
    generator: Any = generator_for("vae")
    found = generator.generate([None] * 3, 5, {"temperature": 0.5}, FLOAT32).images
    codes = np.stack([draw_normal(5, number, None, "code", 2) for number in range(3)]) / 2
    expected = torch.sigmoid(generator._model(torch.from_numpy(codes))).detach().numpy()
    np.testing.assert_allclose(found.reshape(3, 12), expected, atol=1e-6)


def test_images_have_their_channels_last() -> None:
    assert image_shape(IMAGE) == (4, 3)
    assert image_shape({"features": 64}) == (8, 8)
    assert image_shape({"channels": 3, "height": 2, "width": 5}) == (2, 5, 3)
    values = np.arange(60, dtype=np.float32).reshape(2, 30)
    assert (as_images(values, (2, 5, 3))[1, :, :, 2] == values[1].reshape(3, 2, 5)[2]).all()
    with pytest.raises(InvalidModel, match="a model of 63 features"):
        image_shape({"features": 63})


@pytest.mark.parametrize("kind", [DiffusionGenerator, ConditionalDiffusionGenerator, CodeGenerator])
def test_another_model_is_refused(kind: Any) -> None:
    with pytest.raises(InvalidModel, match="the model is a Autoencoder, expected a"):
        kind(build_model("autoencoder", {"features": 4, "hidden": [3], "code": 2}, 0), {"features": 4})
