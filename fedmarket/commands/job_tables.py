"""A job on the terminal: its terms, its rounds, its trainers, its money."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fedmarket.commands.amounts import duration, moment, money, short
from fedmarket.commands.exam_overview import ExamLine
from fedmarket.commands.job_overview import AttemptLine, JobOverview, Moment, TrainerLine
from fedmarket.commands.seat_overview import SeatOverview
from market.protocol.identifiers import Seat
from market.protocol.rounds import Phase
from market.protocol.rule_terms import MIN_ACCEPTED, ONE_Q16, RuleKind
from market.protocol.seat_draw import MAX_TICKETS
from market.protocol.staleness import discount_q16
from market.protocol.terms import NATIVE, NO_ROOT, JobTerms, PayMode
from market.replicas import IntervalFinding
from market.storage import Cid
from market.views import JobSummary

WIDE_COLUMNS = 110
"""From this width on addresses are shown whole."""

WHAT_NEXT = {
    Phase.AWAITING_AGGREGATOR: "waits for an aggregator to bond",
    Phase.ENROLMENT: "trainers enrol",
    Phase.COMMIT: "trainers train, and seal their updates",
    Phase.REVEAL: "trainers open their seals",
    Phase.EXAM: "the owner opens the exam",
    Phase.SETTLE: "the aggregator settles the round",
    Phase.STARVED: "too few commits: anyone may skip the round",
    Phase.OVERDUE: "not settled in time: anyone may expire the attempt",
    Phase.DISPUTED: "time stands still: attestors answer a dispute",
    Phase.FINISHED: "the rounds are over: claim, and close the job",
    Phase.CLOSED: "the job is closed; credits stay claimable",
}


def phase_text(now: Moment) -> str:
    """The phase, what it is for, and how long it lasts yet."""
    left = "" if now.left_s is None else f", {duration(now.left_s)} left"
    return f"{now.phase.name.lower().replace('_', ' ')}{left}: {WHAT_NEXT[now.phase]}"


def job_report(overview: JobOverview, console: Console) -> RenderableType:
    """Everything about one job."""
    parts: list[RenderableType] = [Text(f"Job {overview.id}  {overview.name}", style="bold"), _facts(overview)]
    sections = [
        ("Rounds", _rounds(overview.attempts, overview.terms)),
        ("Trainers", _trainers(overview.trainers, overview.terms, console.width >= WIDE_COLUMNS)),
        ("Escrow", _escrow(overview)),
    ]
    if overview.seats and overview.seats.waiting:
        sections.insert(2, ("Waiting for a seat", _waiting(overview.seats, overview.terms, console)))
    if overview.terms.exam.is_set:
        sections.insert(1, ("Exams", _exams(overview)))
    if overview.replicas:
        sections.insert(-1, ("Replicas", _replicas(overview)))
    for title, table in sections:
        parts += [Text(f"\n{title}", style="bold"), table]
    return Group(*parts)


@dataclass(frozen=True)
class JobLine:
    """One job in a list, as the chain has it or as a market's service tells it."""

    job: int
    name: str
    phase: str
    rounds_done: int
    rounds: int
    seats_taken: int
    seats: int
    reward_wei: int
    token: str

    @classmethod
    def of_overview(cls, overview: JobOverview) -> JobLine:
        """From the chain."""
        terms, state = overview.terms, overview.state
        return cls(
            job=overview.id,
            name=overview.name,
            phase=overview.moment.phase.name.lower(),
            rounds_done=min(state.round, terms.rounds),
            rounds=terms.rounds,
            seats_taken=state.seats_taken,
            seats=terms.seats,
            reward_wei=terms.round_reward_wei * terms.rounds,
            token=terms.token,
        )

    @classmethod
    def of_summary(cls, told: JobSummary) -> JobLine:
        """From a service."""
        return cls(
            job=told.job,
            name=told.name or "(its document is not in the market's store)",
            phase=told.phase,
            rounds_done=min(told.round, told.rounds),
            rounds=told.rounds,
            seats_taken=told.seats_taken,
            seats=told.seats,
            reward_wei=told.round_reward_wei * told.rounds,
            token=told.token,
        )


def job_list(lines: Iterable[JobLine]) -> Table:
    """One line a job."""
    table = _table(
        ("job", "right"), "name", "phase", ("rounds done", "right"), ("trainers", "right"), ("reward", "right")
    )
    for line in lines:
        table.add_row(
            str(line.job),
            Text(line.name),
            line.phase.replace("_", " "),
            f"{line.rounds_done} of {line.rounds}",
            f"{line.seats_taken}/{line.seats}",
            money(line.reward_wei, line.token),
        )
    return table


