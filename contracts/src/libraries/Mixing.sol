// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {BoundedHeap} from "./BoundedHeap.sol";
import {Constituent, PackedTriangle} from "./PackedTriangle.sol";

/// @notice Rows of which each is the sum of a row's m - f nearest.
struct Mixture {
    uint256[] neighbours; // of every row that takes part, which rows its sum is of: bit j for row j
    int256[][] products; // inner products of the sums, zero for rows that do not take part
    Constituent[] sums; // their diagonal, negative entries as zero, and their parts
}

/// @notice Nearest-neighbour mixing (Allouah et al. 2023).
/// @dev docs/rules.md, section 10. Unchecked: at most 16 rows, so that inner products of sums are at most 2^68 in size. Those
/// of matrices that no vectors have may be anything in that range: squared distances of sums may then be negative, and are
/// compared OFFSET higher.
library Mixing {
    using BoundedHeap for uint256[];

    uint256 internal constant MAX_ROWS = 16;
    int256 private constant OFFSET = 1 << 72;

    /// @notice Adds up, for every row that takes part, itself and the m - f - 1 others nearest to it.
    /// @param position where the inner products lie in the calldata
    /// @param all every row with its square
    /// @param rows those that take part: m >= 2f + 1 and at least one
    function mix(uint256 position, Constituent[] memory all, uint256 rows, uint256 faults)
        internal
        pure
        returns (Mixture memory mixture)
    {
        unchecked {
            uint256 n = all.length;
            mixture.neighbours = new uint256[](n);
            mixture.products = new int256[][](n);
            mixture.sums = new Constituent[](n);
            for (uint256 i = 0; i < n; ++i) {
                if ((rows >> i) & 1 != 0) mixture.neighbours[i] = _nearest(position, all, rows, i, faults);
            }
            for (uint256 i = 0; i < n; ++i) {
                mixture.products[i] = _multiplied(mixture.neighbours, position, all, i);
                int256 square = mixture.products[i][i];
                // forge-lint: disable-next-line(unsafe-typecast)
                if (square > 0) mixture.sums[i].square = uint256(square);
            }
        }
    }

    /// @notice Keeps the sums whose nearest others are nearest: Multi-Krum, as AcceptanceRules has it for the rows themselves.
    /// Every sum that is kept has a part of one.
    /// @return kept how many they are, or one where m is below 2f + 3 and there are none
    function multiKrum(Mixture memory mixture, uint256 rows, uint256 faults, uint256 keep)
        internal
        pure
        returns (uint256 kept)
    {
        unchecked {
            uint256 n = mixture.neighbours.length;
            uint256 m = count(rows);
            if (m < 2 * faults + 3) return 1;
            kept = keep == 0 || keep > m - faults ? m - faults : keep;
            uint256[] memory ranks = new uint256[](n);
            uint256[] memory last = new uint256[](m - kept + 1);
            for (uint256 i = 0; i < n; ++i) {
                if ((rows >> i) & 1 == 0) continue;
                ranks[i] = (_krumScore(mixture.products, rows, i, faults) << 8) | i;
                last.offer(ranks[i]);
            }
            for (uint256 i = 0; i < n; ++i) {
                if ((rows >> i) & 1 != 0 && ranks[i] <= last.smallest()) mixture.sums[i].part = 1;
            }
        }
    }

    /// @notice Gives the rows the parts that they have in the sums, and those sums in the whole.
    function unmix(Mixture memory mixture, Constituent[] memory all) internal pure {
        unchecked {
            for (uint256 j = 0; j < all.length; ++j) {
                uint256 part = 0;
                for (uint256 i = 0; i < all.length; ++i) {
                    if ((mixture.neighbours[i] >> j) & 1 != 0) part += mixture.sums[i].part;
                }
                all[j].part = part;
            }
        }
    }

    /// @notice How many rows are in the set.
    function count(uint256 rows) internal pure returns (uint256 members) {
        for (; rows != 0; rows &= rows - 1) {
            ++members;
        }
    }

    /// @dev The row itself, and all others but the f farthest: those whose distance, then row, is below the f-th largest.
    function _nearest(uint256 position, Constituent[] memory all, uint256 rows, uint256 i, uint256 faults)
        private
        pure
        returns (uint256 chosen)
    {
        unchecked {
            if (faults == 0) return rows;
            uint256 n = all.length;
            uint256[] memory ranks = new uint256[](n);
            uint256[] memory farthest = new uint256[](faults);
            for (uint256 j = 0; j < n; ++j) {
                if (j == i || (rows >> j) & 1 == 0) continue;
                int256 product = PackedTriangle.at(position, n, i, j);
                // forge-lint: disable-next-line(unsafe-typecast)
                ranks[j] = ((all[i].square + all[j].square - uint256(2 * product)) << 8) | j;
                farthest.offer(ranks[j]);
            }
            for (uint256 j = 0; j < n; ++j) {
                if (j == i || ((rows >> j) & 1 != 0 && ranks[j] < farthest.smallest())) chosen |= uint256(1) << j;
            }
        }
    }

    /// @dev Row i of the sums' inner products.
    function _multiplied(uint256[] memory neighbours, uint256 position, Constituent[] memory all, uint256 i)
        private
        pure
        returns (int256[] memory row)
    {
        unchecked {
            uint256 n = neighbours.length;
            row = new int256[](n);
            if (neighbours[i] == 0) return row;
            for (uint256 j = 0; j < n; ++j) {
                all[j].part = (neighbours[i] >> j) & 1;
            }
            PackedTriangle.times(position, all);
            for (uint256 x = 0; x < n; ++x) {
                uint256 chosen = neighbours[x];
                for (uint256 k = 0; k < n; ++k) {
                    if ((chosen >> k) & 1 != 0) row[x] += all[k].along;
                }
            }
        }
    }

    /// @dev Σ of the m - f - 2 smallest distances, all but the f + 1 largest; each OFFSET higher.
    function _krumScore(int256[][] memory products, uint256 rows, uint256 i, uint256 faults)
        private
        pure
        returns (uint256 total)
    {
        unchecked {
            uint256[] memory farthest = new uint256[](faults + 1);
            int256[] memory row = products[i];
            for (uint256 j = 0; j < row.length; ++j) {
                if (j == i || (rows >> j) & 1 == 0) continue;
                // forge-lint: disable-next-line(unsafe-typecast)
                uint256 distance = uint256(OFFSET + row[i] + products[j][j] - 2 * row[j]);
                total += distance;
                farthest.offer(distance);
            }
            total -= farthest.sum();
        }
    }
}
