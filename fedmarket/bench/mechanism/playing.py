"""Plays the games that a journal does not have, in as many processes as are asked for, each on a chain of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from queue import Empty

from fedmarket.bench.mechanism.game import Result, play
from fedmarket.bench.mechanism.ground import Ground
from fedmarket.bench.mechanism.plan import Cell, Journal
from fedmarket.bench.mechanism.settings import SETTINGS
from fedmarket.bench.mechanism.strategies import STRATEGIES
from fedmarket.bench.processes import Progress, StageFailed
from market.protocol.errors import FedmarketError

POLL_S = 1.0

Played = tuple[Cell, Result | str]
"""A game and what came of it, or what went wrong."""


def play_all(cells: Sequence[Cell], journal: Journal, progress: Progress, workers: int = 1) -> None:
    """Play what the journal does not have; each finished game is on disk before the next is looked at.

    Raises:
        StageFailed: a game could not be played to its end.
    """
    missing = [cell for cell in cells if cell not in journal]
    done = len(cells) - len(missing)
    progress("starting", done, len(cells))
    with _results(missing, workers) as results:
        for cell, result in results:
            if isinstance(result, str):
                raise StageFailed(f"{cell.key}: {result}")
            journal.add(cell, result)
            done += 1
            progress(cell.key, done, len(cells))


@contextmanager
def _results(cells: Sequence[Cell], workers: int) -> Iterator[Iterator[Played]]:
    """What comes of the games, as they end."""
    if workers == 1 or len(cells) < 2:
        yield played(cells)
        return
    context = multiprocessing.get_context("spawn")
    queue: Queue[Played] = context.Queue()
    processes = [context.Process(target=_serve, args=(cells[k::workers], queue), daemon=True) for k in range(workers)]
    for process in processes:
        process.start()
    try:
        yield (_next(queue, processes) for _ in cells)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _next(queue: Queue[Played], processes: Sequence[BaseProcess]) -> Played:
    """The next game that ends.

    Raises:
        StageFailed: there are processes that were to play it, and none that could.
    """
    while True:
        over = all(process.exitcode is not None for process in processes)
        try:
            return queue.get(timeout=POLL_S)
        except Empty:
            if over or any(process.exitcode for process in processes):
                raise StageFailed("a process that played games has ended before its time") from None


def played(cells: Sequence[Cell]) -> Iterator[Played]:
    """Play one game after the other on one chain; the first that fails is the last."""
    if not cells:
        return
    cell = cells[0]
    try:
        with Ground() as ground:
            for cell in cells:
                yield cell, play(ground, SETTINGS[cell.setting], STRATEGIES[cell.strategy], cell.seed)
    except FedmarketError as error:
        yield cell, str(error)


def _serve(cells: Sequence[Cell], queue: Queue[Played]) -> None:
    for result in played(cells):
        queue.put(result)