def terms_rows(terms: JobTerms) -> list[tuple[str, str]]:
    """A job's terms in words."""
    token = terms.token
    periods = [("commit", terms.commit_period_s), ("reveal", terms.reveal_period_s), ("exam", terms.exam.period_s)]
    periods.append(("settle", terms.settle_period_s))
    per_update = "" if terms.pay_mode is PayMode.POT else f", up to {money(terms.price_wei, token)} an update"
    rows = [
        ("rules", ", then ".join(_rule(rule.kind) for rule in terms.rules.rules) or "none: every update is accepted"),
        ("reward", f"{money(terms.round_reward_wei, token)} a round, as {terms.pay_mode.name.lower()}{per_update}"),
        (
            "aggregator",
            f"{money(terms.aggregator_fee_wei, token)} a round; bond {money(terms.aggregator_bond_wei, token)}",
        ),
        ("stake", f"{money(terms.trainer_stake_wei, token)} a trainer{_ticket_terms(terms)}"),
        ("seats", f"{terms.seats}, at least {terms.minimum_commits} commits a round"),
        ("periods", ", ".join(f"{name} {duration(s)}" for name, s in periods if s)),
        ("vesting", f"{duration(terms.vesting_period_s)} after a settlement"),
        ("first round", f"from {moment(terms.enrol_until_s)}"),
        ("deadline", moment(terms.deadline_s)),
    ]
    if terms.maximum_age:
        rows.append(("late updates", _age_terms(terms.maximum_age)))
    rows += _entry_rows(terms)
    if terms.exam.is_set:
        rows.insert(1, ("exam", _exam_terms(terms)))
    if terms.disputes.attestors:
        rows.append(("disputes", _dispute_terms(terms)))
    return rows if token == NATIVE else [*rows, ("token", token)]


def _age_terms(maximum_age: int) -> str:
    shares = ", ".join(f"{discount_q16(age) / ONE_Q16:.0%}" for age in range(1, maximum_age + 1))
    return f"from a model up to {maximum_age} rounds old; they weigh and earn, by age, {shares} of what they would"


def _ticket_terms(terms: JobTerms) -> str:
    if not terms.entry.draw_period_s:
        return ""
    return f", a ticket in the draw for each that is put down, up to {MAX_TICKETS}"


def _entry_rows(terms: JobTerms) -> list[tuple[str, str]]:
    """Who may take a seat, and how seats are given; nothing where anybody may, and who comes first sits."""
    entry, rows = terms.entry, []
    if entry.allow_root != NO_ROOT:
        rows.append(("open to", "the accounts alone that the spec names as its trainers"))
    if entry.paid_rounds:
        rows.append(("record", f"{entry.paid_rounds} rounds paid in jobs of {entry.patron}"))
    if entry.draw_period_s:
        rows.append(("draw", f"of seats, if more enrol than there are, from {moment(terms.draw_from_s)}"))
    if entry.cohort:
        rows.append(("cohort", f"{entry.cohort} seats, drawn anew for each attempt, train in it"))
    return rows


def _exam_terms(terms: JobTerms) -> str:
    deposit = f"one that is not opened costs the owner {money(terms.exam.deposit_wei, terms.token)}"
    examiner = "" if int(terms.exam.examiner, 16) == 0 else f"; set by {terms.exam.examiner}"
    return f"{terms.exam.slices} secret slices, one an attempt; {deposit}{examiner}"


def _dispute_terms(terms: JobTerms) -> str:
    disputes = terms.disputes
    who = f"{disputes.quorum} of {len(disputes.attestors)} attestors decide within {duration(disputes.answer_period_s)}"
    return f"{who}, for a bond of {money(disputes.bond_wei, terms.token)}: {', '.join(disputes.attestors)}"


