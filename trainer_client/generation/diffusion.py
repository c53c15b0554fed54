"""Images out of noise, step by step, by a denoiser that a job trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from market.protocol.errors import InvalidData, InvalidModel
from market.protocol.generation import Prompt
from trainer_client.generation.batches import Progress, Sample, in_batches
from trainer_client.generation.draws import draw_normal
from trainer_client.generation.execution import Execution, prepared, step_begins
from trainer_client.generation.outputs import Outputs
from trainer_client.generation.settings import Choice, Number, Setting, parse_decoding
from trainer_client.generative import ConditionalDenoiser, Denoiser, signal_shares

ImageShape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One step of sampling, from one share of the signal to the next, larger one; the last one is to all of it.

    Attributes:
        time: the denoiser's.
        share: how much of the variance is the sample's before it.
        target: the same after it.
        spread: the standard deviation of the noise that it adds.
    """

    time: int
    share: float
    target: float
    spread: float


def steps_of(model_steps: int, steps: int, *, ancestral: bool) -> list[Step]:
    """The steps of sampling: at most as many as the model has, evenly over them, the noisiest first.

    Args:
        model_steps: T.
        steps: how many.
        ancestral: whether noise is added (Ho et al. 2020, arXiv:2006.11239) or not (Song et al. 2020, DDIM,
            arXiv:2010.02502).
    """
    times = np.rint(np.linspace(model_steps - 1, 0, min(steps, model_steps))).astype(np.int64)
    shares = signal_shares(model_steps)
    made = []
    for place, time in enumerate(times):
        share = float(shares[time])
        target = float(shares[times[place + 1]]) if place + 1 < len(times) else 1.0
        spread = math.sqrt((1 - target) / (1 - share) * (1 - share / target)) if ancestral else 0.0
        made.append(Step(int(time), share, target, spread))
    return made


def denoised(values: Tensor, noise: Tensor, step: Step) -> Tensor:
    """What is left after a step, before noise is added: (N, features), all float32.

    The sample that the noise points to is held to -1..1, where all samples are: errors do not grow from step to step.
    """
    sample = (values - math.sqrt(1 - step.share) * noise) / math.sqrt(step.share)
    sample = sample.clamp(-1, 1)
    pointed = (values - math.sqrt(step.share) * sample) / math.sqrt(1 - step.share)
    return math.sqrt(step.target) * sample + math.sqrt(max(0.0, 1 - step.target - step.spread**2)) * pointed


def image_shape(arguments: Mapping[str, Any]) -> ImageShape:
    """Height and width, and channels where there are several, of what a model with these arguments gives.

    Raises:
        InvalidModel: it is told a number of values that no square grey image has.
    """
    if "features" not in arguments:
        channels, height, width = (int(arguments[side]) for side in ("channels", "height", "width"))
        return (height, width) if channels == 1 else (height, width, channels)
    side = math.isqrt(int(arguments["features"]))
    if side * side != arguments["features"]:
        raise InvalidModel(
            f"a model of {arguments['features']} features: expected channels, height and width, or a square number"
        )
    return side, side


def as_images(values: NDArray[np.float32], shape: ImageShape) -> NDArray[np.float32]:
    """Values of samples, channels first as models have them, to images, channels last."""
    if len(shape) == 2:
        return values.reshape(-1, *shape)
    height, width, channels = shape
    return np.ascontiguousarray(values.reshape(-1, channels, height, width).transpose(0, 2, 3, 1))


