"""The pages in a real browser: nothing complains, everything can be reached, and it works without a script.

Skipped where there is no Chromium (Debian: `apt-get install chromium`).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from market.db.engine import connect
from market.db.migrate import upgrade
from market.db.tables import BlockRow, BondRow, EventRow, JobRow, SittingRow, SyncRow
from tests.e2e.chromium import CHROMIUM, Tab, browser
from tests.market_rows import STAGES, hex_hash, seed_market
from tests.served import reader, served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: the pages were not looked at in a browser")

PHONE, DESKTOP = (360, 740), (1280, 900)
TAB_KEY = 9
START_S = 20.0
COMMITTING = 0
"""A job whose commit phase has ten minutes left."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = connect(f"sqlite:///{tmp_path_factory.mktemp('browsed')}/market.db")
    upgrade(made)
    seed_market(made, jobs=len(STAGES), rounds=6, trainers=8, now_s=int(time.time()))
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def address(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the whole application over them."""
    with served(reader(engine, tmp_path_factory.mktemp("service"))) as url:
        yield url


@pytest.fixture(scope="module")
def shared_tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def tab(shared_tab: Tab, address: str) -> Tab:
    """A tab as if it were new: no theme chosen, of a desktop's size, and with nothing to complain about."""
    shared_tab.scripts(True)
    shared_tab.size(*DESKTOP)
    shared_tab.prefer(prefers_color_scheme="light", prefers_reduced_motion="reduce")
    shared_tab.open(f"{address}/static/mark.svg")
    shared_tab.evaluate("localStorage.clear()")
    shared_tab.complaints.clear()
    return shared_tab


@pytest.fixture(scope="module")
def paths(engine: Engine) -> list[str]:
    """One of each kind of page, and jobs in every phase."""
    with Session(engine) as session:
        trainer = session.scalars(select(SittingRow.trainer)).first()
        aggregator = session.scalars(select(BondRow.aggregator)).first()
    each = [f"/jobs/{number}" for number in range(len(STAGES))]
    return ["/", *each, "/jobs/0?attempt=2", "/audit/0", f"/trainers/{trainer}", f"/aggregators/{aggregator}"]


def test_nothing_complains_on_any_page(tab: Tab, address: str, paths: list[str]) -> None:
    for path in paths:
        tab.open(address + path)
        assert tab.evaluate("document.querySelector('h1') !== null"), path
        assert not tab.complaints, (path, tab.complaints)


def test_the_policy_stops_what_is_written_into_a_page(tab: Tab, address: str) -> None:
    tab.open(address + "/")
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"x:\" onerror=\"window.broken = 1\">')")
    tab.until(lambda: any("Content Security Policy" in complaint for complaint in tab.complaints), "the policy to act")
    assert tab.evaluate("window.broken") is None


def test_nothing_is_wider_than_a_phone(tab: Tab, address: str, paths: list[str]) -> None:
    tab.size(*PHONE)
    for path in [*paths, "/jobs/999"]:
        tab.open(address + path)
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE[0], (path, width)


def test_a_countdown_ticks(tab: Tab, address: str) -> None:
    tab.open(f"{address}/jobs/{COMMITTING}")
    shown = "document.querySelector('.now .countdown').textContent"
    before = tab.evaluate(shown)
    assert re.fullmatch(r"\d+ min( \d+ s)?", before)
    tab.until(lambda: tab.evaluate(shown) != before, "the countdown to go on", 5)


def test_a_countdown_that_is_over_says_so(tab: Tab, address: str) -> None:
    tab.open(f"{address}/jobs/{COMMITTING}")
    tab.evaluate("document.querySelectorAll('[data-until]').forEach((it) => { it.dataset.until = '1'; })")
    shown = "document.querySelector('.now .countdown').textContent"
    tab.until(lambda: tab.evaluate(shown) == "ends with the next block", "the countdown's end", 5)


def test_a_phase_that_ended_without_an_event_is_looked_after(tab: Tab, address: str, engine: Engine) -> None:
    tab.open(f"{address}/jobs/1")
    assert tab.evaluate("document.querySelector('.badge').textContent") == "Reveal"
    with Session(engine) as session, session.begin():
        job = session.get_one(JobRow, 1)
        job.attempt_start_s = (job.attempt_start_s or 0) - 400  # as if so much time had passed: it is settled now
    tab.evaluate("document.querySelector('.now [data-until]').dataset.until = '1'")
    tab.until(lambda: tab.evaluate("document.querySelector('.badge').textContent") == "Settle", "the next phase", 10)


