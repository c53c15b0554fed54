"""The pages: jobs, one job, one trainer, one aggregator, and how to audit. One read of the database each."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, TypeVar

from fastapi import APIRouter, FastAPI, Query
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.orm import Session

from market.chain.events import EVENTS
from market.parameters import LARGEST, AddressPath, JobPath
from market.protocol.errors import InvalidInput, NotFound
from market.queries import aggregators, attempts, evaluations, jobs, models, rounds, trainers
from market.queries.events import last_event
from market.queries.following import START
from market.queries.jobs import JobFilter, JobOrder, JobState
from market.queries.network import network
from market.queries.paging import Key, Part
from market.views import Attempt, GramMatrix, Job
from market.web import places
from market.web.audit_checks import checks_for
from market.web.contributions import LEGEND, contribution_lines
from market.web.escrow_bar import WIDTH as BAR_WIDTH
from market.web.escrow_bar import shares
from market.web.heat_map import BUCKETS, heat_map
from market.web.page_route import PageRoute, answer_browsers_with_pages
from market.web.rendering import STATIC, STATIC_FOLDER, page
from market.web.round_plot import accuracy_plot, participation_plot, record_plot
from market.web.words import steps, term_rows, what_next

Sessions = Callable[[], Session]
Choice = TypeVar("Choice", bound=StrEnum)

JOBS_SHOWN = 25
ROUNDS_SHOWN = 24
"""Attempts in a job's tables; earlier ones are a link away."""

PLOTTED = 240
"""Attempts in a job's plot."""

MODELS_SHOWN = 24
SEATS_SHOWN = 50
MAX_TEXT = 100

NumberQuery = Annotated[int | None, Query(ge=0, le=LARGEST)]
PlaceQuery = Annotated[str, Query(max_length=100)]

EVENT_KINDS = json.dumps([*EVENTS, "reorganised"])
"""What the stream of a job's events may bring, which a page listens for by name."""

ORDER_NAMES = {
    JobOrder.NEWEST: "newest first",
    JobOrder.OLDEST: "oldest first",
    JobOrder.REWARD: "reward a round",
    JobOrder.DEADLINE: "deadline",
}
STATE_NAMES = {
    JobState.OPEN: "not closed",
    JobState.SEATS: "with free seats",
    JobState.RUNNING: "with a round running",
    JobState.DISPUTED: "disputed",
    JobState.CLOSED: "closed",
}


def mount(app: FastAPI, sessions: Sessions) -> None:
    """Put the pages into an application, after its own handlers of errors.

    Args:
        app: which.
        sessions: makes one that reads the market's tables.
    """
    app.include_router(router(sessions))
    app.mount(STATIC, StaticFiles(directory=STATIC_FOLDER), name="static")
    answer_browsers_with_pages(app)


def router(sessions: Sessions) -> APIRouter:
    """The pages alone."""
    made = APIRouter(route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse)
    pages = _Pages(sessions)
    for path, endpoint in (
        ("/", pages.jobs),
        ("/jobs/{number}", pages.job),
        ("/audit/{number}", pages.audit),
        ("/trainers/{address}", pages.trainer),
        ("/aggregators/{address}", pages.aggregator),
    ):
        made.add_api_route(path, endpoint, methods=["GET", "HEAD"], response_model=None)
    return made


