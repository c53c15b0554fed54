"""A text transformer that looks at every token once: keys and values of those before are kept."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from market.protocol.errors import InvalidModel
from trainer_client.generation.execution import Execution, prepared, step_begins
from trainer_client.text_transformer import Attention, TextTransformer, TransformerBlock

Cache = list[tuple[Tensor, Tensor]]
"""Keys and values of every block, (N, heads, T, width of a head) each."""


class CachedTransformer:
    """Runs a text transformer token by token, or many at a time; both give the same, up to rounding.

    The scores are taken in float32 whatever the number format: in a narrower one the best two would often be equal.

    Args:
        model: a ``TextTransformer``, left as it is.
        execution: how it is to be run.

    Raises:
        InvalidInput: this machine has no such device.
        InvalidModel: the model is another.
    """

    def __init__(self, model: nn.Module, execution: Execution) -> None:
        copied = prepared(model, execution)
        if not isinstance(copied, TextTransformer):
            raise InvalidModel(f"the model is a {type(model).__name__}, expected a TextTransformer")
        self._model, self._fused = copied, execution.kernels == "fused"
        self.device = copied.tokens.weight.device
        self._output = copied.output.float()

    def read(self, tokens: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Look at the tokens that follow those of a cache.

        Args:
            tokens: int64 (N, T), with the cache's no more than the context.
            cache: what an earlier call gave, or None at the beginning.

        Returns:
            The last hidden states, normalised, float32 (N, T, width), and the cache with these tokens.
        """
        step_begins()
        start = 0 if cache is None else cache[0][0].shape[2]
        positions = torch.arange(start, start + tokens.shape[1], device=self.device)
        states = self._model.tokens(tokens) + self._model.positions(positions)
        kept: Cache = []
        for place, block in enumerate(self._model.blocks):
            states, entry = self._block(block, states, None if cache is None else cache[place])  # type: ignore[arg-type]
            kept.append(entry)
        hidden: Tensor = self._model.norm(states).float()
        return hidden, kept

    def scores(self, hidden: Tensor) -> Tensor:
        """Last hidden states, (..., width), to the logarithms of the next tokens' probabilities, (..., vocabulary)."""
        return functional.log_softmax(self._output(hidden), dim=-1)

    def _block(
        self, block: TransformerBlock, states: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        mixed, kept = self._attend(block.attention, block.norm1(states), past)
        states = states + mixed
        return states + block.outer(functional.gelu(block.inner(block.norm2(states)))), kept

    def _attend(
        self, attention: Attention, states: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        samples, length, width = states.shape
        by_head = attention.mixed(states).reshape(samples, length, 3, attention.heads, width // attention.heads)
        queries, keys, values = by_head.permute(2, 0, 3, 1, 4)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        known = keys.shape[2]
        seen = torch.ones(length, known, dtype=torch.bool, device=states.device).tril(known - length)
        if self._fused:
            mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        else:
            weights = (queries @ keys.transpose(2, 3) / math.sqrt(width // attention.heads)).masked_fill(
                ~seen, -math.inf
            )
            mixed = weights.softmax(dim=3) @ values
        output: Tensor = attention.output(mixed.transpose(1, 2).reshape(samples, length, width))
        return output, (keys, values)


def chosen(cache: Cache, rows: Tensor) -> Cache:
    """The cache of these rows, in this order; a row may come several times."""
    return [(keys[rows], values[rows]) for keys, values in cache]
