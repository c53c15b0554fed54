"""The ways of running a model that honest machines differ by."""

from __future__ import annotations

from collections.abc import Sequence

from trainer_client.device import available_devices
from trainer_client.generation import Execution


def usual_executions(devices: Sequence[str] | None = None) -> tuple[Execution, ...]:
    """Number formats, batches, threads and kernels, on the CPU and on every other device that there is.

    The first one is what others are compared by where one has to stand for all: float32, kernels written out.

    Args:
        devices: names that `choose_device` takes; all of this machine's by default.
    """
    made = [
        Execution("float32", batch_size=256, threads=1, kernels="plain"),
        Execution("float32", batch_size=100, threads=1, kernels="fused"),
        Execution("float32", batch_size=512, threads=2, kernels="fused"),
        Execution("bfloat16", batch_size=256, threads=1, kernels="fused"),
        Execution("bfloat16", batch_size=64, threads=1, kernels="plain"),
        Execution("float16", batch_size=256, threads=1, kernels="fused"),
    ]
    others = [name for name in (available_devices() if devices is None else devices) if name != "cpu"]
    for device in others:
        made += [
            Execution("float32", device=device, batch_size=256, kernels="plain"),
            Execution("bfloat16", device=device, batch_size=256, kernels="fused"),
            Execution("float16", device=device, batch_size=64, kernels="fused"),
        ]
    return tuple(made)
