// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {JobId, JobTerms, Phase} from "../../src/interfaces/JobTypes.sol";
import {ExamFixture} from "./ExamFixture.sol";

contract CommitExamTest is ExamFixture {
    bytes32 private constant SEAL = keccak256("seal");

    function test_commitExam_sealsTheAttemptsExam() public {
        _warpToCommit();
        vm.expectEmit(address(market));
        emit IJobMarket.ExamCommitted(job, 0, SEAL);
        vm.prank(examiner);
        market.commitExam(job, 0, SEAL);
        (bytes32 seal, bytes32 opened) = market.examOf(job, 0);
        vm.assertEq(seal, SEAL);
        vm.assertEq(opened, 0);
        _assertConserved();
    }

    /// @dev It knows the exam before anybody reveals.
    function test_bond_failsForTheExaminer() public {
        vm.deal(examiner, BOND);
        vm.prank(examiner);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.OwnerCannotAggregate.selector, examiner));
        market.bond{value: BOND}(job, BOND, keccak256("an X25519 public key"));
    }

    function test_commitExam_byTheOwner() public {
        _warpToCommit();
        vm.prank(owner);
        market.commitExam(job, 0, SEAL);
        (bytes32 seal,) = market.examOf(job, 0);
        vm.assertEq(seal, SEAL);
    }

    function test_commitExam_byTheOwnerAloneWhereNoExaminerIsNamed() public {
        JobTerms memory terms = _terms();
        terms.exam.examiner = address(0);
        _startWith(terms);
        _warpToCommit();
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotExaminer.selector, examiner, owner));
        vm.prank(examiner);
        market.commitExam(job, 0, SEAL);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotExaminer.selector, address(0), owner));
        vm.prank(address(0));
        market.commitExam(job, 0, SEAL);
        vm.prank(owner);
        market.commitExam(job, 0, SEAL);
    }

    function test_commitExam_inTheFirstAndTheLastSecond() public {
        vm.warp(FIRST_COMMIT);
        _commitExam(SEAL);
        _startWith(_terms());
        vm.warp(FIRST_REVEAL - 1);
        _commitExam(SEAL);
    }

    /// @dev Seals are kept by attempt: each has its own, and none is reset.
    function test_commitExam_onceInEveryAttempt() public {
        _toExam(3);
        bytes32 first = _seal0();
        _warpToOverdue();
        market.expireRound(job, 0);
        _commitExam(SEAL);
        (bytes32 seal,) = market.examOf(job, 1);
        vm.assertEq(seal, SEAL);
        vm.assertEq(_seal0(), first);
    }

    function test_commitExam_failsForAnybodyElse() public {
        _warpToCommit();
        address[4] memory others = [stranger, aggregator, _trainer(0), address(0)];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotExaminer.selector, others[i], examiner));
            vm.prank(others[i]);
            market.commitExam(job, 0, SEAL);
        }
    }

    /// @dev Whoever could exchange it later could fit it to what others revealed.
    function test_commitExam_failsTwice() public {
        _warpToCommit();
        _commitExam(SEAL);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.ExamAlreadyCommitted.selector, 0));
        vm.prank(examiner);
        market.commitExam(job, 0, keccak256("another"));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.ExamAlreadyCommitted.selector, 0));
        vm.prank(owner);
        market.commitExam(job, 0, SEAL);
    }

    function test_commitExam_failsWithoutASeal() public {
        _warpToCommit();
        vm.expectRevert(IJobMarket.EmptySeal.selector);
        vm.prank(examiner);
        market.commitExam(job, 0, 0);
    }

    function test_commitExam_failsInAJobWithoutAnExam() public {
        _startWithoutExam();
        _warpToCommit();
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoExam.selector, job));
        vm.prank(owner);
        market.commitExam(job, 0, SEAL);
    }

    function test_commitExam_failsOneSecondEarly() public {
        vm.warp(FIRST_COMMIT - 1);
        _expectWrongPhase(Phase.Enrolment, Phase.Commit);
        market.commitExam(job, 0, SEAL);
    }

    /// @dev From here on updates are in the open: an r that is fixed now could be fitted to them.
    function test_commitExam_failsOnceUpdatesAreRevealed() public {
        _warpToCommit();
        _commitFirst(3);
        vm.warp(FIRST_REVEAL);
        vm.prank(examiner);
        _expectWrongPhase(Phase.Reveal, Phase.Commit);
        market.commitExam(job, 0, SEAL);
        vm.warp(FIRST_EXAM);
        vm.prank(examiner);
        _expectWrongPhase(Phase.Exam, Phase.Commit);
        market.commitExam(job, 0, SEAL);
    }

    function test_commitExam_failsWithAnotherAttemptsNumber() public {
        _warpToCommit();
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongAttempt.selector, 1, 0));
        vm.prank(examiner);
        market.commitExam(job, 1, SEAL);
    }

    /// @dev A slice is used once; where attempts have used them up, there is none to examine on.
    function test_commitExam_failsWhereNoSliceIsLeft() public {
        JobTerms memory terms = _terms();
        terms.exam.slices = ROUNDS;
        _startWith(terms);
        for (uint256 attempt = 0; attempt < ROUNDS; ++attempt) {
            _toExam(3);
            _warpToOverdue();
            if (attempt == 1) _bond(aggregator);
            if (attempt == 2) _bond(successor);
            market.expireRound(job, attempt);
        }
        _assertPhase(Phase.Commit);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.SlicesUsedUp.selector, ROUNDS, ROUNDS));
        vm.prank(examiner);
        market.commitExam(job, ROUNDS, SEAL);
    }

    function test_views_ofExamsFailIfTheJobIsUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.UnknownJob.selector, 9));
        market.examOf(JobId.wrap(9), 0);
    }

    function _seal0() private view returns (bytes32 seal) {
        (seal,) = market.examOf(job, 0);
    }
}
