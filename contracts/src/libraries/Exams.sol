// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {ExclusionReason, JobId, JobState, Ledger, Settlement} from "../interfaces/JobTypes.sol";
import {Commitments} from "./Commitments.sol";
import {Escrow} from "./Escrow.sol";
import {Exam, Job} from "./Jobs.sol";
import {Rounds} from "./Rounds.sol";
import {Seats} from "./Seats.sol";

/// @notice An attempt's sealed exam: committed, opened, sat or missed, and published once no attempt can start any more.
/// @dev What the marketplace calls is linked, not inlined; it checks attempt and phase before.
library Exams {
    using Escrow for Ledger;
    using Rounds for Job;

    // ------------------------------------------------------------------ the examiner

    /// @notice Seals the exam of the current attempt, which has a slice of its own.
    function commit(Job storage job, JobId id, bytes32 seal) external {
        _requireExaminer(job, id);
        uint256 attempt = job.state.attempt;
        uint256 slices = job.terms.exam.slices;
        if (attempt >= slices) revert IJobMarket.SlicesUsedUp(attempt, slices);
        if (seal == 0) revert IJobMarket.EmptySeal();
        Exam storage exam = job.exams[attempt];
        if (exam.seal != 0) revert IJobMarket.ExamAlreadyCommitted(attempt);

        exam.seal = seal;
        emit IJobMarket.ExamCommitted(id, attempt, seal);
    }

    /// @notice Opens the seal of the current attempt's exam.
    function open(Job storage job, JobId id, bytes32 contentId, bytes calldata commitment, bytes32 salt) external {
        JobState storage state = job.state;
        uint256 attempt = state.attempt;
        Exam storage exam = job.exams[attempt];
        if (exam.seal == 0) revert IJobMarket.ExamNotCommitted(attempt);
        if (exam.opened != 0) revert IJobMarket.ExamAlreadyOpened(attempt);
        Commitments.requireValid(commitment, job.terms.chunks);
        bytes32 hash = keccak256(commitment);
        if (hash == keccak256(new bytes(commitment.length))) revert IJobMarket.ExamOfZeros();
        bytes32 opened = Seats.sealOf(id, state.round, attempt, state.owner, hash, contentId, salt);
        if (opened != exam.seal) revert IJobMarket.SealMismatch(opened, exam.seal);

        exam.opened = hash;
        emit IJobMarket.ExamOpened(id, attempt, contentId, commitment, salt);
    }

    /// @notice Names what the job's exams were.
    function publish(Job storage job, JobId id, bytes32 contentId) external {
        _requireExaminer(job, id);
        if (job.state.examPublished) revert IJobMarket.ExamAlreadyPublished();
        _requireFinal(job);
        if (contentId == 0) revert IJobMarket.EmptyContentId();

        job.state.examPublished = true;
        job.examPublishedAt = uint40(block.timestamp);
        emit IJobMarket.ExamPublished(id, contentId);
    }

    // ------------------------------------------------------------------ settlements

    /// @notice Whether the current attempt's exam counts. One that was opened counts, unless the aggregator says on
    /// record why it was left out: an aggregator that never got r must be able to settle without it.
    function sit(Job storage job, JobId id, Settlement calldata settlement) internal returns (bool) {
        uint256 attempt = job.state.attempt;
        bytes32 opened = job.state.hasExam ? job.exams[attempt].opened : bytes32(0);
        uint256 reason = settlement.examReason;
        if (reason == 0) return opened != 0;
        if (opened == 0) revert IJobMarket.ExamNotOpened(attempt);
        if (reason > uint256(type(ExclusionReason).max)) revert IJobMarket.InvalidExamReason(reason);
        emit IJobMarket.ExamExcluded(id, attempt, ExclusionReason(reason));
        return false;
    }

    /// @notice Refuses another commitment of r than was opened, and any where the exam does not count.
    function requireOpened(Job storage job, bool examined, bytes calldata commitment) internal view {
        if (!examined && commitment.length == 0) return;
        bytes32 expected = examined ? job.exams[job.state.attempt].opened : keccak256("");
        bytes32 hash = keccak256(commitment);
        if (hash != expected) revert IJobMarket.ExamMismatch(hash, expected);
    }

    /// @notice Whether the current attempt had a slice, and its exam was not opened: settled, it costs the owner a deposit.
    function isMissed(Job storage job) internal view returns (bool) {
        uint256 attempt = job.state.attempt;
        return job.state.hasExam && job.exams[attempt].opened == 0 && attempt < job.terms.exam.slices;
    }

    /// @notice Takes the deposit of a round that ends with a missed exam: there is one for each.
    function chargeMissed(Job storage job, JobId id) internal {
        uint128 deposit = job.terms.exam.deposit;
        job.ledger.burnExams(deposit);
        emit IJobMarket.ExamMissed(id, job.state.attempt, deposit);
    }

    /// @notice Returns the deposits that are left to the owner of an exam that is published, and else burns them.
    function concludeExams(Job storage job, JobId id) internal returns (uint128 returned) {
        if (!job.state.hasExam) return 0;
        uint128 amount = job.ledger.exams;
        if (job.state.examPublished) {
            job.ledger.returnExams(amount);
            return amount;
        }
        job.ledger.burnExams(amount);
        emit IJobMarket.ExamUnpublished(id, amount);
    }

    /// @dev A round that can still be undone would run again, and no exam can be sat of which every slice is public.
    function _requireFinal(Job storage job) private view {
        uint256 vestsAt = job.lastVestsAt();
        // forge-lint: disable-next-line(block-timestamp)
        if (job.terms.disputes.quorum == 0 || block.timestamp >= vestsAt) return;
        revert IJobMarket.NotVested(block.timestamp, vestsAt);
    }

    function _requireExaminer(Job storage job, JobId id) private view {
        JobState storage state = job.state;
        if (!state.hasExam) revert IJobMarket.NoExam(id);
        if (msg.sender == state.owner) return;
        address examiner = job.terms.exam.examiner;
        if (examiner == address(0)) examiner = state.owner;
        if (msg.sender != examiner) revert IJobMarket.NotExaminer(msg.sender, examiner);
    }
}
