// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {JobState, JobTerms, Phase} from "../interfaces/JobTypes.sol";
import {Aggregators} from "./Aggregators.sol";
import {Job} from "./Jobs.sol";
import {SeatMask} from "./SeatMask.sol";

/// @notice A job's schedule: which phase it is in, when an attempt starts and how it ends.
library Rounds {
    using Aggregators for Job;
    using SeatMask for uint64;

    uint32 internal constant FULL_STEP = 1 << 16; // the first round's
    uint40 internal constant FROZEN = type(uint40).max; // a moment that does not come while a dispute is open

    /// @notice Phases are half-open: one that ends at time t does not contain t.
    function phase(Job storage job) internal view returns (Phase) {
        JobState storage state = job.state;
        if (state.closed) return Phase.Closed;
        if (state.attemptStart == 0) return isFinished(job) ? Phase.Finished : Phase.AwaitingAggregator;
        if (state.attemptStart == FROZEN) return Phase.Disputed;
        return _runningPhase(job, job.terms, state);
    }

    function requirePhase(Job storage job, Phase expected) internal view {
        Phase current = phase(job);
        if (current != expected) revert IJobMarket.WrongPhase(current, expected);
    }

    function requireAttempt(Job storage job, uint256 attempt) internal view {
        if (attempt != job.state.attempt) revert IJobMarket.WrongAttempt(attempt, job.state.attempt);
    }

    /// @notice Whether no attempt can ever start again: time only moves on.
    function isFinished(Job storage job) internal view returns (bool) {
        JobTerms storage terms = job.terms;
        return job.state.round >= terms.rounds || nextStart(terms) + attemptPeriod(job) > terms.deadline;
    }

    function attemptPeriod(Job storage job) internal view returns (uint256) {
        JobTerms storage terms = job.terms;
        return uint256(terms.commitPeriod) + terms.revealPeriod + examPeriod(job) + terms.settlePeriod;
    }

    /// @dev Jobs without an exam do not pay for reading its terms.
    function examPeriod(Job storage job) internal view returns (uint256) {
        return job.state.hasExam ? job.terms.exam.period : 0;
    }

    /// @notice Whether half of the running attempt's commit phase is over: cohorts are open to all, and whoever sits down now
    /// need not train in it. While the last settlement can be undone the half has not begun: no seat changes hands then.
    function isLatterHalf(Job storage job) internal view returns (bool) {
        uint256 start = job.state.attemptStart;
        if (start == 0) return false;
        uint256 from = Math.max(start, lastVestsAt(job));
        // forge-lint: disable-next-line(block-timestamp)
        return block.timestamp >= (from + start + job.terms.commitPeriod) / 2;
    }

    function nextStart(JobTerms storage terms) internal view returns (uint256) {
        return Math.max(block.timestamp, terms.enrolUntil);
    }

    /// @notice Sets the next attempt's start, where one can start: with an aggregator, and ending before the deadline.
    function begin(Job storage job) internal returns (bool begun) {
        if (job.active() == address(0) || isFinished(job)) return false;
        // forge-lint: disable-next-line(unsafe-typecast)
        job.state.attemptStart = uint40(nextStart(job.terms)); // at most the deadline
        return true;
    }

    /// @notice Ends the attempt; its seals and reveals count no more.
    /// @param roundOver whether its round ends with it
    function conclude(JobState storage state, bool roundOver) internal {
        unchecked {
            uint16 rounds = roundOver ? 1 : 0;
            bool hadMinimum = !roundOver && state.hadMinimum;
            // Time bounds attempts far below 2^32, the terms bound rounds; and without checks each of two words is written once.
            state.round += rounds;
            state.attempt += 1;
            state.attemptStart = 0;
            state.committed = 0;
            state.revealed = 0;
            state.hadMinimum = hadMinimum;
        }
    }

    /// @notice e: one count of an update with this step is worth 2^e base counts.
    function shift(uint256 initialShift, uint256 stepQ16) internal pure returns (uint256) {
        unchecked {
            for (; stepQ16 < FULL_STEP && initialShift != 0; stepQ16 <<= 1) {
                --initialShift; // once for every halving, rounded up
            }
            return initialShift;
        }
    }

    /// @notice From when on anyone may close the job: its deadline, or earlier when its rounds are over, but not before the
    /// last credits have vested. Its examiner has one more commit period to publish the exam, and what is published can be
    /// disputed for one vesting period.
    function closeableFrom(Job storage job) internal view returns (uint256 from) {
        from = _overFrom(job);
        if (!job.state.hasExam) return from;
        if (!job.state.examPublished) return from + job.terms.commitPeriod;
        if (job.terms.disputes.quorum != 0) from = Math.max(from, job.examPublishedAt + job.terms.vestingPeriod);
    }

    /// @notice When the last settlement's credits vest, or have vested.
    /// @dev Of the attempts only the last can still be vesting: a window ends within the next attempt's commit phase.
    function lastVestsAt(Job storage job) internal view returns (uint256) {
        uint256 attempt = job.state.attempt;
        return attempt == 0 ? 0 : job.endings[attempt - 1].vestsAt;
    }

    function _overFrom(Job storage job) private view returns (uint256) {
        uint256 vestsAt = lastVestsAt(job);
        return job.state.round < job.terms.rounds ? Math.max(job.terms.deadline, vestsAt) : vestsAt;
    }

    // Every phase is longer than the job's confirmations: a validator's few seconds decide nothing.
    // forge-lint: disable-next-item(block-timestamp)
    function _runningPhase(Job storage job, JobTerms storage terms, JobState storage state)
        private
        view
        returns (Phase)
    {
        uint256 end = state.attemptStart;
        if (block.timestamp < end) return Phase.Enrolment;
        end += terms.commitPeriod;
        if (block.timestamp < end) return Phase.Commit;
        if (state.committed.count() < terms.minimumCommits) return Phase.Starved;
        end += terms.revealPeriod;
        if (block.timestamp < end) return Phase.Reveal;
        end += examPeriod(job);
        if (block.timestamp < end) return Phase.Exam;
        end += terms.settlePeriod;
        return block.timestamp < end ? Phase.Settle : Phase.Overdue;
    }
}