class _Pages:
    """One method a page."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def jobs(
        self,
        state: Annotated[str, Query(max_length=20)] = "",
        text: Annotated[str, Query(max_length=MAX_TEXT)] = "",
        sort: Annotated[str, Query(max_length=20)] = "",
        after: PlaceQuery = "",
    ) -> HTMLResponse:
        """The list of jobs."""
        if "\0" in text:
            raise InvalidInput("no name has a zero character in it")
        order, wanted_state = _choice(JobOrder, sort) or JobOrder.NEWEST, _choice(JobState, state)
        part = Part(JOBS_SHOWN, places.parse(after, jobs.ORDERS[order]))
        with self._sessions() as session:
            found, key = jobs.jobs(session, JobFilter(state=wanted_state, text=text.strip() or None), order, part)
            chain = network(session)
        return page(
            "jobs.html",
            network=chain,
            jobs=found,
            next=places.to_text(key),
            is_first=part.after is None,
            state=wanted_state,
            text=text,
            order=order,
            orders=ORDER_NAMES,
            states=STATE_NAMES,
        )

    def job(self, number: JobPath, attempt: NumberQuery = None, before: NumberQuery = None) -> HTMLResponse:
        """A job: its money, its rounds, its people."""
        with self._sessions() as session:
            job, chain = _job(session, number), network(session)
            shown, older = attempts.latest_attempts(session, number, Part(ROUNDS_SHOWN, _window(attempt, before)))
            in_order = list(reversed(shown))
            parts = rounds.participations(session, number, in_order[0].attempt, in_order[-1].attempt) if shown else []
            sittings = trainers.sittings(session, number)
            matrix = _matrix(session, number, attempt, shown)
            course = rounds.course(session, number, PLOTTED)
            told = evaluations.evaluations(session, number)
            shows_up_to = last_event(session) or START
            versions, more_models = models.latest_models(session, job, Part(MODELS_SHOWN))
            disputes, queue = models.disputes(session, number), trainers.waiting(session, number)
        now_s = chain.timestamp_s if chain else 0
        ended = [it for it in course if it.outcome != "running"]
        return page(
            "job.html",
            network=chain,
            event_kinds=EVENT_KINDS,
            shows_up_to=str(shows_up_to),
            now_s=now_s,
            job=job,
            document=job.document or {},
            what_next=what_next(job),
            terms_rows=term_rows(job.terms),
            steps=steps(job.current, now_s, job.opened_s) if job.current and job.phase_ends_s is not None else [],
            shares=shares(job.escrow),
            bar_width=BAR_WIDTH,
            attempts=in_order,
            older=older[0] if older else None,
            is_latest=before is None and (attempt is None or _is_last(in_order, course[-1].attempt if course else 0)),
            course=course,
            plotted=PLOTTED,
            plot=participation_plot(ended, job.seats) if ended else None,
            records=record_plot(ended),
            accuracy=accuracy_plot(ended, told),
            evaluations=told,
            lines=contribution_lines(sittings, in_order, parts, job.token),
            legend=LEGEND,
            sittings=sittings,
            heat_map=heat_map(matrix) if matrix else None,
            buckets=BUCKETS,
            selected=attempt,
            models=versions,
            more_models=more_models is not None,
            disputes=disputes,
            waiting=queue,
        )

    def audit(self, number: JobPath, before: NumberQuery = None) -> HTMLResponse:
        """What an audit of a job looks at, and where."""
        with self._sessions() as session:
            job, chain = _job(session, number), network(session)
            after = None if before is None else (before,)
            shown, older = attempts.latest_attempts(session, number, Part(ROUNDS_SHOWN, after))
            versions, _ = models.latest_models(session, job, Part(MODELS_SHOWN))
        by_attempt = {version.attempt: version for version in versions}
        return page(
            "audit.html",
            network=chain,
            job=job,
            checks=checks_for(job.has_exam),
            attempts=list(reversed(shown)),
            older=older[0] if older else None,
            is_latest=before is None,
            models=by_attempt,
        )

    def trainer(self, address: AddressPath, after: PlaceQuery = "") -> HTMLResponse:
        """A trainer over all jobs."""
        part = Part(SEATS_SHOWN, places.parse(after, trainers.BY_SITTING))
        with self._sessions() as session:
            summary, chain = trainers.trainer(session, address), network(session)
            if summary is None:
                raise NotFound(f"{address} never had a seat in a job")
            sittings, key = trainers.history(session, address, part)
            labels = jobs.labels(session, {sitting.job for sitting in sittings})
        return page(
            "trainer.html",
            network=chain,
            summary=summary,
            sittings=sittings,
            labels=labels,
            next=places.to_text(key),
            is_first=part.after is None,
        )

    def aggregator(self, address: AddressPath, after: PlaceQuery = "") -> HTMLResponse:
        """An aggregator over all jobs."""
        part = Part(SEATS_SHOWN, places.parse(after, attempts.OF_AGGREGATOR))
        with self._sessions() as session:
            summary, chain = aggregators.aggregator(session, address), network(session)
            if summary is None:
                raise NotFound(f"{address} never bonded for a job")
            bonds, more_bonds = aggregators.bonds(session, address, Part(SEATS_SHOWN))
            settled, key = attempts.attempts_of(session, address, part)
            labels = jobs.labels(session, {bond.job for bond in bonds} | {it.job for it in settled})
        return page(
            "aggregator.html",
            network=chain,
            now_s=chain.timestamp_s if chain else 0,
            summary=summary,
            bonds=bonds,
            more_bonds=more_bonds is not None,
            attempts=settled,
            labels=labels,
            next=places.to_text(key),
            is_first=part.after is None,
        )


def _job(session: Session, number: int) -> Job:
    job = jobs.job(session, number)
    if job is None:
        raise NotFound(f"there is no job {number} as far as the chain was read")
    return job


def _window(attempt: int | None, before: int | None) -> Key | None:
    """Before which attempt a job's tables end: so that the one that was asked for is in them."""
    if before is not None:
        return (before,)
    return None if attempt is None else (min(attempt + ROUNDS_SHOWN // 2, LARGEST),)


def _is_last(shown: list[Attempt], last: int) -> bool:
    return bool(shown) and shown[-1].attempt == last


def _matrix(session: Session, number: int, attempt: int | None, shown: list[Attempt]) -> GramMatrix | None:
    """The matrix that was asked for, or the latest of those shown.

    Raises:
        NotFound: the attempt that was asked for is none of the job's.
    """
    if attempt is not None and all(it.attempt != attempt for it in shown):
        raise NotFound(f"job {number} has no attempt {attempt}")
    chosen = attempt if attempt is not None else next((it.attempt for it in shown if it.proven), None)
    return None if chosen is None else attempts.gram(session, number, chosen)


def _choice(kind: type[Choice], unverified_name: str) -> Choice | None:
    """One of several.

    Raises:
        InvalidInput: it is none of them.
    """
    if not unverified_name:
        return None
    try:
        return kind(unverified_name)
    except ValueError as error:
        raise InvalidInput(f"expected one of {', '.join(kind)}") from error
