"""An iterator of bytes as a stream: what is made a part at a time goes into a store a part at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, cast

from market.storage.cid import Cid
from market.storage.file_dag import build_file


class _PartStream:
    """Reads parts one after the other; it holds one of them at most. Nothing else is asked of it."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts, self._held = iter(parts), memoryview(b"")

    def read(self, size: int) -> bytes | memoryview:
        """The next bytes, of one part and at most so many; none at the end."""
        while not self._held:
            part = next(self._parts, None)
            if part is None:
                return b""
            if len(part) <= size:
                return part
            self._held = memoryview(part)
        found, self._held = self._held[:size], self._held[size:]
        return found


def part_stream(parts: Iterable[bytes]) -> BinaryIO:
    """Parts as what a store takes."""
    return cast("BinaryIO", _PartStream(parts))


def content_name(parts: Iterable[bytes]) -> Cid:
    """The name that these bytes have in storage; nothing is stored."""
    return build_file(part_stream(parts), lambda cid, block: None)
