// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Scoring} from "../../src/interfaces/IRoundRules.sol";
import {ExamTerms, JobTerms, Ledger, Phase} from "../../src/interfaces/JobTypes.sol";
import {ExamFixture} from "./ExamFixture.sol";

contract ExamTermsTest is ExamFixture {
    function test_openJob_locksADepositForEveryRound() public view {
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.budget, ROUNDS * (REWARD + FEE));
        vm.assertEq(ledger.exams, ROUNDS * DEPOSIT);
        vm.assertEq(ledger.refundable, 0);
        vm.assertTrue(market.stateOf(job).hasExam);
        vm.assertFalse(market.stateOf(job).examPublished);
        vm.assertEq(abi.encode(market.termsOf(job)), abi.encode(_terms()));
        _assertConserved();
    }

    function test_openJob_surplusBeyondTheDepositsIsTheOwnersAtOnce() public {
        JobTerms memory terms = _terms();
        uint256 amount = _deposit(terms) + 5;
        uint256 value = _fund(owner, address(0), amount);
        job = market.openJob{value: value}(terms, SPEC, MODEL, initialCommitment, srs, amount);
        vm.assertEq(market.ledgerOf(job).refundable, 5);
        vm.assertEq(market.ledgerOf(job).exams, ROUNDS * DEPOSIT);
        _assertConserved();
    }

    function test_openJob_failsIfTheDepositsAreShort() public {
        JobTerms memory terms = _terms();
        uint256 amount = _deposit(terms);
        uint256 value = _fund(owner, address(0), amount - 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InsufficientDeposit.selector, amount - 1, amount));
        market.openJob{value: value}(terms, SPEC, MODEL, initialCommitment, srs, amount - 1);
    }

    function test_openJob_anExamWhereTheRulesNeedOneAndNowhereElse() public {
        JobTerms memory terms = _terms();
        bytes32 root = terms.exam.root;
        terms.exam.root = 0;
        _refuse(terms, "exam.root", 0);
        terms.exam.root = root;
        terms.rules.scoring = Scoring.Equal;
        _refuse(terms, "exam.root", uint256(root));
        delete terms.exam;
        job = _open(terms);
        vm.assertFalse(market.stateOf(job).hasExam);
        vm.assertEq(market.ledgerOf(job).exams, 0);
    }

    function test_openJob_withoutAnExamNothingOfItIsSet() public {
        JobTerms memory terms = _terms();
        terms.rules.scoring = Scoring.Equal;
        terms.exam = ExamTerms({root: 0, examiner: examiner, period: 0, slices: 0, deposit: 0});
        _refuse(terms, "exam.examiner", uint160(examiner));
        terms.exam = ExamTerms({root: 0, examiner: address(0), period: EXAM, slices: 0, deposit: 0});
        _refuse(terms, "exam.period", EXAM);
        terms.exam = ExamTerms({root: 0, examiner: address(0), period: 0, slices: SLICES, deposit: 0});
        _refuse(terms, "exam.slices", SLICES);
        terms.exam = ExamTerms({root: 0, examiner: address(0), period: 0, slices: 0, deposit: DEPOSIT});
        _refuse(terms, "exam.deposit", DEPOSIT);
    }

    function test_openJob_examPeriodWithinRange() public {
        JobTerms memory terms = _terms();
        terms.deadline = NOW + 1000 days;
        terms.exam.period = terms.confirmationPeriod;
        _refuse(terms, "exam.period", terms.confirmationPeriod);
        terms.exam.period = 90 days + 1;
        _refuse(terms, "exam.period", 90 days + 1);
        terms.exam.period = 90 days;
        _open(terms);
        terms.exam.period = terms.confirmationPeriod + 1;
        _open(terms);
    }

    function test_openJob_aSliceForEveryRoundAtLeast() public {
        JobTerms memory terms = _terms();
        terms.exam.slices = ROUNDS - 1;
        _refuse(terms, "exam.slices", ROUNDS - 1);
        terms.exam.slices = (1 << 20) + 1;
        _refuse(terms, "exam.slices", (1 << 20) + 1);
        terms.exam.slices = 1 << 20;
        _open(terms);
        terms.exam.slices = ROUNDS;
        _open(terms);
    }

    function test_openJob_someDepositForExams() public {
        JobTerms memory terms = _terms();
        terms.exam.deposit = 0;
        _refuse(terms, "exam.deposit", 0);
        terms.exam.deposit = 1;
        _open(terms);
    }

    /// @dev Attestors can show a false exam: one that takes a whole round's reward from the trainers still costs more.
    function test_openJob_withAttestorsADepositOfOneAndAHalfRewards() public {
        JobTerms memory terms = _terms();
        terms.disputes.quorum = 1;
        terms.disputes.answerPeriod = COMMIT;
        terms.disputes.bond = 1;
        terms.disputes.attestors = new address[](1);
        terms.disputes.attestors[0] = stranger;
        terms.exam.deposit = 3 * REWARD / 2 - 1;
        _refuse(terms, "exam.deposit", terms.exam.deposit);
        terms.exam.deposit = 3 * REWARD / 2;
        _open(terms);
        terms.roundReward += 1; // half a wei more is a whole one
        terms.trainerStake = 2 * terms.roundReward;
        _refuse(terms, "exam.deposit", terms.exam.deposit);
        terms.exam.deposit += 2;
        _open(terms);
    }

    function test_openJob_anAttemptWithItsExamFitsBeforeTheDeadline() public {
        JobTerms memory terms = _terms();
        terms.deadline = FIRST_OVERDUE + EXAM - 1;
        _refuse(terms, "deadline", terms.deadline);
        terms.deadline += 1;
        job = _open(terms);
        vm.warp(FIRST_COMMIT);
        _bond(aggregator);
        _warpToOverdue();
        vm.assertEq(block.timestamp, terms.deadline);
    }

    function test_bond_failsIfNoAttemptWithItsExamFits() public {
        job = _open(_terms());
        vm.warp(DEADLINE - COMMIT - REVEAL - EXAM - SETTLE + 1);
        vm.deal(aggregator, BOND);
        vm.prank(aggregator);
        _expectWrongPhase(Phase.Finished, Phase.AwaitingAggregator);
        market.bond{value: BOND}(job, BOND, SPEC);
        vm.warp(block.timestamp - 1);
        _bond(aggregator);
        _assertPhase(Phase.Commit);
    }

    function testFuzz_openJob_largestDepositsDoNotOverflow(uint128 deposit) public {
        JobTerms memory terms = _terms();
        terms.exam.deposit = deposit;
        terms.exam.slices = 1 << 20;
        terms.rounds = type(uint16).max;
        if (deposit == 0) vm.expectPartialRevert(IJobMarket.InvalidTerm.selector);
        else vm.expectRevert(abi.encodeWithSelector(IJobMarket.InsufficientDeposit.selector, 0, _deposit(terms)));
        market.openJob(terms, SPEC, MODEL, initialCommitment, srs, 0);
    }

    // ------------------------------------------------------------------ phases

    function test_phaseOf_examsComeBetweenRevealsAndSettlement() public {
        _warpToCommit();
        _commitFirst(3);
        vm.warp(FIRST_EXAM - 1);
        _assertPhase(Phase.Reveal);
        vm.warp(FIRST_EXAM);
        _assertPhase(Phase.Exam);
        vm.warp(FIRST_EXAM + EXAM - 1);
        _assertPhase(Phase.Exam);
        vm.warp(FIRST_EXAM + EXAM);
        _assertPhase(Phase.Settle);
        vm.warp(FIRST_EXAM + EXAM + SETTLE - 1);
        _assertPhase(Phase.Settle);
        vm.warp(FIRST_EXAM + EXAM + SETTLE);
        _assertPhase(Phase.Overdue);
    }

    function _refuse(JobTerms memory terms, string memory term, uint256 value) private {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InvalidTerm.selector, term, value));
        market.openJob(terms, SPEC, MODEL, initialCommitment, srs, 0);
    }
}
