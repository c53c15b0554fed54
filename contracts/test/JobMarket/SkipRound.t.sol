// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {JobState, Ledger, Phase} from "../../src/interfaces/JobTypes.sol";
import {MarketFixture} from "./MarketFixture.sol";

contract SkipRoundTest is MarketFixture {
    function test_skipRound_refundsARoundThatNeverHadItsMinimum() public {
        _starve(2);
        vm.expectEmit(address(market));
        emit IJobMarket.RoundSkipped(job, 0, 0, false);
        vm.expectEmit(address(market));
        emit IJobMarket.AttemptStarted(job, 1, 1, aggregator, block.timestamp, 1 << 16, 2);
        vm.prank(stranger);
        market.skipRound(job, 0);

        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.refundable, REWARD + FEE);
        vm.assertEq(ledger.carry, 0);
        vm.assertEq(ledger.budget, 2 * (REWARD + FEE));
        JobState memory state = market.stateOf(job);
        vm.assertEq(state.round, 1);
        vm.assertEq(state.attempt, 1);
        vm.assertEq(state.committed, 0);
        _assertPhase(Phase.Commit);
        _assertConserved();
    }

    function test_skipRound_punishesNobody() public {
        _starve(2);
        market.skipRound(job, 0);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.stakes, 5 * STAKE);
        vm.assertEq(ledger.bonds, 2 * BOND);
        vm.assertEq(ledger.burned, 0);
        vm.assertEq(bytes32(market.outcomeOf(job, 0).payHash), 0);
    }

    /// @dev The first attempt had its minimum and expired; from such a round no reward returns to the owner.
    function test_skipRound_carriesTheRewardOfARoundThatHadItsMinimum() public {
        _toSettle(3, 3);
        _warpToOverdue();
        market.expireRound(job, 0);
        _starve(2);
        vm.expectEmit(address(market));
        emit IJobMarket.RoundSkipped(job, 0, 1, true);
        market.skipRound(job, 1);
        vm.assertEq(market.ledgerOf(job).carry, REWARD);
        vm.assertEq(market.ledgerOf(job).refundable, FEE);
        vm.assertFalse(market.stateOf(job).hadMinimum);
        _assertConserved();
    }

    /// @dev The owner's identities hold seats and do not commit. The round's money comes back, and no other's is touched:
    /// the two honest keep stakes and seats, and what earlier rounds carried stays theirs.
    function test_skipRound_starvingByTheOwnersIdentitiesGainsNothing() public {
        _toSettle(5, 5);
        _settleAll(5, 0); // nobody scores: the whole reward carries over
        _starve(2);
        market.skipRound(job, 1);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.carry, REWARD);
        vm.assertEq(ledger.refundable, REWARD + FEE);
        vm.assertEq(ledger.stakes, 5 * STAKE);
        _assertConserved();
    }

    function test_skipRound_consumesTheLastRound() public {
        for (uint256 round = 0; round < ROUNDS; ++round) {
            _starve(0);
            market.skipRound(job, round);
        }
        _assertPhase(Phase.Finished);
        vm.assertEq(market.ledgerOf(job).refundable, ROUNDS * (REWARD + FEE));
        market.closeJob(job, _packLifetime());
        _assertConserved();
    }

    function test_skipRound_failsInTheLastSecondOfTheCommitPhase() public {
        vm.warp(FIRST_REVEAL - 1);
        _expectWrongPhase(Phase.Commit, Phase.Starved);
        market.skipRound(job, 0);
        vm.warp(FIRST_REVEAL);
        market.skipRound(job, 0);
    }

    function test_skipRound_failsWithTheMinimum() public {
        _starve(3);
        _expectWrongPhase(Phase.Reveal, Phase.Starved);
        market.skipRound(job, 0);
    }

    function test_skipRound_failsTwice() public {
        _starve(0);
        market.skipRound(job, 0);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongAttempt.selector, 0, 1));
        market.skipRound(job, 0);
    }

    function test_skipRound_anytimeLater() public {
        _starve(0);
        vm.warp(DEADLINE - COMMIT - REVEAL - SETTLE + 1);
        market.skipRound(job, 0);
        _assertPhase(Phase.Finished);
    }

    function _starve(uint256 committed) private {
        _warpToCommit();
        _commitFirst(committed);
        _warpToReveal();
    }
}
