"""A kind of digest: what it is called, what it takes, and how it is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from market.protocol.errors import InvalidData
from trainer_client.digests.bits import Digests


class Takes(StrEnum):
    """What a kind is computed of."""

    IMAGES = "images"  # (n, h, w) or (n, h, w, c), uint8 or floats in [0, 1], or a sequence of images or their files
    VECTORS = "vectors"  # (n, d), real numbers
    UPDATES = "updates"  # (n, d), int16
    TEXT = "text"  # a text, or tokens, for each sample
    TOKENS = "tokens"  # tokens, or a text, for each sample
    ACTIVATIONS = "activations"  # (n, positions, width), or a sequence of (positions, width)


@dataclass(frozen=True)
class DigestKind:
    """One way to 256 bits.

    Attributes:
        name: as service documents give it.
        code: its number on the chain, 1..255.
        takes: what it is computed of.
        function: from outputs and parameters to digests.
        parameters: those it has, with what they are where nobody says otherwise.
    """

    name: str
    code: int
    takes: Takes
    function: Callable[..., Digests] = field(repr=False)
    parameters: Mapping[str, int] = field(default_factory=dict)

    def digest(self, outputs: Any, **parameters: Any) -> Digests:
        """Digest every sample, each by itself: not what else is in the batch matters.

        Args:
            outputs: as `takes` says.
            **parameters: those of `parameters` that shall be others.

        Returns:
            uint8 (n, 32), none of them all zero.

        Raises:
            InvalidData: outputs or parameters that are wrong; the message names the value.
        """
        for name in parameters:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise InvalidData(f"the digest {self.name} has no parameter {name!r}, expected {known}")
        return self.function(outputs, **{**self.parameters, **parameters})
