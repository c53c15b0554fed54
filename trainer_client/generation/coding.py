"""Images out of drawn codes, by a variational autoencoder's decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from market.protocol.errors import InvalidData, InvalidModel
from market.protocol.generation import Prompt
from trainer_client.generation.batches import Progress, Sample, in_batches
from trainer_client.generation.diffusion import as_images, image_shape
from trainer_client.generation.draws import draw_normal
from trainer_client.generation.execution import Execution, prepared
from trainer_client.generation.outputs import Outputs
from trainer_client.generation.settings import Number, Setting, parse_decoding
from trainer_client.generative import VariationalAutoencoder


class CodeGenerator:
    """Decodes codes drawn from a normal distribution of standard deviation ``temperature``; prompts are None.

    Args:
        model: a ``VariationalAutoencoder``.
        arguments: of its architecture.

    Raises:
        InvalidModel: the model is another, or its samples are no images.
    """

    settings: Mapping[str, Setting] = {"temperature": Number(1e-6, 100, 1, whole=False)}

    def __init__(self, model: nn.Module, arguments: Mapping[str, Any]) -> None:
        if not isinstance(model, VariationalAutoencoder):
            raise InvalidModel(f"the model is a {type(model).__name__}, expected a VariationalAutoencoder")
        self._model, self._shape = model, image_shape(arguments)

    def check(self, prompts: Sequence[Prompt], decoding: Mapping[str, Any]) -> dict[str, Any]:
        """See that this can be asked of it; returns all settings.

        Raises:
            InvalidData: a prompt or a setting is not what is expected.
        """
        for number, prompt in enumerate(prompts):
            if prompt is not None:
                raise InvalidData(f"prompts[{number}] is {prompt!r:.80}, expected null: the model is asked for nothing")
        return parse_decoding(self.settings, decoding)

    def generate(
        self,
        prompts: Sequence[Prompt],
        seed: int,
        decoding: Mapping[str, Any],
        execution: Execution,
        first_sample: int = 0,
        progress: Progress | None = None,
    ) -> Outputs:
        """One image a prompt.

        Raises:
            InvalidData: a prompt or a setting is not what is expected.
            InvalidInput: the execution cannot be had here.
            InvalidOutputs: the model gives values that are not finite.
        """
        temperature = self.check(prompts, decoding)["temperature"]
        model = cast(VariationalAutoencoder, prepared(self._model, execution))
        weight = next(model.parameters())

        def run(samples: Sequence[Sample]) -> Outputs:
            codes = [draw_normal(seed, number, prompt, "code", model.code) for number, prompt in samples]
            placed = torch.from_numpy(temperature * np.stack(codes)).to(weight.device, weight.dtype)
            odds: Tensor = model(placed)
            return Outputs(images=as_images(odds.float().sigmoid().cpu().numpy(), self._shape))

        return in_batches(run, prompts, first_sample, execution, progress)
