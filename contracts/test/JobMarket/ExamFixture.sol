// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Scoring} from "../../src/interfaces/IRoundRules.sol";
import {JobId, JobTerms, Settlement} from "../../src/interfaces/JobTypes.sol";
import {MarketFixture} from "./MarketFixture.sol";

/// @notice The market's default job, with an exam.
abstract contract ExamFixture is MarketFixture {
    uint32 internal constant EXAM = 40;
    uint32 internal constant SLICES = 4; // one more than there are rounds
    uint128 internal constant DEPOSIT = 0.2 ether;
    uint40 internal constant FIRST_EXAM = FIRST_SETTLE; // what follows the reveals
    bytes32 internal constant BOOK = keccak256("slices, salts and references");

    address internal examiner = address(0xe4a);

    function _terms() internal view virtual override returns (JobTerms memory terms) {
        terms = super._terms();
        terms.rules.scoring = Scoring.Exam;
        terms.exam.root = keccak256("root");
        terms.exam.examiner = examiner;
        terms.exam.period = EXAM;
        terms.exam.slices = SLICES;
        terms.exam.deposit = DEPOSIT;
    }

    /// @dev A job without an exam, in the fixture's job's place.
    function _startWithoutExam() internal {
        JobTerms memory terms = _terms();
        terms.rules.scoring = Scoring.Equal;
        delete terms.exam;
        _startWith(terms);
    }

    function _startWith(JobTerms memory terms) internal {
        vm.warp(NOW);
        job = _open(terms);
        _enrol(5);
        _bond(aggregator);
        _bond(successor);
    }

    // ------------------------------------------------------------------ actions

    function _commitExam() internal {
        _commitExam(_examSeal());
    }

    function _commitExam(bytes32 seal) internal {
        uint256 attempt = _attempt();
        vm.prank(examiner);
        market.commitExam(job, attempt, seal);
    }

    function _openExam() internal {
        market.openExam(job, _attempt(), _examContent(), _examCommitment(), _examSalt());
    }

    function _publishExam() internal {
        vm.prank(examiner);
        market.publishExam(job, BOOK);
    }

    /// @dev On to the exam phase of the running attempt, where the first trainers revealed and the exam is committed.
    function _toExam(uint256 revealed) internal {
        _warpToCommit();
        _commitExam();
        _commitFirst(revealed);
        _warpToReveal();
        _revealFirst(revealed);
        _warpToExam();
    }

    /// @dev On to the settle phase, the exam opened.
    function _toExamined(uint256 revealed) internal {
        _toExam(revealed);
        _openExam();
        _warpToSettle();
    }

    /// @dev One whole round of which the exam counts: all get the same score.
    function _playExamined(uint256 rows, uint64 score) internal {
        _toExamined(rows);
        _settle(_examined(rows, score));
    }

    function _playAllExamined() internal {
        for (uint256 round = 0; round < ROUNDS; ++round) {
            _playExamined(3, ONE);
        }
    }

    /// @dev A settlement in which the exam counts, with the same score for all `rows` rows.
    function _examined(uint256 rows, uint64 score) internal returns (Settlement memory settlement) {
        uint64[] memory scores = new uint64[](rows);
        bytes memory lifetime = _packLifetime();
        for (uint256 row = 0; row < rows; ++row) {
            scores[row] = score;
            lifetimeScores[row] += score;
        }
        settlement = _settlement(_decision(scores), true);
        settlement.lifetime = lifetime;
    }

    // ------------------------------------------------------------------ what is sent

    /// @dev C_r of the running attempt.
    function _examCommitment() internal view returns (bytes memory) {
        return _examCommitmentOf(JobId.unwrap(job), _attempt(), market.termsOf(job).chunks);
    }

    function _examContent() internal view returns (bytes32) {
        return keccak256(abi.encode("exam", _attempt()));
    }

    function _examSalt() internal view returns (bytes32) {
        return keccak256(abi.encode("exam salt", _attempt()));
    }

    function _examSeal() internal view returns (bytes32) {
        return _sealOf(owner, keccak256(_examCommitment()), _examContent(), _examSalt());
    }
}
