// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice Integer square roots. A round takes three for every update, so that one without branches is worth its lines.
library SquareRoot {
    /// @notice The largest integer whose square is at most x.
    /// @dev Newton's method. Where 2^k <= x < 2^(k+16) and y = x / 2^k, it begins with a line in the place of the root of y:
    /// (y + 2^8) / (2^5·√8) is off by a factor of 2.84 at most, halfway and at both ends. So its steps are off by less than 0.6,
    /// 0.12, 2^-7, 2^-15, 2^-32, 2^-66 and 2^-134 of the root; small ones, of which rounding takes more, are there sooner. From
    /// above it never falls below the root rounded down, and ends there or one above. Division by zero is zero here, which
    /// gives zero for zero.
    function floor(uint256 x) internal pure returns (uint256 root) {
        assembly ("memory-safe") {
            let k := shl(7, gt(x, 0xffffffffffffffffffffffffffffffff))
            k := or(k, shl(6, gt(shr(k, x), 0xffffffffffffffff)))
            k := or(k, shl(5, gt(shr(k, x), 0xffffffff)))
            k := or(k, shl(4, gt(shr(k, x), 0xffff)))
            root := shr(14, mul(shl(shr(1, k), 181), add(shr(k, x), 0x100))) // 2^14 / 181: 2^5·√8
            root := shr(1, add(root, div(x, root)))
            root := shr(1, add(root, div(x, root)))
            root := shr(1, add(root, div(x, root)))
            root := shr(1, add(root, div(x, root)))
            root := shr(1, add(root, div(x, root)))
            root := shr(1, add(root, div(x, root)))
            root := shr(1, add(root, div(x, root)))
            root := sub(root, gt(root, div(x, root)))
        }
    }
}