def test_the_theme_is_the_systems_until_one_is_chosen_and_then_stays(tab: Tab, address: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    tab.open(address + "/")
    light = tab.evaluate(ground)
    tab.prefer(prefers_color_scheme="dark")
    dark = tab.evaluate(ground)
    assert light != dark
    tab.prefer(prefers_color_scheme="light")
    tab.evaluate("document.querySelector('[data-theme-toggle]').click()")
    assert tab.evaluate(ground) == dark
    tab.open(address + "/audit/0")
    assert tab.evaluate(ground) == dark
    assert tab.evaluate("document.querySelector('[data-theme-toggle]').textContent") == "Light theme"
    tab.evaluate("document.querySelector('[data-theme-toggle]').click()")
    tab.prefer(prefers_color_scheme="dark")
    tab.open(address + "/")
    assert tab.evaluate(ground) == light


def test_a_screen_reader_finds_landmarks_headings_and_names(tab: Tab, address: str) -> None:
    tab.open(f"{address}/jobs/{COMMITTING}")
    nodes = tab.accessibility()
    roles = {node["role"] for node in nodes}
    assert {"banner", "main", "contentinfo", "navigation", "heading", "table", "caption", "timer"} <= roles
    headings = [(node["level"], node["name"]) for node in nodes if node["role"] == "heading"]
    assert [level for level, _ in headings].count(1) == 1
    assert headings[0] == (1, "Chest X-rays, five hospitals")
    assert all(after[0] <= before[0] + 1 for before, after in pairwise(headings))
    assert {name for level, name in headings if level == 2} >= {"Escrow", "Gram matrix", "Models", "Terms"}
    for node in nodes:
        if node["role"] in ("link", "button", "combobox", "image", "img", "region", "table", "navigation", "searchbox"):
            assert node["name"], node
    bars = [node["name"] for node in nodes if node["role"] in ("image", "img")]
    assert any("deposited" in name and "% locked" in name for name in bars)


def test_the_keyboard_reaches_everything_in_order(tab: Tab, address: str) -> None:
    tab.open(f"{address}/jobs/{COMMITTING}")
    wanted = tab.evaluate(
        """[...document.querySelectorAll('a[href], button, select, input, summary, [tabindex="0"]')]
        .filter((it) => it.checkVisibility() && !it.closest('details:not([open]) > :not(summary)'))
        .map((it, place) => (it.dataset.place = place)).length"""
    )
    reached = []
    for _ in range(wanted):
        tab.press("Tab", TAB_KEY)
        reached.append(tab.evaluate("document.activeElement.dataset.place"))
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", reached
    assert reached == [str(place) for place in range(wanted)]


def test_the_first_stop_skips_to_the_content(tab: Tab, address: str) -> None:
    tab.open(address + "/")
    tab.press("Tab", TAB_KEY)
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert tab.evaluate("document.activeElement.getBoundingClientRect().left") == 0
    tab.evaluate("document.activeElement.click()")
    assert tab.evaluate("document.activeElement.id") == "main"


def test_pages_work_without_scripts(tab: Tab, address: str, paths: list[str]) -> None:
    tab.scripts(False)
    for path in paths:
        tab.open(address + path)
        assert [node for node in tab.accessibility() if node["role"] == "main"], path
    nodes = tab.accessibility()
    assert not [node for node in nodes if node["role"] == "button" and "theme" in node["name"]]
    tab.open(f"{address}/?text=x-rays&state=running&sort=oldest")
    assert [node["name"] for node in tab.accessibility() if node["role"] == "link"].count(
        "Chest X-rays, five hospitals"
    )


def test_nothing_moves_where_that_is_not_wanted(tab: Tab, address: str) -> None:
    tab.open(address + "/")
    assert tab.evaluate("document.getAnimations().length") == 0
    tab.prefer(prefers_reduced_motion="no-preference")
    assert tab.evaluate("document.getAnimations().length") > 0


def test_an_event_brings_the_page_up_to_date_and_leaves_what_is_in_use(tab: Tab, address: str, engine: Engine) -> None:
    tab.open(f"{address}/jobs/{COMMITTING}")
    tab.evaluate("document.querySelector('#matrix details').open = true; window.stays = 1; scrollTo(0, 400)")
    with Session(engine) as session, session.begin():
        chain = session.scalars(select(SyncRow)).one()
        number, now_s = chain.block_number + 1, chain.timestamp_s + 12
        session.add(BlockRow(number=number, hash=bytes.fromhex(hex_hash("another")[2:]), timestamp_s=now_s))
        session.flush()
        body = json.dumps({"attempt": 5, "trainer": "0x" + "11" * 20, "seat": 7, "seal": "0x" + "22" * 32})
        place = {"block_number": number, "log_index": 0, "part": 1, "transaction": bytes(32)}
        session.add(EventRow(**place, job=COMMITTING, kind="UpdateCommitted", attempt=5, body=body))
        chain.block_number, chain.timestamp_s = number, now_s
        session.get_one(JobRow, COMMITTING).settled_rounds = 17
    tab.until(lambda: "17 of 6" in tab.evaluate("document.querySelector('#head').textContent"), "the new figures")
    assert tab.evaluate("window.stays") == 1
    assert tab.evaluate("document.querySelector('#matrix details').open")
    assert tab.evaluate("scrollY") == 400
    assert "up to date" in tab.evaluate("document.getElementById('announcement').textContent")
    assert not tab.complaints


def test_a_round_is_chosen_by_the_form(tab: Tab, address: str) -> None:
    tab.open(f"{address}/jobs/{COMMITTING}")
    tab.events.clear()
    tab.evaluate("document.querySelector('#attempt').value = '1'; document.querySelector('#matrix form').submit()")
    tab.until(lambda: "Page.loadEventFired" in tab.events, "the page of another round")
    assert "round 1, attempt 1" in tab.evaluate("document.querySelector('#matrix p').textContent")


def test_looks_can_be_looked_at(tab: Tab, address: str, tmp_path: Path) -> None:
    """A picture of each kind of page in both themes and at both widths, left in the test's folder; none is empty."""
    for theme in ("light", "dark"):
        tab.prefer(prefers_color_scheme=theme, prefers_reduced_motion="reduce")
        for width, height in (DESKTOP, PHONE):
            tab.size(width, height)
            for path in ("/", "/jobs/0", "/audit/0"):
                tab.open(address + path)
                file = tmp_path / f"{theme}-{width}-{path.replace('/', '')}.png"
                tab.screenshot(file)
                assert file.stat().st_size > 10_000
