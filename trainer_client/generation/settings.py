"""A task's decoding settings: parsed once, by name and range, from what somebody wrote into a request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from market.protocol.errors import InvalidData


@dataclass(frozen=True)
class Number:
    """A number in a range.

    Attributes:
        low, high: inclusive bounds.
        default: taken where it is left out.
        whole: whether it has to be an integer.
    """

    low: float
    high: float
    default: float
    whole: bool = True

    def parse(self, name: str, unverified_value: Any) -> float:
        """Return the value.

        Raises:
            InvalidData: it is none in range.
        """
        types: tuple[type, ...] = (int,) if self.whole else (int, float)
        fits = type(unverified_value) in types and math.isfinite(unverified_value)
        if not fits or not self.low <= unverified_value <= self.high:
            kind = "an integer" if self.whole else "a number"
            raise InvalidData(
                f"decoding: {name} is {unverified_value!r:.80}, expected {kind} in {self.low:g}..{self.high:g}"
            )
        return int(unverified_value) if self.whole else float(unverified_value)


@dataclass(frozen=True)
class Choice:
    """One of several words; the first is taken where it is left out."""

    words: tuple[str, ...]

    @property
    def default(self) -> str:
        """The first."""
        return self.words[0]

    def parse(self, name: str, unverified_value: Any) -> str:
        """Return the word.

        Raises:
            InvalidData: it is another.
        """
        if not isinstance(unverified_value, str) or unverified_value not in self.words:
            raise InvalidData(f"decoding: {name} is {unverified_value!r:.80}, expected {' or '.join(self.words)}")
        return unverified_value


Setting = Number | Choice


def parse_decoding(settings: Mapping[str, Setting], unverified_decoding: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a generator, those left out by default.

    Raises:
        InvalidData: one is unknown or out of range; the message names it.
    """
    unknown = [str(name) for name in unverified_decoding if name not in settings]
    if unknown:
        raise InvalidData(f"decoding: {unknown[0]!r:.80} is unknown, expected {', '.join(settings)}")
    return {
        name: setting.parse(name, unverified_decoding[name]) if name in unverified_decoding else setting.default
        for name, setting in settings.items()
    }
