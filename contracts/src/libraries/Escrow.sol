// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Ledger} from "../interfaces/JobTypes.sol";

/// @notice Moves money between the parts of a job's ledger. Each function keeps
/// deposited = paid + refunded + burned + budget + carry + credits + stakes + bonds + refundable + exams +
/// disputes.
/// @dev No part can exceed what was deposited, so nothing overflows once a deposit fits.
library Escrow {
    // ------------------------------------------------------------------ in

    function open(Ledger storage ledger, uint128 received, uint128 budget, uint128 exams) internal {
        ledger.deposited = received;
        ledger.budget = budget;
        ledger.refundable = received - budget - exams;
        if (exams != 0) ledger.exams = exams;
    }

    function addStake(Ledger storage ledger, uint128 received) internal {
        ledger.deposited += received;
        ledger.stakes += received;
    }

    function addBond(Ledger storage ledger, uint128 received) internal {
        ledger.deposited += received;
        ledger.bonds += received;
    }

    function addDispute(Ledger storage ledger, uint128 received) internal {
        ledger.deposited += received;
        ledger.disputes += received;
    }

    // ------------------------------------------------------------------ within

    /// @notice Concludes a settled round: what of its budget is neither paid nor returned carries over.
    /// @param budget the round's reward and fee
    /// @param credited its pays, and the fee where it is due
    function settle(Ledger storage ledger, uint128 budget, uint128 credited, uint128 returned) internal {
        // Both first, then both written: they share a word.
        (uint128 left, uint128 carry) = (ledger.budget - budget, ledger.carry + budget - credited - returned);
        (ledger.budget, ledger.carry) = (left, carry);
        ledger.credits += credited;
        if (returned != 0) ledger.refundable += returned;
    }

    /// @notice What `settle` did, the other way round.
    function unsettle(Ledger storage ledger, uint128 budget, uint128 credited, uint128 returned) internal {
        ledger.budget += budget;
        ledger.carry = ledger.carry + credited + returned - budget;
        ledger.credits -= credited;
        ledger.refundable -= returned;
    }

    /// @notice Concludes a round without a settlement. Only the reward of one that never had its minimum returns.
    function skip(Ledger storage ledger, uint128 reward, uint128 fee, bool hadMinimum) internal {
        ledger.budget -= reward + fee;
        if (hadMinimum) ledger.carry += reward;
        ledger.refundable += hadMinimum ? fee : reward + fee;
    }

    function burnStakes(Ledger storage ledger, uint128 amount) internal {
        ledger.stakes -= amount;
        ledger.burned += amount;
    }

    /// @notice Compensates out of a bond and burns the rest of it.
    /// @return burned that rest
    function breakBond(Ledger storage ledger, uint128 amount, uint128 compensation) internal returns (uint128 burned) {
        burned = amount - compensation;
        ledger.bonds -= amount;
        ledger.credits += compensation;
        ledger.burned += burned;
    }

    /// @notice Burns deposits for exams. They go to no trainer: an owner's own identities may be the ones with the scores.
    function burnExams(Ledger storage ledger, uint128 amount) internal {
        ledger.exams -= amount;
        ledger.burned += amount;
    }

    /// @notice What `burnExams` did, the other way round.
    function restoreExams(Ledger storage ledger, uint128 amount) internal {
        ledger.burned -= amount;
        ledger.exams += amount;
    }

    function burnDispute(Ledger storage ledger, uint128 amount) internal {
        ledger.disputes -= amount;
        ledger.burned += amount;
    }

    function returnExams(Ledger storage ledger, uint128 amount) internal {
        ledger.exams -= amount;
        ledger.refundable += amount;
    }

    /// @notice Returns the budget of the rounds that are left, after what of it carries over.
    function release(Ledger storage ledger, uint128 carried) internal returns (uint128 returned) {
        returned = ledger.budget - carried;
        ledger.budget = 0;
        ledger.carry += carried;
        ledger.refundable += returned;
    }

    /// @notice Credits what carried over and burns what cannot be divided.
    /// @return burned that rest
    function distribute(Ledger storage ledger, uint128 pays) internal returns (uint128 burned) {
        burned = ledger.carry - pays;
        ledger.carry = 0;
        ledger.credits += pays;
        ledger.burned += burned;
    }

    // ------------------------------------------------------------------ out

    function pay(Ledger storage ledger, uint128 amount) internal {
        ledger.credits -= amount;
        ledger.paid += amount;
    }

    function returnStake(Ledger storage ledger, uint128 amount) internal {
        ledger.stakes -= amount;
        ledger.refunded += amount;
    }

    function returnBond(Ledger storage ledger, uint128 amount) internal {
        ledger.bonds -= amount;
        ledger.refunded += amount;
    }

    function returnDispute(Ledger storage ledger, uint128 amount) internal {
        ledger.disputes -= amount;
        ledger.refunded += amount;
    }

    /// @return amount all that was the owner's to take
    function refund(Ledger storage ledger) internal returns (uint128 amount) {
        amount = ledger.refundable;
        ledger.refundable = 0;
        ledger.refunded += amount;
    }
}
