// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Gram} from "./Gram.sol";

/// @notice The quadratic form of a packed Gram matrix: v = αᵀGα mod r.
/// @dev Holds for any matrix of the packed format, in range or not. Challenges are below 2^128, so a product with an int64
/// is below 2^191, and a row's sum of them far below r; an int128 is far below r, too. Such a number plus r is above zero
/// and has the same residue. Five residues add up to less than 2^256, six do not.
library GramForm {
    uint256 private constant R = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001; // Bn254.R, for assembly
    uint256 private constant UPDATE_BYTES = 8;
    uint256 private constant PUBLIC_BYTES = 16;
    uint256 private constant LANES = 4; // how many int64 a word of calldata holds

    /// @param gram the packed matrix, of the length that n and the number of public rows ask for
    /// @param n number of updates
    /// @param alphas one challenge a row: the mask's, which has no part in this, then the updates', then those of the five
    /// public rows or, in a round with an exam, six
    function evaluate(bytes calldata gram, uint256 n, uint256[] memory alphas) internal pure returns (uint256 v) {
        uint256 products;
        uint256 publicAlphas; // where they lie in memory
        assembly ("memory-safe") {
            products := gram.offset
            publicAlphas := add(alphas, shl(5, add(n, 2)))
        }
        unchecked {
            uint256 publicRows = alphas.length - 1 - n;
            uint256 mixed = products + UPDATE_BYTES * (n * (n + 1) / 2);
            v = _publicForm(mixed + PUBLIC_BYTES * publicRows * n, publicAlphas, publicAlphas + 0x20 * publicRows);
            uint256 step = PUBLIC_BYTES * publicRows;
            function(uint256, uint256) pure returns (uint256) mixedSum =
                publicRows == Gram.PUBLIC_ROWS ? _mixedSum : _examinedSum;
            (uint256 alpha, uint256 end) = _padded(alphas, n);
            for (; alpha < end; alpha += 0x20) {
                uint256 row = _updateSum(products, alpha, end) + mixedSum(mixed, publicAlphas);
                assembly ("memory-safe") {
                    v := addmod(v, mulmod(mload(alpha), row, R), R)
                }
                products += (end - alpha) / 4;
                mixed += step;
            }
        }
    }

    /// @dev The updates' challenges and so many zeros that a word of calldata may reach beyond a row's end.
    /// @return start where they lie in memory
    /// @return end where they end
    function _padded(uint256[] memory alphas, uint256 n) private pure returns (uint256 start, uint256 end) {
        uint256[] memory updates = new uint256[](n + LANES - 1);
        assembly ("memory-safe") {
            for { let at := shl(5, n) } at { at := sub(at, 0x20) } {
                mstore(add(updates, at), mload(add(add(alphas, 0x20), at)))
            }
            start := add(updates, 0x20)
            end := add(start, shl(5, n))
        }
    }

    /// @dev α_i·G_ii + 2·Σ_{j>i} α_j·G_ij, plus r, from the i-th row of the triangle: twice all of the row less the diagonal.
    function _updateSum(uint256 position, uint256 alpha, uint256 end) private pure returns (uint256 sum) {
        assembly ("memory-safe") {
            let own := mul(mload(alpha), sar(192, calldataload(position)))
            for {} lt(alpha, end) { alpha := add(alpha, 0x80) } {
                let lanes := calldataload(position)
                sum := add(sum, mul(mload(alpha), sar(192, lanes)))
                sum := add(sum, mul(mload(add(alpha, 0x20)), sar(192, shl(64, lanes))))
                sum := add(sum, mul(mload(add(alpha, 0x40)), sar(192, shl(128, lanes))))
                sum := add(sum, mul(mload(add(alpha, 0x60)), signextend(7, lanes)))
                position := add(position, 0x20)
            }
            sum := add(sub(add(sum, sum), own), R)
        }
    }

    /// @dev 2·Σ_k α_k·x_k mod r over an update's products with five public rows.
    function _mixedSum(uint256 position, uint256 alphas) private pure returns (uint256 sum) {
        assembly ("memory-safe") {
            let r := R // once: a constant of this size is not cheap to load
            let pair := calldataload(position)
            sum := mulmod(mload(alphas), add(sar(128, pair), r), r)
            sum := add(sum, mulmod(mload(add(alphas, 0x20)), add(signextend(15, pair), r), r))
            pair := calldataload(add(position, 0x20))
            sum := add(sum, mulmod(mload(add(alphas, 0x40)), add(sar(128, pair), r), r))
            sum := add(sum, mulmod(mload(add(alphas, 0x60)), add(signextend(15, pair), r), r))
            pair := calldataload(add(position, 0x40))
            sum := add(sum, mulmod(mload(add(alphas, 0x80)), add(sar(128, pair), r), r))
            sum := mulmod(sum, 2, r)
        }
    }

    /// @dev The same with six.
    function _examinedSum(uint256 position, uint256 alphas) private pure returns (uint256 sum) {
        assembly ("memory-safe") {
            let r := R
            let pair := calldataload(position)
            sum := mulmod(mload(alphas), add(sar(128, pair), r), r)
            sum := add(sum, mulmod(mload(add(alphas, 0x20)), add(signextend(15, pair), r), r))
            pair := calldataload(add(position, 0x20))
            sum := add(sum, mulmod(mload(add(alphas, 0x40)), add(sar(128, pair), r), r))
            sum := add(sum, mulmod(mload(add(alphas, 0x60)), add(signextend(15, pair), r), r))
            pair := calldataload(add(position, 0x40))
            sum := add(sum, mulmod(mload(add(alphas, 0x80)), add(sar(128, pair), r), r))
            sum := addmod(sum, mulmod(mload(add(alphas, 0xa0)), add(signextend(15, pair), r), r), r)
            sum := mulmod(sum, 2, r)
        }
    }

    /// @dev The form of the public rows among themselves, from their triangle. At most five residues add up in a row.
    /// @param a where the first row's challenge lies in memory
    /// @param end where the challenges end
    function _publicForm(uint256 position, uint256 a, uint256 end) private pure returns (uint256 v) {
        assembly ("memory-safe") {
            let r := R
            for {} lt(a, end) { a := add(a, 0x20) } {
                // The diagonal's entry once, the later ones twice.
                let alpha := mload(a)
                let own := mulmod(alpha, add(sar(128, calldataload(position)), r), r)
                let row := 0
                for { let b := add(a, 0x20) } lt(b, end) { b := add(b, 0x20) } {
                    position := add(position, 0x10)
                    row := add(row, mulmod(mload(b), add(sar(128, calldataload(position)), r), r))
                }
                position := add(position, 0x10)
                v := addmod(v, mulmod(alpha, addmod(own, mulmod(row, 2, r), r), r), r)
            }
        }
    }
}
