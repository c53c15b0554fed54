// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {IJobMarket, JobId, JobState} from "../interfaces/IJobMarket.sol";
import {Commitments} from "./Commitments.sol";
import {Job} from "./Jobs.sol";
import {SeatMask} from "./SeatMask.sol";

/// @notice Who sits where, with which stake, and what a seat committed and revealed in the running attempt.
library Seats {
    using SeatMask for uint64;

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

    /// @notice Refuses a trainer whose stake is in place, and a new one that the terms do not allow or that finds no seat.
    function requireEnrollable(Job storage job, address trainer, bytes32[] calldata proof) internal view {
        uint256 seatPlusOne = job.seatNumbers[trainer];
        if (seatPlusOne == 0) {
            _requireAllowed(job.terms.allowRoot, trainer, proof);
            nextSeat(job);
        } else if (job.state.staked.has(seatPlusOne - 1)) {
            revert IJobMarket.AlreadyEnrolled(trainer, seatPlusOne - 1);
        }
    }

    /// @dev Hashed twice, so that no node of the tree passes for a leaf.
    function _requireAllowed(bytes32 root, address trainer, bytes32[] calldata proof) private pure {
        if (root == 0) return;
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(trainer))));
        if (!MerkleProof.verifyCalldata(proof, root, leaf)) revert IJobMarket.NotAllowed(trainer);
    }

    /// @notice The seat that a new trainer gets: the next one, or where all are taken the first that was given up before it
    /// ever committed. Nothing can have been earned there, so that nobody's credit changes hands; and one stake that moves
    /// from address to address cannot take every seat.
    function nextSeat(Job storage job) internal view returns (uint256 seat) {
        uint256 seats = job.terms.seats;
        if (job.state.seatsTaken < seats) return job.state.seatsTaken;
        uint64 staked = job.state.staked;
        for (; seat < seats; ++seat) {
            if (!staked.has(seat) && job.seats[seat].seal == 0) return seat;
        }
        revert IJobMarket.SeatsFull(seats);
    }

    /// @notice Puts a stake in place, on the trainer's old seat or on the next one.
    function enrol(Job storage job, address trainer, uint128 stake) internal returns (uint256 seat) {
        JobState storage state = job.state;
        uint256 seatPlusOne = job.seatNumbers[trainer];
        seat = seatPlusOne == 0 ? nextSeat(job) : seatPlusOne - 1;
        if (seatPlusOne == 0) {
            if (seat == state.seatsTaken) ++state.seatsTaken;
            else delete job.seatNumbers[job.seats[seat].trainer];
            job.seatNumbers[trainer] = seat + 1;
            job.seats[seat].trainer = trainer;
        }
        job.seats[seat].stake = stake;
        state.staked |= SeatMask.only(seat);
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
