"""Where two machines that choose the likeliest text part: at which prompt and place, and how close the choice was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from market.protocol.errors import InvalidData
from trainer_client.text_transformer import TextTransformer

Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class Parting:
    """One text that two machines do not share.

    Attributes:
        sample: its place among the prompts.
        prompt: what was continued.
        place: of the first token that differs, from 0.
        token, other: what they chose there.
        margin: by how much float32 scores the first above the second there, in nats; 0.01 is 1 % of likelihood.
        whole: by how much it scores the whole text of the one above that of the other: beams are chosen by this.
    """

    sample: int
    prompt: str
    place: int
    token: int
    other: int
    margin: float
    whole: float

    def __str__(self) -> str:
        """In a line."""
        return (
            f"prompt {self.sample} {self.prompt!r}, token {self.place}: {chr(self.token)!r} or {chr(self.other)!r}, "
            f"margin {self.margin:.2g} nats there, {self.whole:.2g} for the whole text"
        )


def partings(module: TextTransformer, prompts: Sequence[str], tokens: Tokens, others: Tokens) -> list[Parting]:
    """Compare what two machines made of the same prompts.

    Args:
        module: the model, in float32.
        prompts: n texts.
        tokens: of the one machine: int32 (n, count).
        others: of the other, likewise.

    Raises:
        InvalidData: they are not as many.
    """
    if tokens.shape != others.shape or len(tokens) != len(prompts):
        raise InvalidData(
            f"tokens {tokens.shape} and {others.shape} of {len(prompts)} prompts: expected as many of each"
        )
    return [
        _parting(module, sample, prompts[sample], tokens[sample], others[sample])
        for sample in np.flatnonzero((tokens != others).any(axis=1)).tolist()
    ]


def _parting(module: TextTransformer, sample: int, prompt: str, tokens: Tokens, others: Tokens) -> Parting:
    place = int(np.flatnonzero(tokens != others)[0])
    own, other = _scores(module, prompt, tokens), _scores(module, prompt, others)
    rows = np.arange(len(tokens))
    return Parting(
        sample,
        prompt,
        place,
        int(tokens[place]),
        int(others[place]),
        float(own[place, tokens[place]] - own[place, others[place]]),
        math.fsum(own[rows, tokens]) - math.fsum(other[rows, others]),
    )


def _scores(module: TextTransformer, prompt: str, tokens: Tokens) -> NDArray[np.float64]:
    """Logarithms of the probabilities of every token at the places of these: float64 (count, vocabulary)."""
    read = np.concatenate([np.frombuffer(prompt.encode(), np.uint8).astype(np.int64), tokens.astype(np.int64)])
    with torch.no_grad():
        scores = module(torch.from_numpy(read[None, :-1])).double().log_softmax(dim=2)
    found: NDArray[np.float64] = scores[0, -len(tokens) :].numpy()
    return found
