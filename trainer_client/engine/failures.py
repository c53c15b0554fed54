"""What a job's model fails by on somebody's samples, said as what it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import distributed, nn

from market.protocol.errors import InvalidModel
from trainer_client.engine.determinism import is_deterministic_refusal
from trainer_client.engine.memory import is_out_of_memory
from trainer_client.exported.module import ExportedModel


@contextmanager
def failures_of(model: nn.Module) -> Iterator[None]:
    """Within this, a job's model is computed on samples: where it fails, that is its failure and not ours.

    Raises:
        InvalidModel: it cannot be computed: an index of its own making out of range, shapes that do not go together.
        MemoryError: memory ran out, which says nothing of the model.
    """
    try:
        yield
    except (RuntimeError, IndexError, ArithmeticError, MemoryError, ValueError, TypeError) as error:
        # A model of this project's that raises one of the last two is a mistake of ours, and shown as that.
        if isinstance(error, ValueError | TypeError) and not isinstance(model, ExportedModel):
            raise
        if is_deterministic_refusal(error) or _is_of_devices(error):
            raise
        if is_out_of_memory(error):
            raise MemoryError("the memory of this machine does not hold the job's model on these samples") from error
        line = " ".join(str(error).split()) or type(error).__name__
        raise InvalidModel(f"the job's model cannot be computed on these samples: {line:.300}") from error


def _is_of_devices(error: Exception) -> bool:
    """Whether what failed is the exchange between the devices of a training: of gloo's by its words alone."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return False
    return isinstance(error, distributed.DistError) or "gloo" in str(error).lower()
