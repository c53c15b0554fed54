"""A job's spec: one YAML file that a person can write, and the document made of it that everyone reads from storage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from market.protocol.allow_list import allow_root
from market.protocol.dispute_spec import DisputesSection
from market.protocol.errors import InvalidExam, InvalidJobSpec, InvalidModel
from market.protocol.exam import MAX_SECRET_SLICES
from market.protocol.exam_spec import ExamDocument, ExamSection
from market.protocol.identifiers import Wei
from market.protocol.json_text import parse_json
from market.protocol.manifest import ParameterManifest
from market.protocol.rule_terms import NO_FALLBACK, ONE_Q16, Rule, RuleKind, RuleTerms, Scoring, StepRule, Weighting
from market.protocol.spec_fields import Account, Amount, Fraction, PositiveFraction, Seconds, Section, Token, printable
from market.protocol.terms import NATIVE, NO_DISPUTES, NO_EXAM, NO_ROOT, JobTerms, PayMode

MAX_SPEC_BYTES = 256 * 1024
"""A published spec is one block of storage, so that its digest alone names it."""

FORMAT: Literal["fedmarket/job/1"] = "fedmarket/job/1"


class ModelSection(Section):
    """Which model is trained; its arguments also say what input it takes."""

    architecture: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    trainable: tuple[str, ...] = ("*",)
    """Patterns of parameter names; only what matches is trained and exchanged."""


class TrainingSection(Section):
    """What every trainer does in a round."""

    loss: str = "cross_entropy"
    epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    batch_size: Annotated[int, Field(ge=1, le=1 << 20)] = 32
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    """Largest gradient norm; 0 for no clipping."""


class UpdateSection(Section):
    """How updates become integers: one base count is 2^-scale_exponent."""

    scale_exponent: Annotated[int, Field(ge=0, le=30)] = 14
    initial_shift: Annotated[int, Field(ge=0, le=8)] = 0
    chunks: Annotated[int, Field(ge=1, le=64)] | None = None
    """Into how many parts the vector is cut to be committed to; where left out, the posting takes as few as will do."""


AUTO = "auto"
"""Written for the arguments of a norm bound that the posting of a job with an exam chooses."""


class NormBound(Section):
    """Drop updates longer than `norm` base counts, and those shorter than `least`."""

    norm: Annotated[int, Field(ge=1, lt=1 << 32)] | None
    """None until it is chosen, where the spec says `auto`."""
    least: Annotated[int, Field(ge=0, lt=1 << 32)] = 0

    @classmethod
    def around(cls, norm: int) -> NormBound:
        """The bounds for a job whose updates have about this norm: from a tenth of it to six times as much."""
        largest = (1 << 32) - 1
        return cls(norm=min(6 * norm, largest), least=min(norm, largest) // 10)


def _norm_bound(unverified_bound: Any) -> Any:
    return {"norm": None} if unverified_bound == AUTO else unverified_bound


class MedianCosine(Section):
    """Keep updates whose median semi-partial cosine with the others is more than chance."""


class NearestNeighbourMixing(Section):
    """Let the next rule decide on means of the nearest; it is `multi_krum` or `geometric_median`."""

    faults: Annotated[int, Field(ge=0, le=7)]


class GeometricMedian(Section):
    """Average at the point with the smallest sum of distances; two steps come within a thousandth of it."""

    steps: Annotated[int, Field(ge=1, le=32)] = 2


class CentredClipping(Section):
    """Clip updates to so many base counts around the last aggregate."""

    radius: Annotated[int, Field(ge=1, lt=1 << 32)]
    steps: Annotated[int, Field(ge=1, le=8)] = 1


class MultiKrum(Section):
    """Keep the updates closest to their neighbours (Blanchard et al. 2017)."""

    faults: Annotated[int, Field(ge=0, le=30)]
    keep: Annotated[int, Field(ge=0, le=64)] = 0


class ThreeSigma(Section):
    """Drop updates further from the mean than so many standard deviations."""

    deviations: Annotated[float, Field(gt=0, le=8)] = 3.0


class Exam(Section):
    """Keep updates whose semi-partial cosine with the round's exam is more than chance."""


