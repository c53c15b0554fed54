from __future__ import annotations

import pytest
import torch

from market.protocol.errors import InvalidModel
from trainer_client.models import build_model

ARGUMENTS = {"vocabulary": 11, "width": 12, "layers": 2, "heads": 3, "context": 8}


def test_a_token_is_predicted_from_those_before_it_alone() -> None:
    model = build_model("text_transformer", ARGUMENTS, 0).double()
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8]])
    changed = tokens.clone()
    changed[0, 5] = 0
    before, after = model(tokens)[0], model(changed)[0]
    assert torch.equal(before[:5], after[:5])
    assert (before[5:] != after[5:]).any(dim=1).all()


def test_the_order_of_the_tokens_before_it_matters() -> None:
    model = build_model("text_transformer", ARGUMENTS, 0).double()
    outputs = model(torch.tensor([[1, 2, 3], [2, 1, 3]]))
    assert not torch.allclose(outputs[0, 2], outputs[1, 2])


def test_shorter_texts_are_taken() -> None:
    model = build_model("text_transformer", ARGUMENTS, 0)
    tokens = torch.arange(8)[None]
    assert torch.allclose(model(tokens[:, :3]), model(tokens)[:, :3], atol=1e-6)


def test_the_heads_are_what_one_computes_by_hand() -> None:
    attention = build_model("text_transformer", ARGUMENTS, 0).double().blocks[0].attention
    given = torch.randn(4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    queries, keys, values = attention.mixed(given).split(12, dim=1)
    rows = []
    for place in range(4):
        mixed = []
        for head in range(3):
            span = slice(4 * head, 4 * head + 4)
            scores = keys[: place + 1, span] @ queries[place, span] / 2
            mixed.append(scores.softmax(0) @ values[: place + 1, span])
        rows.append(torch.cat(mixed))
    assert torch.allclose(attention(given[None])[0], attention.output(torch.stack(rows)), atol=1e-12)


def test_a_width_that_the_heads_cannot_share_is_refused() -> None:
    with pytest.raises(InvalidModel, match="width is 12, expected a multiple of its 5 heads"):
        build_model("text_transformer", {**ARGUMENTS, "heads": 5}, 0)
