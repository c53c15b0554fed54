// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice Sets of at most 256 things: bit i stands for thing i.
library Bits {
    function has(uint256 mask, uint256 i) internal pure returns (bool) {
        return (mask >> i) & 1 != 0;
    }

    function only(uint256 i) internal pure returns (uint256) {
        // forge-lint: disable-next-line(incorrect-shift)
        return 1 << i;
    }
}
