// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice Packed arrays of big-endian integers, byte by byte.
library Packed {
    function entryAt(bytes memory array, uint256 index, uint256 width) internal pure returns (uint256 value) {
        for (uint256 i = 0; i < width; ++i) {
            value = (value << 8) | uint8(array[index * width + i]);
        }
    }

    function scores(uint64[] memory list) internal pure returns (bytes memory packed) {
        for (uint256 i = 0; i < list.length; ++i) {
            packed = bytes.concat(packed, bytes8(list[i]));
        }
    }
}
