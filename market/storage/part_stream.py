"""An iterator of bytes as a stream: what is made a part at a time goes into a store a part at a time."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import BinaryIO, cast

from market.storage.cid import Cid
from market.storage.file_dag import build_file


class PartStream(io.RawIOBase):
    """Reads parts one after the other; it holds one of them at most."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        """Ask for no part yet."""
        self._parts, self._held = iter(parts), memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """The next bytes, as many as fit and are at hand; none at the end."""
        while not self._held:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._held = memoryview(part)
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count


def part_stream(parts: Iterable[bytes]) -> BinaryIO:
    """Parts as what a store takes."""
    return cast("BinaryIO", PartStream(parts))


def content_name(parts: Iterable[bytes]) -> Cid:
    """The name that these bytes have in storage; nothing is stored."""
    return build_file(part_stream(parts), lambda cid, block: None)
