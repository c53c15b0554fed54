"""Kubo over its RPC: a daemon that keeps blocks, pins them and finds them on the IPFS network, and is not believed.

Every CID is computed here first; the daemon's own is compared with it. Whatever is as large as a block goes over
`PunctualHttp`, block by block; ipfshttpclient, which holds whole answers in memory, asks the small questions.
Reference: https://docs.ipfs.tech/reference/kubo/rpc/
"""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import ipaddress
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import SplitResult

from market.protocol.errors import (
    BlockNotFound,
    CorruptBlock,
    InvalidCid,
    InvalidInput,
    SourceUnavailable,
    StorageError,
    StorageFull,
)
from market.storage.cid import RAW, Cid
from market.storage.content_store import MAX_BLOCK_BYTES, BlockStore
from market.storage.durable_file import locked, make_folder
from market.storage.file_dag import build_file, walk_blocks
from market.storage.file_reads import FileReads
from market.storage.gateway import verified
from market.storage.pin_files import PinFiles
from market.storage.punctual_http import Answer, PunctualHttp, checked_url, is_loopback
from market.storage.sources import retried

CALL_S = 10.0
"""How long a small question, or keeping one block, may take."""

SEARCH_S = 10.0
"""How long the daemon may look for one block on its network: it would look for ever for what is nowhere."""

HELD_S = 2.0
"""How long it may look for a block among its own."""

PIN_S = 120.0
"""How long it may take to pin: it walks all of the content."""

_MARGIN_S = 2.0
_ANSWER_BYTES = 1 << 16
_USUAL_BLOCK_BYTES = 1 << 20
_FULL = ("no space left", "enospc", "quota", "storagemax", "storage max", "disk full", "disk is full", "datastore full")
_ABSENT = ("not found", "could not find", "timed out", "deadline exceeded", "context canceled", "unwanted")


