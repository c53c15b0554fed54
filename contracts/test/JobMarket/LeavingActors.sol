// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {JobMarket} from "../../src/JobMarket.sol";
import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {JobId, JobTerms, Phase} from "../../src/interfaces/JobTypes.sol";
import {SeatMask} from "../../src/libraries/SeatMask.sol";
import {SeatActors} from "./SeatActors.sol";

/// @notice The actors, who now go home: nobody works any more, every job has to close all the same, and everybody takes
/// what is theirs. Whatever is called here may be called by anybody, or by whoever gets the money.
contract LeavingActors is SeatActors {
    using SeatMask for uint64;

    /// @dev Four rounds, each with more attempts than fit before the deadline, would take fewer.
    uint256 private constant MOST_STEPS = 200;

    constructor(JobMarket market_) SeatActors(market_) {}

    // ------------------------------------------------------------------ two ways out

    /// @notice Nobody does anything, but to thaw jobs, until every deadline and one period more, in which an exam may be
    /// published or what was settled last vests; then anyone closes every job, be its token frozen or not.
    function closeAtDeadline() external recorded {
        freezing.freeze(true);
        for (uint256 job = 0; job < JOBS; ++job) {
            if (market.phaseOf(JobId.wrap(job)) != Phase.Disputed) continue;
            _warpTo(_answerUntil(job));
            market.thaw(JobId.wrap(job));
        }
        for (uint256 job = 0; job < JOBS; ++job) {
            if (!_state(job).closed) _warpTo(uint256(market.termsOf(JobId.wrap(job)).deadline) + PERIOD);
        }
        _warpTo(block.timestamp + PERIOD); // what was published only now may be disputed for a while
        for (uint256 job = 0; job < JOBS; ++job) {
            if (!_state(job).closed) _close(job);
        }
    }

    /// @notice Every phase ends by itself or by a call that anybody may make, until each job is over and closes.
    function closeStepByStep() external recorded {
        freezing.freeze(true);
        for (uint256 step = 0; step < MOST_STEPS; ++step) {
            bool open = false;
            uint256 next = type(uint256).max;
            for (uint256 job = 0; job < JOBS; ++job) {
                uint256 until = _moveOn(job);
                if (until == 0) continue;
                open = true;
                if (until < next) next = until;
            }
            if (!open) return;
            _warpTo(next);
        }
        revert("a job does not close");
    }

    /// @notice Everybody takes what is theirs out of closed jobs.
    function takeEverything() external recorded {
        freezing.freeze(false);
        _warpTo(block.timestamp + PERIOD); // what was settled last has vested
        for (uint256 job = 0; job < JOBS; ++job) {
            _takeCredits(job);
            _takeDeposits(job);
            if (market.ledgerOf(JobId.wrap(job)).refundable != 0) _refund(job, job);
        }
    }

    // ------------------------------------------------------------------ closing

    /// @dev Does what anybody may do about a phase that does not end by itself.
    /// @return until when to look again, zero where the job is closed
    function _moveOn(uint256 job) private returns (uint256 until) {
        Phase phase = market.phaseOf(JobId.wrap(job));
        if (phase == Phase.Starved) _skip(job);
        else if (phase == Phase.Overdue) _expire(job);
        else if (phase == Phase.Disputed && _isAnswerOver(job)) market.thaw(JobId.wrap(job));
        else if (phase == Phase.Finished) return _tryToClose(job);
        else if (phase != Phase.Closed) return _endOf(job, phase);
        else return 0;
        return block.timestamp; // and again
    }

    /// @return until what the refusal says, or now
    function _tryToClose(uint256 job) private returns (uint256 until) {
        try market.closeJob(JobId.wrap(job), lifetimes[job]) {
            return block.timestamp;
        } catch (bytes memory reason) {
            // forge-lint: disable-next-line(unsafe-typecast)
            vm.assertEq(bytes32(bytes4(reason)), bytes32(IJobMarket.NotCloseable.selector), "not closeable");
            assembly ("memory-safe") {
                until := mload(add(reason, 0x44)) // after the length, the selector and the time of the try
            }
        }
    }

    /// @dev When a phase ends in which nobody does anything.
    function _endOf(uint256 job, Phase phase) private view returns (uint256) {
        JobTerms memory terms = market.termsOf(JobId.wrap(job));
        uint256 end = _state(job).attemptStart;
        if (phase == Phase.Enrolment) return end;
        if (phase == Phase.Commit) return end + terms.commitPeriod;
        if (phase == Phase.Reveal) return end + terms.commitPeriod + terms.revealPeriod;
        end += uint256(terms.commitPeriod) + terms.revealPeriod + terms.exam.period;
        if (phase == Phase.Exam) return end;
        if (phase == Phase.Settle) return end + terms.settlePeriod;
        if (phase == Phase.Disputed) return _answerUntil(job);
        require(phase == Phase.AwaitingAggregator, "no way out of this phase");
        return terms.deadline; // nobody has to bond
    }

    function _isAnswerOver(uint256 job) private view returns (bool) {
        // forge-lint: disable-next-line(block-timestamp)
        return block.timestamp >= _answerUntil(job);
    }

    // ------------------------------------------------------------------ leaving

    function _takeCredits(uint256 job) private {
        JobId id = JobId.wrap(job);
        for (uint256 actor = 0; actor < TRAINERS; ++actor) {
            _claimAll(job, _actor(actor));
        }
        for (uint256 attempt = 0; attempt <= lastAttempt[job]; ++attempt) {
            if (feeOf[job][attempt] == 0) continue;
            address aggregator = market.outcomeOf(id, attempt).aggregator;
            vm.prank(aggregator);
            market.claimFee(id, attempt, aggregator);
        }
    }

    function _takeDeposits(uint256 job) private {
        JobId id = JobId.wrap(job);
        for (uint256 seat = 0; seat < _state(job).seatsTaken; ++seat) {
            if (_state(job).staked.has(seat)) _withdrawStake(job, market.trainerAt(id, seat), seat);
        }
        _takeDisputeBond(id, OWNER);
        for (uint256 actor = 0; actor < TRAINERS; ++actor) {
            if (market.waitingOf(id, _actor(actor)).stake != 0) _withdrawStake(job, _actor(actor), actor);
            _takeDisputeBond(id, _actor(actor));
        }
        address[] memory aggregators = market.aggregatorsOf(id);
        for (uint256 i = 0; i < aggregators.length; ++i) {
            vm.prank(aggregators[i]);
            market.withdrawBond(id, aggregators[i]);
        }
    }

    function _takeDisputeBond(JobId id, address by) private {
        if (market.disputeBondOf(id, by) == 0) return;
        vm.prank(by);
        market.withdrawDisputeBond(id, by);
    }

    function _warpTo(uint256 time) private {
        // forge-lint: disable-next-line(block-timestamp)
        if (time > block.timestamp) vm.warp(time);
    }
}
