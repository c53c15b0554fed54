"""What endpoints ask for in their signatures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException

from market.api.service import Service
from market.db.service_tables import SessionRow
from market.protocol.errors import NotSignedIn
from market.storage import EmbeddedStore

BEARER = HTTPBearer(
    scheme_name="session",
    bearerFormat="opaque",
    description="The token that `POST /api/v1/sign-in` answers with.",
    auto_error=False,
)


def service_of(request: Request) -> Service:
    """The service that this request came to."""
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(service_of)]


def _read_session(service: ServiceDep) -> Iterator[Session]:
    """One view of the database for the whole request; nothing can be written through it where the database can say so.

    It ends before the answer is sent: a stream must not hold a connection.
    """
    with Session(reading(service.engine), expire_on_commit=False) as session:
        yield session


def reading(engine: Engine) -> Engine:
    """The same engine for sessions that each see one state of the database, and change none."""
    if engine.dialect.name != "postgresql":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _write_session(service: ServiceDep) -> Iterator[Session]:
    """A transaction that is committed before the answer is sent, or not at all."""
    with Session(service.engine) as session, session.begin():
        yield session


SessionDep = Annotated[Session, Depends(_read_session, scope="function")]
"""For reading."""

WriteSessionDep = Annotated[Session, Depends(_write_session, scope="function")]
"""For writing. On SQLite the first statement has to be a write, or it may lose against another writer."""


def _store(service: ServiceDep) -> EmbeddedStore:
    return service.store


StoreDep = Annotated[EmbeddedStore, Depends(_store)]


def token_hash(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def bearer_token(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> str:
    """The token that came along.

    Raises:
        NotSignedIn: none did.
    """
    if credentials is None:
        raise NotSignedIn("no session: sign in, and send its token as `Authorization: Bearer TOKEN`")
    return credentials.credentials


TokenDep = Annotated[str, Depends(bearer_token)]


def signed_in_session(token: TokenDep, service: ServiceDep) -> SessionRow:
    """The session of whoever asks.

    Raises:
        NotSignedIn: it is unknown or over.
    """
    with Session(service.engine, expire_on_commit=False) as session:
        row = session.scalar(select(SessionRow).where(SessionRow.token_hash == token_hash(token)))
    if row is None or row.expires_s <= service.now():
        raise NotSignedIn("this session is over: sign in again")
    return row


SignedInDep = Annotated[SessionRow, Depends(signed_in_session)]


def account(session: SignedInDep) -> str:
    """The account that signed in."""
    return session.account


AccountDep = Annotated[str, Depends(account)]
"""For whatever only an account itself may do. Without a session that holds the endpoint is not reached."""


def require_json(request: Request) -> None:
    """See that a body says that it is JSON.

    Raises:
        HTTPException: it is something else.
    """
    sent = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if sent != "application/json":
        raise HTTPException(415, "expected Content-Type: application/json", {"Accept": "application/json"})


JSON_BODY = Depends(require_json)
"""For endpoints that take JSON."""
