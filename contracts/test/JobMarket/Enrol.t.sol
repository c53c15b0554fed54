// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket, Ledger, Phase} from "../../src/interfaces/IJobMarket.sol";
import {MarketFixture} from "./MarketFixture.sol";

contract EnrolTest is MarketFixture {
    function test_enrol_takesTheNextSeat() public {
        address trainer = _trainer(5);
        vm.deal(trainer, STAKE);
        vm.expectEmit(address(market));
        emit IJobMarket.TrainerEnrolled(job, trainer, 5, STAKE);
        vm.prank(trainer);
        market.enrol{value: STAKE}(job, STAKE);

        (bool taken, uint256 seat) = market.seatOf(job, trainer);
        vm.assertTrue(taken);
        vm.assertEq(seat, 5);
        vm.assertEq(market.trainerAt(job, 5), trainer);
        vm.assertEq(market.stateOf(job).staked, _firstSeats(6));
        vm.assertEq(market.stateOf(job).seatsTaken, 6);
        vm.assertEq(market.ledgerOf(job).stakes, 6 * STAKE);
        _assertConserved();
    }

    function test_seatOf_isNotTakenForAStranger() public view {
        (bool taken, uint256 seat) = market.seatOf(job, stranger);
        vm.assertFalse(taken);
        vm.assertEq(seat, 0);
    }

    function test_enrol_aLargerStakeIsTheTrainersToTakeBack() public {
        vm.deal(_trainer(5), STAKE + 7);
        vm.prank(_trainer(5));
        market.enrol{value: STAKE + 7}(job, STAKE + 7);
        vm.prank(_trainer(5));
        market.withdrawStake(job, stranger);
        vm.assertEq(stranger.balance, STAKE + 7);
        _assertConserved();
    }

    function test_enrol_puttingAStakeBackKeepsTheSeat() public {
        vm.prank(_trainer(2));
        market.withdrawStake(job, _trainer(2));
        vm.assertEq(market.stateOf(job).staked, _firstSeats(5) & ~uint64(4));
        _enrol(_trainer(2));
        vm.assertEq(market.trainerAt(job, 2), _trainer(2));
        vm.assertEq(market.stateOf(job).seatsTaken, 5);
        vm.assertEq(market.stateOf(job).staked, _firstSeats(5));
        _assertConserved();
    }

    function test_enrol_oneStakeCannotTakeEverySeat() public {
        uint256 seats = market.termsOf(job).seats;
        for (uint256 i = 5; market.stateOf(job).seatsTaken < seats; ++i) {
            _enrol(_trainer(i));
            vm.prank(_trainer(i));
            market.withdrawStake(job, stranger);
        }
        _enrol(_trainer(63));
        (bool taken, uint256 seat) = market.seatOf(job, _trainer(63));
        vm.assertTrue(taken && seat == 5);
        vm.assertEq(market.trainerAt(job, 5), _trainer(63));
        (taken,) = market.seatOf(job, _trainer(5));
        vm.assertTrue(!taken);
        vm.assertEq(market.stateOf(job).seatsTaken, seats);
        _assertConserved();
    }

    function test_enrol_failsIfTheOnlySeatsGivenUpHaveCommitted() public {
        uint256 seats = market.termsOf(job).seats;
        for (uint256 i = 5; i < seats; ++i) {
            _enrol(_trainer(i));
        }
        _playRound(5, 1 << 30);
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        vm.deal(_trainer(63), STAKE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.SeatsFull.selector, seats));
        vm.prank(_trainer(63));
        market.enrol{value: STAKE}(job, STAKE);
    }

    function test_enrol_duringARound() public {
        _warpToCommit();
        _enrol(_trainer(5));
        _commit(5);
        vm.assertEq(market.stateOf(job).committed, 1 << 5);
    }

    function test_enrol_failsIfTheStakeIsShort() public {
        vm.deal(stranger, STAKE);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InsufficientDeposit.selector, STAKE - 1, STAKE));
        market.enrol{value: STAKE - 1}(job, STAKE - 1);
    }

    function test_enrol_failsIfEnrolled() public {
        vm.deal(_trainer(1), STAKE);
        vm.prank(_trainer(1));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyEnrolled.selector, _trainer(1), 1));
        market.enrol{value: STAKE}(job, STAKE);
    }

    function test_enrol_failsIfNoSeatIsFree() public {
        for (uint256 seat = 5; seat < SEATS; ++seat) {
            _enrol(_trainer(seat));
        }
        vm.deal(stranger, STAKE);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.SeatsFull.selector, SEATS));
        market.enrol{value: STAKE}(job, STAKE);
    }

    function test_enrol_failsIfClosed() public {
        vm.warp(DEADLINE);
        market.closeJob(job, _packLifetime());
        vm.deal(stranger, STAKE);
        vm.prank(stranger);
        _expectWrongPhase(Phase.Closed, Phase.Enrolment);
        market.enrol{value: STAKE}(job, STAKE);
    }

    // ------------------------------------------------------------------ withdrawStake

    function test_withdrawStake_returnsIt() public {
        vm.expectEmit(address(market));
        emit IJobMarket.StakeWithdrawn(job, _trainer(3), 3, stranger, STAKE);
        vm.prank(_trainer(3));
        market.withdrawStake(job, stranger);
        vm.assertEq(stranger.balance, STAKE);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.stakes, 4 * STAKE);
        vm.assertEq(ledger.refunded, STAKE);
        _assertConserved();
    }

    function test_withdrawStake_duringARoundByOneWhoDidNotCommit() public {
        _toSettle(4, 4);
        vm.prank(_trainer(4));
        market.withdrawStake(job, stranger);
        vm.assertEq(stranger.balance, STAKE);
    }

    function test_withdrawStake_afterTheAttempt() public {
        _playRound(3, ONE);
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        vm.assertEq(stranger.balance, STAKE);
        _assertConserved();
    }

    function test_withdrawStake_afterTheClose() public {
        _toSettle(3, 3);
        vm.warp(DEADLINE);
        market.closeJob(job, _packLifetime());
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        vm.assertEq(stranger.balance, STAKE);
        _assertConserved();
    }

    function test_withdrawStake_failsBetweenCommitAndTheEndOfTheAttempt() public {
        _warpToCommit();
        _commitFirst(3);
        _refuseWithdrawal();
        _warpToReveal();
        _revealFirst(3);
        _refuseWithdrawal();
        _warpToSettle();
        _refuseWithdrawal();
        _warpToOverdue();
        _refuseWithdrawal();
        market.expireRound(job, 0);
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
    }

    function test_withdrawStake_failsInAStarvedRoundUntilItIsSkipped() public {
        _warpToCommit();
        _commitFirst(2);
        _warpToReveal();
        _refuseWithdrawal();
        market.skipRound(job, 0);
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        vm.assertEq(stranger.balance, STAKE);
    }

    function test_withdrawStake_failsIfWithdrawn() public {
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.StakeNotInPlace.selector, 0));
        market.withdrawStake(job, stranger);
    }

    function test_withdrawStake_failsIfForfeited() public {
        _toSettle(4, 3);
        _settleAll(3, ONE);
        vm.prank(_trainer(3));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.StakeNotInPlace.selector, 3));
        market.withdrawStake(job, stranger);
    }

    function test_withdrawStake_failsWithoutASeat() public {
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotTrainer.selector, stranger));
        market.withdrawStake(job, stranger);
    }

    function test_withdrawStake_failsToNobody() public {
        vm.prank(_trainer(0));
        vm.expectRevert(IJobMarket.ZeroAddress.selector);
        market.withdrawStake(job, address(0));
    }

    function _refuseWithdrawal() private {
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyCommitted.selector, 0));
        market.withdrawStake(job, stranger);
    }
}
