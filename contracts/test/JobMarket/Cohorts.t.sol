// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket, JobTerms, Phase} from "../../src/interfaces/IJobMarket.sol";
import {MarketFixture} from "./MarketFixture.sol";

/// @dev Eight seats, of which four are drawn for each attempt.
contract CohortsTest is MarketFixture {
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

    /// @dev Attempts starve here, one after the other: each drawn seat missed one that starved, and no other is idle.
    function test_cohort_whoWasNotDrawnHasMissedNothing() public {
        _draw();
        bool[SEATS] memory wasDrawn;
        for (uint256 attempt = 0; attempt < 2; ++attempt) {
            for (uint256 seat = 0; seat < SEATS; ++seat) {
                wasDrawn[seat] = wasDrawn[seat] || market.inCohort(job, seat, attempt);
            }
            _warpToReveal();
            market.skipRound(job, attempt);
        }
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            bool missed = market.inCohort(job, seat, 0) && market.inCohort(job, seat, 1);
            vm.assertEq(market.isIdle(job, seat), missed || market.inCohort(job, seat, 1));
            if (!wasDrawn[seat]) vm.assertFalse(market.isIdle(job, seat));
        }
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
