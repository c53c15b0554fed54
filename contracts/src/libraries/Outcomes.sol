// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {JobId, Ledger} from "../interfaces/JobTypes.sol";
import {Escrow} from "./Escrow.sol";
import {Ending, Job} from "./Jobs.sol";
import {PackedArray} from "./PackedArray.sol";
import {SeatMask} from "./SeatMask.sol";
import {Seats} from "./Seats.sol";

/// @notice What an attempt leaves behind: packed pays to be claimed, and forfeited stakes.
library Outcomes {
    using Escrow for Ledger;
    using PackedArray for bytes;
    using SeatMask for uint64;
    using Seats for Job;

    /// @notice Records an attempt's outcome.
    /// @param undoHash binds the settlement's `Undo`, zero where nothing can be undone
    /// @param aggregator the number of who settled it, zero where nobody did
    function record(
        Job storage job,
        uint256 attempt,
        bytes memory pays,
        bytes32 undoHash,
        uint24 aggregator,
        uint256 vestsAt
    ) internal {
        bytes24 hash = hashOf(pays, undoHash);
        Ending storage ending = job.endings[attempt];
        ending.payHash = hash;
        // forge-lint: disable-next-line(unsafe-typecast)
        ending.vestsAt = uint40(vestsAt); // a block timestamp and a period of 32 bits
        ending.aggregator = aggregator;
    }

    /// @notice What is kept of a packed pay array: the keccak256 of its own, and of what undoing it would give back.
    function hashOf(bytes memory pays, bytes32 undoHash) internal pure returns (bytes24) {
        return bytes24(Hashes.efficientKeccak256(keccak256(pays), undoHash));
    }

    /// @notice Burns the stakes of the seats that committed in the current attempt and did not reveal.
    function forfeit(Job storage job, JobId id) internal {
        (uint64 forfeited, uint128 amount) = job.takeForfeited();
        if (forfeited == 0) return;
        job.ledger.burnStakes(amount);
        emit IJobMarket.StakesForfeited(id, job.state.attempt, forfeited, amount);
    }

    /// @notice Packs pays, of which there is one a seat of `mask`, in ascending order.
    function spread(uint256 seats, uint64 mask, uint256[] memory rows) internal pure returns (bytes memory pays) {
        pays = new bytes(seats * PackedArray.PAY_BYTES);
        unchecked {
            uint256 row = 0;
            for (uint256 seat = 0; row < rows.length; (++seat, mask >>= 1)) {
                if (mask & 1 != 0) pays.setPay(seat, rows[row++]);
            }
        }
    }

    /// @notice Packs the same pay for every seat of `mask`.
    function samePay(uint256 seats, uint64 mask, uint256 amount) internal pure returns (bytes memory pays) {
        pays = new bytes(seats * PackedArray.PAY_BYTES);
        for (uint256 seat = 0; seat < seats; ++seat) {
            if (mask.has(seat)) pays.setPay(seat, amount);
        }
    }
}
