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
        return keccak256(new bytes(seats * PackedArray.LIFETIME_BYTES));
    }

    /// @notice Refuses an array that is not the one whose hash is kept.
    function requireMatch(Job storage job, bytes calldata lifetime) internal view {
        bytes32 expected = job.state.lifetimeHash;
        bytes32 hash = keccak256(lifetime);
        if (hash != expected) revert IJobMarket.LifetimeMismatch(hash, expected);
    }

    /// @notice Adds one score a seat of `mask`, in ascending order. A sum stays at its largest value rather than revert.
    function add(Job storage job, bytes calldata lifetime, uint64 mask, uint64[] memory scores) internal {
        bytes memory sums = lifetime;
        bool changed = false;
        uint256 seat = 0;
        for (uint256 row = 0; row < scores.length; ++seat) {
            if (!mask.has(seat)) continue;
            uint256 score = scores[row++];
            if (score == 0) continue;
            sums.setLifetime(seat, Math.min(sums.lifetimeAt(seat) + score, type(uint64).max));
            changed = true;
        }
        if (changed) job.state.lifetimeHash = keccak256(sums);
    }

    /// @notice Divides an amount by lifetime score; nobody is paid where nobody has one.
    function divide(uint256 amount, uint256 seats, bytes memory lifetime)
        internal
        pure
        returns (bytes memory pays, uint256 total)
    {
        uint64[] memory scores = new uint64[](seats);
        for (uint256 seat = 0; seat < seats; ++seat) {
            // forge-lint: disable-next-line(unsafe-typecast)
            scores[seat] = uint64(lifetime.lifetimeAt(seat));
        }
        uint256[] memory shares;
        (shares, total) = Payouts.byScore(amount, scores);
        pays = Outcomes.spread(seats, type(uint64).max, shares);
    }
}
