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

    /// @dev Nor by giving seats up that never committed, which are handed on to whoever enrols: in the attempt that counts for
    /// it, each is for whoever came earlier.
    function test_enrol_aLeagueThatHandsItsOwnSeatsOnKeepsNone() public {
        _warpToReveal(); // nobody came
        _withdraw(_trainer(0), stranger);
        _enrolWith(_waiter(20), STAKE);
        for (uint256 seat = 1; seat < SEATS; ++seat) {
            _withdraw(_trainer(seat), stranger);
            _enrolWith(_trainer(seat - 1), STAKE);
        }
        market.skipRound(job, 0);
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            vm.assertFalse(market.isIdle(job, seat));
        }
        for (uint256 i = 0; i < 3; ++i) {
            _takeIdle(_waiter(i), i);
            _assertSits(_waiter(i), i);
        }
        _refuseIdle(_waiter(20), 0, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, 0));
        _playSeats(7);
        vm.assertEq(market.stateOf(job).round, 2);
        _assertConserved();
    }

    /// @dev A seat that was taken over and given up again is handed on likewise, at once.
    function test_enrol_aSeatThatWasTakenOverAndGivenUpYieldsAsBefore() public {
        _starve(0);
        _takeIdle(spare, 0);
        _withdraw(spare, stranger);
        _enrolWith(_waiter(20), STAKE);
        _assertSits(_waiter(20), 0);
        _takeIdle(_waiter(0), 0);
        _assertSits(_waiter(0), 0);
    }

    /// @dev While a settlement can be undone no seat changes hands: the half that is for who came earlier begins after that.
    function test_takeIdleSeat_theFirstHalfBeginsOnceTheLastSettlementHasVested() public {
        _playSeats(7);
        _playSeats(7);
        _vest();
        uint256 end = _start() + COMMIT;
        vm.assertGe(2 * (block.timestamp - _start()), COMMIT); // half of the phase is over
        _takeIdle(_waiter(1), 5);
        vm.warp((block.timestamp + end) / 2 - 1);
        _takeIdle(_waiter(0), 5);
        _assertSits(_waiter(0), 5);
        _takeIdle(_waiter(1), 6);
        vm.warp(block.timestamp + 1);
        _refuseIdle(spare, 6, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, 6));
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

    /// @dev Whoever takes a seat in the second half has it at stake in the first half of the next attempt, and then not again.
    function test_takeIdleSeat_fromWhoTookItBefore_inTheAttemptThatCountsForItAlone() public {
        _starve(0);
        vm.warp(_start() + COMMIT / 2);
        _takeIdle(_waiter(1), 0);
        _takeIdle(_waiter(2), 1);
        _takeIdle(spare, 2);
        _warpToReveal();
        market.skipRound(job, _attempt());
        _takeIdle(_waiter(0), 0);
        _playSeats(7);
        _vest();
        _refuseIdle(_waiter(1), 1, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, 1));
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
