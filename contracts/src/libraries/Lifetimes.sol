// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Job} from "./Jobs.sol";
import {Outcomes} from "./Outcomes.sol";
import {PackedArray} from "./PackedArray.sol";
import {Payouts} from "./Payouts.sol";
import {SeatMask} from "./SeatMask.sol";

/// @notice Lifetime scores: what each seat's paid scores sum to. The chain keeps their hash, callers bring them along.
library Lifetimes {
    using PackedArray for bytes;
    using SeatMask for uint64;

    /// @notice The hash of scores that are all zero. It stands in storage from the start, which makes the first
    /// settlement as cheap as the others.
    function noneHash(uint256 seats) internal pure returns (bytes32) {
        return keccak256(new bytes(seats * PackedArray.SCORE_BYTES));
    }

    /// @notice Refuses an array that is not the one whose hash is kept.
    function requireMatch(Job storage job, bytes calldata lifetime) internal view {
        bytes32 expected = job.state.lifetimeHash;
        bytes32 hash = keccak256(lifetime);
        if (hash != expected) revert IJobMarket.LifetimeMismatch(hash, expected);
    }

    /// @notice Adds one score a seat of `mask`, in ascending order. A sum stays at its largest value rather than revert.
    function add(Job storage job, bytes calldata lifetime, uint64 mask, bytes memory scores) internal {
        bytes memory sums = lifetime;
        bool changed = false;
        unchecked {
            uint256 row = 0;
            for (uint256 seat = 0; mask != 0; (++seat, mask >>= 1)) {
                if (mask & 1 == 0) continue;
                uint256 score = scores.scoreAt(row++);
                if (score == 0) continue;
                sums.setScore(seat, Math.min(sums.scoreAt(seat) + score, type(uint64).max));
                changed = true;
            }
        }
        if (changed) job.state.lifetimeHash = keccak256(sums);
    }

    /// @notice Takes a seat's score off it.
    function clear(Job storage job, bytes calldata lifetime, uint256 seat) internal {
        requireMatch(job, lifetime);
        bytes memory sums = lifetime;
        sums.setScore(seat, 0);
        job.state.lifetimeHash = keccak256(sums);
    }

    /// @notice Divides an amount by lifetime score; nobody is paid where nobody has one.
    function divide(uint256 amount, uint256 seats, bytes memory lifetime)
        internal
        pure
        returns (bytes memory pays, uint256 total)
    {
        uint256[] memory shares;
        (shares, total) = Payouts.byScore(amount, lifetime);
        pays = Outcomes.spread(seats, type(uint64).max, shares);
    }
}
