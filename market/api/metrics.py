"""What is counted, for Prometheus. A registry a service: two in one process do not meet."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """Counters of one service. Routes are counted by their templates, so that no request makes a new one."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "fedmarket_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "fedmarket_request_seconds",
            "From a request's head to the end of its answer.",
            ["method", "route"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self.uploads = Counter("fedmarket_uploads", "Contents taken in.", registry=self._registry)
        self.uploaded_bytes = Counter("fedmarket_uploaded_bytes", "Bytes of them.", registry=self._registry)
        self.refused_uploads = Counter(
            "fedmarket_refused_uploads", "Contents not taken in, or not wholly sent.", registry=self._registry
        )
        self._lag = Gauge(
            "fedmarket_indexer_lag_blocks",
            "How many blocks the database is behind the chain; -1 before it is known.",
            registry=self._registry,
        )

    def watch_lag(self, lag: Callable[[], int | None]) -> None:
        """Ask for the lag whenever somebody reads."""
        self._lag.set_function(lambda: -1 if (blocks := lag()) is None else blocks)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note a request that is answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self._registry)