class DiffusionGenerator:
    """Samples an unconditional denoiser; prompts are None.

    Args:
        model: a ``Denoiser`` of values in -1..1.
        arguments: of its architecture.

    Raises:
        InvalidModel: the model is another, or its samples are no images.
    """

    model_type: ClassVar[type[nn.Module]] = Denoiser
    settings: ClassVar[Mapping[str, Setting]] = {
        "sampler": Choice(("ddim", "ddpm")),
        "steps": Number(1, 10_000, 50),
    }

    def __init__(self, model: nn.Module, arguments: Mapping[str, Any]) -> None:
        if not isinstance(model, self.model_type):
            raise InvalidModel(f"the model is a {type(model).__name__}, expected a {self.model_type.__name__}")
        self._model, self._shape = model, image_shape(arguments)
        self._steps = cast(int, model.steps)

    def check(self, prompts: Sequence[Prompt], decoding: Mapping[str, Any]) -> dict[str, Any]:
        """See that this can be asked of it; returns all settings.

        Raises:
            InvalidData: a prompt or a setting is not what is expected.
        """
        settings = parse_decoding(self.settings, decoding)
        for number, prompt in enumerate(prompts):
            self._check_prompt(number, prompt)
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
        """One image a prompt.

        Raises:
            InvalidData: a prompt or a setting is not what is expected.
            InvalidInput: the execution cannot be had here.
            InvalidOutputs: the model gives values that are not finite.
        """
        settings = self.check(prompts, decoding)
        steps = steps_of(self._steps, settings["steps"], ancestral=settings["sampler"] == "ddpm")
        model = prepared(self._model, execution)

        def run(samples: Sequence[Sample]) -> Outputs:
            return self._run(model, steps, samples, seed, settings)

        return in_batches(run, prompts, first_sample, execution, progress)

    def _check_prompt(self, number: int, prompt: Prompt) -> None:
        if prompt is not None:
            raise InvalidData(f"prompts[{number}] is {prompt!r:.80}, expected null: the model is asked for nothing")

    def _run(
        self,
        model: nn.Module,
        steps: Sequence[Step],
        samples: Sequence[Sample],
        seed: int,
        settings: Mapping[str, Any],
    ) -> Outputs:
        weight = next(model.parameters())
        features = math.prod(self._shape)

        def draw(purpose: str) -> Tensor:
            drawn = [draw_normal(seed, number, prompt, purpose, features) for number, prompt in samples]
            return torch.from_numpy(np.stack(drawn)).to(weight.device)

        values = draw("start")
        for place, step in enumerate(steps):
            step_begins()
            times = torch.full((len(samples),), step.time, device=weight.device)
            noise = self._noise(model, values.to(weight.dtype), times, [prompt for _, prompt in samples], settings)
            values = denoised(values, noise, step)
            if step.spread:
                values = values + step.spread * draw(f"step {place}")
        pixels = ((values + 1) / 2).clamp(0, 1)
        return Outputs(images=as_images(pixels.cpu().numpy(), self._shape))

    def _noise(
        self, model: nn.Module, values: Tensor, times: Tensor, prompts: Sequence[Prompt], settings: Mapping[str, Any]
    ) -> Tensor:
        noise: Tensor = model(values, times).float()
        return noise


class ConditionalDiffusionGenerator(DiffusionGenerator):
    """Samples a conditional denoiser; prompts are classes, or None for any.

    The noise is taken beyond the one without a class, towards the class, by the setting ``guidance``: 1 is the class's
    own, 0 any class's (Ho and Salimans 2022, arXiv:2207.12598).
    """

    model_type: ClassVar[type[nn.Module]] = ConditionalDenoiser
    settings: ClassVar[Mapping[str, Setting]] = {
        **DiffusionGenerator.settings,
        "guidance": Number(0, 20, 2, whole=False),
    }

    def _check_prompt(self, number: int, prompt: Prompt) -> None:
        classes = cast(ConditionalDenoiser, self._model).classes
        if prompt is not None and not (type(prompt) is int and 0 <= prompt < classes):
            raise InvalidData(f"prompts[{number}] is {prompt!r:.80}, expected a class, 0..{classes - 1}, or null")

    def _noise(
        self, model: nn.Module, values: Tensor, times: Tensor, prompts: Sequence[Prompt], settings: Mapping[str, Any]
    ) -> Tensor:
        classes, guidance = cast(ConditionalDenoiser, self._model).classes, settings["guidance"]
        told = torch.tensor([classes if prompt is None else prompt for prompt in prompts], device=values.device)
        own: Tensor = model(values, times, told).float()
        if guidance == 1:
            return own
        anyones: Tensor = model(values, times, torch.full_like(told, classes)).float()
        guided: Tensor = anyones + guidance * (own - anyones)
        return guided
