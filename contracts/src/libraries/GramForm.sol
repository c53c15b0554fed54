// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Bn254} from "./Bn254.sol";
import {Gram} from "./Gram.sol";

/// @notice The quadratic form of a packed Gram matrix: v = αᵀGα mod r.
/// @dev Holds for any matrix of the packed format, in range or not. Challenges are below 2^128, so a product with an int64
/// is below 2^191 and 64 of them add up to less than 2^197; products with an int128 are reduced one by one.
library GramForm {
    uint256 private constant R = Bn254.R;
    uint256 private constant UPDATE_BYTES = 8;
    uint256 private constant PUBLIC_BYTES = 16;

    /// @param gram the packed matrix, of the length that n asks for
    /// @param n number of updates
    /// @param alphas one challenge a row: the mask's, which has no part in this, then the updates', then the public rows'
    function evaluate(bytes calldata gram, uint256 n, uint256[] memory alphas) internal pure returns (uint256 v) {
        uint256 products;
        assembly ("memory-safe") {
            products := gram.offset
        }
        unchecked {
            uint256 mixed = products + UPDATE_BYTES * (n * (n + 1) / 2);
            for (uint256 i = 0; i < n; ++i) {
                uint256 withPublic = _sumOfPublic(mixed, alphas, n + 1, Gram.PUBLIC_ROWS);
                uint256 row = addmod(_rowOfUpdate(products, alphas, i + 1, n), 2 * withPublic, R);
                v = addmod(v, mulmod(alphas[i + 1], row, R), R);
                products += UPDATE_BYTES * (n - i);
                mixed += PUBLIC_BYTES * Gram.PUBLIC_ROWS;
            }
            return addmod(v, _publicForm(mixed, alphas, n + 1), R);
        }
    }

    /// @dev α_i·G_ii + 2·Σ_{j>i} α_j·G_ij mod r, from the i-th row of the triangle.
    function _rowOfUpdate(uint256 position, uint256[] memory alphas, uint256 i, uint256 n)
        private
        pure
        returns (uint256)
    {
        unchecked {
            // forge-lint: disable-next-line(unsafe-typecast)
            int256 own = int256(alphas[i]) * Gram.int64At(position);
            int256 withLater = 0;
            assembly ("memory-safe") {
                let alpha := add(add(alphas, 0x20), shl(5, i))
                let end := add(add(alphas, 0x20), shl(5, n))
                for {} lt(alpha, end) {} {
                    alpha := add(alpha, 0x20)
                    position := add(position, 8)
                    withLater := add(withLater, mul(mload(alpha), sar(192, calldataload(position))))
                }
            }
            return _reduce(own + 2 * withLater);
        }
    }

    /// @dev Σ_k α_k·P_k over the public rows among themselves, from their triangle.
    function _publicForm(uint256 position, uint256[] memory alphas, uint256 first) private pure returns (uint256 v) {
        unchecked {
            for (uint256 k = 0; k < Gram.PUBLIC_ROWS; ++k) {
                uint256 own = _sumOfPublic(position, alphas, first + k, 1);
                uint256 all = _sumOfPublic(position, alphas, first + k, Gram.PUBLIC_ROWS - k);
                uint256 row = addmod(2 * all, R - own, R);
                v = addmod(v, mulmod(alphas[first + k], row, R), R);
                position += PUBLIC_BYTES * (Gram.PUBLIC_ROWS - k);
            }
        }
    }

    /// @dev Σ α_k·x_k mod r over `count` entries from this position on, and as many challenges from `first` on.
    function _sumOfPublic(uint256 position, uint256[] memory alphas, uint256 first, uint256 count)
        private
        pure
        returns (uint256 sum)
    {
        uint256 r = R;
        assembly ("memory-safe") {
            let alpha := add(add(alphas, 0x20), shl(5, first))
            for { let end := add(alpha, shl(5, count)) } lt(alpha, end) { alpha := add(alpha, 0x20) } {
                let entry := sar(128, calldataload(position))
                entry := add(entry, mul(r, slt(entry, 0))) // its residue
                sum := addmod(sum, mulmod(mload(alpha), entry, r), r)
                position := add(position, 16)
            }
        }
    }

    /// @dev The residue of a signed number.
    function _reduce(int256 value) private pure returns (uint256) {
        // forge-lint: disable-next-line(unsafe-typecast)
        int256 remainder = value % int256(R);
        // forge-lint: disable-next-line(unsafe-typecast)
        return remainder < 0 ? uint256(remainder + int256(R)) : uint256(remainder);
    }
}
