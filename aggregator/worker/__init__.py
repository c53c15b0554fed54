"""Runs a job's rounds: fetch and open what was revealed, decide, average, publish, prove, settle."""

from __future__ import annotations

from aggregator.worker.progress import Progress
from aggregator.worker.rounds import AggregatorWorker

__all__ = ["AggregatorWorker", "Progress"]
