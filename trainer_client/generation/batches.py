"""Samples in batches, with progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from market.protocol.errors import InvalidData
from market.protocol.generation import Prompt
from trainer_client.generation.execution import Execution, running
from trainer_client.generation.outputs import Outputs, joined

Progress = Callable[[int, int], None]
"""Is told after every batch how many samples are done, and of how many."""


class Sample(NamedTuple):
    """A sample's number in its task, from 0, and what it is asked for."""

    number: int
    prompt: Prompt


def in_batches(
    run: Callable[[Sequence[Sample]], Outputs],
    prompts: Sequence[Prompt],
    first_sample: int,
    execution: Execution,
    progress: Progress | None,
) -> Outputs:
    """Run samples in batches, one after another.

    Args:
        run: a batch's samples to their outputs, in the same order.
        prompts: of the samples, one after another.
        first_sample: number of the first of them.
        execution: says how large a batch is, and with how many threads it runs.
        progress: called after every batch, outside of them.

    Raises:
        InvalidData: there are no samples.
        InvalidInput: the execution cannot be had here.
        InvalidOutputs: values are not finite.
    """
    if not len(prompts):
        raise InvalidData("there are no prompts, expected at least one")
    samples = [Sample(first_sample + place, prompt) for place, prompt in enumerate(prompts)]
    parts = []
    for start in range(0, len(samples), execution.batch_size):
        batch = samples[start : start + execution.batch_size]
        with running(execution), np.errstate(over="ignore", invalid="ignore"):
            parts.append(run(batch))
        if progress is not None:
            progress(start + len(batch), len(samples))
    return joined(parts)
