// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Dispute, Fact, JobId, JobState, Ledger, Phase, Undo, Verdict} from "../interfaces/JobTypes.sol";
import {Aggregators} from "./Aggregators.sol";
import {Attempts} from "./Attempts.sol";
import {Attestations} from "./Attestations.sol";
import {Escrow} from "./Escrow.sol";
import {Ending, Job} from "./Jobs.sol";
import {Outcomes} from "./Outcomes.sol";
import {PackedArray} from "./PackedArray.sol";
import {Rounds} from "./Rounds.sol";
import {SeatMask} from "./SeatMask.sol";
import {Seats} from "./Seats.sol";
import {Tokens} from "./Tokens.sol";

/// @notice Disputes of fact: opened with a bond, answered by a quorum of attestors or by nobody, and over in any case.
/// @dev Linked, not inlined, as `Attempts` is. While one is open the job stands still: no attempt has a phase, nothing vests,
/// the deadline waits. All of them are put off by as long as it took.
library Disputes {
    using Aggregators for Job;
    using Escrow for Ledger;
    using Outcomes for Job;
    using PackedArray for bytes;
    using Rounds for Job;
    using Rounds for JobState;
    using SafeCast for uint256;
    using SeatMask for uint64;
    using Seats for Job;

    // What is kept of an attempt's disputes: bit 0 to 63 for a seat's exclusion.
    uint256 private constant MODEL_BIT = 64;
    uint256 private constant EXAM_BIT = 65;

    // ------------------------------------------------------------------ opening

    /// @param owed what the marketplace owes in each token
    function open(
        Job storage job,
        JobId id,
        mapping(address token => uint256) storage owed,
        uint256 attempt,
        Fact fact,
        bytes calldata pays,
        bytes calldata undo,
        uint256 amount
    ) external {
        if (job.terms.disputes.quorum == 0) revert IJobMarket.NoAttestors(id);
        Dispute memory dispute = _checked(job, attempt, fact, pays, undo);

        dispute.bond = Tokens.deposit(owed, job.terms.token, amount, job.terms.disputes.bond);
        job.ledger.addDispute(dispute.bond);
        _freeze(job, dispute);
        _emitOpened(job, id, dispute);
    }

    /// @dev What may be disputed, by this caller and now. It cannot be disputed again.
    function _checked(Job storage job, uint256 attempt, Fact fact, bytes calldata pays, bytes calldata undo)
        private
        returns (Dispute memory dispute)
    {
        Phase phase = job.phase();
        if (phase == Phase.Disputed || phase == Phase.Closed) revert IJobMarket.WrongPhase(phase, Phase.Finished);
        uint256 seat = 0;
        if (fact == Fact.Exam) {
            _requireExamDisputable(job, attempt, phase);
        } else {
            seat = _requireDisputable(job, attempt, fact, pays, undo);
            dispute.pays = pays.sumOfPays().toUint128();
        }
        _takeOnce(job, attempt, fact, seat);
        dispute.by = msg.sender;
        dispute.attempt = attempt.toUint32();
        dispute.fact = fact;
        dispute.seat = seat.toUint8();
        dispute.round = fact == Fact.Exam ? job.state.round : job.state.round - 1;
    }

    function _emitOpened(Job storage job, JobId id, Dispute memory dispute) private {
        emit IJobMarket.DisputeOpened(
            id, dispute.attempt, dispute.by, dispute.round, dispute.fact, dispute.seat, dispute.bond, _answerUntil(job)
        );
    }

    /// @dev Unvested is what was settled last, and nothing was decided since.
    /// @return seat the excluded one, zero for a model
    function _requireDisputable(Job storage job, uint256 attempt, Fact fact, bytes calldata pays, bytes calldata undo_)
        private
        returns (uint256 seat)
    {
        Ending storage ending = job.endings[attempt];
        bytes24 hash = Outcomes.hashOf(pays, keccak256(undo_));
        if (hash != ending.payHash) revert IJobMarket.PayMismatch(hash, ending.payHash);
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp >= ending.vestsAt) revert IJobMarket.DisputeTooLate(block.timestamp, ending.vestsAt);
        Undo memory undo = abi.decode(undo_, (Undo));
        job.undo = undo;
        bool isModel = fact == Fact.Model;
        if (isModel && _isUnchanged(job.state, undo)) revert IJobMarket.NotDisputable(attempt, fact);
        if (isModel && msg.sender == job.state.owner) return 0;
        seat = job.seatOf(msg.sender);
        if (!(isModel ? undo.revealed : undo.excluded).has(seat)) {
            revert IJobMarket.CannotDispute(msg.sender, attempt, fact);
        }
        if (isModel) seat = 0;
    }

    /// @dev An aggregate of zero leaves the commitments as they are, but may come with a new digest, and the old digest with a
    /// new commitment. Only with neither is there nothing to fetch that was not there before.
    function _isUnchanged(JobState storage state, Undo memory undo) private view returns (bool) {
        return undo.publicRows == state.publicRows && undo.model == state.model;
    }

    /// @dev With no deposit left there is nothing to lose, and nothing to stop the job for.
    function _requireExamDisputable(Job storage job, uint256 attempt, Phase phase) private view {
        bool published = phase == Phase.Finished && job.state.examPublished;
        if (!published || job.exams[attempt].opened == 0 || job.ledger.exams == 0) {
            revert IJobMarket.NotDisputable(attempt, Fact.Exam);
        }
        uint256 until = job.examPublishedAt + job.terms.vestingPeriod;
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp >= until) revert IJobMarket.DisputeTooLate(block.timestamp, until);
        job.seatOf(msg.sender);
    }

    function _takeOnce(Job storage job, uint256 attempt, Fact fact, uint256 seat) private {
        // forge-lint: disable-next-line(incorrect-shift)
        uint256 bit = 1 << (fact == Fact.Exclusion ? seat : fact == Fact.Model ? MODEL_BIT : EXAM_BIT);
        uint256 facts = job.disputed[attempt];
        if (facts & bit != 0) revert IJobMarket.DisputedBefore(attempt, fact, seat);
        job.disputed[attempt] = facts | bit;
    }

    // ------------------------------------------------------------------ answers

    function answer(Job storage job, JobId id, bool holds, bytes[] calldata signatures) external {
        job.requirePhase(Phase.Disputed);
        Dispute storage dispute = job.dispute;
        uint256 until = _answerUntil(job);
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp >= until) revert IJobMarket.AnswersOver(block.timestamp, until);

        bytes32 digest = Attestations.digest(id, dispute.round, dispute.attempt, dispute.fact, dispute.seat, holds);
        (uint64 holding, uint64 failing) = (dispute.holding, dispute.failing);
        for (uint256 i = 0; i < signatures.length; ++i) {
            (address signer, uint64 bit) = Attestations.attestor(job.terms.disputes.attestors, digest, signatures[i]);
            if ((holding | failing) & bit != 0) continue;
            if (holds) holding |= bit;
            else failing |= bit;
            emit IJobMarket.DisputeAnswered(id, dispute.attempt, signer, holds);
        }
        // forge-lint: disable-next-line(unsafe-typecast)
        (dispute.holding, dispute.failing) = (uint16(holding), uint16(failing)); // at most 16 attestors
        if ((holds ? holding : failing).count() < job.terms.disputes.quorum) return;
        if (holds) _uphold(job, id, Verdict.Holds);
        else _overturn(job, id);
    }

    function thaw(Job storage job, JobId id) external {
        job.requirePhase(Phase.Disputed);
        uint256 from = _answerUntil(job);
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp < from) revert IJobMarket.NotThawable(block.timestamp, from);

        _uphold(job, id, Verdict.Unanswered);
    }

    function _answerUntil(Job storage job) private view returns (uint256) {
        return uint256(job.dispute.openedAt) + job.terms.disputes.answerPeriod;
    }

    // ------------------------------------------------------------------ endings

    /// @dev What was settled stands, and the bond is lost, to nobody.
    function _uphold(Job storage job, JobId id, Verdict verdict) private {
        uint128 bond = job.dispute.bond;
        job.ledger.burnDispute(bond);
        _thaw(job);
        _emitResolved(job, id, verdict, bond);
    }

    function _overturn(Job storage job, JobId id) private {
        Dispute storage dispute = job.dispute;
        job.disputeBonds[dispute.by] += dispute.bond;
        _thaw(job);
        if (dispute.fact == Fact.Exam) {
            _emitResolved(job, id, Verdict.Fails, 0);
            uint128 deposits = job.ledger.exams;
            job.ledger.burnExams(deposits);
            emit IJobMarket.ExamRefuted(id, dispute.attempt, deposits);
            return;
        }
        (dispute.startsAt, dispute.vestsAt) = (0, 0);
        _emitResolved(job, id, Verdict.Fails, 0);
        _undo(job, id, dispute);
        Attempts.start(job, id);
    }

    function _emitResolved(Job storage job, JobId id, Verdict verdict, uint128 burned) private {
        Dispute storage dispute = job.dispute;
        emit IJobMarket.DisputeResolved(
            id, dispute.attempt, verdict, burned, dispute.startsAt, dispute.vestsAt, job.terms.deadline
        );
    }

    /// @dev Takes the job back to before the settlement, breaks the bond of the aggregator that made it, and compensates
    /// those who revealed. It is bonded still: nobody takes a bond back while a settlement of its own can be undone.
    function _undo(Job storage job, JobId id, Dispute storage dispute) private {
        JobState storage state = job.state;
        Undo memory undo = job.undo;
        (uint256 round, uint256 attempt) = (dispute.round, dispute.attempt);
        if (state.attemptStart != 0) {
            // Nobody is held to what was committed in the attempt that waits, or was not.
            job.excuse(state.attempt);
            state.conclude(false);
        }
        (state.model, state.publicRows) = (undo.model, undo.publicRows);
        (state.lifetimeHash, state.stepQ16) = (undo.lifetimeHash, undo.stepQ16);
        if (state.hasExam) state.recordsHash = undo.recordsHash;
        // forge-lint: disable-next-line(unsafe-typecast)
        (state.round, state.hadMinimum) = (uint16(round), true); // without its minimum it had not been settled
        Ending storage ending = job.endings[attempt];
        (uint128 fee, address aggregator) = (job.terms.aggregatorFee, job.bonder(ending.aggregator));
        uint128 credited = dispute.pays + (ending.feeGone ? 0 : fee);
        job.ledger.unsettle(job.terms.roundReward + fee, credited, undo.returned);
        if (undo.examMissed) job.ledger.restoreExams(job.terms.exam.deposit);

        (bytes memory pays, uint128 burned) = Attempts.breakBond(job, aggregator, attempt, undo.revealed);
        emit IJobMarket.AttemptUndone(id, round, attempt, aggregator, burned, pays, block.timestamp);
    }

    // ------------------------------------------------------------------ bonds

    /// @param owed what the marketplace owes in each token
    function withdraw(Job storage job, JobId id, mapping(address token => uint256) storage owed, address to) external {
        uint128 amount = job.disputeBonds[msg.sender];
        job.disputeBonds[msg.sender] = 0;
        job.ledger.returnDispute(amount);
        emit IJobMarket.DisputeBondWithdrawn(id, msg.sender, to, amount);
        Tokens.release(owed, job.terms.token, to, amount);
    }

    // ------------------------------------------------------------------ time

    function _freeze(Job storage job, Dispute memory dispute) private {
        dispute.openedAt = block.timestamp.toUint40();
        dispute.startsAt = job.state.attemptStart;
        job.state.attemptStart = Rounds.FROZEN;
        uint256 vestsAt = job.lastVestsAt();
        // forge-lint: disable-next-line(block-timestamp)
        if (vestsAt > block.timestamp) {
            dispute.vestsAt = vestsAt.toUint40();
            job.endings[job.state.attempt - 1].vestsAt = Rounds.FROZEN;
        }
        job.dispute = dispute;
    }

    function _thaw(Job storage job) private {
        Dispute storage dispute = job.dispute;
        uint40 frozen = block.timestamp.toUint40() - dispute.openedAt;
        if (dispute.startsAt != 0) dispute.startsAt += frozen;
        if (dispute.vestsAt != 0) {
            dispute.vestsAt += frozen;
            job.endings[job.state.attempt - 1].vestsAt = dispute.vestsAt;
        }
        if (job.examPublishedAt != 0) job.examPublishedAt += frozen;
        job.state.attemptStart = dispute.startsAt;
        job.terms.deadline += frozen;
    }
}
