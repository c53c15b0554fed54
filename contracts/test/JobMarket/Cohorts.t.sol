// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {JobTerms, Phase} from "../../src/interfaces/JobTypes.sol";
import {SeatMask} from "../../src/libraries/SeatMask.sol";
import {MarketFixture} from "./MarketFixture.sol";

/// @dev Eight seats, of which four are drawn for each attempt.
contract CohortsTest is MarketFixture {
    using SeatMask for uint64;

    uint8 private constant COHORT = 4;
    uint32 private constant DRAW = 200;

    function setUp() public override {
        super.setUp();
        _enrol(_trainer(5));
        _enrol(_trainer(6));
        _enrol(_trainer(7));
    }

    function _terms() internal view override returns (JobTerms memory terms) {
        terms = super._terms();
        terms.rounds = 6;
        terms.entry.drawPeriod = DRAW;
        terms.entry.cohort = COHORT;
    }

    function _draw() private {
        vm.warp(FIRST_COMMIT - DRAW);
        market.drawSeats(job);
        (uint256 number,) = market.drawOf(job);
        vm.roll(number + 1);
        market.drawSeats(job);
    }

    function test_cohort_asManySeatsAsItSaysMayCommit_andNoOther() public {
        _draw();
        _warpToCommit();
        uint256 drawn = 0;
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            if (market.inCohort(job, seat, 0)) {
                ++drawn;
                _commit(seat);
            } else {
                bytes32 seal = _seal(seat);
                vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInCohort.selector, seat));
                vm.prank(_trainer(seat));
                market.commit(job, 0, seal);
            }
        }
        vm.assertEq(drawn, COHORT);
        _warpToReveal();
        _assertPhase(Phase.Reveal);
    }

    function test_cohort_isAnotherInEachAttempt_andTakesEverySeatAboutAsOften() public {
        _draw();
        uint256[SEATS] memory times;
        for (uint256 attempt = 0; attempt < 400; ++attempt) {
            uint256 drawn = 0;
            for (uint256 seat = 0; seat < SEATS; ++seat) {
                if (!market.inCohort(job, seat, attempt)) continue;
                ++drawn;
                ++times[seat];
            }
            vm.assertEq(drawn, COHORT);
        }
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            // 200 expected, with a standard deviation of 10: five of them by chance in less than one of a million.
            vm.assertGt(times[seat], 150);
            vm.assertLt(times[seat], 250);
        }
    }

    function test_cohort_beforeTheDrawWhoeverComesFirst_andNoMoreThanItsNumber() public {
        _warpToCommit();
        _commitFirst(COHORT);
        bytes32 seal = _seal(COHORT);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInCohort.selector, COHORT));
        vm.prank(_trainer(COHORT));
        market.commit(job, 0, seal);
    }

    function test_cohort_canBeDrawnAfterEnrolmentToo() public {
        vm.warp(FIRST_COMMIT + 1);
        market.drawSeats(job);
        (uint256 number,) = market.drawOf(job);
        vm.roll(number + 1);
        market.drawSeats(job);
        (, bytes32 seed) = market.drawOf(job);
        vm.assertEq(seed, blockhash(number));
    }

    function test_cohort_ofAllSeatsTakenWhileTheyAreNoMore() public {
        JobTerms memory terms = _terms();
        terms.entry.cohort = SEATS;
        job = _open(terms);
        _enrol(5);
        _bond(aggregator);
        _draw();
        for (uint256 seat = 0; seat < 5; ++seat) {
            vm.assertTrue(market.inCohort(job, seat, 0));
        }
    }

    // ------------------------------------------------------------------ its second half

    /// @dev A cohort of sleepers starves no round: from the half on whoever has a stake in place commits.
    function test_cohort_isOpenToAllFromTheHalfOn_whileItIsNotFull() public {
        _draw();
        vm.warp(FIRST_COMMIT + COMMIT / 2 - 1);
        uint256[] memory others = _notDrawn();
        _refuseCommit(others[0]);
        vm.warp(FIRST_COMMIT + COMMIT / 2);
        for (uint256 i = 0; i < others.length; ++i) {
            if (i < COHORT) _commit(others[i]);
            else _refuseCommit(others[i]);
        }
        vm.assertEq(market.stateOf(job).committed.count(), COHORT);
        _warpToReveal();
        _assertPhase(Phase.Reveal);
    }

    /// @dev Nobody could have come to a full attempt, however often; whoever could, and did not, has missed it.
    function test_cohort_onlyAttemptsWithRoomAreMissed() public {
        _draw();
        for (uint256 attempt = 0; attempt < 3; ++attempt) {
            _warpToHalf();
            for (uint256 seat = 0; seat < COHORT; ++seat) {
                _commit(seat);
            }
            _conclude(COHORT);
        }
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            vm.assertFalse(market.isIdle(job, seat));
        }
        for (uint256 attempt = 3; attempt < 5; ++attempt) {
            _warpToHalf();
            for (uint256 seat = 0; seat < COHORT - 1; ++seat) {
                _commit(seat);
            }
            _conclude(COHORT - 1);
        }
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            vm.assertEq(market.isIdle(job, seat), seat >= COHORT - 1);
        }
    }

    /// @dev Seats that keep no stake in place are for who waits, however full the attempts are.
    function test_cohort_whoKeepsNoStakeInPlaceHasMissedFullAttemptsToo() public {
        _draw();
        for (uint256 attempt = 0; attempt < 2; ++attempt) {
            _warpToHalf();
            for (uint256 seat = 0; seat < COHORT; ++seat) {
                _commit(seat);
            }
            _conclude(COHORT);
        }
        vm.assertFalse(market.isIdle(job, 7));
        _withdraw(7);
        vm.assertTrue(market.isIdle(job, 7));
    }

    // ------------------------------------------------------------------ who counts

    /// @dev One stake that moves through account after account is one seat of eight to draw from, not eight.
    function test_cohort_oneStakeThatMovesThinsNoCohortOut() public {
        _withdraw(7);
        for (uint256 i = 0; i < 20; ++i) {
            address mover = _mover(i);
            _enrol(mover);
            vm.prank(mover);
            market.withdrawStake(job, mover);
        }
        _draw();
        _warpToCommit();
        uint256 drawn = 0;
        for (uint256 seat = 0; seat < 7; ++seat) {
            if (market.inCohort(job, seat, 0)) ++drawn;
        }
        vm.assertEq(drawn, COHORT);
    }

    function test_cohort_whoTakesItsStakeBackMakesRoomForTheNext() public {
        _draw();
        _warpToCommit();
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            if (!market.inCohort(job, seat, 0)) continue;
            _withdraw(seat);
            break;
        }
        uint256 drawn = 0;
        uint64 staked = market.stateOf(job).staked;
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            if (staked.has(seat) && market.inCohort(job, seat, 0)) ++drawn;
        }
        vm.assertEq(drawn, COHORT);
    }

    function _mover(uint256 i) private pure returns (address) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return address(uint160(0x9000 + i));
    }

    function _withdraw(uint256 seat) private {
        vm.prank(_trainer(seat));
        market.withdrawStake(job, stranger);
    }

    function _notDrawn() private view returns (uint256[] memory seats) {
        seats = new uint256[](SEATS - COHORT);
        uint256 next = 0;
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            if (!market.inCohort(job, seat, _attempt())) seats[next++] = seat;
        }
    }

    function _refuseCommit(uint256 seat) private {
        bytes32 seal = _seal(seat);
        uint256 attempt = _attempt();
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInCohort.selector, seat));
        vm.prank(_trainer(seat));
        market.commit(job, attempt, seal);
    }

    function _warpToHalf() private {
        uint256 attempt = _attempt();
        uint256 vestsAt = attempt == 0 ? 0 : market.outcomeOf(job, attempt - 1).vestsAt;
        uint256 from = vestsAt > _start() ? vestsAt : _start();
        vm.warp((from + _start() + COMMIT + 1) / 2);
    }

    /// @dev Settles an attempt in which the first seats have committed.
    function _conclude(uint256 committed) private {
        _warpToReveal();
        _revealFirst(committed);
        _warpToSettle();
        _settleAll(committed, 1 << 30);
    }

    function test_openJob_refusesACohortBelowTheMinimum_aboveTheSeats_orThatIsNotDrawn() public {
        JobTerms memory terms = _terms();
        terms.entry.cohort = terms.minimumCommits - 1;
        _refuseTerms(terms, "entry.cohort", terms.entry.cohort);
        terms.entry.cohort = SEATS + 1;
        _refuseTerms(terms, "entry.cohort", terms.entry.cohort);
        terms.entry.cohort = COHORT;
        terms.entry.drawPeriod = 0;
        _refuseTerms(terms, "entry.drawPeriod", 0);
    }

    function _refuseTerms(JobTerms memory terms, string memory term, uint256 value) private {
        uint256 amount = _deposit(terms);
        vm.deal(owner, amount);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InvalidTerm.selector, term, value));
        vm.prank(owner);
        market.openJob{value: amount}(terms, SPEC, MODEL, initialCommitment, srs, amount);
    }
}
