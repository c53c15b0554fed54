"""Tasks on a real chain from opening to money, and what an audit from the events alone says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmarket.consensus_upkeep import consensus_upkeep
from fedmarket.devnet import Devnet
from market.chain import consensus_events
from market.chain.connection import Chain
from market.chain.consensus_events import ConsensusEvent, Credited, OutputsRevealed, PanelSettled, TaskSeatTaken
from market.chain.consensus_records import SeatState, TaskPhase
from market.chain.deployment import Deployment
from market.chain.output_consensus import OutputConsensus
from market.protocol.consensus import Outcome
from market.protocol.errors import ChainError, ContractRevert, WrongChain
from market.protocol.generation import canary_commitment, claim_commitment
from market.protocol.identifiers import Digest, TaskId, Wei
from market.protocol.seat_draw import drawn_number
from market.task_audit import MISMATCH, OK, UNPROVEN, TaskReport, audit_task
from market.task_history import TaskHistory
from market.task_money import Reckoning
from tests.integration.conftest import Actors
from tests.integration.marketplace import ON_ANVIL
from tests.integration.panels import RIGHT, SALT, SHARE_WEI, UNIT_WEI, VOID, WRONG, Panels, near

pytestmark = ON_ANVIL

SITTERS = ("ann", "bob", "cem")
MORE = tuple(f"verifier {number}" for number in range(7))


@pytest.fixture
def panels(devnet: Devnet, deployment: Deployment, chain: Chain, actors: Actors) -> Panels:
    return Panels(devnet, deployment.consensus_on(chain), actors)


@pytest.fixture
def opened(panels: Panels) -> Panels:
    """A task for three, in a pool of three."""
    panels.open_pool(SITTERS)
    panels.open_task()
    return panels


def audited(panels: Panels) -> TaskReport:
    report = audit_task(panels.consensus, panels.task)
    assert report.first_mismatch is None, report.first_mismatch
    assert all(check.verdict == OK for check in report.checks)
    assert panels.consensus.ledger().is_balanced
    return report


def test_three_who_agree_are_paid_and_the_whole_of_it_can_be_replayed(opened: Panels) -> None:
    opened.play({"ann": RIGHT, "bob": near(RIGHT, 3), "cem": near(RIGHT, 6)})
    opened.settle()
    assert opened.consensus.state(opened.task).phase is TaskPhase.APPEAL
    opened.finish()

    state, panel = opened.consensus.state(opened.task), opened.consensus.panel(opened.task, 0)
    assert (state.outcome, state.phase) == (Outcome.ACCEPTED, TaskPhase.FINISHED)
    assert (panel.clique, panel.medoid, panel.accepted_samples) == (0b111, 1, 0b111)
    assert [seat.state for seat in panel.seats] == [SeatState.REVEALED] * 3
    assert opened.credits(*SITTERS) == [SHARE_WEI] * 3
    names = {check.name for check in audited(opened).checks}
    assert names == {"terms", "draw", "seat", "commit", "seal", "settlement", "decision", "penalties", "credit", "end"}


def test_a_lazy_one_and_a_silent_one_lose_a_unit_each(panels: Panels) -> None:
    panels.open_pool([*SITTERS, "dee", "eve"])
    panels.open_task(verifiers=5)
    panels.play({"ann": RIGHT, "bob": WRONG, "cem": RIGHT, "dee": None, "eve": near(RIGHT, 1)})
    panels.devnet.advance_to(panels.panel().reveal_until_s)
    panels.settle()
    panels.finish()

    assert [panels.consensus.verifier(panels.pool, panels.address(name)).units for name in ("bob", "dee")] == [1, 1]
    assert panels.credits("ann", "bob", "cem", "dee", "eve") == [SHARE_WEI, 0, SHARE_WEI, 0, SHARE_WEI]
    assert panels.consensus.ledger().burned_wei == 2 * (UNIT_WEI + SHARE_WEI)
    audited(panels)


def test_void_pays_a_quarter_and_the_owner_gets_the_rest(opened: Panels) -> None:
    opened.play({"ann": VOID, "bob": VOID, "cem": RIGHT})
    opened.settle()
    opened.finish()

    quarter = SHARE_WEI // 4
    assert opened.consensus.state(opened.task).outcome is Outcome.VOID
    assert opened.credits("ann", "bob", "cem", "owner") == [quarter, quarter, 0, 3 * (SHARE_WEI - quarter)]
    assert opened.consensus.verifier(opened.pool, opened.address("cem")).units == 2
    audited(opened)


def test_without_a_majority_twice_the_owner_has_the_reward_back(panels: Panels) -> None:
    panels.open_pool([*SITTERS, *MORE[:3]])
    panels.open_task()
    far = near(RIGHT, 60)
    panels.play({"ann": RIGHT, "bob": WRONG, "cem": far})
    panels.settle()
    assert panels.consensus.state(panels.task).panel == 1
    panels.play({MORE[0]: RIGHT, MORE[1]: WRONG, MORE[2]: far})
    panels.settle()

    state = panels.consensus.state(panels.task)
    assert (state.phase, state.outcome) == (TaskPhase.FINISHED, Outcome.NO_MAJORITY)
    assert panels.credits("owner", "ann") == [3 * SHARE_WEI, 0]
    assert sum(check.name == "decision" for check in audited(panels).checks) == 2


def test_a_panel_that_does_not_fill_up_is_drawn_again_and_bars_nobody(opened: Panels) -> None:
    opened.draw()
    opened.seat(SITTERS[:2])
    opened.settle()
    assert opened.consensus.verifier(opened.pool, opened.address("ann")).locked == 0
    opened.play(dict.fromkeys(SITTERS, RIGHT))
    opened.settle()
    opened.finish()

    assert opened.credits(*SITTERS) == [SHARE_WEI] * 3
    audited(opened)


@pytest.mark.parametrize("truth", [RIGHT, WRONG])
def test_an_appeal_decides_for_good_and_who_is_overturned_pays_it(panels: Panels, truth: tuple[bytes, ...]) -> None:
    panels.open_pool([*SITTERS, *MORE])
    panels.open_task()
    panels.play({"ann": RIGHT, "bob": RIGHT, "cem": WRONG})
    panels.settle()
    bond = panels.terms().appeal_bond_wei
    panels.send("cem", panels.consensus.appeal(panels.task, bond))
    panels.play({name: near(truth, number % 3) for number, name in enumerate(MORE)})
    panels.settle()
    panels.finish()

    assert panels.credits(*MORE) == [SHARE_WEI] * 7
    overturned = truth == WRONG
    cost = 7 * SHARE_WEI
    back = min(2 * (UNIT_WEI + SHARE_WEI), cost) if overturned else 0
    assert panels.credits("ann", "bob") == ([0, 0] if overturned else [SHARE_WEI] * 2)
    assert panels.credits("cem") == [bond - cost + back + (SHARE_WEI if overturned else 0)]
    assert any(check.name == "judgement" for check in audited(panels).checks)


def test_an_appeal_that_nobody_sits_for_changes_nothing_and_the_bond_comes_back(panels: Panels) -> None:
    panels.open_pool([*SITTERS, *MORE])
    panels.open_task()
    panels.play(dict.fromkeys(SITTERS, RIGHT))
    panels.settle()
    bond = panels.terms().appeal_bond_wei
    panels.send("owner", panels.consensus.appeal(panels.task, bond))
    panels.draw()
    panels.seat(MORE[:6])
    panels.settle()
    panels.finish()

    assert panels.credits("owner", *SITTERS) == [bond, *[SHARE_WEI] * 3]
    audited(panels)


def test_canaries_and_a_claim_are_opened_and_count(panels: Panels) -> None:
    panels.open_pool(SITTERS, slack_permille=249)
    samples = 8
    right = tuple(bytes([0x20 + sample]) * 32 for sample in range(samples))
    guess = (WRONG[0], *right[1:])
    canaries = {0: right[0]}
    worker = panels.address("worker")
    panels.open_task(
        samples=samples,
        canaries=canary_commitment(canaries, SALT),
        worker=worker,
        worker_reward_wei=Wei(77),
        claim=claim_commitment(near(right, 2), SALT),
    )
    panels.play({"ann": right, "bob": guess, "cem": near(right, 1)})
    assert panels.consensus.state(panels.task).phase is TaskPhase.REVEAL
    panels.send("owner", panels.consensus.open_canaries(panels.task, canaries, SALT))
    panels.send("worker", panels.consensus.open_claim(panels.task, near(right, 2), SALT))
    panels.settle()
    panels.finish()

    assert panels.consensus.panel(panels.task, 0).clique == 0b101
    assert panels.credits("ann", "bob", "worker") == [SHARE_WEI, 0, 77]
    assert {"canaries", "claim"} <= {check.name for check in audited(panels).checks}
    for event in panels.consensus.events(panels.task):
        if isinstance(event, consensus_events.CanariesOpened | consensus_events.ClaimOpened):
            node = Forged(panels.consensus.chain, panels.consensus.address, first_block=panels.consensus.first_block)
            early = audit_task(node.forge(event, block_number=1), panels.task).first_mismatch
            assert early is not None
            assert early.name in ("canaries", "claim")


def test_canaries_that_were_not_shown_before_a_settlement_do_not_count_in_it(panels: Panels) -> None:
    panels.open_pool([*SITTERS, *MORE[:3]])
    canaries = {0: RIGHT[0]}
    panels.open_task(canaries=canary_commitment(canaries, SALT))
    panels.play({"ann": RIGHT, "bob": WRONG, "cem": near(RIGHT, 60)})
    panels.devnet.advance_to(panels.panel().reveal_until_s)
    panels.settle()
    panels.draw()
    panels.seat(MORE[:3])
    answers = dict.fromkeys(MORE[:3], RIGHT)
    panels.commit(answers)
    panels.send("owner", panels.consensus.open_canaries(panels.task, canaries, SALT))
    panels.reveal(answers)
    panels.settle()
    panels.finish()

    first, second = panels.history().panels.values()
    pool = panels.consensus.pool(panels.pool)
    assert panels.history().decide(pool, first).canaries == {}
    assert panels.history().decide(pool, second).counting == (0,)
    audited(panels)


def test_whoever_has_a_lower_number_takes_the_seat_of_the_highest(panels: Panels) -> None:
    panels.open_pool([*SITTERS, *MORE], units=3)
    panels.open_task()
    panels.draw()
    seed = panels.panel().seed
    everybody = [*SITTERS, *MORE]
    by_number = sorted(everybody, key=lambda name: drawn_number(seed, panels.address(name), 3))
    for name in reversed(by_number):
        panels.send(name, panels.consensus.take_seat(panels.task))
    with pytest.raises(ContractRevert, match="NumberTooHigh"):
        panels.send(by_number[-1], panels.consensus.take_seat(panels.task))

    seated = {seat.verifier for seat in panels.panel().seats}
    assert seated == {panels.address(name) for name in by_number[:3]}
    for name in everybody:
        number = panels.consensus.number_of(panels.task, 0, panels.address(name))
        assert number == drawn_number(seed, panels.address(name), 3)
    assert [seat.verifier for seat in panels.history().current.seats] == [s.verifier for s in panels.panel().seats]
    audited(panels)


def test_anybody_pushes_a_task_on_as_soon_as_something_is_due_and_not_before(opened: Panels) -> None:
    push = lambda: consensus_upkeep(opened.consensus, opened.actors["anyone"], opened.task)  # noqa: E731
    assert push() is None
    opened.devnet.mine(128)
    assert push() == "panel 0 of task 0 is drawn"
    assert push() is None
    opened.seat(SITTERS)
    answers = dict.fromkeys(SITTERS, RIGHT)
    opened.commit(answers)
    opened.reveal(answers)
    assert push() == "panel 0 of task 0 is settled"
    assert push() is None
    opened.devnet.advance_to(opened.consensus.state(opened.task).appeal_until_s)
    assert push() == "task 0 is finished"
    assert push() is None
    audited(opened)


def test_a_draw_that_nobody_came_for_in_time_is_fixed_again(opened: Panels) -> None:
    push = lambda: consensus_upkeep(opened.consensus, opened.actors["anyone"], opened.task)  # noqa: E731
    opened.devnet.mine(128 + 300)
    push()
    assert opened.consensus.state(opened.task).phase is TaskPhase.DRAWING
    opened.devnet.mine(128)
    push()
    assert opened.consensus.state(opened.task).phase is TaskPhase.SEATING
    audited(opened)


class Forged(OutputConsensus):
    """A node that tells one event otherwise than it was."""

    def forge(self, change: ConsensusEvent, **values: object) -> Forged:
        self._change, self._values = change, values
        return self

    def events(self, task: TaskId, from_block: int | None = None, to_block: int | None = None) -> list[ConsensusEvent]:
        told = super().events(task, from_block, to_block)
        return [replace(event, **self._values) if event == self._change else event for event in told]  # type: ignore[type-var]


@pytest.fixture
def ended(opened: Panels) -> Panels:
    opened.play({"ann": RIGHT, "bob": RIGHT, "cem": WRONG})
    opened.settle()
    opened.finish()
    return opened


FORGERIES: list[tuple[type[ConsensusEvent], dict[str, object], str]] = [
    (TaskSeatTaken, {"number": 5}, "seat"),
    (OutputsRevealed, {"outputs": Digest(b"\x09" * 32)}, "seal"),
    (OutputsRevealed, {"digests": near(RIGHT, 1)}, "seal"),
    (PanelSettled, {"clique": 0b111}, "decision"),
    (PanelSettled, {"medoid": 1}, "decision"),
    (PanelSettled, {"accepted_samples": 0b011}, "decision"),
    (Credited, {"amount_wei": Wei(SHARE_WEI + 1)}, "credit"),
    (consensus_events.Penalised, {"amount_wei": Wei(1)}, "penalties"),
    (consensus_events.TaskFinished, {"burned_wei": Wei(0)}, "end"),
    (consensus_events.TaskFinished, {"worker_accepted": True}, "end"),
    (consensus_events.TaskSeatsDrawn, {"seed": b"\x01" * 32}, "draw"),
    (consensus_events.TaskDrawFixed, {"number": 3}, "draw"),
    (consensus_events.OutputsCommitted, {"seal": b"\x01" * 32}, "seal"),
    (consensus_events.OutputsCommitted, {"block_number": 1}, "commit"),
    (PanelSettled, {"block_number": 1}, "settlement"),
    (consensus_events.TaskFinished, {"block_number": 1}, "end"),
]


def test_an_event_that_is_told_otherwise_is_found(ended: Panels) -> None:
    events = ended.consensus.events(ended.task)
    for kind, values, found in FORGERIES:
        event = next(event for event in events if isinstance(event, kind))
        node = Forged(ended.consensus.chain, ended.consensus.address, first_block=ended.consensus.first_block)
        report = audit_task(node.forge(event, **values), ended.task)
        wrong = [check.name for check in report.checks if check.verdict == MISMATCH]
        assert found in wrong, (kind, values)
        assert not report.to_json()["ok"]


def test_a_draw_that_was_fixed_anew_in_time_is_found(ended: Panels, monkeypatch: pytest.MonkeyPatch) -> None:
    events = ended.consensus.events(ended.task)
    place = next(at for at, event in enumerate(events) if isinstance(event, consensus_events.TaskDrawFixed))
    events.insert(place + 1, events[place])
    monkeypatch.setattr(OutputConsensus, "events", lambda *_: events)
    wrong = [check for check in audit_task(ended.consensus, ended.task).checks if check.verdict == MISMATCH]
    assert [check.name for check in wrong] == ["draw"]


def test_a_panel_that_nobody_called_for_is_found(panels: Panels) -> None:
    panels.open_pool([*SITTERS, *MORE[:3]])
    panels.open_task()
    panels.play({"ann": RIGHT, "bob": WRONG, "cem": near(RIGHT, 60)})
    panels.settle()
    panels.play(dict.fromkeys(MORE[:3], RIGHT))
    audited(panels)
    asked = next(
        event
        for event in panels.consensus.events(panels.task)
        if isinstance(event, consensus_events.TaskDrawFixed) and event.panel == 1
    )
    node = Forged(panels.consensus.chain, panels.consensus.address, first_block=panels.consensus.first_block)
    later = {"block_number": asked.block_number + 1, "number": asked.number + 1}
    report = audit_task(node.forge(asked, **later), panels.task)
    details = [check.detail for check in report.checks if check.verdict == MISMATCH and check.name == "draw"]
    assert any("nothing called for it" in detail for detail in details), report.checks


def test_what_the_chain_moved_is_what_the_rules_say(ended: Panels) -> None:
    money = Reckoning(ended.history(), ended.consensus.pool(ended.pool)).money()
    assert money.burned_wei == ended.consensus.ledger().burned_wei == UNIT_WEI + SHARE_WEI
    assert sum(money.credits_wei.values()) == ended.consensus.ledger().credits_wei == 2 * SHARE_WEI


def test_a_salt_that_is_in_no_transaction_leaves_a_seal_unproven(
    ended: Panels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OutputConsensus, "call_in", lambda *_: None)
    report = audit_task(ended.consensus, ended.task)
    assert {check.verdict for check in report.checks if check.name == "seal"} == {UNPROVEN}
    assert report.first_mismatch is None


def test_credits_are_withdrawn_once(ended: Panels) -> None:
    before = ended.devnet.request("eth_getBalance", "0x" + "77" * 20, "latest")
    ended.send("ann", ended.consensus.withdraw("0x" + "77" * 20))
    assert int(ended.devnet.request("eth_getBalance", "0x" + "77" * 20, "latest"), 16) - int(before, 16) == SHARE_WEI
    with pytest.raises(ContractRevert, match="NothingToWithdraw"):
        ended.send("ann", ended.consensus.withdraw("0x" + "77" * 20))
    assert ended.consensus.ledger().is_balanced


def test_a_pool_tells_of_its_verifiers_and_tasks(ended: Panels) -> None:
    consensus = ended.consensus
    assert (consensus.pool_count(), consensus.task_count(), consensus.members(ended.pool)) == (1, 1, 3)
    assert [event.task for event in consensus.tasks_of(ended.pool)] == [ended.task]
    assert len(consensus.pool_events(ended.pool)) == 4
    assert consensus.at("latest").pool(ended.pool) == consensus.pool(ended.pool)


def test_a_task_that_there_is_not_has_no_history(panels: Panels) -> None:
    with pytest.raises(ChainError, match="no opening of task 9"):
        TaskHistory.of_events(TaskId(9), panels.consensus.events(TaskId(9)))
    with pytest.raises(ContractRevert, match="UnknownTask"):
        panels.consensus.state(TaskId(9))


def test_a_consensus_contract_of_other_code_is_not_taken(deployment: Deployment, chain: Chain) -> None:
    with pytest.raises(ChainError, match="is not the OutputConsensus"):
        replace(deployment, consensus=deployment.directory).connect(chain)
    with pytest.raises(ChainError, match="is not the TaskEndings"):
        replace(deployment, task_endings=deployment.exams).connect(chain)
    with pytest.raises(WrongChain):
        replace(deployment, chain_id=5).connect(chain)
