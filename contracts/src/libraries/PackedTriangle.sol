// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice A row and its part in a sum.
struct Constituent {
    uint256 square; // its own inner product
    uint256 part;
    int256 along; // its inner product with the sum
}

/// @notice The inner products of the updates where they lie in the calldata: an upper triangle of int64, row by row, diagonal
/// included.
library PackedTriangle {
    uint256 private constant HALF = 1 << 127;

    /// @notice G_ij, in any order of rows.
    /// @param position where the triangle begins
    /// @param n how many rows it has
    function at(uint256 position, uint256 n, uint256 i, uint256 j) internal pure returns (int256 product) {
        unchecked {
            if (i > j) (i, j) = (j, i);
            position += 4 * i * (2 * n + 1 - i) + 8 * (j - i);
        }
        assembly ("memory-safe") {
            product := sar(192, calldataload(position))
        }
    }

    /// @notice Σ_j a_j·G_ij for every row i. Σ|a_j·G_ij| is below 2^126.
    /// @dev Every entry above the diagonal is read once and counts for both of its rows. Two columns share a word, even + odd·2^128,
    /// and two parts another, the other way round, so that one multiplication makes two products and adds them:
    /// (a + b·2^128)·(d + c·2^128) = (a·c + b·d)·2^128 + a·d, as the machine drops what lies above bit 256; a·d is a remainder that
    /// rounding to the nearest takes away. Two words are read at a time, so that a row may read up to three entries too many:
    /// they meet parts of zero, and add to sums that nobody takes.
    /// @param position where the triangle begins
    /// @param rows with their squares and parts; sets what they have along the sum
    /// @return square Σ_ij a_i·a_j·G_ij
    function times(uint256 position, Constituent[] memory rows) internal pure returns (int256 square) {
        unchecked {
            uint256 n = rows.length;
            uint256[] memory pairs = _pairs(rows);
            for (uint256 i = 0; i < n; ++i) {
                Constituent memory row = rows[i];
                uint256 part = row.part;
                // forge-lint: disable-next-line(unsafe-typecast)
                int256 along = int256(part * row.square) + _timesOthers(position, pairs, i, part);
                row.along = along;
                // forge-lint: disable-next-line(unsafe-typecast)
                square += int256(part) * along;
                position += 8 * (n - i);
            }
        }
    }

    /// @dev For every two rows a word of their parts, the odd one's below, and one for what earlier rows add to theirs.
    function _pairs(Constituent[] memory rows) private pure returns (uint256[] memory pairs) {
        unchecked {
            uint256 n = rows.length;
            pairs = new uint256[]((n + 1) / 2 * 2 + 2); // and one of zeros
            for (uint256 i = 0; i < n; i += 2) {
                pairs[i] = rows[i].part << 128;
                if (i + 1 < n) pairs[i] |= rows[i + 1].part;
            }
        }
    }

    /// @dev Σ_{j≠i} a_j·G_ij, of which the earlier rows have added up theirs, and adds a_i·G_ij to every later row's sum.
    /// @param position where row i begins
    function _timesOthers(uint256 position, uint256[] memory pairs, uint256 i, uint256 part)
        private
        pure
        returns (int256 along)
    {
        assembly ("memory-safe") {
            let pair := add(add(pairs, 0x20), shl(6, shr(1, i)))
            let end := add(sub(pairs, 0x20), shl(5, mload(pairs)))
            let above := shl(128, not(0))
            let total := HALF
            let earlier := mload(add(pair, 0x20))
            position := add(position, 8) // beyond the diagonal
            switch and(i, 1)
            case 0 {
                earlier := signextend(15, earlier)
                // Its own pair's odd row is the next one.
                let product := sar(192, calldataload(position))
                position := add(position, 8)
                total := add(total, mul(mload(pair), shl(128, product)))
                mstore(add(pair, 0x20), add(mload(add(pair, 0x20)), shl(128, mul(product, part))))
            }
            default { earlier := sar(128, add(earlier, HALF)) }
            for { pair := add(pair, 0x40) } lt(pair, end) { pair := add(pair, 0x80) } {
                let word := calldataload(position)
                word := add(sar(192, word), and(signextend(23, word), above))
                total := add(total, mul(mload(pair), word))
                mstore(add(pair, 0x20), add(mload(add(pair, 0x20)), mul(word, part)))
                word := calldataload(add(position, 16))
                word := add(sar(192, word), and(signextend(23, word), above))
                total := add(total, mul(mload(add(pair, 0x40)), word))
                mstore(add(pair, 0x60), add(mload(add(pair, 0x60)), mul(word, part)))
                position := add(position, 32)
            }
            along := add(earlier, sar(128, total))
        }
    }
}
