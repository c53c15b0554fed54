// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {PackedArray} from "./PackedArray.sol";

/// @notice How one round's reward is divided.
struct Shares {
    uint256[] pays; // one a row
    uint256 total; // of the pays
    uint256 returned; // to the owner
}

/// @notice Divides money by score: packed arrays of one uint64 a row. All divisions round down; `aggregator/payouts.py` is
/// the same function.
/// @dev Amounts are below 2^128, scores below 2^64, rows at most 64: no product or sum reaches 2^256.
library Payouts {
    using PackedArray for bytes;

    /// @notice The pool is the reward and as much again of what carried over, at most. The excluded seats' equal share
    /// of it carries over, the rest is divided by score. Nothing returns to the owner.
    /// @param included how many of the `revealed` seats were not excluded
    function pot(uint256 reward, uint256 carry, uint256 included, uint256 revealed, bytes memory scores)
        internal
        pure
        returns (Shares memory shares)
    {
        uint256 pool = reward + (carry < reward ? carry : reward);
        uint256 divided = revealed == 0 ? 0 : pool * included / revealed;
        (shares.pays, shares.total) = byScore(divided, scores);
    }

    /// @notice Each row earns `price` at the target score or above and proportionally less below. The excluded seats'
    /// equal share of the reward carries over, the rest returns to the owner.
    function price(
        uint256 reward,
        uint256 price_,
        uint256 target,
        uint256 included,
        uint256 revealed,
        bytes memory scores
    ) internal pure returns (Shares memory shares) {
        (shares.pays, shares.total) = byTarget(price_, target, scores);
        uint256 carried = revealed == 0 ? reward : reward * (revealed - included) / revealed;
        uint256 unpaid = reward - shares.total;
        shares.returned = carried < unpaid ? unpaid - carried : 0;
    }

    /// @notice Divides `amount` in proportion to the scores; with none, nobody gets anything.
    function byScore(uint256 amount, bytes memory scores) internal pure returns (uint256[] memory pays, uint256 total) {
        uint256 rows = scores.length / PackedArray.SCORE_BYTES;
        pays = new uint256[](rows);
        uint256 sum = scores.sumOfScores();
        if (sum == 0) return (pays, 0);
        unchecked {
            for (uint256 row = 0; row < rows; ++row) {
                uint256 pay = amount * scores.scoreAt(row) / sum;
                pays[row] = pay;
                total += pay;
            }
        }
    }

    function byTarget(uint256 price_, uint256 target, bytes memory scores)
        internal
        pure
        returns (uint256[] memory pays, uint256 total)
    {
        uint256 rows = scores.length / PackedArray.SCORE_BYTES;
        pays = new uint256[](rows);
        for (uint256 row = 0; row < rows; ++row) {
            uint256 score = scores.scoreAt(row);
            uint256 pay = score < target ? price_ * score / target : price_;
            pays[row] = pay;
            total += pay;
        }
    }
}
