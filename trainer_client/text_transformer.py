"""A small language model: what comes next in a text."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from market.protocol.errors import InvalidData


class Attention(nn.Module):
    """Causal self-attention with several heads (Vaswani et al. 2017, arXiv:1706.03762)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.mixed = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, width) to (N, T, width)."""
        samples, length, width = tokens.shape
        by_head = self.mixed(tokens).reshape(samples, length, 3, self.heads, width // self.heads)
        queries, keys, values = by_head.permute(2, 0, 3, 1, 4)
        # Written out: fused kernels differ between machines, and not all of them give the same gradient twice.
        scores = queries @ keys.transpose(2, 3) / math.sqrt(width // self.heads)
        later = torch.ones(length, length, dtype=torch.bool, device=tokens.device).triu(1)
        weights = scores.masked_fill(later, -math.inf).softmax(dim=3)
        mixed: Tensor = self.output((weights @ values).transpose(1, 2).reshape(samples, length, width))
        return mixed


class TransformerBlock(nn.Module):
    """Attention and a two-layer perceptron, each normalised first (Xiong et al. 2020, arXiv:2002.04745)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.inner = nn.Linear(width, 4 * width)
        self.outer = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, width) to (N, T, width)."""
        tokens = tokens + self.attention(self.norm1(tokens))
        widened: Tensor = tokens + self.outer(functional.gelu(self.inner(self.norm2(tokens))))
        return widened


class TextTransformer(nn.Module):
    """Scores every token of the vocabulary as the next one, from the tokens so far; without dropout.

    Args:
        vocabulary: tokens are 0..vocabulary - 1.
        width: of the residual stream, a multiple of ``heads``.
        layers: number of blocks.
        heads: of every attention.
        context: how many tokens it looks back on at most.
    """

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers, int64 (N, T), to scores, (N, T, vocabulary).

        Raises:
            InvalidData: more tokens than the context holds.
        """
        length = tokens.shape[1]
        if length > self.context:
            raise InvalidData(f"samples of {length} tokens: the model looks back on {self.context} at most")
        positions = torch.arange(length, device=tokens.device)
        scores: Tensor = self.output(self.norm(self.blocks(self.tokens(tokens) + self.positions(positions))))
        return scores
