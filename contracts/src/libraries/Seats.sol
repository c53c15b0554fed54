// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IJobMarket, JobId, JobState} from "../interfaces/IJobMarket.sol";
import {Commitments} from "./Commitments.sol";
import {Draws} from "./Draws.sol";
import {Job, Seat, Tenure, Waiting} from "./Jobs.sol";
import {SeatMask} from "./SeatMask.sol";

/// @notice Who sits where, with which stake, and what a seat committed and revealed in the running attempt.
library Seats {
    using Draws for Job;
    using SeatMask for uint64;

    uint256 private constant PATIENCE = 2; // attempts that a seat may miss in a row
    uint256 private constant MAX_LOOK = 64; // attempts that are looked at

    /// @notice The account's seat. Reverts where it has none.
    function seatOf(Job storage job, address trainer) internal view returns (uint256) {
        uint256 seatPlusOne = job.seatNumbers[trainer];
        if (seatPlusOne == 0) revert IJobMarket.NotTrainer(trainer);
        return seatPlusOne - 1;
    }

    /// @notice The seal of an update in this contract: `IJobMarket.sealOf`.
    function sealOf(
        JobId id,
        uint256 round,
        uint256 attempt,
        address trainer,
        bytes32 commitmentHash,
        bytes32 contentId,
        bytes32 salt
    ) internal view returns (bytes32) {
        return keccak256(
            abi.encode(block.chainid, address(this), id, round, attempt, trainer, commitmentHash, contentId, salt)
        );
    }

    /// @notice Whose claim it is what the seat earned in an attempt. Reverts where the account had none then.
    function seatIn(Job storage job, address trainer, uint256 attempt) internal view returns (uint256) {
        uint256 seatPlusOne = job.seatNumbers[trainer];
        if (seatPlusOne != 0 && job.seats[seatPlusOne - 1].since <= attempt) return seatPlusOne - 1;
        Tenure[] storage tenures = job.tenures[trainer];
        for (uint256 i = tenures.length; i > 0; --i) {
            Tenure storage tenure = tenures[i - 1];
            if (tenure.since <= attempt && attempt < tenure.until) return tenure.seat;
        }
        revert IJobMarket.NotTrainer(trainer);
    }

    /// @notice The seat that a new trainer gets: the next one, or where all are taken the first that was given up before it
    /// ever committed. Nothing can have been earned there, so that nobody's credit changes hands; and one stake that moves
    /// from address to address cannot take every seat.
    function freeSeat(Job storage job) internal view returns (bool found, uint256 seat) {
        uint256 seats = job.terms.seats;
        if (job.state.seatsTaken < seats) return (true, job.state.seatsTaken);
        uint64 staked = job.state.staked;
        for (; seat < seats; ++seat) {
            if (!staked.has(seat) && job.seats[seat].seal == 0) return (true, seat);
        }
    }

    /// @notice Puts a stake in place again, on the trainer's own seat.
    function restake(Job storage job, uint256 seat, uint128 stake, bool isLate) internal {
        job.seats[seat].stake = stake;
        if (isLate) job.seats[seat].isLate = true;
        job.state.staked |= SeatMask.only(seat);
    }

    /// @notice Gives a seat to a trainer that has none, with its stake. Whoever had the seat before has it no more.
    /// @param first the first attempt that the trainer can commit in
    function give(Job storage job, uint256 seat, address trainer, Waiting memory entry, uint256 first) internal {
        JobState storage state = job.state;
        if (seat == state.seatsTaken) ++state.seatsTaken;
        else delete job.seatNumbers[job.seats[seat].trainer];
        job.seatNumbers[trainer] = seat + 1;
        Seat storage place = job.seats[seat];
        place.trainer = trainer;
        place.since = state.attempt;
        // forge-lint: disable-next-line(unsafe-typecast)
        place.nextAttempt = uint32(first);
        place.isLate = entry.isLate;
        place.stake = entry.stake;
        state.staked |= SeatMask.only(seat);
    }

    /// @notice Takes a trainer off its seat; its stake waits for another one, or to be taken back.
    function dislodge(Job storage job, uint256 seat) internal returns (address trainer, uint128 stake) {
        Seat storage place = job.seats[seat];
        (trainer, stake) = (place.trainer, place.stake);
        job.waiting[trainer] = Waiting({stake: stake, isLate: true});
        if (place.since < job.state.attempt) {
            // forge-lint: disable-next-line(unsafe-typecast)
            job.tenures[trainer].push(Tenure({seat: uint8(seat), since: place.since, until: job.state.attempt}));
        }
    }

    /// @notice Whether a seat is for somebody else to take: it did not commit in the last two attempts that it could have
    /// committed in, or in one that starved.
    function isIdle(Job storage job, uint256 seat) internal view returns (bool) {
        if (job.state.committed.has(seat) || seat >= job.state.seatsTaken) return false;
        (uint256 attempt, uint256 starved) = (job.seats[seat].nextAttempt, job.starved);
        uint256 last = Math.min(job.state.attempt, attempt + MAX_LOOK);
        for (uint256 missed = 0; attempt < last; ++attempt) {
            if (!job.inCohort(seat, attempt)) continue;
            if (++missed == PATIENCE || attempt + 1 == starved) return true;
        }
        return false;
    }

    /// @notice Takes the stake off a seat that did not commit in the running attempt.
    function unstake(Job storage job, uint256 seat) internal returns (uint128 stake) {
        JobState storage state = job.state;
        if (!state.staked.has(seat)) revert IJobMarket.StakeNotInPlace(seat);
        if (state.committed.has(seat)) revert IJobMarket.AlreadyCommitted(seat);
        stake = job.seats[seat].stake;
        job.seats[seat].stake = 0;
        state.staked &= ~SeatMask.only(seat);
    }

    function commit(Job storage job, uint256 seat, bytes32 seal) internal {
        JobState storage state = job.state;
        if (!state.staked.has(seat)) revert IJobMarket.StakeNotInPlace(seat);
        if (state.committed.has(seat)) revert IJobMarket.AlreadyCommitted(seat);
        job.seats[seat].seal = seal;
        uint64 committed = state.committed | SeatMask.only(seat);
        uint256 cohort = job.terms.entry.cohort;
        bool isFull = cohort != 0 && committed.count() > cohort;
        if (isFull || !job.inCohort(seat, state.attempt)) revert IJobMarket.NotInCohort(seat);
        job.seats[seat].nextAttempt = state.attempt + 1;
        state.committed = committed;
        if (committed.count() >= job.terms.minimumCommits) state.hadMinimum = true;
    }

    /// @param opened the seal that the opening makes
    function reveal(Job storage job, uint256 seat, bytes32 opened, bytes calldata commitment) internal {
        JobState storage state = job.state;
        if (!state.committed.has(seat)) revert IJobMarket.NotCommitted(seat);
        if (state.revealed.has(seat)) revert IJobMarket.AlreadyRevealed(seat);
        bytes32 seal = job.seats[seat].seal;
        if (opened != seal) revert IJobMarket.SealMismatch(opened, seal);
        // What an earlier attempt left in the slot is overwritten, never cleared: that is cheaper.
        bytes32 chain = state.revealed == 0 ? bytes32(0) : state.revealChain;
        state.revealChain = Commitments.extended(chain, seat, commitment);
        state.revealed |= SeatMask.only(seat);
    }

    /// @notice Takes their stakes from the seats that committed and did not reveal.
    /// @return forfeited those seats
    /// @return amount what they had at stake
    function takeForfeited(Job storage job) internal returns (uint64 forfeited, uint128 amount) {
        JobState storage state = job.state;
        forfeited = state.committed & ~state.revealed;
        if (forfeited == 0) return (0, 0);
        state.staked &= ~forfeited;
        uint256 seats = state.seatsTaken;
        for (uint256 seat = 0; seat < seats; ++seat) {
            if (!forfeited.has(seat)) continue;
            amount += job.seats[seat].stake;
            job.seats[seat].stake = 0;
        }
    }
}
