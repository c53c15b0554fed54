"""Sign-in with Ethereum: who wrote is shown by a signature, and the service keeps no secret of anybody's."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from urllib.parse import urlsplit

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys.exceptions import BadSignature
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError
from fastapi import APIRouter
from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from market.api.dependencies import JSON_BODY, ServiceDep, SessionDep, SignedInDep, WriteSessionDep, token_hash
from market.api.openapi import problems
from market.api.service import Service
from market.api.shapes import AccountState, NonceRequest, SignedIn, SignInOffer, SignInRequest
from market.chain.contract_account import accepts
from market.db.service_tables import NonceRow, SessionRow
from market.protocol.errors import SignInRefused
from market.protocol.sign_in_message import SignInMessage, moment_text, seconds
from market.uploads import used_bytes

NONCE_S = 300
NONCE_CHARACTERS = 32
CLOCKS_DIFFER_S = 60
"""By how much the clock of whoever wrote the message may be ahead."""

STATEMENT = "Sign in to fedmarket. This sends no transaction and costs nothing."
ALPHABET = string.ascii_letters + string.digits

router = APIRouter(prefix="/api/v1", tags=["account"])


@router.post("/sign-in/nonce", dependencies=[JSON_BODY], responses=problems(415))
def begin_sign_in(asked: NonceRequest, service: ServiceDep, session: WriteSessionDep) -> SignInOffer:
    """Begin a sign-in: the message that the account's wallet is to sign."""
    now_s = service.now()
    nonce = "".join(secrets.choice(ALPHABET) for _ in range(NONCE_CHARACTERS))
    forget_expired(session, now_s)
    session.add(NonceRow(nonce=nonce, expires_s=now_s + NONCE_S))
    message = SignInMessage(
        domain=urlsplit(service.settings.origin).netloc,
        address=to_checksum_address(asked.address),
        statement=STATEMENT,
        uri=service.settings.origin,
        chain_id=service.deployment.chain_id,
        nonce=nonce,
        issued_at=moment_text(now_s),
        expiration_time=moment_text(now_s + NONCE_S),
    )
    return SignInOffer(nonce=nonce, message=message.to_text(), expires_s=now_s + NONCE_S)


@router.post("/sign-in", status_code=201, dependencies=[JSON_BODY], responses=problems(401, 415, 502, 503))
def sign_in(signed: SignInRequest, service: ServiceDep, response: Response) -> SignedIn:
    """End a sign-in: a token for the account that signed the message."""
    message = SignInMessage.parse(signed.message)
    check_message(message, service)
    check_nonce(message.nonce, service)
    check_signature(signed.message, message.address, bytes.fromhex(signed.signature[2:]), service)
    now_s = service.now()
    token, expires_s = secrets.token_urlsafe(32), now_s + service.settings.session_s
    with Session(service.engine) as session, session.begin():
        _spend(session, message.nonce, now_s)
        session.add(SessionRow(token_hash=token_hash(token), account=message.address, expires_s=expires_s))
    response.headers["Cache-Control"] = "no-store"
    return SignedIn(token=token, account=message.address, expires_s=expires_s)


@router.get("/account", responses=problems(401))
def show_account(current: SignedInDep, service: ServiceDep, session: SessionDep, response: Response) -> AccountState:
    """Who is signed in."""
    response.headers["Cache-Control"] = "no-store"
    return AccountState(
        account=current.account,
        session_expires_s=current.expires_s,
        uploaded_bytes=used_bytes(session, current.account),
        quota_bytes=service.settings.upload_quota_bytes,
        upload_limit_bytes=service.settings.upload_limit_bytes,
    )


@router.delete("/session", status_code=204, responses=problems(401))
def sign_out(current: SignedInDep, session: WriteSessionDep) -> None:
    """End the session."""
    session.execute(delete(SessionRow).where(SessionRow.token_hash == current.token_hash))


def check_message(message: SignInMessage, service: Service) -> None:
    """See that the message is one for this service, and for now.

    Raises:
        SignInRefused: naming what is not.
    """
    origin, now_s = urlsplit(service.settings.origin), service.now()
    facts: tuple[tuple[bool, Callable[[], str]], ...] = (
        (message.domain == origin.netloc, lambda: f"it is for {message.domain}, this is {origin.netloc}"),
        (message.scheme in (None, origin.scheme), lambda: f"its scheme is {message.scheme}, expected {origin.scheme}"),
        (
            message.uri == service.settings.origin,
            lambda: f"its URI is {message.uri}, expected {service.settings.origin}",
        ),
        (
            message.chain_id == service.deployment.chain_id,
            lambda: f"it is for chain {message.chain_id}, this market is on chain {service.deployment.chain_id}",
        ),
        (seconds(message.issued_at) <= now_s + CLOCKS_DIFFER_S, lambda: f"it was issued at {message.issued_at}, later"),
        (
            message.expiration_time is None or now_s < seconds(message.expiration_time),
            lambda: f"it expired at {message.expiration_time}",
        ),
        (
            message.not_before is None or seconds(message.not_before) <= now_s,
            lambda: f"it is not good before {message.not_before}",
        ),
    )
    for holds, wrong in facts:
        if not holds:
            raise SignInRefused(f"the sign-in message is refused: {wrong()}")


def check_nonce(nonce: str, service: Service) -> None:
    """See that a sign-in was begun with this nonce, before the chain is asked about whatever came with it.

    Raises:
        SignInRefused: none was, or it is over.
    """
    unspent = select(NonceRow.nonce).where(NonceRow.nonce == nonce, NonceRow.expires_s > service.now())
    with Session(service.engine) as session:
        if session.scalar(unspent) is None:
            raise _spent()


def check_signature(text: str, address: str, signature: bytes, service: Service) -> None:
    """See that the account signed the text: by its key, or by what its contract takes for a signature (EIP-1271).

    Raises:
        SignInRefused: it did not.
        ChainError: it is no key's signature, and the node cannot be asked about a contract's.
    """
    signable = encode_defunct(text=text)
    try:
        if Account.recover_message(signable, signature=signature) == address:
            return
    except (BadSignature, ValidationError, ValueError):
        pass  # contracts take signatures of any form
    digest = keccak(b"\x19" + signable.version + signable.header + signable.body)
    if not accepts(service.chain, address, digest, signature):
        raise SignInRefused(f"the sign-in message is refused: the signature is not that of {address}")


def forget_expired(session: Session, now_s: int) -> None:
    """Let go of nonces and sessions that are over."""
    session.execute(delete(NonceRow).where(NonceRow.expires_s <= now_s))
    session.execute(delete(SessionRow).where(SessionRow.expires_s <= now_s))


def _spend(session: Session, nonce: str, now_s: int) -> None:
    """Use a nonce up: of two that come with it at once, one finds it gone."""
    unspent = delete(NonceRow).where(NonceRow.nonce == nonce, NonceRow.expires_s > now_s)
    if session.scalar(unspent.returning(NonceRow.nonce)) is None:
        raise _spent()


def _spent() -> SignInRefused:
    return SignInRefused("the sign-in message is refused: its nonce is unknown, used or expired, ask for another")
