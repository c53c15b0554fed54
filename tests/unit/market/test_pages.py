"""The pages: what they say, that nothing in them is markup of somebody else's, and how much they ask of a database."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, event, select, update
from sqlalchemy.orm import Session

from market.api.problems import add_problem_handlers
from market.db.engine import connect
from market.db.migrate import upgrade
from market.db.tables import AttemptRow, BondRow, JobRow, SittingRow, SyncRow, UpdateRow
from market.protocol.rounds import FROZEN_S, Phase
from market.queries.jobs import job as read_job
from market.web.audit_checks import CHECKS
from market.web.pages import mount
from market.web.words import PHASE_NAMES, PHASE_TONES, what_next
from tests.market_rows import HOSTILE_NAMES, HUGE, STAGES, account, seed_market

BROWSER = {"Accept": "text/html,application/xhtml+xml"}
AUDIT = Path(__file__).parents[3] / "aggregator" / "audit"


def made_market(folder: Path, jobs: int, rounds: int, trainers: int) -> Engine:
    engine = connect(f"sqlite:///{folder}/market.db")
    upgrade(engine)
    seed_market(engine, jobs, rounds, trainers)
    return engine


class Client:
    """Asks an application without a network between."""

    def __init__(self, app: FastAPI) -> None:
        # What a server does with an error is to be seen, not the error.
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def get(
        self, address: str, params: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return asyncio.run(self._get(address, params, headers or BROWSER))

    async def _get(self, address: str, params: dict[str, str] | None, headers: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://market.test") as client:
            return await client.get(address, params=params, headers=headers)


def client_of(engine: Engine) -> Client:
    app = FastAPI()
    add_problem_handlers(app)
    mount(app, lambda: Session(engine))
    return Client(app)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = made_market(tmp_path_factory.mktemp("pages"), jobs=2 * len(STAGES), rounds=6, trainers=8)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def client(engine: Engine) -> Client:
    return client_of(engine)


def addresses(engine: Engine) -> list[str]:
    """Of every page there is."""
    with Session(engine) as session:
        trainer = session.scalars(select(SittingRow.trainer)).first()
        aggregator = session.scalars(select(BondRow.aggregator)).first()
        numbers = session.scalars(select(JobRow.job)).all()
    each = [f"/{kind}/{number}" for number in numbers for kind in ("jobs", "audit")]
    return ["/", *each, f"/trainers/{trainer}", f"/aggregators/{aggregator}"]


class Tags(HTMLParser):
    """The elements of a page with their attributes, and the text of the first of some."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_every_page_of_every_phase_is_shown(client: Client, engine: Engine) -> None:
    for address in addresses(engine):
        answer = client.get(address)
        assert answer.status_code == 200, (address, answer.text[-500:])
        assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_pages_have_one_heading_landmarks_and_named_tables(client: Client, engine: Engine) -> None:
    for address in addresses(engine):
        text = client.get(address).text
        tags = Tags(text)
        assert len(tags.of("h1")) == 1, address
        assert [len(tags.of(name)) for name in ("main", "header", "footer")] == [1, 1, 1], address
        assert len(tags.of("table")) == len(tags.of("caption")), address
        assert all("scope" in attributes for attributes in tags.of("th")), address
        assert tags.of("html")[0]["lang"] == "en"
        names = [attributes["id"] for _, attributes in tags.found if "id" in attributes]
        assert len(names) == len(set(names)), address
        labels = {attributes.get("for") for attributes in tags.of("label")}
        fields = {attributes.get("id") for name in ("input", "select") for attributes in tags.of(name)}
        assert fields <= labels, address


def test_pages_have_no_inline_script_or_style(client: Client, engine: Engine) -> None:
    for address in addresses(engine):
        tags = Tags(client.get(address).text)
        assert not tags.of("style"), address
        assert all("src" in attributes for attributes in tags.of("script")), address
        for name, attributes in tags.found:
            assert not [key for key in attributes if key == "style" or key.startswith("on")], (address, name)
            for key in ("href", "src", "action"):
                assert (attributes.get(key) or "/").startswith(("/", "#")), (address, name, attributes[key])


def test_hostile_names_are_text(client: Client) -> None:
    plain = Tags(client.get("/jobs/9").text)
    for number, _name in enumerate(HOSTILE_NAMES[:9]):
        if number % 9 == 8:
            continue
        text = client.get(f"/jobs/{number}").text
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "<b>bold</b>" not in text
        assert not [tag for tag, _ in Tags(text).found if tag in ("img", "style", "iframe", "object")]
        assert len(Tags(text).of("script")) == len(plain.of("script"))
    assert "{{ 7 * 7 }}" in client.get("/jobs/3").text


def test_hostile_queries_are_text(client: Client) -> None:
    answer = client.get("/", params={"text": '"><script>alert(1)</script>', "state": "open", "sort": "reward"})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert "No job matches." in answer.text


