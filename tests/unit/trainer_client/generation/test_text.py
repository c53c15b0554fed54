"""Text: decoding against brute force, the cache against none, and hidden states from one look against many."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from market.protocol.errors import InvalidData, InvalidModel, InvalidOutputs
from trainer_client.generation import Execution, Outputs, joined
from trainer_client.generation.batches import Sample
from trainer_client.generation.cached_transformer import CachedTransformer, chosen
from trainer_client.generation.decoding import Sampling, beam_search, best_continuations, likeliest, one_by_one
from trainer_client.generation.text import ActivationsGenerator, TextGenerator
from trainer_client.models import build_model
from trainer_client.text_transformer import TextTransformer

FLOAT32 = Execution()
PROMPTS = ["ab", "b", "abcba", "c", "aa"]


def model(vocabulary: int = 128, context: int = 12, width: int = 16, seed: int = 3) -> TextTransformer:
    arguments = {"vocabulary": vocabulary, "context": context, "width": width, "layers": 2, "heads": 2}
    built = build_model("text_transformer", arguments, seed)
    assert isinstance(built, TextTransformer)
    with torch.no_grad():
        built.output.weight.mul_(8)  # else all tokens are about as likely
    return built


def tokens(prompts: list[list[int]]) -> np.ndarray:
    return np.array(prompts, dtype=np.int64)


@pytest.mark.parametrize("kernels", ["plain", "fused"])
def test_the_cache_gives_what_the_model_gives_without_one(kernels: Any) -> None:
    plain, cached = model(), CachedTransformer(model(), Execution(kernels=kernels))
    read = torch.from_numpy(np.random.default_rng(0).integers(0, 128, (3, 9)))
    with torch.no_grad():
        expected = plain(read).log_softmax(dim=2)
        at_once, _ = cached.read(read)
        found, cache = [], None
        for start, stop in ((0, 4), (4, 5), (5, 9)):
            hidden, cache = cached.read(read[:, start:stop], cache)
            found.append(cached.scores(hidden))
    torch.testing.assert_close(torch.cat(found, dim=1), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(cached.scores(at_once), expected, atol=1e-4, rtol=0)


def test_rows_of_a_cache_go_on_as_if_they_had_been_read_in_that_order() -> None:
    cached = CachedTransformer(model(), FLOAT32)
    read, rows = torch.tensor([[1, 2], [3, 4]]), torch.tensor([1, 1, 0])
    with torch.no_grad():
        _, cache = cached.read(read)
        after, _ = cached.read(torch.tensor([[5], [6], [5]]), chosen(cache, rows))
        anew, _ = cached.read(torch.cat([read[rows], torch.tensor([[5], [6], [5]])], dim=1))
    torch.testing.assert_close(after[:, -1], anew[:, -1], atol=1e-5, rtol=0)


def log_probabilities(of: TextTransformer, prompt: list[int], texts: list[tuple[int, ...]]) -> list[float]:
    rows = torch.tensor(texts)
    read = torch.cat([torch.tensor([prompt] * len(texts)), rows[:, :-1]], dim=1)
    with torch.no_grad():
        scores = of(read).log_softmax(dim=2)[:, len(prompt) - 1 :].double()
    found: list[float] = scores.gather(2, rows[:, :, None]).sum(dim=(1, 2)).tolist()
    return found


def test_a_search_wide_enough_finds_the_likeliest_of_all_texts() -> None:
    small = model(vocabulary=4)
    cached = CachedTransformer(small, FLOAT32)
    prompts = [[0, 1], [3, 2]]
    with torch.no_grad():
        found = beam_search(cached, tokens(prompts), 4, 64)
    every = list(itertools.product(range(4), repeat=4))
    for prompt, text in zip(prompts, found, strict=True):
        assert tuple(text) == every[int(np.argmax(log_probabilities(small, prompt, every)))]


def test_a_narrow_search_is_the_one_written_down_without_a_cache() -> None:
    small = model(vocabulary=6, seed=11)
    cached = CachedTransformer(small, FLOAT32)
    for beams in (1, 2, 3):
        kept: list[tuple[int, ...]] = [()]
        for _ in range(5):
            longer = [(*text, token) for text in kept for token in range(6)]
            order = np.argsort(log_probabilities(small, [1, 2], longer))[::-1][:beams]
            kept = [longer[place] for place in order]
        with torch.no_grad():
            assert tuple(beam_search(cached, tokens([[1, 2]]), 5, beams)[0]) == kept[0]


def test_a_search_with_one_beam_is_greedy() -> None:
    cached = CachedTransformer(model(), FLOAT32)
    prompts = np.random.default_rng(1).integers(0, 128, (7, 4))
    with torch.no_grad():
        greedy = one_by_one(cached, prompts, 8, likeliest).tokens
        assert (beam_search(cached, prompts, 8, 1) == greedy).all()


def test_what_is_equally_likely_is_decided_by_the_lowest_token() -> None:
    even = model(vocabulary=5)
    with torch.no_grad():
        even.output.weight.zero_()
        even.output.bias.zero_()
        cached = CachedTransformer(even, FLOAT32)
        assert (beam_search(cached, tokens([[4, 3]]), 3, 4) == 0).all()
        assert (one_by_one(cached, tokens([[4, 3]]), 3, likeliest).tokens == 0).all()
    parents, found, totals = best_continuations(np.zeros((1, 2)), np.array([[[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]]), 3)
    assert (parents.tolist(), found.tolist(), totals.tolist()) == ([[0, 0, 1]], [[1, 2, 0]], [[1.0, 1.0, 1.0]])


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.5, 0), (2.0, 3)])
def test_tokens_are_drawn_as_often_as_their_probabilities_say(temperature: float, top_k: int) -> None:
    probabilities = np.array([0.4, 0.3, 0.05, 0.2, 0.05])
    samples = [Sample(number, "a") for number in range(4000)]
    scores = np.tile(np.log(probabilities), (len(samples), 1))
    drawn = Sampling(samples, 5, temperature, top_k)(scores, 0)
    sharpened = probabilities ** (1 / temperature)
    if top_k:
        sharpened[[2, 4]] = 0
    likely = sharpened > 0
    expected = sharpened / sharpened.sum() * len(samples)
    counts = np.bincount(drawn, minlength=5)
    assert counts[~likely].sum() == 0
    assert chisquare(counts[likely], expected[likely]).pvalue > 1e-3


def test_of_equally_likely_tokens_the_lowest_are_drawn_from() -> None:
    drawn = Sampling([Sample(number, "a") for number in range(200)], 5, 1.0, 2)(np.zeros((200, 6)), 0)
    assert set(drawn.tolist()) == {0, 1}


DECODINGS: list[dict[str, Any]] = [
    {"method": "greedy", "max_tokens": 6},
    {"method": "beam", "max_tokens": 6, "beams": 3},
    {"method": "sample", "max_tokens": 6, "temperature": 0.8, "top_k": 20},
]


@pytest.mark.parametrize("decoding", DECODINGS, ids=lambda decoding: decoding["method"])
class TestEveryMethod:
    def test_a_text_depends_on_its_prompt_and_not_on_the_batch(self, decoding: dict[str, Any]) -> None:
        generator = TextGenerator(model(), {})
        whole = generator.generate(PROMPTS, 1, decoding, FLOAT32)
        assert whole.tokens is not None
        assert whole.tokens.shape == (5, 6)
        for execution in (Execution(batch_size=1), Execution(batch_size=2, kernels="plain", threads=3)):
            assert generator.generate(PROMPTS, 1, decoding, execution) == whole
        rest = generator.generate(PROMPTS[2:], 1, decoding, Execution(batch_size=2), first_sample=2)
        assert joined([whole.subset(0, 2), rest]) == whole

    def test_only_what_is_drawn_depends_on_the_seed(self, decoding: dict[str, Any]) -> None:
        generator = TextGenerator(model(), {})
        first, other = (generator.generate(PROMPTS, seed, decoding, FLOAT32) for seed in (1, 2))
        assert (first == other) == (decoding["method"] != "sample")

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_narrower_numbers_run(self, decoding: dict[str, Any], dtype: Any) -> None:
        for kernels in ("plain", "fused"):
            execution = Execution(dtype, kernels=kernels)  # type: ignore[arg-type]
            assert len(TextGenerator(model(), {}).generate(PROMPTS, 1, decoding, execution)) == 5

    def test_a_model_that_gives_no_numbers_is_told(self, decoding: dict[str, Any]) -> None:
        broken = model()
        with torch.no_grad():
            broken.norm.weight.fill_(float("nan"))
        with pytest.raises(InvalidOutputs, match="scores that are not finite"):
            TextGenerator(broken, {}).generate(PROMPTS, 1, decoding, FLOAT32)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", r"prompts\[1\] is '', expected a text of at least one character"),
        (None, "is None, expected a text"),
        (3, "is 3, expected a text"),
        ("naïve", r"prompts\[1\] has the byte 195, the model knows 0\.\.127"),
        ("\ud800", "has the byte 237"),
        ("abcdefgh", r"prompts\[1\] has 8 bytes, with 6 more 13 to look back on: the model's context is 12"),
    ],
)
def test_prompts_that_it_cannot_continue_are_refused(prompt: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        TextGenerator(model(), {}).check(["a", prompt], {"max_tokens": 6})


def test_a_context_is_filled_to_its_last_place() -> None:
    generator = TextGenerator(model(), {})
    assert generator.generate(["abcdefg"], 1, {"max_tokens": 6}, FLOAT32).texts[0]


class TestActivations:
    decoding = DECODINGS[0]

    def test_one_look_at_a_text_gives_the_states_that_it_was_chosen_from(self) -> None:
        made = ActivationsGenerator(model(), {}).generate(PROMPTS, 1, self.decoding, FLOAT32)
        checked = ActivationsGenerator(model(), {}, made).generate(PROMPTS, 1, self.decoding, Execution(batch_size=2))
        assert made.hidden is not None
        assert checked.hidden is not None
        assert made.hidden.shape == (5, 6, 16)
        np.testing.assert_array_equal(checked.tokens, made.tokens)  # type: ignore[arg-type]
        np.testing.assert_allclose(checked.hidden, made.hidden, atol=1e-4)
        plain = TextGenerator(model(), {}).generate(PROMPTS, 1, self.decoding, FLOAT32)
        np.testing.assert_array_equal(plain.tokens, made.tokens)  # type: ignore[arg-type]

    def test_part_of_the_samples_is_looked_at_by_their_numbers(self) -> None:
        made = ActivationsGenerator(model(), {}).generate(PROMPTS, 1, self.decoding, FLOAT32)
        part = ActivationsGenerator(model(), {}, made).generate(PROMPTS[3:], 1, self.decoding, FLOAT32, first_sample=3)
        np.testing.assert_allclose(part.hidden, made.subset(3, 5).hidden, atol=1e-4)  # type: ignore[arg-type]

    def test_the_states_of_another_text_or_model_are_others(self) -> None:
        made = ActivationsGenerator(model(), {}).generate(PROMPTS, 1, self.decoding, FLOAT32)
        assert made.tokens is not None
        other = Outputs(tokens=(made.tokens + 1) % 128)
        for checker in (ActivationsGenerator(model(), {}, other), ActivationsGenerator(model(seed=4), {}, made)):
            states = checker.generate(PROMPTS, 1, self.decoding, FLOAT32).hidden
            assert np.abs(states - made.hidden).max() > 0.1

    def test_a_text_of_another_length_or_vocabulary_is_refused(self) -> None:
        short = Outputs(tokens=np.zeros((5, 5), np.int32))
        with pytest.raises(InvalidData, match=r"tokens of shape \(5, 5\) are given, expected \(5, 6\)"):
            ActivationsGenerator(model(), {}, short).check(PROMPTS, self.decoding)
        few = Outputs(tokens=np.zeros((4, 6), np.int32))
        with pytest.raises(InvalidData, match=r"\(4, 6\) are given, expected \(5, 6\)"):
            ActivationsGenerator(model(), {}, few).check(PROMPTS, self.decoding)
        with pytest.raises(InvalidData, match="of 4 samples are given, expected those of sample 4"):
            ActivationsGenerator(model(), {}, few).generate(PROMPTS[3:], 1, self.decoding, FLOAT32, first_sample=3)
        with pytest.raises(InvalidData, match=r"token 128 is given, expected those of the model, 0\.\.127"):
            ActivationsGenerator(model(), {}, Outputs(tokens=np.full((5, 6), 128, np.int32)))
        with pytest.raises(InvalidData, match="have no tokens"):
            ActivationsGenerator(model(), {}, Outputs(images=np.zeros((5, 1, 1), np.float32)))

    def test_beams_leave_no_states(self) -> None:
        with pytest.raises(InvalidData, match="method is 'beam', expected greedy or sample"):
            ActivationsGenerator(model(), {}).check(PROMPTS, DECODINGS[1])


def test_other_models_and_those_of_more_than_bytes_are_refused() -> None:
    with pytest.raises(InvalidModel, match="expected a TextTransformer"):
        TextGenerator(build_model("linear_regression", {"features": 1, "outputs": 1}, 0), {})
    with pytest.raises(InvalidModel, match="the model has 300 tokens, expected at most 256"):
        TextGenerator(model(vocabulary=300), {})
