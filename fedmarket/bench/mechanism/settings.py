"""Under which terms jobs are simulated, and what things cost: every number that the figures depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from fedmarket.bench.mechanism.task import NORM
from market.protocol.rule_terms import ONE_Q16, Rule, RuleKind, RuleTerms, Scoring
from market.protocol.terms import NATIVE, NO_DISPUTES, NO_EXAM, DisputeTerms, EntryTerms, ExamTerms, JobTerms, PayMode

DIMENSION = 1024
ROUNDS = 8
SPARE_ATTEMPTS = 4
"""So many attempts can fail before the deadline leaves no time for all rounds."""
SEATS = 16
FEW_SEATS = 9
"""As many as there are honest trainers: whoever else comes waits, or is not in the cohort."""
MINIMUM_COMMITS = 5

REWARD_WEI = 5 * 10**16
FEE_WEI = REWARD_WEI // 10
DEPOSIT_WEI = REWARD_WEI // 2
ATTESTED_DEPOSIT_WEI = 3 * REWARD_WEI // 2
"""The least that a contract takes where attestors can show a false exam."""
COMPENSATION_WEI = 3 * 10**14
PRICE_WEI = REWARD_WEI // SEATS
"""The most that a contract takes."""
SCORE_TARGET = 0.012
"""What honest updates of these tasks score or exceed."""

GAS_PRICE_WEI = 10**9
TRAINING_WEI = REWARD_WEI // 50
"""What one honest training costs its trainer."""
PROVING_WEI = REWARD_WEI // 100
"""What deciding and proving a round costs its aggregator."""
MODEL_WEI = REWARD_WEI + FEE_WEI
"""What a round's progress is worth to the owner: what it pays for it."""

NORM_BOUND = (int(6 * NORM), int(NORM / 10))
ENROL_S, COMMIT_S, REVEAL_S, EXAM_S, SETTLE_S, VESTING_S, CONFIRMATION_S = 2_000, 2_000, 1_000, 1_000, 2_000, 500, 12
DRAW_S = 1_000
"""The second half of enrolment, where seats are drawn."""

ATTESTORS = 3
QUORUM = 2
ANSWER_S = 1_000
DISPUTE_BOND_WEI = REWARD_WEI // 5
"""Nearly two honest shares of a round."""


def attestor_account(place: int) -> LocalAccount:
    """The key of an attestor, whose answers are signed for real."""
    account: LocalAccount = Account.from_key(keccak(text=f"fedmarket/simulation/attestor/{place}"))
    return account


def dispute_terms() -> DisputeTerms:
    """Three attestors, two of whom decide."""
    addresses = [attestor_account(place).address for place in range(ATTESTORS)]
    return DisputeTerms(QUORUM, ANSWER_S, DISPUTE_BOND_WEI, tuple(sorted(addresses, key=lambda one: int(one, 16))))


ROOT = b"\x01" * 32
"""Of slices that nobody looks at: what an exam asks is drawn by the task."""


@dataclass(frozen=True)
class Setting:
    """One kind of job.

    Attributes:
        name: by which it is chosen.
        title: for tables.
        rules: how a round is decided.
        pay_mode: how its reward becomes pay.
        attested: whether there are attestors before whom facts can be disputed.
        seats: how many there are.
        drawn: whether seats are drawn by stake, where more come than there are.
        cohort: how many of them train in an attempt; 0: all.
    """

    name: str
    title: str
    rules: RuleTerms
    pay_mode: PayMode
    attested: bool = False
    seats: int = SEATS
    drawn: bool = False
    cohort: int = 0

    @property
    def deposit_wei(self) -> int:
        """What the owner puts up for a round's exam."""
        return ATTESTED_DEPOSIT_WEI if self.attested else DEPOSIT_WEI

    def terms(self, now_s: int) -> JobTerms:
        """The job's terms, stakes and bonds at the least that the contract takes, as the chain's clock stands now."""
        exam = ExamTerms(ROOT, NATIVE, EXAM_S, ROUNDS + SPARE_ATTEMPTS, self.deposit_wei)
        is_priced = self.pay_mode is PayMode.PRICE
        period_s = COMMIT_S + REVEAL_S + SETTLE_S + (EXAM_S if self.rules.needs_exam else 0)
        return JobTerms(
            token=NATIVE,
            seats=self.seats,
            minimum_commits=MINIMUM_COMMITS,
            rounds=ROUNDS,
            pay_mode=self.pay_mode,
            scale_exponent=14,
            initial_shift=0,
            chunks=1,
            enrol_until_s=now_s + ENROL_S,
            deadline_s=now_s + ENROL_S + (ROUNDS + SPARE_ATTEMPTS) * period_s,
            commit_period_s=COMMIT_S,
            reveal_period_s=REVEAL_S,
            settle_period_s=SETTLE_S,
            vesting_period_s=VESTING_S,
            confirmation_period_s=CONFIRMATION_S,
            round_reward_wei=REWARD_WEI,
            aggregator_fee_wei=FEE_WEI,
            trainer_stake_wei=PRICE_WEI if is_priced else 2 * REWARD_WEI,
            aggregator_bond_wei=REWARD_WEI,
            compensation_wei=COMPENSATION_WEI,
            price_wei=PRICE_WEI if is_priced else 0,
            score_target_q32=int(SCORE_TARGET * 2**32) if is_priced else 0,
            entry=EntryTerms(draw_period_s=DRAW_S if self.drawn else 0, cohort=self.cohort),
            exam=exam if self.rules.needs_exam else NO_EXAM,
            disputes=dispute_terms() if self.attested else NO_DISPUTES,
            rules=self.rules,
        )


_BOUND = Rule(RuleKind.NORM_BOUND, *NORM_BOUND)
EXAMINED = RuleTerms(
    dimension=DIMENSION,
    scoring=Scoring.EXAM,
    floor_q16=ONE_Q16 // 10,
    cap_q16=ONE_Q16 // 5,
    norm_floor=int(NORM),
    rules=(_BOUND, Rule(RuleKind.EXAM)),
)
"""As `fedmarket job example` has them."""
AGREEING = RuleTerms(dimension=DIMENSION, rules=(_BOUND, Rule(RuleKind.MEDIAN_COSINE)), norm_floor=int(NORM))
"""As `fedmarket job example --without-exam` has them, with the same bound on norms."""

SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("pot", "exam, pot", EXAMINED, PayMode.POT),
        Setting("price", "exam, price", EXAMINED, PayMode.PRICE),
        Setting("uncapped", "exam without a cap, pot", replace(EXAMINED, cap_q16=ONE_Q16), PayMode.POT),
        Setting("court", "exam, pot, attestors", EXAMINED, PayMode.POT, attested=True),
        Setting("drawn", "exam, pot, attestors, seats drawn", EXAMINED, PayMode.POT, attested=True, drawn=True),
        Setting("full", "exam, pot, attestors, nine seats", EXAMINED, PayMode.POT, attested=True, seats=FEW_SEATS),
        Setting(
            "cohort",
            "exam, pot, attestors, seats drawn, and nine of them in each round",
            EXAMINED,
            PayMode.POT,
            attested=True,
            drawn=True,
            cohort=FEW_SEATS,
        ),
        Setting("median", "median cosine, pot", AGREEING, PayMode.POT),
    )
}
"""Every kind of job by name."""
