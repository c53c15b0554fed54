"""Runs models that jobs trained: the same outputs on unlike machines, up to the noise of their floats."""

from market.protocol.generation import Prompt
from trainer_client.generation.batches import Progress
from trainer_client.generation.execution import Execution, watched
from trainer_client.generation.outputs import Outputs, joined
from trainer_client.generation.registry import GENERATORS, Generator, generator_of, module_of

__all__ = [
    "GENERATORS",
    "Execution",
    "Generator",
    "Outputs",
    "Progress",
    "Prompt",
    "generator_of",
    "joined",
    "module_of",
    "watched",
]
