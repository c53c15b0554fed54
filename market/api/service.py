"""What a request works with: one of each, made by `market.app` and shared by all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from anyio import CapacityLimiter
from sqlalchemy import Engine

from market.api.listening import Listeners, Pulse
from market.api.metrics import Metrics
from market.api.readiness import Readiness
from market.api.upload_places import UploadPlaces
from market.chain.connection import Chain
from market.chain.deployment import Deployment
from market.chain.job_market import JobMarket
from market.protocol.errors import FedmarketError
from market.settings import Settings
from market.storage import EmbeddedStore

CHAIN_PATIENCE_S = 5.0
"""How long a request waits for the node."""


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
        upload_places: how many uploads are taken in at once.
        listeners: those who listen to events.
        pulse: whether there are any that are new.
        model_turns: models of jobs to be opened are read one at a time,
        model_threads: and on a thread of their own.
        readiness: what was last found of it.
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
    upload_places: UploadPlaces
    listeners: Listeners = field(default_factory=Listeners)
    pulse: Pulse = field(default_factory=Pulse)
    model_turns: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    model_threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    readiness: Readiness = field(default_factory=Readiness)
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
