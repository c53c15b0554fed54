"""What an audit comes to: a verdict for each promise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from market.protocol.errors import FedmarketError
from market.protocol.identifiers import JobId

Verdict = Literal["ok", "unproven", "mismatch"]
"""`unproven`: nothing contradicts what the chain says, but not everything that would prove it is to be had any more."""

JOB = "job"
"""The subject of what is not about one attempt."""


@dataclass(frozen=True)
class Check:
    """One promise, looked at.

    Attributes:
        name: what kind of promise, for example "pay".
        subject: of what, for example "round 2, attempt 3".
        verdict: whether it was kept.
        detail: what was found, in one line; for a mismatch both values.
    """

    name: str
    subject: str
    verdict: Verdict
    detail: str

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts the promise."""
        return self.verdict != "mismatch"


@dataclass(frozen=True)
class AuditReport:
    """All checks of one job, as of one block.

    Attributes:
        job: the job's number.
        block_number: the block as of which everything was read.
        checks: in the order of the job's life.
    """

    job: JobId
    block_number: int
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no mismatch."""
        return self.first_mismatch is None

    @property
    def first_mismatch(self) -> Check | None:
        """The first check that failed, if one did."""
        return next((check for check in self.checks if not check.ok), None)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready object."""
        first = self.first_mismatch
        return {
            "job": self.job,
            "block_number": self.block_number,
            "ok": self.ok,
            "first_mismatch": None if first is None else asdict(first),
            "checks": [asdict(check) for check in self.checks],
        }


def judge(
    name: str, subject: str, problems: Iterable[str], detail: str | Callable[[], str], unproven: str = ""
) -> Check:
    """The verdict on one promise.

    Args:
        name: of the check.
        subject: of the check.
        problems: the first one is the mismatch. An error of this project that comes up while they are looked for is one
            as well: what the chain published can then not even be parsed.
        detail: what to say where there is no problem; a function is only called there.
        unproven: what could not be looked at, if anything.
    """
    try:
        problem = next(iter(problems), None)
    except FedmarketError as error:
        problem = str(error)
    if problem is not None:
        return Check(name, subject, "mismatch", problem)
    if unproven:
        return Check(name, subject, "unproven", unproven)
    return Check(name, subject, "ok", detail if isinstance(detail, str) else detail())


def differing(what: str, published: object, recomputed: object) -> Iterator[str]:
    """One problem if the two values are not the same."""
    if published != recomputed:
        yield f"{what} is {_shown(published)} on the chain, recomputed it is {_shown(recomputed)}"


def _shown(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
