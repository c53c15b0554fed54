// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IGramVerifier} from "../../src/interfaces/IGramVerifier.sol";
import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {JobTerms, Phase} from "../../src/interfaces/JobTypes.sol";
import {ExamFixture} from "./ExamFixture.sol";

contract OpenExamTest is ExamFixture {
    uint256 private constant POINT = 64;

    function test_openExam_opensTheSeal() public {
        _toExam(3);
        bytes memory commitment = _examCommitment();
        vm.expectEmit(address(market));
        emit IJobMarket.ExamOpened(job, 0, _examContent(), commitment, _examSalt());
        vm.prank(examiner);
        market.openExam(job, 0, _examContent(), commitment, _examSalt());
        (bytes32 seal, bytes32 opened) = market.examOf(job, 0);
        vm.assertEq(seal, _examSeal());
        vm.assertEq(opened, keccak256(commitment));
        _assertConserved();
    }

    function test_openExam_byARelayer() public {
        _toExam(3);
        (bytes32 contentId, bytes32 salt) = (_examContent(), _examSalt());
        bytes memory commitment = _examCommitment();
        vm.prank(stranger);
        market.openExam(job, 0, contentId, commitment, salt);
        (, bytes32 opened) = market.examOf(job, 0);
        vm.assertEq(opened, keccak256(commitment));
    }

    /// @dev The owner's, whoever committed it: an examiner's own name opens nothing.
    function test_openExam_theSealNamesTheOwner() public {
        _warpToCommit();
        bytes memory commitment = _examCommitment();
        bytes32 named = _sealOf(examiner, keccak256(commitment), _examContent(), _examSalt());
        _commitExam(named);
        _revealThree();
        _refuseOpening(_examContent(), commitment, _examSalt());
    }

    function test_openExam_inTheFirstAndTheLastSecond() public {
        _toExam(3);
        vm.assertEq(block.timestamp, FIRST_EXAM);
        _openExam();
        _startWith(_terms());
        _toExam(3);
        vm.warp(FIRST_EXAM + EXAM - 1);
        _openExam();
    }

    function test_openExam_whereNobodyRevealed() public {
        _warpToCommit();
        _commitExam();
        _commitFirst(3);
        _warpToExam();
        _openExam();
    }

    function test_openExam_failsOneSecondEarly() public {
        _toExam(3);
        vm.warp(FIRST_EXAM - 1);
        _expectWrongPhase(Phase.Reveal, Phase.Exam);
        market.openExam(job, 0, 0, "", 0);
    }

    function test_openExam_failsLate() public {
        _toExam(3);
        vm.warp(FIRST_EXAM + EXAM);
        (bytes32 contentId, bytes32 salt) = (_examContent(), _examSalt());
        bytes memory commitment = _examCommitment();
        _expectWrongPhase(Phase.Settle, Phase.Exam);
        market.openExam(job, 0, contentId, commitment, salt);
    }

    function test_openExam_failsIfStarved() public {
        _warpToCommit();
        _commitExam();
        _commitFirst(2);
        _warpToExam();
        _expectWrongPhase(Phase.Starved, Phase.Exam);
        market.openExam(job, 0, 0, "", 0);
    }

    function test_openExam_failsInAJobWithoutAnExam() public {
        _startWithoutExam();
        _warpToCommit();
        _commitFirst(3);
        for (uint256 second = 0; second < 2; ++second) {
            vm.warp(FIRST_SETTLE - 1 + second);
            _expectWrongPhase(second == 0 ? Phase.Reveal : Phase.Settle, Phase.Exam);
            market.openExam(job, 0, 0, "", 0);
        }
    }

    function test_openExam_failsTwice() public {
        _toExam(3);
        _openExam();
        (bytes32 contentId, bytes32 salt) = (_examContent(), _examSalt());
        bytes memory commitment = _examCommitment();
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.ExamAlreadyOpened.selector, 0));
        market.openExam(job, 0, contentId, commitment, salt);
    }

    function test_openExam_failsWithoutASeal() public {
        _warpToCommit();
        _revealThree();
        (bytes32 contentId, bytes32 salt) = (_examContent(), _examSalt());
        bytes memory commitment = _examCommitment();
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.ExamNotCommitted.selector, 0));
        market.openExam(job, 0, contentId, commitment, salt);
    }

    function test_openExam_failsWithAnotherAttemptsNumber() public {
        _toExam(3);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongAttempt.selector, 1, 0));
        market.openExam(job, 1, 0, "", 0);
    }

    // ------------------------------------------------------------------ what is opened

    function test_openExam_failsIfTheCommitmentIsOfZeros() public {
        _warpToCommit();
        bytes memory none = new bytes(POINT);
        _commitExam(_sealOf(owner, keccak256(none), _examContent(), _examSalt()));
        _revealThree();
        (bytes32 contentId, bytes32 salt) = (_examContent(), _examSalt());
        vm.expectRevert(IJobMarket.ExamOfZeros.selector);
        market.openExam(job, 0, contentId, none, salt);
    }

    /// @dev A gradient may be zero in a whole chunk, in one layer that is frozen say, and still examine the others.
    function test_openExam_acceptsOneChunkOfZerosAndNotAll() public {
        JobTerms memory terms = _terms();
        terms.chunks = 2;
        _startWith(terms);
        _warpToCommit();
        bytes memory commitment = _examCommitment();
        for (uint256 i = 0; i < POINT; ++i) {
            commitment[i] = 0;
        }
        _commitExam(_sealOf(owner, keccak256(commitment), _examContent(), _examSalt()));
        _revealThree();
        market.openExam(job, 0, _examContent(), commitment, _examSalt());
        (, bytes32 opened) = market.examOf(job, 0);
        vm.assertEq(opened, keccak256(commitment));
    }

    function test_openExam_failsIfTheCommitmentIsOffTheCurve() public {
        _warpToCommit();
        bytes memory commitment = _examCommitment();
        commitment[31] ^= 0x01;
        _commitExam(_sealOf(owner, keccak256(commitment), _examContent(), _examSalt()));
        _revealThree();
        (bytes32 contentId, bytes32 salt) = (_examContent(), _examSalt());
        vm.expectPartialRevert(IGramVerifier.InvalidPoint.selector);
        market.openExam(job, 0, contentId, commitment, salt);
    }

    function test_openExam_failsIfTheCommitmentHasAnotherLength() public {
        _warpToCommit();
        bytes memory twice = bytes.concat(_examCommitment(), _examCommitment());
        _commitExam(_sealOf(owner, keccak256(twice), _examContent(), _examSalt()));
        _revealThree();
        (bytes32 contentId, bytes32 salt) = (_examContent(), _examSalt());
        vm.expectRevert(abi.encodeWithSelector(IGramVerifier.InvalidLength.selector, "commitment", 2 * POINT, POINT));
        market.openExam(job, 0, contentId, twice, salt);
        vm.expectRevert(abi.encodeWithSelector(IGramVerifier.InvalidLength.selector, "commitment", 0, POINT));
        market.openExam(job, 0, contentId, "", salt);
    }

    function testFuzz_openExam_failsIfAnythingOfTheOpeningDiffers(bytes32 contentId, bool own, bytes32 salt) public {
        _toExam(3);
        vm.assume(contentId != _examContent() || !own || salt != _examSalt());
        _refuseOpening(contentId, own ? _examCommitment() : _commitment(0), salt);
    }

    // ------------------------------------------------------------------ attacks

    /// @dev One who sees the opening on its way cannot put other bytes in front of it: the seal binds them.
    function test_openExam_failsForAFrontRunnerWithOtherContent() public {
        _toExam(3);
        bytes memory commitment = _examCommitment();
        _refuseOpening(keccak256("nothing that opens"), commitment, _examSalt());
        _openExam();
        (, bytes32 opened) = market.examOf(job, 0);
        vm.assertEq(opened, keccak256(commitment));
    }

    function test_openExam_failsWithTheExamOfAnEarlierAttempt() public {
        _warpToCommit();
        (bytes32 old, bytes32 contentId, bytes32 salt) = (_examSeal(), _examContent(), _examSalt());
        bytes memory commitment = _examCommitment();
        _toExamined(3);
        _warpToOverdue();
        market.expireRound(job, 0);
        _replay(old, contentId, commitment, salt);
    }

    function test_openExam_failsWithTheExamOfAnEarlierRound() public {
        _warpToCommit();
        (bytes32 old, bytes32 contentId, bytes32 salt) = (_examSeal(), _examContent(), _examSalt());
        bytes memory commitment = _examCommitment();
        _playExamined(3, ONE);
        _replay(old, contentId, commitment, salt);
    }

    function test_openExam_failsWithTheExamOfAnotherJob() public {
        (bytes32 old, bytes32 contentId, bytes32 salt) = (_examSeal(), _examContent(), _examSalt());
        bytes memory commitment = _examCommitment();
        _startWith(_terms());
        _warpToCommit();
        _replay(old, contentId, commitment, salt);
    }

    /// @dev Nor does an attempt's opening do for the attempt before, which is over.
    function test_openExam_failsForAnAttemptThatIsOver() public {
        _toExam(3);
        _warpToOverdue();
        market.expireRound(job, 0);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongAttempt.selector, 0, 1));
        market.openExam(job, 0, 0, "", 0);
    }

    function _revealThree() private {
        _commitFirst(3);
        _warpToReveal();
        _revealFirst(3);
        _warpToExam();
    }

    function _refuseOpening(bytes32 contentId, bytes memory commitment, bytes32 salt) private {
        uint256 attempt = _attempt();
        (bytes32 seal,) = market.examOf(job, attempt);
        bytes32 opened = _sealOf(owner, keccak256(commitment), contentId, salt);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.SealMismatch.selector, opened, seal));
        market.openExam(job, attempt, contentId, commitment, salt);
    }

    /// @dev The examiner commits an old seal in the running attempt and tries its old opening.
    function _replay(bytes32 old, bytes32 contentId, bytes memory commitment, bytes32 salt) private {
        _commitExam(old);
        _revealThree();
        _refuseOpening(contentId, commitment, salt);
    }
}
