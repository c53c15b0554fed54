"""What the service is told from outside, in variables FEDMARKET_MARKET_…; nothing that is unsafe is a default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

HOME = Path(".fedmarket")
MIB = 1 << 20


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
        reads_a_minute: requests that one address may make.
        writes_a_minute: uploads, sign-ins and posts that one address may make.
        session_s: how long a sign-in lasts.
        poll_s: how often the indexer looks for a new block.
        confirmations: blocks that the indexer stays behind; it survives reorganisations of any depth without.
        log_json: one JSON object a line instead of text.
    """

    model_config = SettingsConfigDict(env_prefix="FEDMARKET_MARKET_", extra="forbid")

    rpc_url: str = "http://127.0.0.1:8545"
    deployment: Path = HOME / "deployment.json"
    store: Path = HOME / "store"
    database_url: SecretStr = SecretStr(f"sqlite:///{HOME / 'market.db'}")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    public_url: str | None = None
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    upload_limit_bytes: Annotated[int, Field(gt=0)] = 1024 * MIB
    upload_quota_bytes: Annotated[int, Field(gt=0)] = 4 * 1024 * MIB
    reads_a_minute: Annotated[int, Field(gt=0)] = 1_200
    writes_a_minute: Annotated[int, Field(gt=0)] = 60
    session_s: Annotated[int, Field(gt=0, le=7 * 24 * 3600)] = 12 * 3600
    poll_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    confirmations: Annotated[int, Field(ge=0, le=1_000)] = 0
    log_json: bool = False
