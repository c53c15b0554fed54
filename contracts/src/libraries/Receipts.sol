// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {JobId, Phase} from "../interfaces/JobTypes.sol";
import {Attestations} from "./Attestations.sol";
import {Job} from "./Jobs.sol";
import {Rounds} from "./Rounds.sol";
import {SeatMask} from "./SeatMask.sol";

/// @notice Attestors' receipts for revealed updates. A seat whose update a quorum holds is covered: it was there to be
/// fetched, and no settlement of its attempt can say that it was not.
/// @dev Linked, not inlined, as `Attempts` is.
library Receipts {
    using Rounds for Job;
    using SeatMask for uint64;

    /// @param seats what each attestor holds
    /// @param heldUntil until when it promises to
    /// @param signatures one for each
    function file(
        Job storage job,
        JobId id,
        uint256 attempt,
        uint64[] calldata seats,
        uint40[] calldata heldUntil,
        bytes[] calldata signatures
    ) external {
        if (job.terms.disputes.quorum == 0) revert IJobMarket.NoAttestors(id);
        _requireOpen(job, attempt);
        if (heldUntil.length != seats.length) revert IJobMarket.ReceiptsLength(heldUntil.length, seats.length);
        if (signatures.length != seats.length) revert IJobMarket.ReceiptsLength(signatures.length, seats.length);
        uint64[] memory bits = new uint64[](seats.length);
        uint64 counted = 0;
        for (uint256 i = 0; i < seats.length; ++i) {
            _requireWhole(job, seats[i], heldUntil[i]);
            bits[i] = _signer(job, _digest(job, id, seats[i], heldUntil[i]), signatures[i], counted);
            counted |= bits[i];
        }
        _cover(job, id, seats, bits);
    }

    /// @dev Not while there are no updates to hold, nor once the aggregator's time has begun: from its first moment on it
    /// knows who is covered.
    function _requireOpen(Job storage job, uint256 attempt) private view {
        job.requireAttempt(attempt);
        Phase phase = job.phase();
        if (phase != Phase.Reveal && phase != Phase.Exam) revert IJobMarket.WrongPhase(phase, Phase.Reveal);
    }

    /// @dev What is disputed stands still in the commit phase: this attempt's end is not put off any more.
    function _requireWhole(Job storage job, uint64 seats, uint40 heldUntil) private view {
        if (seats == 0) revert IJobMarket.NothingHeld();
        uint64 unrevealed = seats & ~job.state.revealed;
        if (unrevealed != 0) revert IJobMarket.NotRevealed(unrevealed);
        uint256 needed = job.state.attemptStart + job.attemptPeriod();
        if (heldUntil < needed) revert IJobMarket.ReceiptExpired(heldUntil, needed);
    }

    /// @param counted the attestors whose receipts were counted before
    /// @return bit the place of the one whose this is
    function _signer(Job storage job, bytes32 digest, bytes calldata signature, uint64 counted)
        private
        view
        returns (uint64 bit)
    {
        address signer;
        (signer, bit) = Attestations.attestor(job.terms.disputes.attestors, digest, signature);
        if (counted & bit != 0) revert IJobMarket.CountedTwice(signer);
    }

    function _digest(Job storage job, JobId id, uint64 seats, uint40 heldUntil) private view returns (bytes32) {
        bytes32 seals = _sealsOf(job, seats);
        return Attestations.receiptDigest(id, job.state.round, job.state.attempt, seats, seals, heldUntil);
    }

    /// @dev Seals bind content ids: what other bytes were held is no receipt.
    function _sealsOf(Job storage job, uint64 seats) private view returns (bytes32) {
        bytes32[] memory seals = new bytes32[](seats.count());
        uint256 next = 0;
        for (uint256 seat = 0; next < seals.length; ++seat) {
            if (seats.has(seat)) seals[next++] = job.seats[seat].seal;
        }
        return keccak256(abi.encodePacked(seals));
    }

    /// @dev What covers no seat that was not covered before is refused: nobody fills the log with what was filed.
    function _cover(Job storage job, JobId id, uint64[] calldata seats, uint64[] memory bits) private {
        uint256 attempt = job.state.attempt;
        uint64 before = job.covered[attempt];
        uint256 quorum = job.terms.disputes.quorum;
        uint64 covered = _heldByAtLeast(quorum, seats) & ~before;
        if (covered == 0) revert IJobMarket.NothingCovered(seats.length, quorum);

        job.covered[attempt] = before | covered;
        uint64 attestors = 0;
        for (uint256 i = 0; i < bits.length; ++i) {
            if (seats[i] & covered != 0) attestors |= bits[i];
        }
        emit IJobMarket.ReceiptsFiled(id, attempt, covered, attestors);
    }

    /// @dev Entry k is who is in at least k of the sets so far.
    function _heldByAtLeast(uint256 quorum, uint64[] calldata sets) private pure returns (uint64) {
        uint64[] memory inAtLeast = new uint64[](quorum + 1);
        inAtLeast[0] = type(uint64).max;
        for (uint256 i = 0; i < sets.length; ++i) {
            for (uint256 k = quorum; k > 0; --k) {
                inAtLeast[k] |= inAtLeast[k - 1] & sets[i];
            }
        }
        return inAtLeast[quorum];
    }
}
