// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Phase} from "../../src/interfaces/JobTypes.sol";
import {ExamFixture} from "./ExamFixture.sol";

contract PublishExamTest is ExamFixture {
    function test_publishExam_onceTheRoundsAreOver() public {
        _playAllExamined();
        vm.assertFalse(market.stateOf(job).examPublished);
        vm.expectEmit(address(market));
        emit IJobMarket.ExamPublished(job, BOOK);
        vm.prank(examiner);
        market.publishExam(job, BOOK);
        vm.assertTrue(market.stateOf(job).examPublished);
        _assertPhase(Phase.Finished);
        _assertConserved();
    }

    function test_publishExam_byTheOwner() public {
        _playAllExamined();
        vm.prank(owner);
        market.publishExam(job, BOOK);
        vm.assertTrue(market.stateOf(job).examPublished);
    }

    /// @dev The last attempt is concluded first: until then it could still be opened, and settled.
    function test_publishExam_onceNoAttemptFitsBeforeTheDeadline() public {
        _toExamined(3);
        vm.warp(DEADLINE);
        vm.prank(examiner);
        _expectWrongPhase(Phase.Overdue, Phase.Finished);
        market.publishExam(job, BOOK);
        market.expireRound(job, 0);
        _publishExam();
    }

    function test_publishExam_whereNoAggregatorEverCame() public {
        job = _open(_terms());
        vm.warp(DEADLINE - COMMIT - REVEAL - EXAM - SETTLE);
        vm.prank(examiner);
        _expectWrongPhase(Phase.AwaitingAggregator, Phase.Finished);
        market.publishExam(job, BOOK);
        vm.warp(block.timestamp + 1);
        _publishExam();
    }

    /// @dev Slices that are out could be studied for.
    function test_publishExam_failsWhileRoundsRun() public {
        _refusePublication(Phase.Enrolment);
        _toExam(3);
        _refusePublication(Phase.Exam);
        vm.warp(FIRST_COMMIT);
        _refusePublication(Phase.Commit);
        vm.warp(FIRST_REVEAL);
        _refusePublication(Phase.Reveal);
        vm.warp(FIRST_EXAM + EXAM);
        _refusePublication(Phase.Settle);
        vm.warp(FIRST_EXAM + EXAM + SETTLE);
        _refusePublication(Phase.Overdue);
        market.expireRound(job, 0);
        _refusePublication(Phase.Commit);
        _warpToReveal();
        _refusePublication(Phase.Starved);
    }

    function test_publishExam_failsAfterTheClose() public {
        _playAllExamined();
        vm.warp(DEADLINE);
        market.closeJob(job, _packLifetime());
        _refusePublication(Phase.Closed);
    }

    function test_publishExam_failsForAnybodyElse() public {
        _playAllExamined();
        address[3] memory others = [stranger, aggregator, _trainer(0)];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotExaminer.selector, others[i], examiner));
            vm.prank(others[i]);
            market.publishExam(job, BOOK);
        }
    }

    function test_publishExam_failsTwice() public {
        _playAllExamined();
        _publishExam();
        vm.expectRevert(IJobMarket.ExamAlreadyPublished.selector);
        vm.prank(owner);
        market.publishExam(job, keccak256("another book"));
    }

    function test_publishExam_failsWithoutContent() public {
        _playAllExamined();
        vm.expectRevert(IJobMarket.EmptyContentId.selector);
        vm.prank(examiner);
        market.publishExam(job, 0);
    }

    function test_publishExam_failsInAJobWithoutAnExam() public {
        _startWithoutExam();
        for (uint256 round = 0; round < ROUNDS; ++round) {
            _playRound(3, ONE);
        }
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoExam.selector, job));
        vm.prank(owner);
        market.publishExam(job, BOOK);
    }

    function _refusePublication(Phase phase) private {
        vm.prank(examiner);
        _expectWrongPhase(phase, Phase.Finished);
        market.publishExam(job, BOOK);
    }
}