def facts(rows: Iterable[tuple[str, str]]) -> RenderableType:
    """Names and values, side by side."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, Text(value))
    return Padding(grid, (0, 0, 0, 2), expand=False)


def seats_text(seats: Iterable[Seat]) -> str:
    """Seat numbers, or a dash."""
    return " ".join(map(str, seats)) or "-"


def _replication_rows(overview: JobOverview) -> list[tuple[str, str]]:
    """What the terms ask of replicas; nothing where they ask for none."""
    section = overview.document.spec.replication if overview.document else None
    if section is None:
        return []
    often = "every round" if section.every == 1 else f"every {section.every} rounds"
    shards = f"{len(section.shards)} shard{'s' if len(section.shards) > 1 else ''}"
    asked = f"{section.replicas} train alike on {shards} {often}; digests within {section.tolerance_bits} bits"
    return [("replicas", f"{asked}; {money(section.share)} a share, {money(section.stake_wei)} a stake")]


def _facts(overview: JobOverview) -> RenderableType:
    state, terms = overview.state, overview.terms
    now = [
        ("phase", phase_text(overview.moment)),
        ("rounds done", f"{min(state.round, terms.rounds)} of {terms.rounds}"),
        ("owner", state.owner),
        ("aggregators", ", ".join(overview.aggregators) or "none yet"),
        *_draw_rows(overview),
    ]
    sealed = ", sealed to those who take part" if overview.models_sealed else ""
    contents = [("document", overview.spec_cid), ("model", overview.model_name + sealed)]
    return facts([*now, *terms_rows(terms), *_replication_rows(overview), *contents])


def _draw_rows(overview: JobOverview) -> list[tuple[str, str]]:
    """How far the draw is, once it may begin."""
    draw, terms = overview.seats.draw if overview.seats else None, overview.terms
    if draw is None or overview.moment.now_s < terms.draw_from_s:
        return []
    if draw.is_decided:
        return [("drawn", f"by block {draw.block:,}, 0x{draw.seed.hex()}")]
    if overview.moment.now_s >= terms.enrol_until_s:
        return [("drawn", "no: nobody asked for it in time")]
    return [("drawn", f"by block {draw.block:,}, to come" if draw.block else "not yet: nobody has asked for it")]


def _rounds(lines: list[AttemptLine], terms: JobTerms) -> RenderableType:
    if not lines:
        return _nothing("no attempt has started")
    table = _table(
        ("round", "right"), ("attempt", "right"), "result", ("commits", "right"), ("reveals", "right"),
        "accepted seats", "excluded", ("paid", "right"),
    )  # fmt: skip
    for line in lines:
        table.add_row(
            str(line.round),
            str(line.attempt),
            Text(line.result, style=_STYLES.get(line.result, "")),
            str(line.committed),
            str(line.revealed),
            "" if line.accepted is None else " ".join(map(str, line.accepted)) or "nobody",
            ", ".join(f"{seat} {reason}" for seat, reason in line.excluded.items()),
            money(line.paid_wei, terms.token),
        )
    if all(line.accepted != () for line in lines):
        return table
    why = f"  nobody: no model is made of fewer than {MIN_ACCEPTED} updates, or of ones that weigh nothing"
    return Group(table, Text(why, style="dim"))


def _exams(overview: JobOverview) -> RenderableType:
    if not overview.attempts:
        return _nothing("no attempt has started")
    table = exam_table(overview.attempts, overview.terms.token)
    return Group(table, Text(f"  {_exam_publication(overview)}", style="dim"))


def exam_table(lines: Iterable[AttemptLine], token: str) -> Table:
    """One line an exam: each seat's record, which has to exceed twice what is chance in a mark, and its mark in this.

    In the first exam of a job a mark has to exceed half of that.
    """
    table = _table(
        ("round", "right"), ("attempt", "right"), "exam", ("to exceed", "right"), "record (mark) by seat", "failed"
    )  # fmt: skip
    for line in lines:
        exam = line.exam
        if exam is None:
            continue
        records = "  ".join(f"{seat}: {record:+.2f}{_mark(exam, seat)}" for seat, record in exam.records.items())
        lost = f", {money(exam.deposit_wei, token)} lost" if exam.deposit_wei else ""
        failed = "\n".join(f"{seat}: {why}" for seat, why in exam.failed.items())
        bound = "" if exam.line is None else f"{2 * exam.line:.2f}"
        state = Text(f"{exam.state}{lost}", style=_EXAM_STYLES.get(exam.state, "red"))
        table.add_row(str(line.round), str(line.attempt), state, bound, records, Text(failed, style="red"))
    return table


def _mark(exam: ExamLine, seat: Seat) -> str:
    return f" ({exam.marks[seat]:+.2f})" if seat in exam.marks else ""


def _exam_publication(overview: JobOverview) -> str:
    published = overview.history.published
    if published:
        return f"shown by the owner: {Cid.from_digest(published.content, 0)}"
    return "never shown by the owner" if overview.state.closed else "secret until the rounds are over"


def _trainers(lines: list[TrainerLine], terms: JobTerms, wide: bool) -> RenderableType:
    if not lines:
        return _nothing("nobody has enrolled")
    table = _table(
        ("seat", "right"), "address", "stake", ("accepted", "right"), ("score", "right"), ("earned", "right"),
        ("claimed", "right"),
    )  # fmt: skip
    for line in lines:
        table.add_row(
            str(line.seat),
            line.address if wide else short(line.address),
            _stake_text(line),
            str(line.accepted_rounds),
            f"{line.score:.3f}",
            money(line.earned_wei, terms.token),
            money(line.claimed_wei, terms.token),
        )
    return table


def _replicas(overview: JobOverview) -> RenderableType:
    """One line a replica of each interval, and one for each interval without a task."""
    seats = {line.address: line.seat for line in overview.trainers}
    table = _table(("round", "right"), ("task", "right"), "outcome", "replica", "seat", "finding", ("bits", "right"))
    for interval in overview.replicas:
        task = "-" if interval.task is None else str(interval.task)
        place = (str(interval.round), task, _outcome(interval))
        if not interval.replicas:
            table.add_row(*place, "", "", "", "")
        for replica in interval.replicas:
            found = Text(replica.verdict, style="red" if replica.is_found_out else "")
            bits = "" if replica.bits is None else str(replica.bits)
            table.add_row(*place, short(replica.address), str(seats.get(replica.address, "-")), found, bits)
    return table


def _outcome(interval: IntervalFinding) -> str:
    return "not asked for" if interval.task is None else interval.outcome.name.lower().replace("_", " ")


def _stake_text(line: TrainerLine) -> Text:
    if line.idle:
        return Text(f"{'in place' if line.staked else 'none'}, idle: free to take", style="yellow")
    return Text("in place") if line.staked else Text("none", style="red")


def _waiting(seats: SeatOverview, terms: JobTerms, console: Console) -> RenderableType:
    table = _table("address", ("stake", "right"), ("tickets", "right"), ("drew", "right"))
    for line in seats.waiting:
        table.add_row(
            line.address if console.width >= WIDE_COLUMNS else short(line.address),
            money(line.stake_wei, terms.token),
            str(line.tickets) if line.tickets else "-",
            "-" if line.number is None else f"{line.number:.4f}",
        )
    return table


def _escrow(overview: JobOverview) -> RenderableType:
    ledger, token = overview.ledger, overview.terms.token
    exams = [("  exams", ledger.exams_wei, "the owner's, for opening its exams")]
    disputes = [("  disputes", ledger.disputes_wei, "bonds of disputes, open or won")]
    table = _table("", ("amount", "right"), "what it is")
    for name, amount_wei, meaning in (
        ("deposited", ledger.deposited_wei, "everything that came in"),
        ("paid", ledger.paid_wei, "pay, fees and compensation that went out"),
        ("refunded", ledger.refunded_wei, "stakes, bonds and unused reward that went out"),
        ("burned", ledger.burned_wei, "out of everyone's reach"),
        ("locked", ledger.locked_wei, "still here, of which:"),
        ("  budget", ledger.budget_wei, "reward and fees of rounds to come"),
        ("  carry", ledger.carry_wei, "owed to trainers at the close"),
        ("  credits", ledger.credits_wei, "earned and not yet claimed"),
        ("  stakes", ledger.stakes_wei, "the trainers', seated or waiting"),
        ("  bonds", ledger.bonds_wei, "the aggregators'"),
        ("  refundable", ledger.refundable_wei, "the owner's to take"),
        *(exams if overview.terms.exam.is_set else []),
        *(disputes if overview.terms.disputes.attestors else []),
    ):
        table.add_row(name, money(amount_wei, token), Text(meaning, style="dim"))
    verdict = "deposited = paid + refunded + burned + locked" if ledger.is_balanced else "the sums do not balance"
    return Group(table, Text(f"  {verdict}", style="green" if ledger.is_balanced else "bold red"))


_EXAM_STYLES = {"opened": "green", "committed": "cyan", "none": "dim"}

_STYLES = {"settled": "green", "running": "cyan", "expired": "red", "undone": "red", "skipped": "yellow"}


def _rule(kind: RuleKind) -> str:
    return kind.name.lower()


def _nothing(what: str) -> RenderableType:
    return Text(f"  {what}", style="dim")


def _table(*columns: str | tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=True, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        if isinstance(column, tuple):
            table.add_column(column[0], justify="right", no_wrap=True)
        else:
            table.add_column(column)
    return table
