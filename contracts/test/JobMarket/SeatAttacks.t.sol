// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Fact} from "../../src/interfaces/JobTypes.sol";
import {SeatFixture} from "./SeatFixture.sol";

/// @notice Attacks on seats that somebody ran: a league that fills all of them, never trains, and passes them on among itself.
contract SeatAttacksTest is SeatFixture {
    address private spare = _waiter(9);

    /// @dev All seats are the league's, which has one name more: that comes first of those who wait, three honest ones later.
    function setUp() public override {
        super.setUp();
        _fill();
        _enrolLater(spare);
        for (uint256 i = 0; i < 3; ++i) {
            _enrolLater(_waiter(i));
        }
    }

    // ------------------------------------------------------------------ seats that are passed on

    /// @dev Within one block the league goes round its own seats, each to whom the one before displaced: nothing is idle any
    /// more. Whoever waited longer takes them nevertheless.
    function test_takeIdleSeat_aLeagueThatPassesItsOwnSeatsOnKeepsNone() public {
        _starve(0);
        _passOn();
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            vm.assertFalse(market.isIdle(job, seat));
        }
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertFalse(market.yieldsTo(job, 0, _waiter(i))); // the spare name had come before
            vm.assertTrue(market.yieldsTo(job, i + 1, _waiter(i)));
            _takeIdle(_waiter(i), i + 1);
        }
        _refuseIdle(_trainer(7), 1, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, 1));
        _playSeats(14);
        vm.assertEq(market.stateOf(job).round, 2);
        _vest();
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(_claimAs(_waiter(i), 1), REWARD / 3);
        }
        vm.assertEq(market.ledgerOf(job).refundable, REWARD + FEE); // of one round, not of one after the other
        _assertConserved();
    }

    /// @dev And the spare name has but one turn before others: found not to come it is behind them.
    function test_takeIdleSeat_whoDidNotComeIsBehindWhoWaits() public {
        _starve(0);
        _takeIdle(spare, 0);
        _starve(0);
        _takeIdle(_waiter(0), 0);
        vm.assertEq(market.waitingOf(job, spare).since, block.timestamp);
        vm.warp(block.timestamp + 1);
        _takeIdle(spare, 1);
        vm.assertTrue(market.yieldsTo(job, 1, _waiter(1)));
        _takeIdle(_waiter(1), 1);
    }

    // ------------------------------------------------------------------ what does not yield

    function test_takeIdleSeat_fromWhoTookItBefore_keepsThatOnesTurn() public {
        _starve(0);
        _takeIdle(_waiter(1), 0);
        uint256 since = market.waitingOf(job, _waiter(0)).since;
        vm.assertGt(since, market.waitingOf(job, spare).since);
        _takeIdle(_waiter(0), 0);
        vm.assertGt(market.waitingOf(job, _waiter(1)).since, since);
        vm.assertLt(market.waitingOf(job, _waiter(1)).since, block.timestamp);
        _takeIdle(_waiter(1), 1); // another one, with the turn that it had
        _refuseIdle(_waiter(2), 1, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, 1));
        _assertConserved();
    }

    function test_takeIdleSeat_notFromWhoHasCommitted() public {
        _starve(0);
        _takeIdle(_waiter(1), 0);
        _commitSeats(1);
        _refuseIdle(_waiter(0), 0, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, 0));
    }

    /// @dev Else somebody who means no work could displace one who trains, when it is too late for anybody else.
    function test_takeIdleSeat_fromWhoTookItBefore_onlyInTheFirstHalf() public {
        _starve(0);
        _takeIdle(_waiter(1), 0);
        vm.warp(_start() + COMMIT / 2);
        _refuseIdle(_waiter(0), 0, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, 0));
        _takeIdle(_waiter(0), 1); // that is still idle
    }

    /// @dev Nor in the attempt after that in which it was taken.
    function test_takeIdleSeat_fromWhoTookItBefore_notLater() public {
        _starve(0);
        vm.warp(_start() + COMMIT / 2);
        _takeIdle(_waiter(1), 0);
        _warpToReveal();
        market.skipRound(job, _attempt());
        _refuseIdle(_waiter(0), 0, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, 0));
    }

    function test_yieldsTo_nobodyWhoDoesNotWait() public {
        _starve(0);
        vm.assertTrue(market.isIdle(job, 0));
        vm.assertFalse(market.yieldsTo(job, 0, stranger));
        vm.assertFalse(market.yieldsTo(job, 0, _trainer(1)));
    }

    // ------------------------------------------------------------------ what counts as missed

    /// @dev Whoever sits down in the second half has no time to train in it.
    function test_isIdle_whoComesInTheFirstHalfHasToCommitInIt() public {
        _starve(0);
        _takeIdle(_waiter(0), 0);
        vm.warp(_start() + COMMIT / 2);
        _takeIdle(_waiter(1), 1);
        _starve(0);
        vm.assertTrue(market.isIdle(job, 0));
        vm.assertFalse(market.isIdle(job, 1));
        _starve(0);
        vm.assertTrue(market.isIdle(job, 1));
    }

    /// @dev An attempt that a dispute cut short is none that anybody missed.
    function test_isIdle_notByAttemptsThatWereCutShort() public {
        _playSeats(7);
        _disputeAndUndo(_trainer(0), Fact.Model); // attempt 0 again, and attempt 1 is void
        vm.assertEq(_attempt(), 2);
        vm.assertFalse(market.isIdle(job, 7)); // that missed one
        _playSeats(7);
        vm.assertTrue(market.isIdle(job, 7));
    }

    // ------------------------------------------------------------------ parts

    function _enrolLater(address trainer) private {
        vm.warp(block.timestamp + 1);
        _enrolWith(trainer, STAKE);
    }

    /// @dev Each seat goes to whoever was displaced from the one before.
    function _passOn() private {
        _takeIdle(spare, 0);
        for (uint256 seat = 1; seat < SEATS; ++seat) {
            _takeIdle(_trainer(seat - 1), seat);
        }
    }
}
