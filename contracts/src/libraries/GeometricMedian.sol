// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {BoundedHeap} from "./BoundedHeap.sol";
import {Constituent, PackedTriangle} from "./PackedTriangle.sol";
import {SquareRoot} from "./SquareRoot.sol";

/// @notice The point with the smallest sum of distances, by Weiszfeld's iteration with smoothed distances (Pillutla et al.
/// 2022), as shares of the rows.
/// @dev docs/rules.md, section 10. Unchecked: inner products are at most 2^68 in size and shares sum to at most 2^32, so that
/// products with the point are at most 2^100, B²·x_ii and ‖z‖² 2^132, and a distance 2^67; a distance that counts is at least
/// B > 2^31, or 2^32 at the start, so that a nearness is below 2^69 and their sum below 2^75.
library GeometricMedian {
    using BoundedHeap for uint256[];

    uint256 private constant ONE = 1 << 32; // Q32
    uint256 private constant NEARNESS = 1 << 100; // of a distance of one

    /// @notice Starts at the mean of the rows, each clipped to the typical norm, and takes so many steps. Sets their parts.
    /// @param position where their inner products lie in the calldata
    /// @param products the inner products instead, where they are of other rows than the updates
    /// @param all every row with its square; those that do not take part have no part
    /// @param rows those that take part, at least one
    /// @return whole the sum of all parts
    function share(uint256 position, int256[][] memory products, Constituent[] memory all, uint256 rows, uint256 steps)
        internal
        pure
        returns (uint256 whole)
    {
        whole = _start(all, rows);
        for (uint256 step = 0; step < steps; ++step) {
            int256 square = products.length == 0 ? PackedTriangle.times(position, all) : _times(products, all);
            whole = _step(all, rows, whole, square);
        }
    }

    /// @dev Norms are Q32 and rounded down; those below their lower median, or below one count, count as that.
    function _start(Constituent[] memory all, uint256 rows) private pure returns (uint256 whole) {
        unchecked {
            uint256 m = 0;
            for (uint256 i = 0; i < all.length; ++i) {
                if ((rows >> i) & 1 == 0) continue;
                all[i].part = SquareRoot.floor(all[i].square << 64);
                ++m;
            }
            uint256[] memory upperHalf = new uint256[](m - (m - 1) / 2);
            for (uint256 i = 0; i < all.length; ++i) {
                if ((rows >> i) & 1 != 0) upperHalf.offer(all[i].part);
            }
            uint256 least = upperHalf.smallest();
            if (least < ONE) least = ONE;
            uint256 total = 0;
            for (uint256 i = 0; i < all.length; ++i) {
                if ((rows >> i) & 1 == 0) continue;
                uint256 nearness = _nearness(all[i].part, least);
                all[i].part = nearness;
                total += nearness;
            }
            return _toShares(all, total);
        }
    }

    /// @dev What the rows have along the sum of their parts, and its square.
    function _times(int256[][] memory products, Constituent[] memory all) private pure returns (int256 square) {
        unchecked {
            for (uint256 i = 0; i < all.length; ++i) {
                int256[] memory row = products[i];
                int256 along = 0;
                for (uint256 j = 0; j < row.length; ++j) {
                    // forge-lint: disable-next-line(unsafe-typecast)
                    along += int256(all[j].part) * row[j];
                }
                all[i].along = along;
                // forge-lint: disable-next-line(unsafe-typecast)
                square += int256(all[i].part) * along;
            }
        }
    }

    /// @dev From B times every row's distance from the point that the parts make up, rounded down, to the next parts.
    function _step(Constituent[] memory all, uint256 rows, uint256 whole, int256 pointSquare)
        private
        pure
        returns (uint256)
    {
        unchecked {
            // forge-lint: disable-next-line(unsafe-typecast)
            (uint256 scale, int256 twice) = (whole * whole, int256(2 * whole));
            uint256 total = 0;
            for (uint256 i = 0; i < all.length; ++i) {
                if ((rows >> i) & 1 == 0) continue;
                Constituent memory row = all[i];
                // forge-lint: disable-next-line(unsafe-typecast)
                int256 square = int256(scale * row.square) - twice * row.along + pointSquare;
                // forge-lint: disable-next-line(unsafe-typecast)
                uint256 nearness = _nearness(square > 0 ? SquareRoot.floor(uint256(square)) : 0, whole);
                row.part = nearness;
                total += nearness;
            }
            return _toShares(all, total);
        }
    }

    function _nearness(uint256 distance, uint256 least) private pure returns (uint256) {
        unchecked {
            return NEARNESS / (distance < least ? least : distance);
        }
    }

    /// @dev Overwrites every nearness with its share of the total, Q32, and returns the sum of the shares.
    function _toShares(Constituent[] memory all, uint256 total) private pure returns (uint256 whole) {
        unchecked {
            for (uint256 i = 0; i < all.length; ++i) {
                Constituent memory row = all[i];
                uint256 part = (row.part << 32) / total;
                row.part = part;
                whole += part;
            }
        }
    }
}
