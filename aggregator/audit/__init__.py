"""Replays a job from the chain and the storage alone, and says of every promise whether it was kept."""

from __future__ import annotations

from aggregator.audit.exam_evidence import ExamGrader
from aggregator.audit.job_audit import audit_job
from aggregator.audit.report import AuditReport, Check, Verdict
from aggregator.audit.updates import Openings

__all__ = ["AuditReport", "Check", "ExamGrader", "Openings", "Verdict", "audit_job"]
