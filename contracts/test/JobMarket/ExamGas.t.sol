// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {RoundRules} from "../../src/RoundRules.sol";
import {RuleKind, RuleTerms, Scoring, StepRule} from "../../src/interfaces/IRoundRules.sol";
import {JobTerms, Settlement} from "../../src/interfaces/JobTypes.sol";
import {RoundRulesFixture} from "../RoundRulesFixture.sol";
import {ExamFixture} from "./ExamFixture.sol";

/// @notice Packed matrices of rounds with an exam that the honest pass.
contract ExaminedRounds is RoundRulesFixture {
    function terms(Scoring scoring) external pure returns (RuleTerms memory ruleTerms) {
        ruleTerms = examTerms(scoring);
        ruleTerms.stepRule = StepRule.Agreement;
        ruleTerms.stepThresholdQ16 = 1 << 15;
    }

    /// @dev Whoever passes the exam has to agree with the others, too: the dearest way to use one.
    function both() external view returns (RuleTerms memory ruleTerms) {
        ruleTerms = this.terms(Scoring.Exam);
        ruleTerms.rules[1].kind = RuleKind.MedianCosine;
    }

    function packed(uint256 rows) external pure returns (bytes memory) {
        return pack(examinedRound(rows, 1));
    }
}

/// @notice What an exam costs, with the real rules: each action as a transaction of its own, calldata included.
contract ExamGasTest is ExamFixture {
    /// @dev What a settlement of sixteen may cost, and what an exam may add to it.
    uint256 private constant OF_16 = 900_000;
    uint256 private constant EXAM_ADDS = 120_000;

    ExaminedRounds private rounds;

    function setUp() public override {
        vm.warp(NOW);
        _deploy(new RoundRules());
        rounds = new ExaminedRounds();
    }

    /// forge-config: default.isolate = true
    function test_settleRound_byExamOf16StaysWithinBudget() public {
        _measureSettle(16, rounds.terms(Scoring.Exam), OF_16 + EXAM_ADDS, "settleRound_exam_16");
    }

    /// forge-config: default.isolate = true
    function test_settleRound_byShapleyOf16StaysWithinBudget() public {
        _measureSettle(16, rounds.terms(Scoring.Shapley), OF_16 + EXAM_ADDS, "settleRound_shapley_16");
    }

    /// forge-config: default.isolate = true
    function test_settleRound_byExamAndMedianCosineOf16StaysWithinBudget() public {
        _measureSettle(16, rounds.both(), OF_16 + EXAM_ADDS, "settleRound_exam_and_median_cosine_16");
    }

    /// forge-config: default.isolate = true
    function test_settleRound_byExamOf32StaysWithinBudget() public {
        _measureSettle(32, rounds.terms(Scoring.Exam), 2_000_000 + EXAM_ADDS, "settleRound_exam_32");
    }

    /// forge-config: default.isolate = true
    function test_settleRound_byExamOf64StaysWithinBudget() public {
        _measureSettle(64, rounds.terms(Scoring.Exam), 6_000_000, "settleRound_exam_64");
    }

    /// forge-config: default.isolate = true
    function test_exams_costWhatTheSnapshotSays() public {
        _openFor(SEATS, rounds.terms(Scoring.Exam));
        vm.snapshotGasLastCall("JobMarket", "openJob_exam");
        _enrol(SEATS);
        _bond(aggregator);
        _toExam(SEATS);
        _openExam();
        vm.snapshotGasLastCall("JobMarket", "openExam");
        _warpToOverdue();
        market.expireRound(job, 0);
        vm.warp(DEADLINE);
        _publishExam();
        vm.snapshotGasLastCall("JobMarket", "publishExam");
        market.closeJob(job, new bytes(uint256(SEATS) * 8));
        vm.snapshotGasLastCall("JobMarket", "closeJob_exam_8");
    }

    function _openFor(uint8 seats, RuleTerms memory ruleTerms) private {
        JobTerms memory terms = _terms();
        terms.seats = seats;
        terms.rules = ruleTerms;
        job = _open(terms);
    }

    /// @dev The first round: lifetime scores come from nothing, the most expensive case.
    function _measureSettle(uint8 seats, RuleTerms memory ruleTerms, uint256 budget, string memory name) private {
        _openFor(seats, ruleTerms);
        _enrol(seats);
        _bond(aggregator);
        _toExamined(seats);
        Settlement memory settlement;
        settlement.gram = rounds.packed(seats);
        settlement.model = keccak256("new model");
        settlement.lifetime = new bytes(uint256(seats) * 8);
        _prove(market, job, settlement);
        vm.prank(aggregator, aggregator);
        market.settleRound(job, 0, settlement);
        uint256 gas = vm.snapshotGasLastCall("JobMarket", name);
        vm.assertNotEq(market.stateOf(job).lifetimeHash, 0); // somebody was paid
        vm.assertEq(market.stateOf(job).round, 1);
        vm.assertLe(gas, budget, name);
        _assertConserved();
    }
}