def test_wildcards_in_a_search_are_letters(client: Client) -> None:
    assert "DROP TABLE" in client.get("/", params={"text": "100 % _"}).text
    assert "No job matches." in client.get("/", params={"text": "%%%"}).text


@pytest.mark.parametrize(
    "address",
    [
        "/?sort=best",
        "/?state=any",
        "/?after=x",
        "/?after=1.2.3",
        "/?after=99999999999999999999999",
        "/?text=%00",
        "/?text=" + "a" * 101,
        "/jobs/x",
        "/jobs/-1",
        "/jobs/99999999999999999999",
        "/jobs/0?attempt=x",
        "/jobs/0?before=-1",
        "/trainers/0x12",
        "/trainers/0x" + "g" * 40,
        "/trainers/" + account("nobody") + "?after=1",
        "/aggregators/nobody",
    ],
)
def test_mistakes_are_told_on_a_page(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 400, answer.text
    assert "That request makes no sense" in answer.text
    assert "See all jobs" in answer.text


@pytest.mark.parametrize(
    "address",
    [
        *("/jobs/999", "/audit/999", "/jobs/0?attempt=999", "/nothing/here", "/static/none.css"),
        *("/trainers/" + account("nobody"), "/aggregators/" + account("nobody")),
    ],
)
def test_what_is_not_there_is_told_on_a_page(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert "There is no such page" in answer.text


def test_programs_are_refused_in_their_own_form(client: Client) -> None:
    assert (
        client.get("/nothing", headers={"Accept": "application/json"})
        .headers["content-type"]
        .startswith("application/problem+json")
    )
    assert client.get("/api/v1/nothing").headers["content-type"].startswith("application/problem+json")


def test_failures_are_told_on_a_page_without_their_cause(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/empty.db")  # no tables
    answer = client_of(engine).get("/")
    engine.dispose()
    assert answer.status_code == 500
    assert "The service failed" in answer.text
    assert "sync" not in answer.text
    assert "sqlite" not in answer.text.lower()


def test_an_empty_market_says_so(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/market.db")
    upgrade(engine)
    text = client_of(engine).get("/").text
    engine.dispose()
    assert "Nobody has posted a job yet." in text
    assert "The chain has not been read yet." in text


def test_every_phase_has_its_sentence(engine: Engine) -> None:
    with Session(engine) as session:
        jobs = [read_job(session, number) for number in range(len(STAGES))]
    said = {job.phase: what_next(job) for job in jobs if job is not None}
    assert set(said) == set(PHASE_NAMES) == set(PHASE_TONES) == {phase.name.lower() for phase in Phase}
    assert len(set(said.values())) == len(said)
    assert "5 have, and 3 are needed" in said["commit"]
    assert said["starved"].startswith("Only 2 of at least 3 committed")


def test_the_bar_and_its_figures_are_the_escrow(client: Client, engine: Engine) -> None:
    with Session(engine) as session:
        job = read_job(session, 0)
    assert job is not None
    text = client.get("/jobs/0").text
    for amount_wei in (job.escrow.paid_wei, job.escrow.burned_wei, job.escrow.locked_wei, job.escrow.deposited_wei):
        assert f'title="{amount_wei:,} wei"' in text
    bar = text[text.index('<svg class="bar"') : text.index("</svg>", text.index('<svg class="bar"'))]
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="34" class="share', bar)]
    assert sum(widths) == pytest.approx(1_000, abs=0.1)


def test_amounts_near_the_contracts_limit_are_exact(client: Client, engine: Engine) -> None:
    with Session(engine) as session:
        job = read_job(session, HUGE)
    assert job is not None
    assert job.escrow.deposited_wei > 10**36
    assert f"{job.escrow.deposited_wei:,} units" in client.get(f"/jobs/{HUGE}").text


def test_a_round_can_be_chosen(client: Client) -> None:
    assert "Shown as cosines for <strong>round 4, attempt 4</strong>" in client.get("/jobs/0").text
    assert "Shown as cosines for <strong>round 1, attempt 1</strong>" in client.get("/jobs/0?attempt=1").text
    assert "Attempt 5 has no matrix" in client.get("/jobs/0?attempt=5").text


def test_outliers_are_marked_in_drawing_table_and_words(client: Client) -> None:
    text = client.get("/jobs/0").text
    assert "Not accepted: seat 5, marked ×." in text
    assert '<th scope="row" class="stick">5 ×</th>' in text
    assert text.count("<title>5, 0: ") == 1


def test_a_page_claims_no_accuracy_and_an_audit_page_no_verdict(client: Client) -> None:
    assert "the chain does not know it, and the owner has told none" in client.get("/jobs/0").text
    text = client.get("/audit/0").text
    assert "This page gives no verdict." in text
    assert "fedmarket audit 0" in text


def test_the_audit_page_lists_the_checks_that_the_command_makes() -> None:
    made = set()
    for file in AUDIT.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("judge", "Check") and node.args:
                made |= {word.value for word in ast.walk(node.args[0]) if isinstance(word, ast.Constant)}
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "check_stored_model":
                made |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
                names = [getattr(name, "id", "") for name in getattr(node.targets[0], "elts", [])]
                first = node.value.elts[0]
                if names[:2] == ["name", "subject"] and isinstance(first, ast.Constant):
                    made.add(first.value)
    assert made == {check.name for check in CHECKS}


def test_a_job_without_an_exam_has_no_checks_of_exams(client: Client) -> None:
    assert "exam book" in client.get("/audit/0").text
    assert "exam book" not in client.get("/audit/1").text


def test_lists_go_on_where_they_ended(client: Client) -> None:
    for order in ("newest", "oldest", "reward", "deadline"):
        seen: list[str] = []
        address: str | None = f"/?sort={order}"
        while address is not None:
            text = client.get(address).text
            seen += re.findall(r'<th scope="row" class="wide"><a href="/jobs/(\d+)"', text)
            found = re.search(r'<a rel="next" href="([^"]+)"', text)
            address = found[1].replace("&amp;", "&") if found else None
        assert sorted(map(int, seen)) == list(range(2 * len(STAGES))), order


def test_a_trainers_tokens_are_kept_apart(client: Client, engine: Engine) -> None:
    with Session(engine) as session:
        trainer = session.scalars(select(SittingRow.trainer).where(SittingRow.job == HUGE)).first()
    text = client.get(f"/trainers/{trainer}").text
    assert account("token") in text


def test_addresses_in_any_case_are_found(client: Client, engine: Engine) -> None:
    with Session(engine) as session:
        trainer = session.scalars(select(SittingRow.trainer)).first()
    assert trainer is not None
    assert client.get(f"/trainers/{trainer.lower()}").status_code == 200


def test_a_chain_that_was_not_read_yet_has_no_times(tmp_path: Path) -> None:
    engine = made_market(tmp_path, jobs=1, rounds=2, trainers=3)
    with engine.begin() as connection:
        connection.execute(SyncRow.__table__.delete())  # type: ignore[attr-defined]
    client = client_of(engine)
    answers = [client.get(address).status_code for address in ("/", "/jobs/0", "/audit/0")]
    engine.dispose()
    assert answers == [200, 200, 200]


def test_a_frozen_credit_says_so(tmp_path: Path) -> None:
    engine = made_market(tmp_path, jobs=1, rounds=3, trainers=4)
    with engine.begin() as connection:
        connection.execute(update(AttemptRow).where(AttemptRow.attempt == 1).values(vests_s=FROZEN_S))
    text = client_of(engine).get("/jobs/0").text
    engine.dispose()
    assert "frozen while disputed" in text


def test_a_seat_that_a_round_of_too_few_left_out_is_told_from_one_that_the_rules_did(tmp_path: Path) -> None:
    engine = made_market(tmp_path, jobs=1, rounds=6, trainers=8)
    with engine.begin() as connection:
        connection.execute(update(AttemptRow).where(AttemptRow.attempt == 1).values(accepted=0, paid=False))
        connection.execute(update(UpdateRow).where(UpdateRow.attempt == 1).values(accepted=False))
        connection.execute(
            update(UpdateRow).where(UpdateRow.attempt == 1, UpdateRow.seat == 2).values(content=None, forfeited=True)
        )
    text = client_of(engine).get("/jobs/0").text
    engine.dispose()
    too_few = "not accepted, as nobody was: no model is made of fewer than three updates"
    assert f'title="round 1, seat 0: {too_few}' in text
    assert "round 4, seat 5: rejected by the rules" in text
    assert "round 1, seat 2: committed and not revealed" in text  # which costs the stake, whatever became of the round
    assert len(re.findall(f'title="round (?!1,)[^"]*{too_few}', text)) == 0


@contextmanager
def counted(engine: Engine) -> Iterator[Callable[[], int]]:
    """How many statements were run in the block."""
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield lambda: len(statements)
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_no_page_asks_more_of_more_rows(tmp_path: Path) -> None:
    counts: list[dict[str, int]] = []
    for rounds, trainers in ((5, 4), (50, 4), (5, 64), (50, 64)):
        folder = tmp_path / f"{rounds}-{trainers}"
        folder.mkdir()
        engine = made_market(folder, jobs=len(STAGES), rounds=rounds, trainers=trainers)
        client, asked = client_of(engine), dict[str, int]()
        for address in addresses(engine):
            with counted(engine) as count:
                assert client.get(address).status_code == 200
            asked[re.sub("0x.*", "ADDRESS", address)] = count()
        counts.append(asked)
        engine.dispose()
    assert counts[0] == counts[1] == counts[2] == counts[3]
    assert max(counts[0].values()) <= 16