class KuboStore(FileReads):
    """A `ContentStore` in a Kubo daemon, and a `BlockSource` that looks on the daemon's network.

    The daemon knows only that content is pinned; the reasons are kept in a folder here, and the last that is taken
    back unpins it there.

    Raises:
        SourceUnavailable: from any method: the daemon is down, too slow, or refuses.
    """

    def __init__(
        self, url: str, reasons: Path, *, authorization: str | None = None, search_s: float = SEARCH_S
    ) -> None:
        """Nothing is asked yet.

        Args:
            url: of the daemon's RPC, such as http://127.0.0.1:5001.
            reasons: folder of the reasons why content is pinned there.
            authorization: as the daemon's `API.Authorizations` has it: `bearer:TOKEN` or `basic:USER:PASSWORD`.
            search_s: how long the daemon may look for one block on its network.

        Raises:
            InvalidInput: the address is none, the authorization is neither, or could be read on the way.
        """
        parts = checked_url(url)
        self.name = f"Kubo at {url}"
        self._secrets = _Authorization.parse(authorization)
        if authorization is not None and parts.scheme == "http" and not is_loopback(parts.hostname):
            raise InvalidInput(f"{url!r}: expected https://, since the daemon's authorization could be read on the way")
        headers = {} if self._secrets is None else {"Authorization": self._secrets.header}
        self._http = PunctualHttp(url, self.name, headers)
        client = _ipfshttpclient()
        self._errors = client.exceptions
        self._client = client.Client(_multiaddr(parts), _base(parts), headers=headers, timeout=CALL_S)
        self._pins, self._lock, self._search_s = PinFiles(reasons), reasons / "lock", search_s

    @property
    def held(self) -> HeldByKubo:
        """The blocks that the daemon has already, as a source that is quick to say no."""
        return HeldByKubo(self)

    def version(self) -> str:
        """What the daemon calls itself."""
        answer = self._asked(self._client.version, timeout=CALL_S)
        return str(answer.get("Version", "?"))[:100]

    # ------------------------------------------------------------------ blocks

    def get_block(self, cid: Cid) -> bytes:
        """One block, verified, from the daemon or from whom it finds on its network in `search_s` seconds.

        Raises:
            BlockNotFound: it was not found in that time.
            CorruptBlock: the daemon sent other bytes.
        """
        return self.search(cid, self._search_s, offline=False)

    def search(self, cid: Cid, timeout_s: float, *, offline: bool) -> bytes:
        """One block, as `get_block`; offline, among the daemon's own."""
        # The daemon gives up first: then it says so, and looks no further.
        target = f"block/get?arg={cid}&timeout={timeout_s:g}s" + ("&offline=true" if offline else "")
        answer = self._post(target, timeout_s + _MARGIN_S, MAX_BLOCK_BYTES)
        if answer.status != 200:
            raise self._refusal(cid, answer.status, _message(answer.body))
        return verified(cid, answer.body, self.name)

    def adopt(self, cid: Cid, source: BlockStore) -> None:
        """Have the daemon keep what another store holds. Raises as `put_blocks`."""
        held = walk_blocks(cid, source.get_block, raw_leaves=False)
        self.put_blocks((block_cid, block or source.get_block(block_cid)) for block_cid, block in held)

    def put_blocks(self, unverified_blocks: Iterable[tuple[Cid, bytes]]) -> int:
        """Have the daemon keep blocks, and return how many came; unpinned, they go with its next collection.

        Raises:
            CorruptBlock: bytes do not have their CID, or the daemon gives them another.
            StorageFull: the daemon has no room.
        """
        count = 0
        for cid, unverified_block in unverified_blocks:
            self._put(cid, verified(cid, unverified_block, "the caller"))
            count += 1
        return count

    def add(self, stream: BinaryIO) -> Cid:
        """Keep a stream's content and return its CID; a block at a time is in memory."""
        return build_file(stream, self._put)

    def add_bytes(self, data: bytes) -> Cid:
        """Keep some bytes and return their CID."""
        return self.add(io.BytesIO(data))

    def has(self, cid: Cid) -> bool:
        """Whether the daemon itself holds every block; its network is not asked."""
        held = functools.partial(self.search, timeout_s=HELD_S, offline=True)
        with contextlib.suppress(BlockNotFound):
            for block_cid, block in walk_blocks(cid, held, raw_leaves=False):
                if block is None:
                    self._stat(block_cid)
            return True
        return False

    def _put(self, cid: Cid, block: bytes) -> None:
        until_s = time.monotonic() + CALL_S
        body, content_type = _form(block)
        # `format` is understood by every daemon; newer ones call it `cid-codec`.
        form = "v0" if cid.version == 0 else "raw" if cid.codec == RAW else "dag-pb"
        target = f"block/put?format={form}&version={cid.version}&mhtype=sha2-256&cid-base=base32"
        if len(block) > _USUAL_BLOCK_BYTES:
            target += "&allow-big-block=true"

        def put() -> None:
            left_s = max(0.001, until_s - time.monotonic())
            answer = self._post(target, left_s, _ANSWER_BYTES, {"Content-Type": content_type}, body)
            if answer.status != 200:
                raise self._refusal(cid, answer.status, _message(answer.body))
            self._check_name(cid, _field(answer.body, "Key"))

        retried(put, until_s)

    def _stat(self, cid: Cid) -> None:
        target = f"block/stat?arg={cid}&offline=true&timeout={HELD_S:g}s"
        answer = self._post(target, HELD_S + _MARGIN_S, _ANSWER_BYTES)
        if answer.status != 200:
            raise self._refusal(cid, answer.status, _message(answer.body))

    def _check_name(self, cid: Cid, unverified_name: object) -> None:
        if not _is_name_of(cid, unverified_name):
            shown = str(unverified_name)[:100]
            raise CorruptBlock(str(cid), f"{self.name} names it {shown!r}: what it keeps is not what it was given")

    # ------------------------------------------------------------------ pins

    def pin(self, cid: Cid, reason: str) -> None:
        """Have the daemon protect content, and note why; again for the same reason changes nothing.

        Raises:
            BlockNotFound: it does not hold all of it, and finds it nowhere in time.
            CorruptBlock: it says that it pinned something else.
        """
        with self._noting():
            opts = {"timeout": f"{PIN_S:g}s", **({"cid-base": "base32"} if cid.version else {})}
            answer = self._asked(self._client.pin.add, str(cid), opts=opts, timeout=PIN_S + _MARGIN_S, cid=cid)
            pins = answer.get("Pins")
            pinned = pins if isinstance(pins, list) else []
            self._check_name(cid, pinned[0] if pinned else None)
            self._pins.add(cid, reason)

    def unpin(self, cid: Cid, reason: str) -> None:
        """Take one reason back; with the last, the daemon's pin. No error if it was not there."""
        with self._noting():
            reasons = self._pins.all().get(cid, frozenset())
            if reasons == {reason}:
                self._let_go(cid)
            self._pins.remove(cid, reason)

    def pins(self) -> Mapping[Cid, frozenset[str]]:
        """Every root that was pinned from here, with its reasons."""
        return self._pins.all()

    def has_pinned(self, cid: Cid) -> bool:
        """Whether the daemon says that it protects this content."""
        try:
            keys = self._asked(self._client.pin.ls, str(cid), type="recursive", timeout=CALL_S).get("Keys")
        except SourceUnavailable as problem:
            if "not pinned" in problem.problem:
                return False
            raise
        return isinstance(keys, dict) and bool(keys)

    def _let_go(self, cid: Cid) -> None:
        try:
            self._asked(self._client.pin.rm, str(cid), timeout=CALL_S)
        except SourceUnavailable as problem:
            if "not pinned" not in problem.problem:
                raise

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """Nobody else pins or unpins meanwhile: the last reason has to be the last."""
        make_folder(self._pins.folder)
        with locked(self._lock, exclusive=True):
            yield

    # ------------------------------------------------------------------ asking

    def _post(
        self,
        target: str,
        timeout_s: float,
        limit_bytes: int,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        return self._http.exchange(
            "POST", f"/api/v0/{target}", timeout_s=timeout_s, limit_bytes=limit_bytes, headers=headers, body=body
        )

    def _asked(
        self, ask: Callable[..., Any], *args: Any, timeout: float, cid: Cid | None = None, **options: Any
    ) -> Any:
        def once() -> Any:
            try:
                return _object(ask(*args, timeout=timeout, **options).as_json())
            except self._errors.ErrorResponse as refusal:
                raise self._refusal(cid, 500, str(refusal)) from None
            except self._errors.TimeoutError:
                raise SourceUnavailable(self.name, f"no answer within {timeout:g} s") from None
            except self._errors.ConnectionError:
                raise SourceUnavailable(self.name, "cannot be reached", passing=True) from None
            except self._errors.StatusError as refusal:
                response = getattr(refusal.original, "response", None)
                raise self._refusal(cid, getattr(response, "status_code", 500), "") from None
            except self._errors.Error:
                raise SourceUnavailable(self.name, "what answers there is no Kubo") from None

        # The client's own errors carry the request, and with it the authorization: none is kept as a cause.
        return retried(once, time.monotonic() + timeout)

    def _refusal(self, cid: Cid | None, status: int, unverified_message: str) -> StorageError:
        if status in (401, 403):
            return SourceUnavailable(self.name, f"it does not let us in ({status}): it wants another authorization")
        message = self._secrets.hide(unverified_message) if self._secrets else unverified_message
        message = " ".join(message.split())[:200]
        lowered = message.lower()
        if any(sign in lowered for sign in _FULL) or status == 507:
            return StorageFull(f"{self.name} has no room: {message or status}")
        if cid is not None and (status == 404 or any(sign in lowered for sign in _ABSENT)):
            return BlockNotFound(str(cid), self.name)
        return SourceUnavailable(self.name, f"it refuses ({status}): {message}", passing=status in (429, 502, 503, 504))


class HeldByKubo:
    """The blocks that a daemon has already: a `BlockSource` that does not look on any network."""

    def __init__(self, kubo: KuboStore) -> None:
        self._kubo = kubo
        self.name = kubo.name

    def get_block(self, cid: Cid) -> bytes:
        """One block, verified. Raises as `KuboStore.get_block`."""
        return self._kubo.search(cid, HELD_S, offline=True)


class _Authorization:
    """The header that lets us in, and what of it must not be shown."""

    def __init__(self, header: str, secrets: tuple[str, ...]) -> None:
        self.header, self._secrets = header, secrets

    @classmethod
    def parse(cls, unverified_text: str | None) -> _Authorization | None:
        """Read it as Kubo's `API.Authorizations` writes it."""
        if unverified_text is None:
            return None
        kind, _, secret = unverified_text.strip().partition(":")
        if not secret.isascii() or not secret.isprintable() or not secret:
            kind = ""
        if kind == "bearer":
            return cls(f"Bearer {secret}", (secret,))
        if kind == "basic" and ":" in secret:
            encoded = base64.b64encode(secret.encode()).decode()
            return cls(f"Basic {encoded}", (encoded, secret, secret.partition(":")[2]))
        raise InvalidInput("the daemon's authorization is none: expected bearer:TOKEN or basic:USER:PASSWORD")

    def hide(self, text: str) -> str:
        """A text without what must not be shown."""
        for secret in self._secrets:
            text = text.replace(secret, "…") if secret else text
        return text


def _ipfshttpclient() -> Any:
    """The package. It takes a while to load, and unless told otherwise it calls urllib3 in a way that is going away."""
    os.environ.setdefault("PY_IPFS_HTTP_CLIENT_PATCH_REQUESTS", "no")
    return import_module("ipfshttpclient")


def _multiaddr(parts: SplitResult) -> str:
    host = parts.hostname or ""
    try:
        kind = f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        kind = "dns"
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"/{kind}/{host}/tcp/{port}/{parts.scheme}"


def _base(parts: SplitResult) -> str:
    return parts.path.strip("/") + "/api/v0" if parts.path.strip("/") else "api/v0"


def _form(block: bytes) -> tuple[bytes, str]:
    """A block as the one file of a form, and the form's type."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="data"; filename="block"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    return head.encode() + block + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _object(unverified_answer: object) -> dict[str, Any]:
    return unverified_answer if isinstance(unverified_answer, dict) else {}


def _field(unverified_body: bytes, name: str) -> object:
    try:
        answer = json.loads(unverified_body)
    except ValueError:
        return None
    return answer.get(name) if isinstance(answer, dict) else None


def _is_name_of(cid: Cid, unverified_name: object) -> bool:
    """Whether a daemon means this block; some write every CID in version 1."""
    try:
        named = Cid.parse(str(unverified_name))
    except InvalidCid:
        return False
    return (named.codec, named.digest) == (cid.codec, cid.digest)


def _message(unverified_body: bytes) -> str:
    message = _field(unverified_body[:_ANSWER_BYTES], "Message")
    return message if isinstance(message, str) else unverified_body[:200].decode("utf-8", "replace")