class AcceptRule(Section):
    """One rule: exactly one of its names is given."""

    norm_bound: Annotated[NormBound | None, BeforeValidator(_norm_bound)] = None
    median_cosine: MedianCosine | None = None
    nearest_neighbour_mixing: NearestNeighbourMixing | None = None
    geometric_median: GeometricMedian | None = None
    centred_clipping: CentredClipping | None = None
    multi_krum: MultiKrum | None = None
    three_sigma: ThreeSigma | None = None
    exam: Exam | None = None

    def to_rule(self) -> Rule:
        """The rule as the contract holds it."""
        if self.norm_bound:
            return _norm_bound_rule(self.norm_bound)
        if self.nearest_neighbour_mixing:
            return Rule(RuleKind.NEAREST_NEIGHBOUR_MIXING, self.nearest_neighbour_mixing.faults)
        if self.geometric_median:
            return Rule(RuleKind.GEOMETRIC_MEDIAN, self.geometric_median.steps)
        if self.centred_clipping:
            return Rule(RuleKind.CENTRED_CLIPPING, self.centred_clipping.radius, self.centred_clipping.steps)
        if self.multi_krum:
            return Rule(RuleKind.MULTI_KRUM, self.multi_krum.faults, self.multi_krum.keep)
        if self.three_sigma:
            return Rule(RuleKind.THREE_SIGMA, round(self.three_sigma.deviations * 256))
        if self.exam:
            return Rule(RuleKind.EXAM)
        return Rule(RuleKind.MEDIAN_COSINE)


def _norm_bound_rule(bound: NormBound) -> Rule:
    if bound.norm is None:
        raise InvalidJobSpec("rules.accept", f"norm_bound is {AUTO}, expected the norms that its posting chose")
    return Rule(RuleKind.NORM_BOUND, bound.norm, bound.least)


def _one_rule(unverified_rule: Any) -> Any:
    """Let a rule without arguments be written as its bare name, and name what is known where it is not."""
    known = ", ".join(AcceptRule.model_fields)
    rule = {unverified_rule: {}} if isinstance(unverified_rule, str) else unverified_rule
    if not isinstance(rule, Mapping) or len(rule) != 1 or next(iter(rule)) not in AcceptRule.model_fields:
        raise ValueError(f"expected one rule of {known}, got {unverified_rule!r}")
    name, arguments = next(iter(rule.items()))
    return {name: arguments or {}}


class StepSection(Section):
    """How the next round's step follows from this one."""

    rule: Literal["constant", "decay", "agreement"] = "constant"
    factor: PositiveFraction = 1.0
    threshold: Fraction = 0.0


