"""Text from a transformer that a job trained on bytes, and its last hidden states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from market.protocol.errors import InvalidData, InvalidModel
from market.protocol.generation import Prompt
from trainer_client.generation.batches import Progress, Sample, in_batches
from trainer_client.generation.cached_transformer import CachedTransformer
from trainer_client.generation.decoding import Decoded, Sampling, beam_search, likeliest, one_by_one
from trainer_client.generation.execution import Execution
from trainer_client.generation.outputs import Outputs, joined
from trainer_client.generation.settings import Choice, Number, Setting, parse_decoding
from trainer_client.text_transformer import TextTransformer

MAX_TOKENS = 1 << 16

Rows = Mapping[Sample, NDArray[np.int64]]
"""The tokens of each sample's prompt."""


class TextGenerator:
    """Continues texts by ``max_tokens`` bytes; prompts are texts, in UTF-8 a byte a token.

    Args:
        model: a ``TextTransformer`` with a vocabulary of at most 256.
        arguments: of its architecture.

    Raises:
        InvalidModel: the model is another.
    """

    settings: Mapping[str, Setting] = {
        "method": Choice(("greedy", "beam", "sample")),
        "max_tokens": Number(1, MAX_TOKENS, 64),
        "beams": Number(1, 64, 4),
        "temperature": Number(1e-6, 100, 1, whole=False),
        "top_k": Number(0, 256, 0),
    }

    def __init__(self, model: nn.Module, arguments: Mapping[str, Any]) -> None:
        if not isinstance(model, TextTransformer):
            raise InvalidModel(f"the model is a {type(model).__name__}, expected a TextTransformer")
        if model.vocabulary > 256:
            raise InvalidModel(f"the model has {model.vocabulary} tokens, expected at most 256: bytes")
        self._model = model

    def check(self, prompts: Sequence[Prompt], decoding: Mapping[str, Any]) -> dict[str, Any]:
        """See that this can be asked of it; returns all settings.

        Raises:
            InvalidData: a prompt or a setting is not what is expected, or the context does not hold both.
        """
        settings = parse_decoding(self.settings, decoding)
        for number, prompt in enumerate(prompts):
            self._check_length(number, len(self._tokens(number, prompt)), settings["max_tokens"])
        return settings

    def generate(
        self,
        prompts: Sequence[Prompt],
        seed: int,
        decoding: Mapping[str, Any],
        execution: Execution,
        first_sample: int = 0,
        progress: Progress | None = None,
    ) -> Outputs:
        """One continuation a prompt.

        Raises:
            InvalidData: a prompt or a setting is not what is expected.
            InvalidInput: the execution cannot be had here.
            InvalidOutputs: the model gives scores that are not finite.
        """
        settings = self.check(prompts, decoding)
        model = CachedTransformer(self._model, execution)

        def decode(samples: Sequence[Sample], tokens: NDArray[np.int64]) -> Outputs:
            return self._decode(model, samples, tokens, seed, settings)

        def run(samples: Sequence[Sample]) -> Outputs:
            return by_length({sample: self._tokens(*sample) for sample in samples}, decode)

        return in_batches(run, prompts, first_sample, execution, progress)

    def _decode(
        self,
        model: CachedTransformer,
        samples: Sequence[Sample],
        tokens: NDArray[np.int64],
        seed: int,
        settings: Mapping[str, Any],
    ) -> Outputs:
        count = settings["max_tokens"]
        if settings["method"] == "beam":
            return Outputs(tokens=beam_search(model, tokens, count, settings["beams"]))
        return Outputs(tokens=step_by_step(model, samples, tokens, seed, settings).tokens)

    def _tokens(self, number: int, prompt: Prompt) -> NDArray[np.int64]:
        if not isinstance(prompt, str) or not prompt:
            raise InvalidData(f"prompts[{number}] is {prompt!r:.80}, expected a text of at least one character")
        tokens = np.frombuffer(prompt.encode("utf-8", "surrogatepass"), dtype=np.uint8).astype(np.int64)
        if tokens.max() >= self._model.vocabulary:
            raise InvalidData(
                f"prompts[{number}] has the byte {tokens.max()}, the model knows 0..{self._model.vocabulary - 1}"
            )
        return tokens

    def _check_length(self, number: int, length: int, count: int) -> None:
        # The last token is chosen and never looked at.
        if length + count - 1 > self._model.context:
            raise InvalidData(
                f"prompts[{number}] has {length} bytes, with {count} more {length + count - 1} to look back on: the "
                f"model's context is {self._model.context}"
            )


