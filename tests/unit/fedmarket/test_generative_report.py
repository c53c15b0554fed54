"""The generative demo's page and its terminal, of a result that is made up."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from aggregator.audit import AuditReport
from fedmarket.demo.generative.page import page
from fedmarket.demo.generative.result import (
    CalibrationResult,
    GenerativeResult,
    TrainingResult,
    VerifierResult,
    distances,
)
from fedmarket.demo.generative.show import show
from market.chain.records import Ledger
from market.protocol.identifiers import JobId, TaskId, Wei
from market.task_audit import TaskCheck, TaskReport
from trainer_client.calibration.rates import Rate

VOID = ("meta", "img", "br")
DIGEST, NEAR, FAR = bytes(32), bytes(31) + b"\x07", b"\xff" * 32


class Tags(HTMLParser):
    """Sees that every element that is opened is closed again."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.sources += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def verifier(name: str, digest: bytes | None, verdict: str, **changes: object) -> VerifierResult:
    fields: dict[str, object] = {
        **{"name": name, "behaviour": "honest", "runs": "float32", "address": "0x" + "ab" * 20, "seat": 0},
        "images": None if digest is None else np.full((2, 8, 8), 0.5, np.float32),
        "digests": () if digest is None else (digest, DIGEST),
        **{"verdict": verdict, "paid_wei": 10**16, "lost_wei": 0, "why": "Because."},
        **changes,
    }
    return VerifierResult(**fields)  # type: ignore[arg-type]


@pytest.fixture
def result() -> GenerativeResult:
    ledger = Ledger(*([Wei(0)] * len(Ledger.__dataclass_fields__)))
    audit = AuditReport(JobId(0), 9, ())
    return GenerativeResult(
        seed=0,
        training=TrainingResult(0, "conditional_denoiser", 7, 1, 4, (1.0, 0.5), audit, ledger),
        pool=0,
        task=3,
        service="bafservice",
        request="bafrequest",
        task_seed=5,
        digest_kind="simhash (centre 1)",
        tolerance_bits=20,
        allowed=0,
        calibration=CalibrationResult(
            "bafcalibration", 80, ("float32", "bfloat16"), (4, 24), 3, {"seed": 25}, Rate(0, 9), {"seed": Rate(0, 99)}
        ),
        prompts=(4, 8),
        outcome="accepted",
        verifiers=(
            verifier("honest 1", DIGEST, "paid"),
            verifier("honest 2", NEAR, "paid"),
            verifier("lazy", FAR, "penalised", paid_wei=0, lost_wei=5 * 10**16),
            verifier("copier", None, "penalised", paid_wei=0, refused=("WrongSeal: <b>copied</b>",)),
        ),
        medoid="honest 1",
        accepted=(True, False),
        outputs="bafoutputs",
        share_wei=10**16,
        stake_wei=5 * 10**16,
        money={"deposited": 7, "burned": 7},
        balanced=True,
        audit=TaskReport(TaskId(3), [TaskCheck("seal", "0xab", "ok", "opens <so>")]),
        gas={"settle": (240_000,)},
        seconds={"training": 3.0},
    )


def test_the_page_is_whole_and_needs_neither_scripts_nor_the_network(result: GenerativeResult) -> None:
    text, tags = page(result), Tags()
    tags.feed(text)
    assert tags.open == []
    assert "script" not in tags.seen
    assert all(source.startswith("data:image/png;base64,") for source in tags.sources)
    assert not re.search(r"https?://", text)
    assert "prefers-color-scheme: dark" in text


def test_the_page_shows_every_image_and_digest_and_how_far_they_are_apart(result: GenerativeResult) -> None:
    text = page(result)
    assert text.count("<figure") == 8
    assert text.count('class="digest"') == 6
    assert text.count("nothing revealed<") == 2
    assert '<span class="far">256 bits</span>' in text
    assert '<span class="near">3 bits</span>' in text
    assert "not accepted" in text
    assert "−0.05 ETH" in text


def test_both_say_what_the_tolerance_was_measured_by(result: GenerativeResult) -> None:
    text = page(result)
    assert "From 4 to 24 bits would do; 20 were taken" in text
    assert "accepted: 0 of 99" in text
    file = StringIO()
    show(result, Console(file=file, width=400))
    assert "these differ by at most 3 bits, another seed at least 25." in file.getvalue()


def test_as_many_samples_as_the_slack_says_may_be_further_apart(result: GenerativeResult) -> None:
    assert not result.near((0, 21))
    assert replace(result, allowed=1).near((0, 21))
    assert ", but for 1 image at most" in page(replace(result, allowed=1))


def test_what_others_wrote_is_no_markup(result: GenerativeResult) -> None:
    text = page(result)
    assert "WrongSeal: &lt;b&gt;copied&lt;/b&gt;" in text
    assert "opens &lt;so&gt;" in text


def test_distances_are_the_largest_over_the_samples_and_none_of_who_revealed_nothing(result: GenerativeResult) -> None:
    assert distances(result.verifiers)[0] == [0, 3, 256, None]


def test_the_terminal_has_room_for_it_in_eighty_columns(result: GenerativeResult) -> None:
    file = StringIO()
    show(result, Console(file=file, width=80))
    told = file.getvalue()
    assert all(len(line) <= 80 for line in told.splitlines())
    assert "penalised" in told
    assert "refused by the contract: WrongSeal" in told
    assert "…" not in told.split("Verifiers")[1].split("Most bits")[0]
