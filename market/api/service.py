"""What a request works with: one of each, made by `market.app` and shared by all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from anyio import CapacityLimiter
from sqlalchemy import Engine

from market.api.metrics import Metrics
from market.api.readiness import Readiness
from market.chain.connection import Chain
from market.chain.deployment import Deployment
from market.chain.job_market import JobMarket
from market.protocol.errors import FedmarketError
from market.settings import Settings
from market.storage import EmbeddedStore

CHAIN_PATIENCE_S = 5.0
"""How long a request waits for the node."""

MOST_STREAMS = 256
"""Who listens asks the database twice a second."""


@dataclass(frozen=True)
class Service:
    """The service's parts.

    Attributes:
        settings: what it was told.
        engine: of the database.
        store: where contents are.
        deployment: which contracts.
        market: the contract, for what rows do not say.
        metrics: what is counted.
        upload_threads: uploads have threads of their own: slow ones must not keep readers waiting.
        readiness: what was last found of it.
        streams: places for those who listen to events.
        stopping: set when the service is asked to end: streams close then.
        failures: why it ends by itself, where it does.
        now: the wall clock in whole seconds.
    """

    settings: Settings
    engine: Engine
    store: EmbeddedStore
    deployment: Deployment
    market: JobMarket
    metrics: Metrics
    upload_threads: CapacityLimiter
    readiness: Readiness = field(default_factory=Readiness)
    streams: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(MOST_STREAMS))
    stopping: threading.Event = field(default_factory=threading.Event)
    failures: list[FedmarketError] = field(default_factory=list)
    now: Callable[[], int] = lambda: int(time.time())

    def fail(self, failure: FedmarketError) -> None:
        """End the service, since something that it needs cannot go on."""
        self.failures.append(failure)
        self.stopping.set()

    @property
    def chain(self) -> Chain:
        """The connection to the node."""
        return self.market.chain
