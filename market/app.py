"""The service, put together: database, storage, chain, the thread that follows it, and the API before them."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from anyio import to_thread
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.middleware.cors import CORSMiddleware

from market.api.client_address import ClientAddresses
from market.api.content import uploads_of
from market.api.dependencies import reading
from market.api.envelope import Envelope
from market.api.health import lag_or_none
from market.api.limits import BodyLimit, RateLimits
from market.api.metrics import Metrics
from market.api.openapi import TAGS, describe, operation_id
from market.api.problems import add_problem_handlers
from market.api.routes import ROUTERS
from market.api.service import CHAIN_PATIENCE_S, Service
from market.api.sign_in import forget_expired
from market.api.upload_places import UploadPlaces
from market.chain.connection import Chain
from market.chain.deployment import Deployment
from market.db.engine import connect
from market.db.migrate import upgrade
from market.indexer import Indexer
from market.protocol.errors import FedmarketError, ServiceError
from market.settings import Settings
from market.storage import EmbeddedStore
from market.web.pages import mount

LOGGER = logging.getLogger("market.service")

API = "/api/v1"
HOUSEKEEPING_S = 600.0
"""How often what is over is forgotten."""

JOIN_S = 10.0
"""How long the end waits for a thread to finish what it is at."""


def create_app(settings: Settings) -> FastAPI:
    """Put the service together; the application's lifespan brings the database up to date and follows the chain.

    Raises:
        InvalidInput: the deployment's file is missing, or a setting is not safe on this chain.
        ChainError: no node answers, or the contracts are not there.
    """
    deployment = Deployment.load(settings.deployment)
    chain = Chain.connect(settings.rpc_url, deployment.chain_id, CHAIN_PATIENCE_S)
    settings.check(chain.is_development_chain)
    service = Service(
        settings=settings,
        engine=connect(settings.database_url.get_secret_value()),
        store=EmbeddedStore(settings.store),
        deployment=deployment,
        market=deployment.connect(chain),
        metrics=Metrics(),
        upload_places=UploadPlaces(settings.uploads_at_once),
    )
    service.metrics.watch_lag(lambda: lag_or_none(service))
    return application(service)


def application(service: Service) -> FastAPI:
    """The routes and what is around them, on parts that are there."""
    app = FastAPI(
        title="fedmarket",
        summary="A marketplace for federated learning: jobs, rounds and payouts as the chain has them.",
        version="1",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
        lifespan=_lifespan,
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    add_problem_handlers(app)
    mount(app, partial(Session, reading(service.engine), expire_on_commit=False))
    describe(app)
    _surround(app, service)
    return app


def _surround(app: FastAPI, service: Service) -> None:
    """The last one added is the outermost."""
    settings = service.settings
    app.add_middleware(BodyLimit, streamed_prefix=f"{API}/content/")
    app.add_middleware(
        RateLimits,
        addresses=ClientAddresses(settings.trusted_proxies),
        reads_a_minute=settings.reads_a_minute,
        writes_a_minute=settings.writes_a_minute,
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID", "Range", "X-Request-ID"],
            expose_headers=["Content-Range", "ETag", "Retry-After", "X-Request-ID"],
        )
    app.add_middleware(Envelope, metrics=service.metrics, is_https=settings.origin.startswith("https:"))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    await to_thread.run_sync(upgrade, service.engine)
    threads = _threads(service)
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        service.stopping.set()
        for thread in threads:
            await to_thread.run_sync(thread.join, JOIN_S)
        service.engine.dispose()


def _threads(service: Service) -> list[threading.Thread]:
    """What goes on beside the requests; each ends soon after `service.stopping` is set."""
    settings = service.settings
    indexer = Indexer(
        service.engine,
        service.market,
        service.store,
        confirmations=settings.confirmations,
        poll_s=settings.poll_s,
        report=LOGGER.warning,
    )

    def follow() -> None:
        try:
            indexer.run(service.stopping.is_set)
        except FedmarketError as failure:
            service.fail(failure)
        finally:
            if (
                not service.stopping.is_set()
            ):  # whatever nobody foresaw is in the log: who runs the service starts it again
                service.fail(ServiceError("the indexer ended, and the service with it: the log says why"))

    def keep_house() -> None:
        pause_s = 0.0
        while not service.stopping.wait(pause_s):
            pause_s = HOUSEKEEPING_S
            try:
                tidy(service)
            except (FedmarketError, SQLAlchemyError):
                LOGGER.exception("what is over could not be forgotten; it is tried again")

    return [threading.Thread(target=follow, name="indexer"), threading.Thread(target=keep_house, name="housekeeping")]


def tidy(service: Service) -> None:
    """Let go of sign-ins that are over and of uploads that nobody used; what jobs name comes off its account's quota.

    Raises:
        StorageError: a pin could not be taken back, or what pins protect is damaged.
    """
    now_s, settings = service.now(), service.settings
    with Session(service.engine) as session, session.begin():
        forget_expired(session, now_s)
    uploads = uploads_of(service)
    uploads.adopt(now_s)
    behind = lag_or_none(service)
    if behind is None or behind > settings.ready_lag_blocks + settings.confirmations:
        uploads.settle()  # what seems unused may be in a job that is yet to be read
    else:
        uploads.forget_unused(now_s - settings.unused_upload_s)
    service.store.collect_taken()
