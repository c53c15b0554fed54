"""The generative models that come with the project: packed whole, and good for something."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from fedmarket.example_models import EXAMPLES, TEXT, example_model, example_source, example_spec, packed, unpacked
from market.protocol.errors import InvalidInput, InvalidModel
from market.protocol.generation import Prompt
from market.protocol.integer_model import MODEL_LIMIT
from trainer_client.data import digits
from trainer_client.generation import GENERATORS, Execution, Generator, module_of
from trainer_client.job_model import JobModel

ALONE = Execution(threads=1, batch_size=128)


def generator(name: str) -> Generator:
    source = example_source(name, "bafy")
    return GENERATORS[name](module_of(source, example_model(name)), source.arguments, None)


def drawn(name: str, prompts: list[Prompt]) -> np.ndarray:
    images = generator(name).generate(prompts, 0, {}, ALONE).images
    assert images is not None
    return images.reshape(len(prompts), -1)


@given(st.lists(st.integers(-MODEL_LIMIT, MODEL_LIMIT), min_size=1, max_size=20))
def test_a_packed_model_is_unpacked_whole(entries: list[int]) -> None:
    model = np.array(entries, dtype=np.int64)
    assert (unpacked(packed(model)) == model).all()


@pytest.mark.parametrize("data", [b"", b"none", packed(np.ones(9, np.int64))[:-20]])
def test_what_is_no_packed_model_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidModel):
        unpacked(data)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_examples_job_can_be_posted_and_its_model_fits(name: str) -> None:
    spec = example_spec(name)
    built = JobModel.of_spec(spec)
    assert built.manifest.dimension == len(example_model(name))
    assert spec.money.round_reward


def test_another_example_is_refused() -> None:
    with pytest.raises(
        InvalidInput, match="example 'gan': expected one of diffusion, conditional_diffusion, vae, text"
    ):
        example_spec("gan")


@pytest.fixture(scope="module")
def reader() -> KNeighborsClassifier:
    """Tells digits apart, having seen real ones alone."""
    real = digits()
    return KNeighborsClassifier(3).fit(real.inputs, real.labels)


def test_the_digit_that_is_asked_for_is_the_one_that_is_drawn(reader: KNeighborsClassifier) -> None:
    asked: list[Prompt] = [number % 10 for number in range(100)]
    assert np.mean(reader.predict(drawn("conditional_diffusion", asked)) == asked) > 0.9


@pytest.mark.parametrize("name", ["diffusion", "vae"])
def test_images_look_like_digits_and_not_all_like_the_same(name: str, reader: KNeighborsClassifier) -> None:
    images = drawn(name, [None] * 100)
    shares = np.bincount(reader.predict(images), minlength=10) / len(images)
    assert shares.max() < 0.4
    # Nearer to some real digit than a digit is to the mean of all, and no copies.
    real = digits().inputs
    nearest = np.sqrt(((images[:, None] - real[None]) ** 2).sum(axis=2)).min(axis=1)
    assert np.median(nearest) < 0.8 * np.median(np.sqrt(((real - real.mean(axis=0)) ** 2).sum(axis=1)))
    assert nearest.min() > 0.05


def test_text_is_made_of_the_books_words() -> None:
    words = set(TEXT.read_text("ascii").split())
    prompts: list[Prompt] = ["Alice was ", "The Queen said", "`Oh dear", "said the Mock "]
    for decoding in ({"method": "greedy"}, {"method": "beam"}, {"method": "sample", "temperature": 0.5, "top_k": 20}):
        texts = generator("text").generate(prompts, 0, {"max_tokens": 70, **decoding}, ALONE).texts
        # The first may go on with a word of the prompt, and the last be cut.
        made = [word for text in texts for word in text.split()[1:-1]]
        assert np.mean([word in words for word in made]) > 0.7
