// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {JobTerms, Ledger, Phase} from "../../src/interfaces/JobTypes.sol";
import {ERC20Token} from "../tokens/ERC20Token.sol";
import {FeeToken} from "../tokens/FeeToken.sol";
import {SeatFixture} from "./SeatFixture.sol";

/// @notice Stakes that wait for a seat.
contract WaitingTest is SeatFixture {
    address private waiter = _waiter(0);

    function setUp() public override {
        super.setUp();
        _fill();
    }

    // ------------------------------------------------------------------ enrol

    function test_enrol_waitsWhereEverySeatIsTaken() public {
        vm.deal(waiter, STAKE + 5);
        vm.expectEmit(address(market));
        emit IJobMarket.TrainerWaits(job, waiter, STAKE + 5);
        vm.prank(waiter);
        market.enrol{value: STAKE + 5}(job, STAKE + 5, new bytes32[](0));
        _assertWaits(waiter, STAKE + 5);
        vm.assertEq(market.stateOf(job).seatsTaken, SEATS);
        vm.assertEq(market.ledgerOf(job).stakes, 9 * STAKE + 5);
        vm.assertEq(address(market).balance, market.owed(address(0)));
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            _assertSits(_trainer(seat), seat);
        }
        _assertConserved();
    }

    function test_enrol_failsWhileItWaits() public {
        _enrol(waiter);
        vm.deal(waiter, STAKE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyWaiting.selector, waiter));
        vm.prank(waiter);
        market.enrol{value: STAKE}(job, STAKE, new bytes32[](0));
    }

    function test_enrol_waitingTakesTheWholeStake() public {
        vm.deal(waiter, STAKE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InsufficientDeposit.selector, STAKE - 1, STAKE));
        vm.prank(waiter);
        market.enrol{value: STAKE - 1}(job, STAKE - 1, new bytes32[](0));
    }

    /// @dev Who may not have a seat may not wait for one.
    function test_enrol_waitingNeedsLeaveToo() public {
        JobTerms memory terms = _terms();
        terms.seats = 3;
        job = _open(terms);
        _enrol(3);
        vm.assertEq(market.stateOf(job).seatsTaken, 3);
        terms.entry.allowRoot = keccak256("nobody's");
        job = _open(terms);
        vm.deal(waiter, STAKE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAllowed.selector, waiter));
        vm.prank(waiter);
        market.enrol{value: STAKE}(job, STAKE, new bytes32[](0));
    }

    /// @dev Of a token that takes a fee what arrived waits, and no more leaves.
    function test_enrol_whatArrivedWaits() public {
        FeeToken token = new FeeToken();
        JobTerms memory terms = _terms();
        terms.token = address(token);
        terms.seats = 3;
        uint256 amount = _deposit(terms) * 11 / 10;
        _fund(owner, address(token), amount);
        job = market.openJob(terms, SPEC, MODEL, initialCommitment, srs, amount);
        for (uint256 i = 0; i < 4; ++i) {
            _enrolWith(_waiter(i), STAKE * 11 / 10);
        }
        uint256 waiting = market.waitingOf(job, _waiter(3)).stake;
        vm.assertEq(market.ledgerOf(job).stakes, 4 * waiting);
        vm.assertEq(token.balanceOf(address(market)), market.owed(address(token)));
        _withdraw(_waiter(3), stranger);
        vm.assertEq(market.ledgerOf(job).stakes, 3 * waiting);
        vm.assertEq(ERC20Token(address(token)).balanceOf(address(market)), market.owed(address(token)));
        _assertConserved();
    }

    // ------------------------------------------------------------------ waiting no more

    function test_withdrawStake_endsAWaitAtAnyTime() public {
        _enrolWith(waiter, STAKE + 7);
        _toSettle(3, 3);
        vm.expectEmit(address(market));
        emit IJobMarket.WaitEnded(job, waiter, stranger, STAKE + 7);
        _withdraw(waiter, stranger);
        vm.assertEq(stranger.balance, STAKE + 7);
        _assertWaits(waiter, 0);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.stakes, 8 * STAKE);
        vm.assertEq(ledger.refunded, STAKE + 7);
        _assertConserved();
    }

    function test_withdrawStake_endsAWaitOnce() public {
        _enrol(waiter);
        _withdraw(waiter, stranger);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotTrainer.selector, waiter));
        _withdraw(waiter, stranger);
        _refuseSeat(waiter, abi.encodeWithSelector(IJobMarket.NotWaiting.selector, waiter));
        vm.assertEq(stranger.balance, STAKE);
    }

    function test_withdrawStake_endsAWaitAfterTheClose() public {
        _enrol(waiter);
        vm.warp(DEADLINE);
        market.closeJob(job, _packLifetime());
        _refuseSeat(waiter, abi.encodeWithSelector(IJobMarket.WrongPhase.selector, Phase.Closed, Phase.Enrolment));
        _withdraw(waiter, stranger);
        vm.assertEq(stranger.balance, STAKE);
        _assertConserved();
    }

    function test_withdrawStake_ofOneWhoWaitsFailsToNobody() public {
        _enrol(waiter);
        vm.expectRevert(IJobMarket.ZeroAddress.selector);
        _withdraw(waiter, address(0));
        _assertWaits(waiter, STAKE);
    }

    // ------------------------------------------------------------------ takeSeat

    function test_takeSeat_takesOneThatWasGivenUp() public {
        _enrolWith(waiter, STAKE + 3);
        _withdraw(_trainer(6), stranger);
        vm.expectEmit(address(market));
        emit IJobMarket.SeatTaken(job, waiter, 6, STAKE + 3);
        _take(waiter);
        _assertSits(waiter, 6);
        _assertWaits(_trainer(6), 0);
        vm.assertEq(market.stateOf(job).staked, EVERY_SEAT);
        vm.assertEq(market.stateOf(job).seatsTaken, SEATS);
        vm.assertEq(market.ledgerOf(job).stakes, 8 * STAKE + 3);
        _assertConserved();
    }

    /// @dev The seat is as good as any: it commits, is paid, and only who sat there is.
    function test_takeSeat_whoComesIsPaid() public {
        _enrol(waiter);
        _withdraw(_trainer(6), stranger);
        _take(waiter);
        _playSeats(7 | 1 << 6);
        _vest();
        vm.assertEq(_claimAs(waiter, 0), REWARD / 4);
        _refuseClaim(_trainer(6), 0, abi.encodeWithSelector(IJobMarket.NotTrainer.selector, _trainer(6)));
        _assertConserved();
    }

    function test_takeSeat_duringARound() public {
        _enrol(waiter);
        _warpToCommit();
        _withdraw(_trainer(6), stranger);
        _take(waiter);
        _commitSeats(1 << 6);
        vm.assertEq(market.stateOf(job).committed, 1 << 6);
    }

    function test_takeSeat_failsWhileAllAreTaken() public {
        _enrol(waiter);
        _refuseSeat(waiter, abi.encodeWithSelector(IJobMarket.SeatsFull.selector, SEATS));
        _assertWaits(waiter, STAKE);
    }

    /// @dev Somebody may have earned something there: its claims stay its own.
    function test_takeSeat_failsIfTheOnlySeatGivenUpHasCommitted() public {
        _enrol(waiter);
        _playSeats(7);
        _withdraw(_trainer(0), stranger);
        _refuseSeat(waiter, abi.encodeWithSelector(IJobMarket.SeatsFull.selector, SEATS));
    }

    function test_takeSeat_failsForWhoDoesNotWait() public {
        _withdraw(_trainer(6), stranger);
        _refuseSeat(stranger, abi.encodeWithSelector(IJobMarket.NotWaiting.selector, stranger));
        _refuseSeat(_trainer(0), abi.encodeWithSelector(IJobMarket.NotWaiting.selector, _trainer(0)));
        _refuseSeat(_trainer(6), abi.encodeWithSelector(IJobMarket.NotWaiting.selector, _trainer(6)));
    }

    function test_takeSeat_onceForOneStake() public {
        _enrol(waiter);
        _withdraw(_trainer(6), stranger);
        _withdraw(_trainer(7), stranger);
        _take(waiter);
        _refuseSeat(waiter, abi.encodeWithSelector(IJobMarket.NotWaiting.selector, waiter));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyEnrolled.selector, waiter, 6));
        vm.prank(waiter);
        market.enrol(job, 0, new bytes32[](0));
    }

    /// @dev A trainer whose given-up seat is another's is a newcomer again.
    function test_enrol_afterItsSeatWasHandedOnWaits() public {
        _enrol(waiter);
        _withdraw(_trainer(6), stranger);
        _take(waiter);
        _enrol(_trainer(6));
        _assertWaits(_trainer(6), STAKE);
        _assertConserved();
    }

    // ------------------------------------------------------------------ flooding

    /// @dev Two hundred who wait cost those who sit, and whoever takes a seat among them, nothing; and each of them a stake.
    function test_enrol_aFloodThatWaitsChangesNothing() public {
        uint256 fresh = vm.snapshotState();
        uint256 alone = _costOfASeat();
        vm.revertToState(fresh);
        for (uint256 i = 1; i <= 200; ++i) {
            _enrol(_waiter(i));
        }
        vm.assertEq(market.ledgerOf(job).stakes, 208 * STAKE);
        vm.assertApproxEqAbs(_costOfASeat(), alone, 100);
        _playSeats(EVERY_SEAT);
        vm.assertEq(market.stateOf(job).round, 1);
        for (uint256 i = 1; i <= 200; ++i) {
            _withdraw(_waiter(i), stranger);
        }
        vm.assertEq(stranger.balance, 201 * STAKE); // and that of who gave a seat up
        _assertConserved();
    }

    function _costOfASeat() private returns (uint256 gas) {
        _enrol(waiter);
        _withdraw(_trainer(6), stranger);
        vm.prank(waiter);
        gas = gasleft();
        market.takeSeat(job);
        gas -= gasleft();
        _assertSits(waiter, 6);
    }
}
