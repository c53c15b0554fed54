// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ConsensusLedger} from "../interfaces/ConsensusTypes.sol";

/// @notice Moves money between the parts of the ledger of output consensus. Each function keeps
/// deposited = withdrawn + burned + stakes + escrowed + credits.
/// @dev No part can exceed what was deposited, which are coins that exist: nothing overflows.
library Funds {
    // ------------------------------------------------------------------ in

    function addStake(ConsensusLedger storage ledger, uint128 amount) internal {
        ledger.deposited += amount;
        ledger.stakes += amount;
    }

    function addEscrow(ConsensusLedger storage ledger, uint128 amount) internal {
        ledger.deposited += amount;
        ledger.escrowed += amount;
    }

    // ------------------------------------------------------------------ within

    function creditStake(ConsensusLedger storage ledger, uint128 amount) internal {
        ledger.stakes -= amount;
        ledger.credits += amount;
    }

    function burnStake(ConsensusLedger storage ledger, uint128 amount) internal {
        ledger.stakes -= amount;
        ledger.burned += amount;
    }

    /// @notice Concludes a task: what it held, and the units lost at its end, become credits, and the rest is burned.
    function conclude(ConsensusLedger storage ledger, uint128 held, uint128 lost, uint128 credited)
        internal
        returns (uint128 burned)
    {
        burned = held + lost - credited;
        ledger.escrowed -= held;
        ledger.stakes -= lost;
        ledger.credits += credited;
        ledger.burned += burned;
    }

    // ------------------------------------------------------------------ out

    function pay(ConsensusLedger storage ledger, uint128 amount) internal {
        ledger.credits -= amount;
        ledger.withdrawn += amount;
    }
}
