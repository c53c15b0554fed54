"""Blocks by HTTP, from whoever serves them: an IPFS trustless gateway, a market, an attestor, a trainer's own node.

Specification: https://specs.ipfs.tech/http-gateways/trustless-gateway/
"""

from __future__ import annotations

import hashlib
import time

from market.protocol.errors import BlockNotFound, CorruptBlock, SourceUnavailable
from market.storage.cid import Cid
from market.storage.content_store import MAX_BLOCK_BYTES
from market.storage.punctual_http import Answer, PunctualHttp
from market.storage.sources import retried

RAW_BLOCK = "application/vnd.ipld.raw"
"""Media type of one block's bytes."""

TIMEOUT_S = 10.0
"""How long one block may take to begin to come, with every try for it,"""

BODY_S = 20.0
"""and how much longer to come: several share a trainer's line, and 2 MiB in this time are little."""


class GatewayBlocks:
    """A `BlockSource` at an HTTP address. Nothing that it sends is believed before its hash is the CID's."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, public_only: bool = False) -> None:
        """Nothing is asked yet.

        Args:
            url: blocks are at `{url}/ipfs/{cid}?format=raw`.
            timeout_s: how long one block may take to begin to come, with every try for it.
            public_only: whether to go to the public internet alone: a stranger named the address.

        Raises:
            InvalidInput: the address is none.
        """
        self.name = url
        self._http = PunctualHttp(url, url, {"Accept": RAW_BLOCK}, public_only=public_only)
        self._timeout_s = timeout_s

    def get_block(self, cid: Cid) -> bytes:
        """One block, verified; asked for again where what is wrong may pass.

        Raises:
            BlockNotFound: the gateway has it not.
            CorruptBlock: it sent other bytes, or more than a block has.
            SourceUnavailable: it is down, too slow, redirects or refuses.
        """
        until_s = time.monotonic() + self._timeout_s
        return retried(lambda: self._ask(cid, until_s), until_s)

    def _ask(self, cid: Cid, until_s: float) -> bytes:
        left_s = max(0.001, until_s - time.monotonic())
        answer = self._http.exchange(
            "GET", f"/ipfs/{cid}?format=raw", timeout_s=left_s, body_s=BODY_S, limit_bytes=MAX_BLOCK_BYTES
        )
        if answer.status in (404, 410):
            raise BlockNotFound(str(cid), self.name)
        if answer.status != 200:
            raise _refusal(self.name, answer)
        return verified(cid, answer.body, self.name)


def verified(cid: Cid, unverified_block: bytes, source: str) -> bytes:
    """A block as it came from a source.

    Raises:
        CorruptBlock: the bytes do not have this CID.
    """
    if len(unverified_block) > MAX_BLOCK_BYTES:
        raise CorruptBlock(str(cid), f"{source} sent more than {MAX_BLOCK_BYTES} bytes for it")
    if hashlib.sha256(unverified_block).digest() != cid.digest:
        raise CorruptBlock(str(cid), f"the {len(unverified_block)} bytes that {source} sent for it have another hash")
    return unverified_block


def _refusal(name: str, answer: Answer) -> SourceUnavailable:
    if 300 <= answer.status < 400:
        return SourceUnavailable(name, f"it redirects ({answer.status}), which is not followed: name the last address")
    passing = answer.status == 429 or answer.status >= 500
    return SourceUnavailable(name, f"it refuses ({answer.status})", passing=passing)
