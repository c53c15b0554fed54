from __future__ import annotations

import numpy as np
import pytest
import torch

from market.protocol.errors import InvalidData
from trainer_client.calibration.partings import partings
from trainer_client.models import build_model
from trainer_client.text_transformer import TextTransformer

PROMPT = "ab"


def module() -> TextTransformer:
    built = build_model("text_transformer", {"vocabulary": 128, "width": 8, "layers": 1, "heads": 1, "context": 16}, 3)
    assert isinstance(built, TextTransformer)
    return built


def test_equal_texts_do_not_part() -> None:
    tokens = np.array([[65, 66, 67]], dtype=np.int32)
    assert partings(module(), [PROMPT], tokens, tokens.copy()) == []


def test_texts_part_at_the_first_token_that_differs_by_the_margin_of_float32() -> None:
    model = module()
    tokens, others = np.array([[65, 66, 67], [70, 71, 72]], np.int32), np.array([[65, 68, 69], [70, 71, 72]], np.int32)
    (found,) = partings(model, [PROMPT, "cd"], tokens, others)
    assert (found.sample, found.prompt, found.place, found.token, found.other) == (0, PROMPT, 1, 66, 68)
    with torch.no_grad():
        scores = model(torch.tensor([[97, 98, 65]])).log_softmax(dim=2)[0, -1]
    assert found.margin == pytest.approx(float(scores[66] - scores[68]), abs=1e-5)
    assert str(found).startswith("prompt 0 'ab', token 1: 'B' or 'D', margin ")


def test_a_whole_text_is_scored_by_all_of_its_tokens() -> None:
    model = module()
    tokens, others = np.array([[65, 66]], np.int32), np.array([[67, 68]], np.int32)
    (found,) = partings(model, [PROMPT], tokens, others)
    with torch.no_grad():
        sums = []
        for text in (tokens, others):
            scores = model(torch.tensor([[97, 98, *text[0]]])).log_softmax(dim=2)[0]
            sums.append(float(scores[1, text[0, 0]] + scores[2, text[0, 1]]))
    assert found.whole == pytest.approx(sums[0] - sums[1], abs=1e-5)


def test_as_many_texts_are_expected_of_each() -> None:
    tokens = np.zeros((2, 3), dtype=np.int32)
    with pytest.raises(InvalidData, match="of 1 prompts"):
        partings(module(), [PROMPT], tokens, tokens)
