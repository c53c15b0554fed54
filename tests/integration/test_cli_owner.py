"""The owner's commands against a real chain: a job with an exam from its posting to its close, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedmarket.devnet import Devnet
from fedmarket.exam_folder import ExamFolder
from market.chain.job_market import JobMarket
from market.protocol.identifiers import JobId
from market.protocol.rounds import Phase
from market.protocol.rule_terms import RuleKind
from tests.integration.terminal import (
    COIN,
    JOB,
    SPEC,
    TRAINERS,
    Terminal,
    ended,
    refuses,
    transactions,
    wait_until,
    waiting,
    write_blobs,
)

EXAM_SPEC = (
    SPEC.replace("rules: {accept: [], score: equal}", "rules: {accept: [], score: exam}")
    + "exam: {samples: 12, public_samples: 12, spares: 1, period_s: 1000, deposit: 1 ether}\n"
)


@pytest.fixture
def examined(terminal: Terminal) -> Terminal:
    (terminal.folder / "job.yaml").write_text(EXAM_SPEC)
    return terminal


def posting(terminal: Terminal, *options: object) -> tuple[Any, ...]:
    return ("job", "post", terminal.folder / "job.yaml", "--reference", terminal.folder / "owner.npz", *options)


def exams(terminal: Terminal) -> list[Path]:
    return sorted((terminal.folder / "work" / "owner" / "exams").iterdir())


def state_of(terminal: Terminal) -> tuple[Any, ...]:
    return [path.read_bytes() for path in sorted(exams(terminal)[0].rglob("*")) if path.is_file()], exams(terminal)


# ---------------------------------------------------------------------- posting


def test_a_floor_that_compressed_updates_may_not_pass_is_told(examined: Terminal) -> None:
    compressed = EXAM_SPEC + "update: {compression: {kind: sparse, density: 0.1}}\n"
    (examined.folder / "job.yaml").write_text(compressed)
    assert "note:" not in examined.told(*posting(examined), who="owner")
    (examined.folder / "job.yaml").write_text(compressed.replace("score: exam", "score: exam, floor: 0.1"))
    assert "with a floor of 0.1 they may accept nobody" in examined.told(*posting(examined), who="owner")


def test_posting_again_is_the_same_job_with_the_same_exam(examined: Terminal, deployed: JobMarket) -> None:
    told = examined.told(*posting(examined), who="owner")
    assert "Job 0 is open" in told
    assert "2 secret slices in" in told
    assert "next: fedmarket owner run 0" in told
    before = state_of(examined)
    assert "Job 0 was posted already" in examined.told(*posting(examined), who="owner")
    assert state_of(examined) == before
    assert deployed.job_count() == 1
    assert deployed.ledger(JOB).exams_wei == COIN
    [path] = exams(examined)
    assert deployed.terms(JOB).exam.root == ExamFolder.open(path).root


def test_what_a_spec_leaves_open_about_norms_is_chosen_told_and_published(
    examined: Terminal, deployed: JobMarket
) -> None:
    spec = examined.folder / "job.yaml"
    spec.write_text(EXAM_SPEC.replace("accept: []", "accept: [{norm_bound: auto}]"))
    told = examined.told(*posting(examined), who="owner")
    rules = deployed.terms(JOB).rules
    [bound] = [rule for rule in rules.rules if rule.kind is RuleKind.NORM_BOUND]
    assert rules.norm_floor > 0
    assert (bound.a, bound.b) == (6 * rules.norm_floor, rules.norm_floor // 10)
    assert f"one training on a slice moves {rules.norm_floor:,} counts" in " ".join(told.split())
    assert "was posted already" in examined.told(*posting(examined), who="owner")


def test_a_job_that_is_posted_anew_has_an_exam_of_its_own(examined: Terminal, deployed: JobMarket) -> None:
    """Two jobs with one exam: at the end of the first everybody would know what the second asks."""
    examined.told(*posting(examined), who="owner")
    assert "Job 1 is open" in examined.told(*posting(examined, "--again"), who="owner")
    assert len(exams(examined)) == 2
    assert deployed.terms(JOB).exam.root != deployed.terms(JobId(1)).exam.root


def test_a_posting_killed_at_any_point_opens_one_job_with_one_exam(
    examined: Terminal, devnet: Devnet, deployed: JobMarket
) -> None:
    owner = examined.address("owner")
    with examined.mining.held_up():
        process = examined.start(*posting(examined, "--again"), who="owner")
        wait_until(lambda: waiting(devnet, owner) > 0, "the opening to be sent")
        process.kill()
        ended(process)
        process = examined.start(*posting(examined, "--again"), who="owner")
    status, output, _ = ended(process)
    assert (status, output.splitlines()[0]) == (0, "Job 0 was posted already; --again posts it anew")
    assert transactions(devnet, owner) == 1
    [path] = exams(examined)
    assert deployed.terms(JOB).exam.root == ExamFolder.open(path).root


def test_postings_that_do_not_fit_their_exam_are_refused(examined: Terminal, devnet: Devnet) -> None:
    spec, owner_data = examined.folder / "job.yaml", examined.folder / "owner.npz"
    refuses(examined.run("job", "post", spec, who="owner"), 2, "name the samples to cut it from", "no reference")
    both = examined.run(*posting(examined, "--warm-start", owner_data), who="owner")
    refuses(both, 2, "leave --warm-start out", "two sources")
    spec.write_text(EXAM_SPEC.replace("spares: 1", "spares: 4"))
    refuses(
        examined.run(*posting(examined), who="owner"),
        2,
        "the reference set has 60 samples, expected at least 72: 12 public ones, and 5 slices of 12",
        "too few",
    )
    spec.write_text(SPEC)
    refuses(examined.run(*posting(examined), who="owner"), 2, "has no exam in its spec", "no exam")
    spec.write_text(EXAM_SPEC.replace("score: exam", "score: equal"))
    refuses(examined.run(*posting(examined), who="owner"), 2, "exam: is not used", "unused")


def test_an_exam_named_by_its_folder_serves_one_job(examined: Terminal) -> None:
    folder = examined.folder / "my exam"
    examined.told(*posting(examined, "--exam", folder), who="owner")
    assert ExamFolder.exists(folder)
    again = examined.run(*posting(examined, "--exam", folder, "--again"), who="owner")
    refuses(again, 2, "holds the exam of a job that was posted before", "used")


# ---------------------------------------------------------------------- running


@pytest.mark.timeout(420)  # five processes that load PyTorch
def test_an_owner_examines_publishes_closes_and_is_refunded(
    examined: Terminal, devnet: Devnet, deployed: JobMarket
) -> None:
    terminal = examined
    terminal.told(*posting(terminal), who="owner")
    for who in TRAINERS:
        terminal.told("trainer", "enrol", JOB, who=who)
    terminal.aggregate()
    wait_until(lambda: deployed.state(JOB).attempt_start_s > 0, "the bond")
    owner = terminal.start("owner", "run", JOB, "--close", who="owner")
    devnet.advance_to(deployed.state(JOB).attempt_start_s)
    for who in TRAINERS:
        terminal.train(who)
    wait_until(lambda: deployed.exam(JOB, 0).seal != bytes(32), "the exam's seal")
    # Killed after its commit, and started again: it opens what it sealed.
    owner.kill()
    ended(owner)
    wait_until(lambda: deployed.state(JOB).committed == 0b111, "three commits")
    owner = terminal.start("owner", "run", JOB, "--close", who="owner")
    schedule = deployed.terms(JOB).schedule(deployed.state(JOB).attempt_start_s)
    devnet.advance_to(schedule.commit_end_s)
    wait_until(lambda: deployed.state(JOB).revealed == 0b111, "three reveals")
    devnet.advance_to(schedule.reveal_end_s)
    wait_until(lambda: deployed.exam(JOB, 0).opened != bytes(32), "the exam's opening")
    devnet.advance_to(schedule.exam_end_s)
    wait_until(lambda: deployed.state(JOB).exam_published, "the exam's publication")
    devnet.advance(500)
    status, output, errors = ended(owner)
    assert (status, errors) == (0, "")
    assert "the exam is published" in output
    assert "job 0 is closed; 1 ETH returned to the owner" in output
    assert "refunded 1 ETH" in output
    assert deployed.state(JOB).closed
    report = json.loads(terminal.run("audit", JOB, "--json").stdout)
    assert report["ok"]
    assert {"exam book", "exam reference"} <= {check["name"] for check in report["checks"]}


def test_an_own_job_whose_exam_is_secret_is_closed_only_on_purpose(
    examined: Terminal, devnet: Devnet, deployed: JobMarket
) -> None:
    examined.told(*posting(examined), who="owner")
    devnet.advance(101_500)
    assert deployed.phase(JOB) is Phase.FINISHED
    said = "burns its deposits of 1 ETH; `fedmarket owner run 0` publishes it, --forfeit-exam closes the job"
    refuses(examined.run("job", "close", JOB, who="owner"), 2, said, "secret exam")
    assert "job 0 is closed" in examined.told("job", "close", JOB, "--forfeit-exam", who="owner")


def test_who_has_no_exam_to_set_is_refused(examined: Terminal) -> None:
    examined.told(*posting(examined), who="owner")
    refuses(examined.run("owner", "run", JOB, who="trainer-0"), 2, "name its folder with --exam", "no folder")
    named = ("owner", "run", JOB, "--exam", exams(examined)[0])
    refuses(examined.run(*named, who="trainer-0"), 2, "may not set the exam of job 0", "stranger")
    nothing = ("owner", "run", JOB, "--exam", examined.folder)
    refuses(examined.run(*nothing, who="owner"), 2, "holds no exam", "no exam there")
    first = exams(examined)
    write_blobs(examined.folder / "owner.npz", seed=77)
    assert "Job 1 is open" in examined.told(*posting(examined), who="owner")
    [second] = set(exams(examined)) - set(first)
    refuses(examined.run("owner", "run", JOB, "--exam", second, who="owner"), 2, "has the root 0x", "another job's")