class RulesSection(Section):
    """How a round is decided; docs/rules.md says what each value does."""

    accept: Annotated[tuple[Annotated[AcceptRule, BeforeValidator(_one_rule)], ...], Field(max_length=3)] = (
        AcceptRule(median_cosine=MedianCosine()),
    )
    significance: Annotated[float, Field(ge=0, lt=256)] = 3.0
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    score: Literal["leave_one_out_cosine", "cosine_to_mean", "equal", "exam", "shapley"] = "leave_one_out_cosine"
    cap: PositiveFraction = 1.0
    weighting: Literal["crowding", "equal", "rule"] = "crowding"
    server_rate: Annotated[float, Field(gt=0, le=4)] = 1.0
    norm_floor: Annotated[int, Field(ge=0, lt=1 << 32)] | None = None
    """In base counts; none is 0, but for a job with an exam, whose posting puts one training's norm there."""
    fallback_faults: Annotated[int, Field(ge=0, le=30)] | None = None
    """f of the unpaid Multi-Krum that stands in where a round would accept nobody; none: the model stays."""
    step: StepSection = StepSection()

    @property
    def needs_exam(self) -> bool:
        """Whether a rule or the score asks for an exam."""
        return self.score in ("exam", "shapley") or any(rule.exam for rule in self.accept)

    @property
    def needs_norm(self) -> bool:
        """Whether a norm bound is yet to be chosen."""
        return any(rule.norm_bound is not None and rule.norm_bound.norm is None for rule in self.accept)

    def with_norm(self, norm: int) -> RulesSection:
        """These rules, with what they leave open about norms chosen for updates of about this norm, in base counts."""
        accept = tuple(
            AcceptRule(norm_bound=NormBound.around(norm))
            if rule.norm_bound is not None and rule.norm_bound.norm is None
            else rule
            for rule in self.accept
        )
        floor = min(norm, (1 << 32) - 1) if self.norm_floor is None else self.norm_floor
        return self.model_copy(update={"accept": accept, "norm_floor": floor})

    def to_terms(self, dimension: int) -> RuleTerms:
        """The rules as the contract holds them; fractions are rounded to the nearest representable value.

        Raises:
            InvalidJobSpec: a norm bound is yet to be chosen.
        """
        return RuleTerms(
            dimension=dimension,
            scoring=Scoring[self.score.upper()],
            weighting=Weighting[self.weighting.upper()],
            significance_q8=round(self.significance * 256),
            floor_q16=round(self.floor * ONE_Q16),
            cap_q16=round(self.cap * ONE_Q16),
            server_rate_q16=round(self.server_rate * ONE_Q16),
            norm_floor=self.norm_floor or 0,
            fallback_faults=NO_FALLBACK if self.fallback_faults is None else self.fallback_faults,
            step_rule=StepRule[self.step.rule.upper()],
            step_factor_q16=round(self.step.factor * ONE_Q16),
            step_threshold_q16=round(self.step.threshold * ONE_Q16),
            rules=tuple(rule.to_rule() for rule in self.accept),
        )


class PeriodsSection(Section):
    """How long each phase takes, in seconds."""

    enrol_s: Seconds
    commit_s: Seconds
    reveal_s: Seconds
    settle_s: Seconds
    vesting_s: Seconds
    deadline_s: Seconds
    """From the posting to the moment from which on anyone may close the job."""
    confirmations: Annotated[int, Field(ge=0, le=1000)] = 1
    """Blocks after a transaction's own before a client believes it."""
    block_time_s: Annotated[int, Field(ge=1, le=3600)] = 12


class MoneySection(Section):
    """What is locked, staked and paid."""

    token: Token = NATIVE
    round_reward: Amount
    aggregator_fee: Amount = Wei(0)
    trainer_stake: Amount
    aggregator_bond: Amount
    compensation: Amount = Wei(0)


class PaySection(Section):
    """`pot` divides each round's reward by score; `price` pays each accepted update up to a price."""

    mode: Literal["pot", "price"] = "pot"
    price: Amount = Wei(0)
    score_target: Fraction = 0.0


