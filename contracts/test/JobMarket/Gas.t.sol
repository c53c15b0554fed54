// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {RoundRules} from "../../src/RoundRules.sol";
import {RuleTerms, StepRule} from "../../src/interfaces/IRoundRules.sol";
import {JobTerms, Settlement} from "../../src/interfaces/JobTypes.sol";
import {RoundRulesFixture} from "../RoundRulesFixture.sol";
import {MarketFixture} from "./MarketFixture.sol";

/// @notice Packed matrices of honest rounds.
contract HonestRounds is RoundRulesFixture {
    function terms() external pure returns (RuleTerms memory ruleTerms) {
        ruleTerms = medianTerms();
        ruleTerms.stepRule = StepRule.Agreement;
        ruleTerms.stepThresholdQ16 = 1 << 15;
    }

    function packed(uint256 rows) external pure returns (bytes memory) {
        return pack(honestRound(rows, 1));
    }
}

/// @notice What each action costs as a transaction of its own, with the real rules: base fee and calldata included.
contract GasTest is MarketFixture {
    HonestRounds private rounds;

    function setUp() public override {
        vm.warp(NOW);
        _deploy(new RoundRules());
        rounds = new HonestRounds();
    }

    /// forge-config: default.isolate = true
    function test_settleRound_of16StaysWithinBudget() public {
        _measureSettle(16, 900_000, "settleRound_median_cosine_16");
    }

    /// forge-config: default.isolate = true
    function test_settleRound_of32StaysWithinBudget() public {
        _measureSettle(32, 2_000_000, "settleRound_median_cosine_32");
    }

    /// forge-config: default.isolate = true
    function test_settleRound_of64StaysWithinBudget() public {
        _measureSettle(64, 6_000_000, "settleRound_median_cosine_64");
    }

    /// forge-config: default.isolate = true
    function test_actions_costWhatTheSnapshotSays() public {
        _openFor(SEATS);
        vm.snapshotGasLastCall("JobMarket", "bond_first");
        _warpToCommit();
        _commitFirst(SEATS);
        vm.snapshotGasLastCall("JobMarket", "commit");
        _warpToReveal();
        _revealFirst(SEATS);
        vm.snapshotGasLastCall("JobMarket", "reveal");
        _warpToOverdue();
        market.expireRound(job, 0);
        vm.snapshotGasLastCall("JobMarket", "expireRound_8");
        bytes memory pays = _packSame(SEATS, COMPENSATION);
        vm.prank(_trainer(0));
        market.claim(job, 0, pays, _undoHash(0), _trainer(0));
        vm.snapshotGasLastCall("JobMarket", "claim_first_of_8");
        vm.prank(_trainer(1));
        market.claim(job, 0, pays, _undoHash(0), _trainer(1));
        vm.snapshotGasLastCall("JobMarket", "claim_next_of_8");
        vm.warp(DEADLINE);
        market.closeJob(job, new bytes(uint256(SEATS) * 8));
        vm.snapshotGasLastCall("JobMarket", "closeJob_8");
        vm.prank(_trainer(0));
        market.withdrawStake(job, _trainer(0));
        vm.snapshotGasLastCall("JobMarket", "withdrawStake");
    }

    /// forge-config: default.isolate = true
    function test_seats_costWhatTheSnapshotSays() public {
        _openFor(SEATS);
        _enrol(stranger);
        vm.snapshotGasLastCall("JobMarket", "enrol_waits");
        _warpToReveal();
        market.skipRound(job, 0);
        vm.snapshotGasLastCall("JobMarket", "skipRound");
        vm.prank(stranger);
        market.takeIdleSeat(job, 3, new bytes(uint256(SEATS) * 8), "");
        vm.snapshotGasLastCall("JobMarket", "takeIdleSeat_8");
        vm.prank(_trainer(3));
        market.withdrawStake(job, _trainer(3));
        vm.snapshotGasLastCall("JobMarket", "withdrawStake_waiting");
    }

    function _openFor(uint8 seats) private {
        JobTerms memory terms = _terms();
        terms.seats = seats;
        terms.rules = rounds.terms();
        job = _open(terms);
        vm.snapshotGasLastCall("JobMarket", "openJob");
        _enrol(seats);
        vm.snapshotGasLastCall("JobMarket", "enrol");
        _bond(aggregator);
    }

    /// @dev The first round: lifetime scores come from nothing, the most expensive case.
    function _measureSettle(uint8 seats, uint256 budget, string memory name) private {
        _openFor(seats);
        _toSettle(seats, seats);
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
