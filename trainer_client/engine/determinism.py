"""Only algorithms that give the same bits again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from market.protocol.errors import InvalidInput

_REFUSAL = "does not have a deterministic implementation"


@contextmanager
def deterministic_algorithms() -> Iterator[None]:
    """Within this, PyTorch uses deterministic algorithms alone, in all threads of the process.

    Raises:
        InvalidInput: an operator has none.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    # cuBLAS reads it once, when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    except RuntimeError as error:
        if not is_deterministic_refusal(error):
            raise
        operator = str(error).split(_REFUSAL)[0].strip()
        raise InvalidInput(f"{operator} has no deterministic algorithm here: train without --deterministic") from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark


def is_deterministic_refusal(error: Exception) -> bool:
    """Whether PyTorch refuses an operator because it has no deterministic algorithm."""
    return isinstance(error, RuntimeError) and _REFUSAL in str(error)
