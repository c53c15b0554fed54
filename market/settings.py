"""What the service is told from outside, in variables FEDMARKET_MARKET_…; nothing that is unsafe is a default."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from market.protocol.errors import InvalidInput

HOME = Path(".fedmarket")
MIB = 1 << 20
PREFIX = "FEDMARKET_MARKET_"
ANYWHERE = ("0.0.0.0", "::", "")
"""Hosts that stand for every address of the machine."""

Texts = Annotated[tuple[str, ...], NoDecode]
"""Several, with commas between them."""


class Settings(BaseSettings):
    """Where chain, storage and database are, who may ask how much, and under which name the service signs people in.

    Attributes:
        rpc_url: of a node.
        deployment: the file that names the contracts.
        store: the content store's folder.
        database_url: sqlite:///PATH or postgresql://…
        host: address to listen on.
        port: to listen on; 0 takes any that is free.
        public_url: what browsers call the service by: sign-ins are for this domain alone.
        cors_origins: whose pages may call the API from a browser; none by default.
        trusted_proxies: addresses whose X-Forwarded-For is believed when requests are counted.
        upload_limit_bytes: length of the largest upload.
        upload_quota_bytes: what one account may have uploaded and not seen in a job.
        uploads_at_once: how many are taken in at the same time; others wait a moment.
        unused_upload_s: after how long an upload that no job names is forgotten.
        reads_a_minute: requests that one address may make.
        writes_a_minute: uploads, sign-ins and posts that one address may make.
        session_s: how long a sign-in lasts.
        poll_s: how often the indexer looks for a new block.
        confirmations: blocks that the indexer stays behind; it survives reorganisations of any depth without.
        ready_lag_blocks: how many blocks the indexer may be behind before the service says that it is not ready.
        public_metrics: whether /metrics answers others than this machine.
        log_json: one JSON object a line instead of text.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    rpc_url: str = "http://127.0.0.1:8545"
    deployment: Path = HOME / "deployment.json"
    store: Path = HOME / "store"
    database_url: SecretStr = SecretStr(f"sqlite:///{HOME / 'market.db'}")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    public_url: str | None = None
    cors_origins: Texts = ()
    trusted_proxies: Texts = ()
    upload_limit_bytes: Annotated[int, Field(gt=0)] = 1024 * MIB
    upload_quota_bytes: Annotated[int, Field(gt=0)] = 4 * 1024 * MIB
    uploads_at_once: Annotated[int, Field(gt=0, le=256)] = 8
    unused_upload_s: Annotated[int, Field(ge=3600)] = 7 * 24 * 3600
    reads_a_minute: Annotated[int, Field(gt=0)] = 1_200
    writes_a_minute: Annotated[int, Field(gt=0)] = 60
    session_s: Annotated[int, Field(gt=0, le=7 * 24 * 3600)] = 12 * 3600
    poll_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    confirmations: Annotated[int, Field(ge=0, le=1_000)] = 0
    ready_lag_blocks: Annotated[int, Field(ge=0)] = 10
    public_metrics: bool = False
    log_json: bool = False

    @field_validator("cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        if value is not None and not is_origin(value):
            raise ValueError("expected https://HOST or https://HOST:PORT, with nothing after it")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if value != "*" and not is_origin(value):
                raise ValueError(f"{value!r} is no origin: expected https://HOST or https://HOST:PORT")
        return values

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            try:
                ipaddress.ip_network(value)
            except ValueError as error:
                raise ValueError(f"{value!r} is no address and no network: {error}") from error
        if any(network.prefixlen == 0 for network in _together(values)):
            raise ValueError(
                "trusts every address there is, so that anybody could ask under any: name the proxies' own"
            )
        return values

    @property
    def origin(self) -> str:
        """What browsers and sign-ins call the service by."""
        if self.public_url is not None:
            return self.public_url
        host = "127.0.0.1" if self.host in ANYWHERE else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def check(self, is_development_chain: bool) -> None:
        """Refuse what is good enough for a chain on somebody's desk only.

        Raises:
            InvalidInput: names the variable, and what was expected.
        """
        if is_development_chain:
            return
        for variable, is_safe, expected in self._safeties():
            if not is_safe:
                raise InvalidInput(f"{PREFIX}{variable.upper()}: {expected}; anything goes on a development chain only")

    def _safeties(self) -> tuple[tuple[str, bool, str], ...]:
        is_postgresql = self.database_url.get_secret_value().startswith("postgresql")
        public = urlsplit(self.public_url or "")
        return (
            ("database_url", is_postgresql, "SQLite is for one machine's own use, expected postgresql://…"),
            ("public_url", public.scheme == "https", "expected the https:// address that people know the service by"),
            (
                "trusted_proxies",
                bool(self.trusted_proxies),
                "expected the addresses of the proxies that speak TLS for the service: all who ask would be counted as "
                "one, and as this machine, where a proxy is not known as such",
            ),
            ("cors_origins", "*" not in self.cors_origins, "'*' lets any page act, expected the origins of yours"),
        )


def load_settings(**options: Any) -> Settings:
    """The settings of the environment's variables; options that are not None go before them.

    Raises:
        InvalidInput: one is wrong; its variable is named.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        wrong = error.errors()[0]
        name = PREFIX + str(wrong["loc"][0]).upper()
        raise InvalidInput(f"{name}: {wrong['msg'].removeprefix('Value error, ')}") from error


def _together(values: tuple[str, ...]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The same addresses in as few networks as will do."""
    networks = [ipaddress.ip_network(value) for value in values]
    fourth = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
    sixth = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
    return [*ipaddress.collapse_addresses(fourth), *ipaddress.collapse_addresses(sixth)]


def is_origin(text: str) -> bool:
    """Whether a text is scheme, host and port, and nothing else."""
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return named and text == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc and text.isascii()
