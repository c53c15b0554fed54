// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {JobId, JobTerms, Waiting} from "../interfaces/JobTypes.sol";
import {Job, SeatDraw} from "./Jobs.sol";
import {SeatMask} from "./SeatMask.sol";

/// @notice The draw for seats by stake: who enrolled before it began has a ticket for each least stake, every ticket a number
/// that a later block's hash decides, and the lowest numbers sit.
/// @dev A trainer's lowest number is below x with probability 1 - (1 - x)^tickets: as if each ticket were a trainer's. Nobody
/// loops over who enrolled: whoever waits and has a lower number than somebody who sits takes the seat of the highest.
library Draws {
    using SeatMask for uint64;

    // Who produces a block of Ethereum is known two epochs of 32 blocks before, and to the producer of an epoch's last block
    // those of the next two: nobody who asks can know that its own decides.
    uint256 internal constant DELAY = 128;
    uint256 internal constant MAX_TICKETS = 64;

    /// @notice Whether stakes that are put down now come too late for the draw.
    function isLate(JobTerms storage terms) internal view returns (bool) {
        // forge-lint: disable-next-line(block-timestamp)
        return block.timestamp + terms.entry.drawPeriod >= terms.enrolUntil;
    }

    /// @notice Fixes the block whose hash decides, and once it is known the hash. A block that is out of the chain's reach before
    /// anybody came for its hash is replaced by another one.
    function advance(Job storage job, JobId id) internal {
        if (job.terms.entry.drawPeriod == 0 || !isLate(job.terms)) revert IJobMarket.NoDraw(id);
        SeatDraw storage draw = job.draw;
        if (draw.seed != 0) revert IJobMarket.AlreadyDrawn(id);
        uint256 number = draw.blockNumber;
        if (number != 0 && block.number <= number) revert IJobMarket.DrawTooEarly(block.number, number);
        bytes32 seed = number == 0 ? bytes32(0) : blockhash(number);
        if (seed != 0) {
            draw.seed = seed;
            emit IJobMarket.SeatsDrawn(id, seed);
            return;
        }
        // forge-lint: disable-next-line(unsafe-typecast)
        draw.blockNumber = uint64(block.number + DELAY);
        emit IJobMarket.DrawFixed(id, draw.blockNumber);
    }

    /// @notice The seat that somebody who waits has drawn: that of the highest number, where its own is lower.
    function drawnSeat(Job storage job, address trainer, Waiting memory entry)
        internal
        view
        returns (bool found, uint256 seat)
    {
        bytes32 seed = job.draw.seed;
        if (seed == 0 || entry.isLate || !_isOpen(job.terms)) return (false, 0);
        uint256 least = job.terms.trainerStake;
        uint256 highest = _number(seed, trainer, entry.stake / least);
        uint256 seats = job.state.seatsTaken;
        for (uint256 i = 0; i < seats; ++i) {
            if (!job.state.staked.has(i)) continue;
            uint256 number = job.seats[i].isLate
                ? type(uint256).max
                : _number(seed, job.seats[i].trainer, job.seats[i].stake / least);
            if (number > highest) (found, seat, highest) = (true, i, number);
        }
    }

    /// @notice Whether a seat is among an attempt's cohort: of the seats with a stake in place, those with the lowest numbers.
    /// @dev A stake that moves from seat to seat counts once, so that it cannot thin a cohort out.
    function inCohort(Job storage job, uint256 seat, uint256 attempt) internal view returns (bool) {
        uint256 cohort = job.terms.entry.cohort;
        if (cohort == 0) return true;
        bytes32 seed = job.draw.seed;
        uint64 staked = job.state.staked;
        if (seed == 0 || staked.count() <= cohort) return true;
        uint256 own = _cohortNumber(seed, attempt, seat);
        uint256 lower = 0;
        for (uint256 other = 0; staked != 0; (++other, staked >>= 1)) {
            if (staked & 1 != 0 && _cohortNumber(seed, attempt, other) < own) ++lower;
        }
        return lower < cohort;
    }

    function _cohortNumber(bytes32 seed, uint256 attempt, uint256 seat) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, attempt, seat)));
    }

    function _isOpen(JobTerms storage terms) private view returns (bool) {
        // forge-lint: disable-next-line(block-timestamp)
        return terms.entry.drawPeriod != 0 && isLate(terms) && block.timestamp < terms.enrolUntil;
    }

    /// @dev The lowest of its tickets' numbers.
    function _number(bytes32 seed, address trainer, uint256 tickets) private pure returns (uint256 lowest) {
        lowest = type(uint256).max;
        if (tickets > MAX_TICKETS) tickets = MAX_TICKETS;
        for (uint256 ticket = 0; ticket < tickets; ++ticket) {
            uint256 number = uint256(keccak256(abi.encode(seed, trainer, ticket)));
            if (number < lowest) lowest = number;
        }
    }
}