class ActivationsGenerator(TextGenerator):
    """Last hidden states, from which tokens were chosen (as in TOPLOC, Ong et al. 2025, arXiv:2501.16007).

    Whoever is asked for a text chooses it token by token and keeps the states on the way. Whoever is given that text
    has the states of all its tokens from one look at it, and need not choose any: faster, and the same up to rounding.

    Args:
        model: a ``TextTransformer`` with a vocabulary of at most 256.
        arguments: of its architecture.
        given: the tokens of the samples, from 0 on, where there are any.

    Raises:
        InvalidModel: the model is another.
        InvalidData: what is given has no tokens, or some that the model does not know.
    """

    settings: Mapping[str, Setting] = {
        **TextGenerator.settings,
        "method": Choice(("greedy", "sample")),
    }

    def __init__(self, model: nn.Module, arguments: Mapping[str, Any], given: Outputs | None = None) -> None:
        super().__init__(model, arguments)
        self._given = None if given is None else given.tokens
        if given is not None and self._given is None:
            raise InvalidData("the given outputs have no tokens: expected those whose hidden states are asked for")
        if self._given is not None and self._given.max() >= self._model.vocabulary:
            raise InvalidData(
                f"token {self._given.max()} is given, expected those of the model, 0..{self._model.vocabulary - 1}"
            )

    def check(self, prompts: Sequence[Prompt], decoding: Mapping[str, Any]) -> dict[str, Any]:
        """See that this can be asked of it, and that enough tokens are given; returns all settings.

        Raises:
            InvalidData: a prompt or a setting is not what is expected, or too few samples, or another number of tokens
                a sample, are given.
        """
        settings = super().check(prompts, decoding)
        expected = (len(prompts), settings["max_tokens"])
        given = expected if self._given is None else self._given.shape
        if given[0] < expected[0] or given[1] != expected[1]:
            raise InvalidData(f"tokens of shape {given} are given, expected {expected}")
        return settings

    def _decode(
        self,
        model: CachedTransformer,
        samples: Sequence[Sample],
        tokens: NDArray[np.int64],
        seed: int,
        settings: Mapping[str, Any],
    ) -> Outputs:
        if self._given is None:
            decoded = step_by_step(model, samples, tokens, seed, settings)
        else:
            last = samples[-1].number
            if last >= len(self._given):
                raise InvalidData(f"tokens of {len(self._given)} samples are given, expected those of sample {last}")
            decoded = prefilled(model, tokens, self._given[[sample.number for sample in samples]])
        return Outputs(tokens=decoded.tokens, hidden=decoded.hidden)


def step_by_step(
    model: CachedTransformer,
    samples: Sequence[Sample],
    tokens: NDArray[np.int64],
    seed: int,
    settings: Mapping[str, Any],
) -> Decoded:
    """Greedy or sampled decoding, as the settings say."""
    if settings["method"] == "greedy":
        return one_by_one(model, tokens, settings["max_tokens"], likeliest)
    choose = Sampling(samples, seed, settings["temperature"], settings["top_k"])
    return one_by_one(model, tokens, settings["max_tokens"], choose)


def prefilled(model: CachedTransformer, prompts: NDArray[np.int64], given: NDArray[np.int32]) -> Decoded:
    """The last hidden states before each given token, from one look at all of them.

    Args:
        model: looks at every token once.
        prompts: int64 (n, length).
        given: int32 (n, count).
    """
    read = np.concatenate([prompts, given[:, :-1]], axis=1)
    hidden, _ = model.read(torch.from_numpy(read).to(model.device))
    return Decoded(given, hidden[:, prompts.shape[1] - 1 :].cpu().numpy())


def by_length(rows: Rows, decode: Callable[[Sequence[Sample], NDArray[np.int64]], Outputs]) -> Outputs:
    """Decode samples with prompts of equal length together, and give them in their own order: no prompt is padded."""
    found: dict[Sample, Outputs] = {}
    for length in sorted({len(tokens) for tokens in rows.values()}):
        alike = [sample for sample, tokens in rows.items() if len(tokens) == length]
        outputs = decode(alike, np.stack([rows[sample] for sample in alike]))
        found |= {sample: outputs.subset(place, place + 1) for place, sample in enumerate(alike)}
    return joined([found[sample] for sample in rows])
