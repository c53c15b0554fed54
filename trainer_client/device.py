"""Where a trainer computes: CUDA where there is one, else MPS, else the CPU."""

from __future__ import annotations

import torch

from market.protocol.errors import InvalidInput

KINDS = ("cuda", "mps", "cpu")
"""Kinds of device, best first."""


def available_devices() -> tuple[str, ...]:
    """Names of the devices of this machine, best first; the last one is always ``cpu``."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        names.append("mps")
    return (*names, "cpu")


def choose_device(requested: str | None = None) -> torch.device:
    """The device asked for, or the best one there is.

    Args:
        requested: ``cuda``, ``cuda:1``, ``mps``, ``cpu``, or None or ``auto`` to choose.

    Raises:
        InvalidInput: the name is unknown, or this machine has no such device.
    """
    available = available_devices()
    if requested is None or requested == "auto":
        return torch.device(available[0])
    kind, _, index = requested.partition(":")
    if kind not in KINDS or (":" in requested and not (index.isascii() and index.isdigit())):
        raise InvalidInput(f"device {requested!r}: expected auto, {', '.join(KINDS)}, or cuda:N")
    name = f"{kind}:{int(index or 0)}" if kind == "cuda" else kind
    if name not in available or (index and kind != "cuda"):
        raise InvalidInput(f"device {requested!r} is not available here: expected one of {', '.join(available)}")
    return torch.device(name)
