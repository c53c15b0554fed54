// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice Integer square roots. A round takes three for every update, so that one without branches is worth its lines.
library SquareRoot {
    /// @notice The largest integer whose square is at most x.
    /// @dev Newton's method from 2^⌈k/2⌉, where 2^k <= x < 2^(k+1): off by a factor of √2 at most, so by less than 0.5, then
    /// 2^-4, 2^-9, 2^-20, 2^-41, 2^-83 and 2^-167 of the root. From above it never falls below the root rounded down, and
    /// ends there or one above. Division by zero is zero here, which gives zero for zero.
    function floor(uint256 x) internal pure returns (uint256 root) {
        assembly ("memory-safe") {
            let k := shl(7, gt(x, 0xffffffffffffffffffffffffffffffff))
            k := or(k, shl(6, gt(shr(k, x), 0xffffffffffffffff)))
            k := or(k, shl(5, gt(shr(k, x), 0xffffffff)))
            k := or(k, shl(4, gt(shr(k, x), 0xffff)))
            k := or(k, shl(3, gt(shr(k, x), 0xff)))
            k := or(k, shl(2, gt(shr(k, x), 0xf)))
            k := or(k, shl(1, gt(shr(k, x), 0x3)))
            k := or(k, gt(shr(k, x), 0x1))
            root := shl(shr(1, add(k, 1)), 1)
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
