"""What the audit's command prints, and the status that it ends with."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

import aggregator.audit
from aggregator.audit import AuditReport, Check
from fedmarket.cli import main
from fedmarket.connection import Network
from market.protocol.identifiers import JobId
from market.protocol.terms import NO_EXAM

OK = Check("pay", "round 0, attempt 0", "ok", "7 wei paid")
UNPROVEN = Check("gram", "round 0, attempt 0", "unproven", "2 updates are gone")
MISMATCH = Check("conservation", "job", "mismatch", "locked is 7, recomputed it is 8")


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command on a job of which these checks come out."""

    def run(*checks: Check, arguments: tuple[str, ...] = ()) -> Result:
        def audit_job(*network_and_job: Any, progress: Callable[[Check], None], **nothing: None) -> AuditReport:
            for check in checks:
                progress(check)
            return AuditReport(JobId(3), 7, checks)

        terms = SimpleNamespace(rules=SimpleNamespace(dimension=4), chunks=1, exam=NO_EXAM)
        market = SimpleNamespace(terms=lambda job: terms)
        network = SimpleNamespace(market=market, consensus=None, store=None, srs=lambda dimension, chunks: None)
        network.patient, network.job_store = lambda: network, lambda job: None
        monkeypatch.setattr(aggregator.audit, "audit_job", audit_job)
        monkeypatch.setattr(Network, "connect", lambda options: network)
        return CliRunner().invoke(main, ["audit", "3", *arguments])

    return run


def test_every_verdict_is_one_line(audit: Callable[..., Result]) -> None:
    result = audit(OK, UNPROVEN)

    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [["ok", "pay"], ["unproven", "gram"]]
    assert result.stderr == ""


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_mismatch_is_named_and_is_status_1(audit: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    result = audit(OK, MISMATCH, arguments=arguments)

    assert result.exit_code == 1
    named = "mismatch in conservation, job: locked is 7, recomputed it is 8"
    assert result.stderr == f"fedmarket: error: audit of job 3: {named}\n"


def test_the_report_is_json_and_nothing_else(audit: Callable[..., Result]) -> None:
    report = json.loads(audit(OK, UNPROVEN, arguments=("--json",)).stdout)

    assert report["ok"] is True
    assert [check["verdict"] for check in report["checks"]] == ["ok", "unproven"]
