// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Ledger} from "../../src/interfaces/JobTypes.sol";

/// @notice What a ledger has to satisfy.
library Ledgers {
    /// @notice By how much a move broke deposited = paid + refunded + burned + locked: zero where it holds after if it held
    /// before. Part by part, so that what a move leaves alone cancels; modulo 2^256, which no sum of twelve parts reaches.
    function drift(Ledger memory ledger, Ledger memory before) internal pure returns (uint256 difference) {
        unchecked {
            difference = uint256(ledger.deposited) - before.deposited;
            difference -= uint256(ledger.paid) - before.paid;
            difference -= uint256(ledger.refunded) - before.refunded;
            difference -= uint256(ledger.burned) - before.burned;
            difference -= lockedMore(ledger, before);
        }
    }

    /// @notice What is locked beyond what was, modulo 2^256.
    function lockedMore(Ledger memory ledger, Ledger memory before) internal pure returns (uint256 difference) {
        unchecked {
            difference = uint256(ledger.budget) - before.budget;
            difference += uint256(ledger.carry) - before.carry;
            difference += uint256(ledger.credits) - before.credits;
            difference += uint256(ledger.stakes) - before.stakes;
            difference += uint256(ledger.bonds) - before.bonds;
            difference += uint256(ledger.refundable) - before.refundable;
            difference += uint256(ledger.exams) - before.exams;
            difference += uint256(ledger.disputes) - before.disputes;
        }
    }

    /// @notice What came in, left and burned only grows.
    function isNotUndone(Ledger memory ledger, Ledger memory before) internal pure returns (bool) {
        return ledger.deposited >= before.deposited && ledger.paid >= before.paid && ledger.refunded >= before.refunded
            && ledger.burned >= before.burned;
    }
}
