// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice Sets of at most 64 seats: bit i stands for seat i.
library SeatMask {
    function has(uint64 mask, uint256 seat) internal pure returns (bool) {
        return (mask >> seat) & 1 != 0;
    }

    function only(uint256 seat) internal pure returns (uint64) {
        // forge-lint: disable-next-line(incorrect-shift, unsafe-typecast)
        return uint64(1 << seat); // seats are below 64
    }

    /// @notice How many seats are in the set.
    function count(uint64 mask) internal pure returns (uint256) {
        unchecked {
            uint256 x = mask;
            x -= (x >> 1) & 0x5555555555555555;
            x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333);
            x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
            return ((x * 0x0101010101010101) >> 56) & 0xff;
        }
    }

    /// @notice The seats behind a set of rows, where row i is the i-th seat of `seats` in ascending order.
    function select(uint64 seats, uint64 rows) internal pure returns (uint64 selected) {
        unchecked {
            if (seats & (seats + 1) == 0) return seats & rows; // no gap: row i is seat i
            uint64 left = seats;
            while (left != 0 && rows != 0) {
                uint64 lowest = left & (~left + 1);
                if (rows & 1 != 0) selected |= lowest;
                left ^= lowest;
                rows >>= 1;
            }
        }
    }
}
