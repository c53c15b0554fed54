// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice Counts differing bits.
library Hamming {
    uint256 private constant ONES = 0x5555555555555555555555555555555555555555555555555555555555555555;
    uint256 private constant TWOS = 0x3333333333333333333333333333333333333333333333333333333333333333;
    uint256 private constant FOURS = 0x0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f;
    uint256 private constant EIGHTS = 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
    uint256 private constant SUM = 0x0001000100010001000100010001000100010001000100010001000100010001;

    function distance(bytes32 a, bytes32 b) internal pure returns (uint256) {
        return count(uint256(a ^ b));
    }

    /// @notice How many bits are set: 0 to 256.
    /// @dev Sums of two, four and eight neighbours side by side. 256 needs nine bits, so the last sum is of words of 16.
    function count(uint256 x) internal pure returns (uint256) {
        unchecked {
            x -= (x >> 1) & ONES;
            x = (x & TWOS) + ((x >> 2) & TWOS);
            x = (x + (x >> 4)) & FOURS;
            x = (x + (x >> 8)) & EIGHTS;
            return (x * SUM) >> 240;
        }
    }
}