class JobSpec(Section):
    """Everything that an owner decides about a job."""

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(printable)]
    description: Annotated[str, Field(max_length=10_000)] = ""
    model: ModelSection
    training: TrainingSection = TrainingSection()
    update: UpdateSection = UpdateSection()
    rules: RulesSection = RulesSection()
    rounds: Annotated[int, Field(ge=1, lt=1 << 16)]
    seats: Annotated[int, Field(ge=3, le=64)]
    minimum_commits: Annotated[int, Field(ge=3, le=64)] = 3
    trainers: Annotated[tuple[Account, ...], Field(min_length=1, max_length=1000)] | None = None
    """Who may take a seat; anybody where it is left out."""
    periods: PeriodsSection
    money: MoneySection
    pay: PaySection = PaySection()
    exam: ExamSection | None = None
    disputes: DisputesSection | None = None
    """Who answers disputes of fact; where left out, nobody does, and nothing can be disputed."""

    @property
    def exam_slices(self) -> int:
        """How many slices the exam has, the public one included; 0 without an exam."""
        return 0 if self.exam is None else 1 + self.rounds + self.exam.spares

    def to_terms(self, dimension: int, now_s: int, exam_root: bytes = NO_ROOT) -> JobTerms:
        """The terms that the contract holds, for a job posted at this block timestamp.

        Args:
            dimension: d.
            now_s: the block timestamp.
            exam_root: of the exam's slices; zeros without an exam.

        Raises:
            InvalidTerms: values that are well formed but cannot hold together.
        """
        periods, money = self.periods, self.money
        terms = JobTerms(
            token=money.token,
            seats=self.seats,
            minimum_commits=self.minimum_commits,
            rounds=self.rounds,
            pay_mode=PayMode[self.pay.mode.upper()],
            scale_exponent=self.update.scale_exponent,
            initial_shift=self.update.initial_shift,
            chunks=self.update.chunks or 1,
            enrol_until_s=now_s + periods.enrol_s,
            deadline_s=now_s + periods.deadline_s,
            commit_period_s=periods.commit_s,
            reveal_period_s=periods.reveal_s,
            settle_period_s=periods.settle_s,
            vesting_period_s=periods.vesting_s,
            confirmation_period_s=periods.confirmations * periods.block_time_s,
            round_reward_wei=money.round_reward,
            aggregator_fee_wei=money.aggregator_fee,
            trainer_stake_wei=money.trainer_stake,
            aggregator_bond_wei=money.aggregator_bond,
            compensation_wei=money.compensation,
            price_wei=self.pay.price,
            score_target_q32=round(self.pay.score_target * (1 << 32)),
            allow_root=allow_root(self.trainers or ()),
            exam=NO_EXAM if self.exam is None else self.exam.to_terms(self.rounds, exam_root),
            disputes=NO_DISPUTES if self.disputes is None else self.disputes.to_terms(money.round_reward),
            rules=self.rules.to_terms(dimension),
        )
        terms.check()
        return terms

    def with_norm(self, norm: int) -> JobSpec:
        """The same job, with what its rules leave open about norms chosen for updates of about this norm."""
        return self.model_copy(update={"rules": self.rules.with_norm(norm)})

    def with_chunks(self, chunks: int) -> JobSpec:
        """The same job, its vector cut into so many parts."""
        return self.model_copy(update={"update": self.update.model_copy(update={"chunks": chunks})})


def parse_spec(unverified_spec: Any) -> JobSpec:
    """Make a spec of parsed YAML or JSON.

    Raises:
        InvalidJobSpec: the first field that is missing, unknown, of another type or out of range; or an exam that no
            rule asks for, and a rule that asks for one where there is none.
    """
    try:
        spec = JobSpec.model_validate(unverified_spec)
    except ValidationError as error:
        raise _first_problem(error) from error
    _check_exam(spec)
    _check_trainers(spec)
    if spec.disputes is not None:
        spec.disputes.check()
    return spec


