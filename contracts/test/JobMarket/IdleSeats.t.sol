// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Fact, JobTerms, Ledger, Phase} from "../../src/interfaces/JobTypes.sol";
import {SeatMask} from "../../src/libraries/SeatMask.sol";
import {SeatFixture} from "./SeatFixture.sol";

/// @notice When a seat is idle, and who may take it when: seats that nobody works on go to who waits.
contract IdleSeatsTest is SeatFixture {
    using SeatMask for uint64;

    uint64 private constant BUT_LAST = EVERY_SEAT >> 1;
    uint256 private constant LAST = SEATS - 1;
    uint64 private constant LAST_ONLY = EVERY_SEAT - BUT_LAST;
    address private waiter = _waiter(0);

    function setUp() public override {
        super.setUp();
        _fill();
        _enrolWith(waiter, STAKE + 1);
    }

    // ------------------------------------------------------------------ owners who fill all seats

    /// @dev Eight identities never commit: after one round that starved they lose every seat to who waits, who work.
    function test_takeIdleSeat_afterOneStarvedRoundWhoFilledAllSeatsLosesThem() public {
        _enrol(_waiter(1));
        _enrol(_waiter(2));
        _starve(0);
        for (uint256 seat = 0; seat < 3; ++seat) {
            vm.assertTrue(market.isIdle(job, seat));
            _takeIdle(_waiter(seat), seat);
        }
        _playSeats(7);
        vm.assertEq(market.stateOf(job).round, 2);
        _vest();
        for (uint256 seat = 0; seat < 3; ++seat) {
            vm.assertEq(_claimAs(_waiter(seat), 1), REWARD / 3);
            _assertWaits(_trainer(seat), STAKE);
            _withdraw(_trainer(seat), stranger);
        }
        vm.assertEq(market.ledgerOf(job).refundable, REWARD + FEE); // the round that starved: nobody had worked in it
        _assertConserved();
    }

    /// @dev Three of them commit, so that no round starves: the five others lose their seats after two attempts.
    function test_takeIdleSeat_afterTwoMissedAttemptsWhereNoRoundStarves() public {
        _playSeats(7);
        _assertIdle(0);
        _vest();
        _refuseIdle(waiter, LAST, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, LAST));
        _playSeats(7);
        _assertIdle(EVERY_SEAT & ~uint64(7));
        _vest();
        vm.expectEmit(address(market));
        emit IJobMarket.SeatLost(job, _trainer(LAST), LAST, STAKE);
        vm.expectEmit(address(market));
        emit IJobMarket.SeatTaken(job, waiter, LAST, STAKE + 1);
        _takeIdle(waiter, LAST);
        _assertSits(waiter, LAST);
        _assertWaits(_trainer(LAST), STAKE);
        _assertIdle(EVERY_SEAT & ~uint64(7 | LAST_ONLY));
        vm.assertEq(market.ledgerOf(job).stakes, 9 * STAKE + 1);
        _commitSeats(LAST_ONLY);
        _assertConserved();
    }

    /// @dev Two who commit in a round that starves anyway keep their seats.
    function test_takeIdleSeat_whoCommittedInAStarvedRoundKeepsItsSeat() public {
        _starve(3);
        _assertIdle(EVERY_SEAT & ~uint64(3));
        _refuseIdle(waiter, 0, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, 0));
        _takeIdle(waiter, 2);
    }

    // ------------------------------------------------------------------ what is idle

    function test_isIdle_aTrainersLastCommitCounts() public {
        _playSeats(EVERY_SEAT);
        _playSeats(BUT_LAST);
        _assertIdle(0);
        _playSeats(BUT_LAST);
        _assertIdle(LAST_ONLY);
        _commitSeats(LAST_ONLY); // in time: nobody came
        _assertIdle(0);
        _vest();
        _refuseIdle(waiter, LAST, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, LAST));
        _commitSeats(BUT_LAST);
        _warpToReveal();
        _revealSeats(EVERY_SEAT);
        _warpToSettle();
        _settleNoted(_excluding(0));
        _assertIdle(0);
    }

    function test_isIdle_whoCommitsEverySecondTimeNeverIs() public {
        for (uint256 i = 0; i < 6; ++i) {
            _assertIdle(0);
            _playSeats(i % 2 == 0 ? EVERY_SEAT : BUT_LAST);
        }
    }

    /// @dev Whoever takes a seat has its own two attempts.
    function test_isIdle_aNewTenantBeginsAnew() public {
        _starve(3);
        _takeIdle(waiter, LAST);
        _assertIdle(EVERY_SEAT & ~uint64(3 | LAST_ONLY));
        _playSeats(7);
        vm.assertFalse(market.isIdle(job, LAST));
        _playSeats(7);
        vm.assertTrue(market.isIdle(job, LAST));
    }

    /// @dev An attempt whose commit phase was over when it came is none that it missed.
    function test_isIdle_whoEnrolsTooLateForAnAttemptDidNotMissIt() public {
        job = _open(_terms());
        _enrol(5);
        _bond(aggregator);
        _warpToCommit();
        _commitFirst(3);
        _warpToReveal();
        _enrol(_trainer(5)); // attempt 1 is its first
        _revealFirst(3);
        _warpToSettle();
        _settleNoted(_excluding(0));
        _playSeats(7);
        vm.assertTrue(market.isIdle(job, 4));
        vm.assertFalse(market.isIdle(job, 5));
        _playSeats(7);
        vm.assertTrue(market.isIdle(job, 5));
    }

    function test_isIdle_noSeatThatNobodyEverHad() public {
        job = _open(_terms());
        _enrol(3);
        _bond(aggregator);
        _starve(0);
        vm.assertTrue(market.isIdle(job, 2));
        vm.assertFalse(market.isIdle(job, 3));
        vm.assertFalse(market.isIdle(job, 64));
        vm.assertFalse(market.isIdle(job, 1000));
        _enrol(_waiter(3)); // seat 3 is free, so that nobody has to wait
        _assertSits(_waiter(3), 3);
    }

    /// @dev Against a model: idle is who missed the two attempts before, or one that starved since its last commit.
    function testFuzz_isIdle_asWrittenAgain(uint8[8] memory commits) public {
        uint256[8] memory misses;
        uint64 starved = 0; // who missed a starved one since
        for (uint256 attempt = 0; attempt < 8; ++attempt) {
            uint64 idle = starved;
            for (uint256 seat = 0; seat < SEATS; ++seat) {
                if (misses[seat] >= 2) idle |= SeatMask.only(seat);
            }
            _assertIdle(idle);
            uint64 mask = commits[attempt];
            _assertIdleAfter(idle & ~mask, mask);
            if (mask.count() < 3) starved |= ~mask & EVERY_SEAT;
            starved &= ~mask;
            for (uint256 seat = 0; seat < SEATS; ++seat) {
                misses[seat] = mask.has(seat) ? 0 : misses[seat] + 1;
            }
        }
    }

    /// @dev A committing seat is not idle from its commit on.
    function _assertIdleAfter(uint64 idle, uint64 mask) private {
        if (mask.count() < 3) {
            // forge-lint: disable-next-line(block-timestamp)
            if (block.timestamp < _start()) _warpToCommit();
            _commitSeats(mask);
            _assertIdle(idle);
            _warpToReveal();
            market.skipRound(job, _attempt());
            return;
        }
        _toSettleOf(mask);
        _assertIdle(idle);
        _settleNoted(_excluding(0));
    }

    // ------------------------------------------------------------------ when it may be taken

    /// @dev In the phases in which no aggregator works with the scores that would change: from no block can a settlement be
    /// made to fail.
    function test_takeIdleSeat_failsBetweenTheCommitPhaseAndTheSettlement() public {
        _starve(3);
        vm.assertTrue(market.isIdle(job, LAST));
        _commitSeats(15);
        vm.warp(_start() + COMMIT - 1);
        _assertIdle(EVERY_SEAT & ~uint64(15));
        _warpToReveal();
        _refuseIn(Phase.Reveal);
        _revealSeats(15);
        _warpToSettle();
        _refuseIn(Phase.Settle);
        vm.assertEq(market.stateOf(job).committed & LAST_ONLY, 0);
        _settleNoted(_excluding(0)); // with what it had prepared
        vm.assertEq(market.stateOf(job).round, 2);
    }

    function test_takeIdleSeat_failsWhileARoundIsOverdue() public {
        _starve(0);
        _commitSeats(7);
        _warpToOverdue();
        _refuseIn(Phase.Overdue);
        market.expireRound(job, 1);
        _takeIdle(waiter, LAST);
    }

    function test_takeIdleSeat_failsWhileARoundStarves() public {
        _starve(0);
        _warpToReveal();
        _refuseIn(Phase.Starved);
        market.skipRound(job, 1);
        _takeIdle(waiter, LAST);
    }

    function test_takeIdleSeat_failsInAnExamPhase() public {
        JobTerms memory terms = _examTerms();
        terms.rounds = 4;
        _startWith(terms);
        _fill();
        _enrol(waiter);
        _starve(0);
        _commitSeats(7);
        _warpToExam();
        _refuseIn(Phase.Exam);
    }

    function test_takeIdleSeat_failsOnceRoundsAreOver() public {
        _starve(0);
        for (uint256 round = 1; round < MORE_ROUNDS; ++round) {
            _playSeats(7);
        }
        _refuseIn(Phase.Finished);
        _vest();
        _refuseIn(Phase.Finished);
        market.closeJob(job, _packLifetime());
        _refuseIn(Phase.Closed);
    }

    function test_takeIdleSeat_whileNobodyAggregates() public {
        _withdrawBond(successor);
        _starve(0);
        _toSettleOf(7);
        _warpToOverdue();
        market.expireRound(job, 1);
        _assertPhase(Phase.AwaitingAggregator);
        _takeIdle(waiter, LAST);
        _bond(_waiter(9));
        _playSeats(7 | LAST_ONLY);
        _vest();
        vm.assertEq(_claimAs(waiter, 2), REWARD / 4);
    }

    // ------------------------------------------------------------------ what can still be undone

    /// @dev Undone, a settlement gives back scores and records as they were, and finds whoever revealed where it was.
    function test_takeIdleSeat_failsWhileTheLastSettlementCanBeUndone() public {
        _starve(0);
        _playSeats(7);
        uint256 vestsAt = market.outcomeOf(job, 1).vestsAt;
        _refuseIdle(waiter, LAST, abi.encodeWithSelector(IJobMarket.NotVested.selector, block.timestamp, vestsAt));
        vm.warp(vestsAt - 1);
        _refuseIdle(waiter, LAST, abi.encodeWithSelector(IJobMarket.NotVested.selector, vestsAt - 1, vestsAt));
        _dispute(_trainer(0), Fact.Model);
        _refuseIn(Phase.Disputed);
        _answer(true, 0, QUORUM);
        _refuseIdle(waiter, LAST, abi.encodeWithSelector(IJobMarket.NotVested.selector, vestsAt - 1, vestsAt));
        vm.warp(vestsAt);
        _takeIdle(waiter, LAST);
        _refuseDispute(
            _trainer(0), Fact.Model, abi.encodeWithSelector(IJobMarket.DisputeTooLate.selector, vestsAt, vestsAt)
        );
    }

    function test_takeIdleSeat_onceASettlementIsUndone() public {
        _starve(0);
        _playSeats(7);
        _disputeAndUndo(_trainer(0), Fact.Model);
        _takeIdle(waiter, LAST);
        _playSeats(7 | LAST_ONLY);
        _vest();
        vm.assertEq(_claimAs(waiter, 3), REWARD / 4);
        _assertConserved();
    }

    // ------------------------------------------------------------------ by whom

    function test_takeIdleSeat_failsForWhoDoesNotWait() public {
        _starve(0);
        _refuseIdle(stranger, LAST, abi.encodeWithSelector(IJobMarket.NotWaiting.selector, stranger));
        _refuseIdle(_trainer(0), LAST, abi.encodeWithSelector(IJobMarket.NotWaiting.selector, _trainer(0)));
        _withdraw(waiter, stranger);
        _refuseIdle(waiter, LAST, abi.encodeWithSelector(IJobMarket.NotWaiting.selector, waiter));
    }

    function test_takeIdleSeat_oneForOneStake() public {
        _starve(0);
        _takeIdle(waiter, 0);
        _refuseIdle(waiter, 1, abi.encodeWithSelector(IJobMarket.NotWaiting.selector, waiter));
    }

    function test_takeIdleSeat_failsForASeatThatIsNone() public {
        _starve(0);
        _refuseIdle(waiter, SEATS, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, SEATS));
        _refuseIdle(waiter, 256, abi.encodeWithSelector(IJobMarket.SeatNotIdle.selector, 256));
    }

    /// @dev Who lost its seat waits, and may take one that is idle: another, or its own once it was left.
    function test_takeIdleSeat_byWhoLostOne() public {
        _starve(0);
        _takeIdle(waiter, 0);
        _takeIdle(_trainer(0), 1);
        _assertSits(_trainer(0), 1);
        _assertWaits(_trainer(1), STAKE);
        _starve(0);
        _takeIdle(_trainer(1), 0);
        _assertSits(_trainer(1), 0);
        _assertWaits(waiter, STAKE + 1);
        _assertConserved();
    }

    /// @dev A seat whose stake is gone, burned or taken back, goes likewise; nothing waits in its trainer's name.
    function test_takeIdleSeat_whoseStakeIsGone() public {
        _warpToCommit();
        _commitSeats(15);
        _warpToReveal();
        _revealSeats(7);
        _warpToSettle();
        _settleNoted(_excluding(0)); // seat 3 forfeits
        _playSeats(7);
        _withdraw(_trainer(LAST), stranger); // given up before it ever committed: free
        _playSeats(7);
        _vest();
        _enrol(_waiter(1));
        _assertSits(_waiter(1), LAST);
        _takeIdle(waiter, 3);
        _assertWaits(_trainer(3), 0);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotTrainer.selector, _trainer(3)));
        _withdraw(_trainer(3), stranger);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.stakes, 8 * STAKE + 1);
        vm.assertEq(ledger.burned, STAKE);
        _assertConserved();
    }

    // ------------------------------------------------------------------ parts

    function _refuseIn(Phase phase) private {
        _assertPhase(phase);
        _refuseIdle(waiter, LAST, abi.encodeWithSelector(IJobMarket.WrongPhase.selector, phase, Phase.Commit));
    }

    function _withdrawBond(address account) private {
        vm.prank(account);
        market.withdrawBond(job, account);
    }

    function _assertIdle(uint64 seats) private view {
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            vm.assertEq(market.isIdle(job, seat), seats.has(seat), vm.toString(seat));
        }
    }
}
