// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Fact, JobState, JobTerms, Ledger, Phase, Verdict} from "../../src/interfaces/JobTypes.sol";
import {DisputeFixture} from "./DisputeFixture.sol";

/// @notice A dispute that no quorum answers is over all the same: it costs its bond, and as much time as it took.
contract ThawDisputeTest is DisputeFixture {
    function test_thaw_burnsTheBondAndPutsEverythingOff() public {
        _disputed();
        JobState memory state = market.stateOf(job);
        Ledger memory ledger = market.ledgerOf(job);
        vm.warp(block.timestamp + ANSWERS + 7);
        vm.expectEmit(address(market));
        emit IJobMarket.DisputeResolved(
            job,
            0,
            Verdict.Unanswered,
            DISPUTE_BOND,
            FIRST_SETTLE + ANSWERS + 7,
            FIRST_SETTLE + VESTING + ANSWERS + 7,
            DEADLINE + ANSWERS + 7
        );
        vm.prank(stranger);
        market.thaw(job);

        state.attemptStart += ANSWERS + 7;
        vm.assertEq(abi.encode(market.stateOf(job)), abi.encode(state));
        ledger.disputes -= DISPUTE_BOND;
        ledger.burned += DISPUTE_BOND;
        vm.assertEq(abi.encode(market.ledgerOf(job)), abi.encode(ledger));
        vm.assertEq(market.outcomeOf(job, 0).vestsAt, FIRST_SETTLE + VESTING + ANSWERS + 7);
        vm.assertEq(market.termsOf(job).deadline, DEADLINE + ANSWERS + 7);
        _assertConserved();
    }

    function test_thaw_afterTooFewAnswers() public {
        _disputed();
        _answer(false, 0, QUORUM - 1);
        _answer(true, 3, 2);
        vm.warp(block.timestamp + ANSWERS);
        market.thaw(job);
        vm.assertEq(market.ledgerOf(job).burned, DISPUTE_BOND);
        vm.assertEq(market.disputeBondOf(job, _trainer(0)), 0);
        vm.assertEq(market.stateOf(job).round, 1);
        _assertPhase(Phase.Commit);
    }

    function test_thaw_failsOneSecondTooEarly() public {
        _disputed();
        uint256 from = block.timestamp + ANSWERS;
        vm.warp(from - 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotThawable.selector, from - 1, from));
        market.thaw(job);
        vm.warp(from);
        market.thaw(job);
    }

    function test_thaw_failsWithoutADispute() public {
        _play(3);
        _expectWrongPhase(Phase.Commit, Phase.Disputed);
        market.thaw(job);
    }

    function test_thaw_failsTwice() public {
        _disputed();
        vm.warp(block.timestamp + ANSWERS);
        market.thaw(job);
        _expectWrongPhase(Phase.Commit, Phase.Disputed);
        market.thaw(job);
    }

    function test_thaw_payVestsAsMuchLaterAndIsClaimedOnce() public {
        _disputed();
        bytes memory paid = pays[0];
        bytes32 undoHash = _undoHash(0);
        vm.warp(block.timestamp + VESTING);
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotVested.selector, block.timestamp, type(uint40).max));
        market.claim(job, 0, paid, undoHash, stranger);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotVested.selector, block.timestamp, type(uint40).max));
        market.claimFee(job, 0, aggregator);
        vm.warp(FIRST_SETTLE + ANSWERS);
        market.thaw(job);
        vm.warp(FIRST_SETTLE + ANSWERS + VESTING - 1);
        vm.prank(_trainer(0));
        vm.expectPartialRevert(IJobMarket.NotVested.selector);
        market.claim(job, 0, paid, undoHash, stranger);
        vm.warp(FIRST_SETTLE + ANSWERS + VESTING);
        _claim(0, 0);
        vm.prank(aggregator);
        market.claimFee(job, 0, aggregator);
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyClaimed.selector, 0, 0));
        market.claim(job, 0, paid, undoHash, stranger);
        _assertConserved();
    }

    /// @dev What had vested before is not held up.
    function test_thaw_earlierPayIsClaimedMeanwhile() public {
        _play(3);
        _play(3);
        _dispute(_trainer(0), Fact.Model);
        bytes32 undoHash = _undoHash(0);
        vm.prank(_trainer(1));
        market.claim(job, 0, pays[0], undoHash, stranger);
        vm.assertEq(stranger.balance, REWARD / 3);
    }

    function test_thaw_putsThePublicationOff() public {
        JobTerms memory terms = _examTerms();
        _startWith(terms);
        _finish();
        uint256 vestsAt = block.timestamp + VESTING;
        _dispute(_trainer(0), Fact.Model);
        vm.prank(examiner);
        _expectWrongPhase(Phase.Disputed, Phase.Finished);
        market.publishExam(job, BOOK);
        vm.warp(block.timestamp + ANSWERS);
        market.thaw(job);
        uint256 closeable = vestsAt + ANSWERS + COMMIT;
        vm.warp(closeable - 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotCloseable.selector, closeable - 1, closeable));
        market.closeJob(job, _packLifetime());
        _publishExam();
        closeable += VESTING - 1; // what is published can be disputed
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotCloseable.selector, block.timestamp, closeable));
        market.closeJob(job, _packLifetime());
        vm.warp(closeable - 1);
        _disputeExam(_trainer(0), 1);
        vm.warp(block.timestamp + ANSWERS);
        market.thaw(job);
        closeable += ANSWERS;
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotCloseable.selector, block.timestamp, closeable));
        market.closeJob(job, _packLifetime());
        vm.warp(closeable);
        market.closeJob(job, _packLifetime());
        vm.assertEq(market.ledgerOf(job).refundable, ROUNDS * EXAM_DEPOSIT);
        _assertConserved();
    }

    function test_thaw_aFrozenJobIsNotClosedEvenAfterItsDeadline() public {
        _disputed();
        vm.warp(DEADLINE + ANSWERS);
        _expectWrongPhase(Phase.Disputed, Phase.Finished);
        market.closeJob(job, _packLifetime());
        market.thaw(job);
        _assertPhase(Phase.Commit);
        vm.warp(market.termsOf(job).deadline);
        market.closeJob(job, _packLifetime());
        _assertPhase(Phase.Closed);
        _assertConserved();
    }

    function test_thaw_trainersEnrolAndAggregatorsBondMeanwhile() public {
        _disputed();
        _enrol(_trainer(5));
        _bond(stranger);
        vm.assertEq(market.aggregatorsOf(job).length, 3);
        _assertPhase(Phase.Disputed);
        vm.warp(block.timestamp + ANSWERS);
        market.thaw(job);
        _play(6);
        vm.assertEq(market.stateOf(job).round, 2);
    }

    /// @dev The job gets back the time that it stood still, neither more nor less.
    function testFuzz_thaw_movesEveryMomentByTheFrozenTime(uint256 into, uint256 frozen, bool answered) public {
        _play(3);
        vm.warp(FIRST_SETTLE + bound(into, 0, VESTING - 1));
        _dispute(_trainer(0), Fact.Model);
        frozen = answered ? bound(frozen, 0, ANSWERS - 1) : bound(frozen, ANSWERS, 365 days);
        vm.warp(block.timestamp + frozen);
        if (answered) _answer(true, 0, QUORUM);
        else market.thaw(job);
        vm.assertEq(market.stateOf(job).attemptStart, FIRST_SETTLE + frozen);
        vm.assertEq(market.outcomeOf(job, 0).vestsAt, FIRST_SETTLE + VESTING + frozen);
        vm.assertEq(market.termsOf(job).deadline, DEADLINE + frozen);
        _assertPhase(Phase.Commit);
        _play(3);
        _play(3);
        vm.warp(block.timestamp + VESTING);
        market.closeJob(job, _packLifetime());
        _assertConserved();
    }

    // ------------------------------------------------------------------ how to get there

    function _disputed() private {
        _play(4);
        _dispute(_trainer(0), Fact.Model);
    }

    function _finish() private {
        for (uint256 round = 0; round < ROUNDS; ++round) {
            _sit(3);
        }
    }
}
