"""Content of any length, sealed in chunks that are authenticated one by one: the STREAM construction.

After Hoang, Reyhanitabar, Rogaway and Vizar 2015 (eprint 2015/189): a chunk's number goes into its nonce, and whether
it is the last one is authenticated with it. A chunk that was altered, moved, repeated, dropped, or added after the end
does not open, and neither does what follows it.

A sealed chunk is one storage block. Where the sender's share of the key agreement precedes the chunks in a blob, the
first chunk is that much shorter: leaf i of the blob's file is sealed chunk i, after the share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from market.hpke import ENCAPSULATED_BYTES, TAG_BYTES, Buffer, Context
from market.protocol.errors import CannotUnseal

CHUNK_BYTES = 262_144
"""Of a sealed chunk, its tag included: as many as content is cut into in storage."""

_FINAL, _CONTINUED = b"\x01", b"\x00"


def seal_chunks(
    context: Context, associated: bytes, parts: Iterable[Buffer], *, preceding_bytes: int = ENCAPSULATED_BYTES
) -> Iterator[bytes]:
    """Seal content, chunk by chunk, holding no more than one of them and one part.

    Args:
        context: whose messages from number 0 on are the chunks: it must not have sealed, nor seal, anything else.
        associated: what is authenticated with every chunk, and not sent.
        parts: the content, cut anyhow.
        preceding_bytes: how many bytes precede the first chunk in the blob.
    """
    for sequence, (chunk, is_final) in enumerate(_cut(parts, preceding_bytes, TAG_BYTES)):
        yield context.seal(sequence, _flag(is_final) + associated, chunk)


def open_chunks(
    context: Context,
    associated: bytes,
    unverified_parts: Iterable[Buffer],
    *,
    preceding_bytes: int = ENCAPSULATED_BYTES,
) -> Iterator[bytes]:
    """Open sealed content, chunk by chunk, holding no more than one of them and one part.

    What was yielded is what was sealed at that place; that it is all of it is known once the iterator ends.

    Args:
        context: as it was sealed with.
        associated: as it was sealed with.
        unverified_parts: what `seal_chunks` gave, cut anyhow.
        preceding_bytes: as it was sealed with.

    Raises:
        CannotUnseal: naming the first chunk that is not what was sealed there.
    """
    for sequence, (sealed, is_final) in enumerate(_cut(unverified_parts, preceding_bytes, 0)):
        try:
            chunk = context.open(sequence, _flag(is_final) + associated, sealed)
        except CannotUnseal:
            raise CannotUnseal(_refusal(sequence, is_final, len(sealed))) from None
        if sequence and not chunk:
            # Every content has one sealed form: nobody's blob ends with a chunk of nothing.
            raise CannotUnseal(f"chunk {sequence} is empty, expected the content to end with chunk {sequence - 1}")
        yield chunk


def split_head(unverified_parts: Iterable[Buffer], length: int) -> tuple[bytes, Iterator[Buffer]]:
    """The first bytes, fewer where there are no more, and everything behind them, however the parts were cut."""
    parts = iter(unverified_parts)
    head = b""
    for part in parts:
        missing = length - len(head)
        head += bytes(part[:missing])
        if len(head) == length:
            return head, chain([memoryview(part)[missing:]], parts)
    return head, iter(())


def sealed_bytes(content_bytes: int, *, preceding_bytes: int = ENCAPSULATED_BYTES) -> int:
    """How long the blob of a content is: what precedes the chunks, the content, and a tag a chunk."""
    held = CHUNK_BYTES - TAG_BYTES
    chunks = max(1, -(-(content_bytes + preceding_bytes) // held))
    return preceding_bytes + content_bytes + TAG_BYTES * chunks


def _flag(is_final: bool) -> bytes:
    return _FINAL if is_final else _CONTINUED


def _refusal(sequence: int, is_final: bool, length: int) -> str:
    place = f"the last chunk, number {sequence}" if is_final else f"chunk {sequence}"
    return f"{place} ({length} bytes) does not open: altered, cut, moved, or sealed for another key or place"


def _cut(parts: Iterable[Buffer], preceding_bytes: int, spare_bytes: int) -> Iterator[tuple[Buffer, bool]]:
    """Cut into chunks' contents, each with whether it is the last: there is always one, if of no bytes."""
    wanted = CHUNK_BYTES - preceding_bytes - spare_bytes
    held = bytearray()
    for part in parts:
        view = memoryview(part).cast("B")
        # A chunk goes out once a byte follows it: only then is it known not to be the last.
        while len(held) + len(view) > wanted:
            if held:
                missing = wanted - len(held)
                held += view[:missing]
                yield held, False
                held, view = bytearray(), view[missing:]
            else:
                yield view[:wanted], False
                view = view[wanted:]
            wanted = CHUNK_BYTES - spare_bytes
        held += view
    yield held, True
