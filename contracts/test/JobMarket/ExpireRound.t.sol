// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {JobState, Ledger, Outcome, Phase} from "../../src/interfaces/JobTypes.sol";
import {MarketFixture} from "./MarketFixture.sol";

contract ExpireRoundTest is MarketFixture {
    function test_expireRound_breaksTheBondAndCompensates() public {
        _overdue(4, 3);
        bytes memory pays = _packSame(3, COMPENSATION);
        vm.expectEmit(address(market));
        emit IJobMarket.StakesForfeited(job, 0, 8, STAKE);
        vm.expectEmit(address(market));
        emit IJobMarket.AttemptExpired(job, 0, 0, aggregator, BOND - 3 * COMPENSATION, pays, block.timestamp);
        vm.prank(stranger);
        market.expireRound(job, 0);

        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.credits, 3 * COMPENSATION);
        vm.assertEq(ledger.burned, BOND - 3 * COMPENSATION + STAKE);
        vm.assertEq(ledger.bonds, BOND);
        vm.assertEq(ledger.budget, ROUNDS * (REWARD + FEE));
        Outcome memory outcome = market.outcomeOf(job, 0);
        vm.assertEq(bytes32(outcome.payHash), _payHash(0, pays));
        vm.assertEq(outcome.aggregator, address(0));
        vm.assertEq(outcome.vestsAt, block.timestamp);
        _assertConserved();
    }

    function test_expireRound_theSuccessorRunsTheRoundAgainAtOnce() public {
        _overdue(3, 3);
        vm.expectEmit(address(market));
        emit IJobMarket.AttemptStarted(job, 0, 1, successor, block.timestamp, 1 << 16, 2);
        market.expireRound(job, 0);
        JobState memory state = market.stateOf(job);
        vm.assertEq(state.round, 0);
        vm.assertEq(state.attempt, 1);
        vm.assertEq(state.committed, 0);
        vm.assertEq(state.revealed, 0);
        vm.assertTrue(state.hadMinimum);
        vm.assertEq(market.aggregatorsOf(job).length, 1);
        vm.assertEq(market.bondOf(job, aggregator), 0);
        _assertPhase(Phase.Commit);
        _playRound(3, ONE);
        vm.assertEq(market.outcomeOf(job, 1).aggregator, successor);
        _assertConserved();
    }

    function test_expireRound_withoutASuccessorWaitsForOne() public {
        vm.prank(successor);
        market.withdrawBond(job, successor);
        _overdue(3, 3);
        market.expireRound(job, 0);
        _assertPhase(Phase.AwaitingAggregator);
        vm.assertEq(market.stateOf(job).attemptStart, 0);
    }

    function test_expireRound_compensationIsClaimedAtOnceAndOnce() public {
        _overdue(3, 3);
        market.expireRound(job, 0);
        bytes memory pays = _packSame(3, COMPENSATION);
        vm.prank(_trainer(1));
        market.claim(job, 0, pays, _undoHash(0), stranger);
        vm.assertEq(stranger.balance, COMPENSATION);
        vm.prank(_trainer(1));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyClaimed.selector, 0, 1));
        market.claim(job, 0, pays, _undoHash(0), stranger);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAggregator.selector, aggregator, address(0)));
        market.claimFee(job, 0, aggregator);
        _assertConserved();
    }

    /// @dev Trainers who could force an expiry would get their compensation and nothing of the reward, and the bond is
    /// worth more than all compensation together: nobody, not even trainers and aggregator in league, comes out ahead.
    function test_expireRound_gainsNobody() public {
        uint256 locked = _lockedByTheLeague();
        _overdue(5, 5);
        market.expireRound(job, 0);
        vm.assertLt(_lockedByTheLeague(), locked);
        vm.assertEq(market.ledgerOf(job).budget, ROUNDS * (REWARD + FEE));
    }

    function test_expireRound_withNobodyRevealedBurnsTheWholeBond() public {
        _overdue(3, 0);
        market.expireRound(job, 0);
        vm.assertEq(market.ledgerOf(job).burned, BOND + 3 * STAKE);
        vm.assertEq(market.ledgerOf(job).credits, 0);
        _assertConserved();
    }

    function test_expireRound_burnsTheBondThatIsThere() public {
        job = _open(_terms());
        _enrol(3);
        vm.deal(aggregator, 4 * BOND);
        vm.prank(aggregator);
        market.bond{value: 4 * BOND}(job, 4 * BOND, _sealingKey(stranger));
        _overdue(3, 3);
        market.expireRound(job, 0);
        vm.assertEq(market.ledgerOf(job).burned, 4 * BOND - 3 * COMPENSATION);
        vm.assertEq(market.ledgerOf(job).bonds, 0);
        _assertConserved();
    }

    function test_expireRound_theBrokenMayBondAgain() public {
        _overdue(3, 3);
        market.expireRound(job, 0);
        _bond(aggregator);
        vm.assertEq(market.aggregatorsOf(job)[1], aggregator);
    }

    function test_expireRound_failsInTheLastSecondOfTheSettlePhase() public {
        _toSettle(3, 3);
        vm.warp(FIRST_OVERDUE - 1);
        _expectWrongPhase(Phase.Settle, Phase.Overdue);
        market.expireRound(job, 0);
        vm.warp(FIRST_OVERDUE);
        market.expireRound(job, 0);
    }

    function test_expireRound_failsIfStarved() public {
        _overdue(2, 0);
        _expectWrongPhase(Phase.Starved, Phase.Overdue);
        market.expireRound(job, 0);
    }

    function test_expireRound_failsTwice() public {
        _overdue(3, 3);
        market.expireRound(job, 0);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongAttempt.selector, 0, 1));
        market.expireRound(job, 0);
    }

    function _overdue(uint256 committed, uint256 revealed) private {
        _warpToCommit();
        _commitFirst(committed);
        _warpToReveal();
        if (revealed != 0) _revealFirst(revealed);
        _warpToOverdue();
    }

    /// @dev What five trainers and both aggregators have in the contract.
    function _lockedByTheLeague() private view returns (uint256) {
        Ledger memory ledger = market.ledgerOf(job);
        return uint256(ledger.stakes) + ledger.bonds + ledger.credits;
    }
}
