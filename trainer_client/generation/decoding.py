"""How the next tokens are chosen: the likeliest, the likeliest few texts, or at random, as everybody draws alike.

Whatever is equally good is decided by the lowest token: on all machines alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from market.protocol.errors import InvalidOutputs
from trainer_client.generation.batches import Sample
from trainer_client.generation.cached_transformer import CachedTransformer, chosen
from trainer_client.generation.draws import draw_gumbel

Scores = NDArray[np.float64]
"""Logarithms of probabilities."""

Choose = Callable[[Scores, int], NDArray[np.int64]]
"""Scores, (n, vocabulary), and how many tokens were chosen before, to the next ones, (n,)."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Tokens, int32 (n, count), and the last hidden states from which each was chosen, float32 (n, count, width)."""

    tokens: NDArray[np.int32]
    hidden: NDArray[np.float32]


def likeliest(scores: Scores, place: int) -> NDArray[np.int64]:
    """Greedy decoding."""
    best: NDArray[np.int64] = scores.argmax(axis=1)
    return best


@dataclass(frozen=True)
class Sampling:
    """Draws by the largest sum of a score and Gumbel noise, which falls on a token as often as its probability says.

    Attributes:
        samples: number and prompt of each row.
        seed: the task's.
        temperature: divides the scores.
        top_k: only so many of the likeliest are drawn from; 0 for all.
    """

    samples: Sequence[Sample]
    seed: int
    temperature: float
    top_k: int

    def __call__(self, scores: Scores, place: int) -> NDArray[np.int64]:
        """Choose the token at a place."""
        vocabulary = scores.shape[1]
        noise = [draw_gumbel(self.seed, *sample, f"token {place}", vocabulary) for sample in self.samples]
        drawn = scores / self.temperature + np.stack(noise)
        if 0 < self.top_k < vocabulary:
            unlikely = np.argsort(-scores, axis=1, kind="stable")[:, self.top_k :]
            np.put_along_axis(drawn, unlikely, -np.inf, axis=1)
        chosen_tokens: NDArray[np.int64] = drawn.argmax(axis=1)
        return chosen_tokens


def one_by_one(model: CachedTransformer, prompts: NDArray[np.int64], count: int, choose: Choose) -> Decoded:
    """Choose one token after another.

    Args:
        model: looks at every token once.
        prompts: int64 (n, length), of equal lengths.
        count: how many tokens are added.
        choose: the next ones.

    Raises:
        InvalidOutputs: the scores are not finite.
    """
    unread, cache = torch.from_numpy(prompts).to(model.device), None
    tokens, states = [], []
    for place in range(count):
        hidden, cache = model.read(unread, cache)
        states.append(hidden[:, -1].cpu().numpy())
        tokens.append(choose(_scores(model, hidden[:, -1]), place))
        unread = torch.from_numpy(tokens[-1][:, None]).to(model.device)
    return Decoded(np.stack(tokens, axis=1).astype(np.int32), np.stack(states, axis=1))


def beam_search(model: CachedTransformer, prompts: NDArray[np.int64], count: int, beams: int) -> NDArray[np.int32]:
    """The likeliest text that is found by keeping so many of the likeliest beginnings: int32 (n, count).

    Args:
        model: looks at every token once.
        prompts: int64 (n, length), of equal lengths.
        count: how many tokens are added.
        beams: beginnings that are kept of each.

    Raises:
        InvalidOutputs: the scores are not finite.
    """
    samples = len(prompts)
    hidden, cache = model.read(torch.from_numpy(prompts).to(model.device))
    texts = np.zeros((samples, 1, 0), dtype=np.int64)
    totals = np.zeros((samples, 1))
    for place in range(count):
        scores = _scores(model, hidden[:, -1]).reshape(samples, totals.shape[1], -1)
        parents, tokens, totals = best_continuations(totals, scores, beams)
        texts = np.concatenate([np.take_along_axis(texts, parents[:, :, None], axis=1), tokens[:, :, None]], axis=2)
        if place + 1 < count:
            rows = np.arange(samples)[:, None] * scores.shape[1] + parents
            cache = chosen(cache, torch.from_numpy(rows.reshape(-1)).to(model.device))
            hidden, cache = model.read(torch.from_numpy(tokens.reshape(-1, 1)).to(model.device), cache)
    return texts[:, 0].astype(np.int32)


def best_continuations(
    totals: Scores, scores: Scores, beams: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Scores]:
    """The best beginnings with one token more.

    Args:
        totals: log probabilities of the beginnings, (n, kept).
        scores: of the next tokens after each, (n, kept, vocabulary).
        beams: how many are kept now, or all where there are fewer.

    Returns:
        Which beginning each came from and its new token, both (n, beams), and their log probabilities; the best first,
        equal ones by the earlier beginning and then the lower token.
    """
    samples, _, vocabulary = scores.shape
    all_totals = (totals[:, :, None] + scores).reshape(samples, -1)
    best = np.argsort(-all_totals, axis=1, kind="stable")[:, :beams]
    return best // vocabulary, best % vocabulary, np.take_along_axis(all_totals, best, axis=1)


def _scores(model: CachedTransformer, hidden: torch.Tensor) -> Scores:
    scores = model.scores(hidden).cpu().numpy().astype(np.float64)
    if not np.isfinite(scores).all():
        raise InvalidOutputs("the model gives scores that are not finite")
    return scores