def load_spec(path: Path) -> JobSpec:
    """Read a spec from a YAML file.

    Raises:
        InvalidJobSpec: the file cannot be read, is not YAML, or a field is wrong.
    """
    try:
        unverified_spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidJobSpec(str(path), f"cannot be read ({error})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidJobSpec(str(path), f"is not YAML: {where}{getattr(error, 'problem', error)}") from error
    return parse_spec(unverified_spec)


def _first_problem(error: ValidationError) -> InvalidJobSpec:
    problem = error.errors()[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return InvalidJobSpec(field, "is missing")
    if problem["type"] == "model_type":
        return InvalidJobSpec(field or "the file", f"expected a mapping of fields, got {problem['input']!r}")
    if problem["type"] == "extra_forbidden":
        return InvalidJobSpec(field, "is not a known field")
    shown = "" if problem["type"] == "value_error" else f", got {problem['input']!r}"
    return InvalidJobSpec(field or "the file", f"{message[0].lower()}{message[1:]}{shown}")


def _check_trainers(spec: JobSpec) -> None:
    """See that who may take a seat can make a round."""
    if spec.trainers is None:
        return
    accounts = set(spec.trainers)
    if len(accounts) < len(spec.trainers):
        raise InvalidJobSpec("trainers", f"names {len(spec.trainers)} accounts, of which only {len(accounts)} differ")
    if len(accounts) < spec.minimum_commits:
        raise InvalidJobSpec(
            "trainers",
            f"names {len(accounts)} accounts, expected at least {spec.minimum_commits}, the minimum of a round",
        )


def _check_exam(spec: JobSpec) -> None:
    """See that there is an exam if, and only if, something asks for one, and that its book will fit one block."""
    asking = "the rule `exam` and the scores `exam` and `shapley`"
    if spec.exam is None:
        if spec.rules.needs_exam:
            raise InvalidJobSpec("exam", f"is missing: {asking} need one, of period_s and deposit at least")
        if spec.rules.needs_norm:
            raise InvalidJobSpec(
                "rules.accept", f"norm_bound is {AUTO}, expected norms: there is no exam to measure by"
            )
        return
    if not spec.rules.needs_exam:
        raise InvalidJobSpec("exam", f"is not used: only {asking} look at it")
    secret = spec.exam_slices - 1
    if secret > MAX_SECRET_SLICES:
        raise InvalidJobSpec(
            "exam.spares",
            f"{spec.rounds} rounds and {spec.exam.spares} spares are {secret} slices, expected at most "
            f"{MAX_SECRET_SLICES}",
        )


class JobDocument(Section):
    """What storage holds of a job: the spec and what follows from it. Its digest is on-chain.

    Attributes:
        spec: the owner's decisions.
        manifest: the layout of the parameter vector.
        initial_model: CID of M_0, int64 little-endian in units of 2^-(scale_exponent + 16).
        exam: root and public slice of the exam, where the spec has one.
    """

    format: Literal["fedmarket/job/1"] = FORMAT
    spec: JobSpec
    manifest: list[dict[str, Any]]
    initial_model: str
    exam: ExamDocument | None = None

    def to_terms(self, now_s: int) -> JobTerms:
        """The terms that the contract holds, for a job posted at this block timestamp.

        Raises:
            InvalidTerms: values that are well formed but cannot hold together.
        """
        root = NO_ROOT if self.exam is None else self.exam.root_bytes
        return self.spec.to_terms(self.parameters.dimension, now_s, root)

    @property
    def parameters(self) -> ParameterManifest:
        """The manifest, parsed."""
        return ParameterManifest.from_json(self.manifest)

    def to_bytes(self) -> bytes:
        """The canonical JSON: sorted keys, no white space.

        Raises:
            InvalidJobSpec: longer than one block of storage.
        """
        data = json.dumps(
            self.model_dump(mode="json", exclude_none=True), sort_keys=True, separators=(",", ":")
        ).encode()
        if len(data) > MAX_SPEC_BYTES:
            raise InvalidJobSpec(
                "the document", f"has {len(data)} bytes with its manifest, at most {MAX_SPEC_BYTES} fit"
            )
        return data

    @classmethod
    def from_bytes(cls, unverified_data: bytes) -> JobDocument:
        """Parse what storage returned.

        Raises:
            InvalidJobSpec: not JSON, or a field is wrong; the manifest is checked, too, and the exam's public slice.
        """
        try:
            document = cls.model_validate(parse_json(unverified_data))
            _ = document.parameters
            _check_exam(document.spec)
            document.check_exam()
        except (ValueError, InvalidModel, InvalidExam) as error:
            if isinstance(error, ValidationError):
                raise _first_problem(error) from error
            raise InvalidJobSpec("the document", str(error)) from error
        if document.spec.rules.needs_norm:
            raise InvalidJobSpec("rules.accept", f"norm_bound is {AUTO}, expected the norms that its posting chose")
        return document

    def check_exam(self) -> None:
        """See that there is an exam where the spec has one, and that its public slice is under its root.

        Raises:
            InvalidExam: naming what was expected.
        """
        if (self.exam is None) != (self.spec.exam is None):
            raise InvalidExam(
                f"the spec has {'no' if self.spec.exam is None else 'an'} exam, but its document "
                f"{'none' if self.exam is None else 'one'}"
            )
        if self.exam is not None:
            self.exam.check(self.spec.exam_slices)
