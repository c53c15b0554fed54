// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IGramVerifier} from "../interfaces/IGramVerifier.sol";

/// @notice The curve BN254 (alt_bn128) as the EVM's precompiles know it, and the field of its scalars.
/// @dev The precompiles refuse coordinates that are not reduced and points that are not on the curve (EIP-196, EIP-197). One
/// that refuses, returns nothing or has too little gas ends the call: what lies in the memory that it should have written
/// to is never taken for its answer.
library Bn254 {
    /// @notice The field of the coordinates.
    uint256 internal constant P = 0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47;
    /// @notice The order of the groups: the field of the scalars.
    uint256 internal constant R = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001;
    uint256 internal constant POINT_BYTES = 64;

    /// @notice The first group's generator.
    uint256 internal constant ONE_X = 1;
    uint256 internal constant ONE_Y = 2;
    /// @notice The second group's generator.
    uint256 internal constant ONE2_X_IMAGINARY = 0x198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2;
    uint256 internal constant ONE2_X_REAL = 0x1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed;
    uint256 internal constant ONE2_Y_IMAGINARY = 0x090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b;
    uint256 internal constant ONE2_Y_REAL = 0x12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa;

    uint256 private constant MODEXP = 5;
    uint256 private constant ADD = 6;
    uint256 private constant MULTIPLY = 7;
    uint256 private constant PAIRING = 8;

    /// @notice A sum of points and, behind it, the term that is added next: the precompiles read them where they lie.
    struct Sum {
        uint256 x;
        uint256 y;
        uint256 termX;
        uint256 termY;
        uint256 factor;
    }

    // ------------------------------------------------------------------ points

    /// @notice The point at this place of an array of points. The caller has checked that it is that long.
    function pointAt(bytes calldata points, uint256 index) internal pure returns (uint256 x, uint256 y) {
        assembly ("memory-safe") {
            let position := add(points.offset, shl(6, index))
            x := calldataload(position)
            y := calldataload(add(position, 0x20))
        }
    }

    /// @notice Refuses coordinates that are not reduced or not on the curve. Infinity passes.
    function requirePoint(uint256 x, uint256 y) internal pure {
        if (isInfinity(x, y)) return;
        bool valid = x < P && y < P && mulmod(y, y, P) == addmod(mulmod(mulmod(x, x, P), x, P), 3, P);
        if (!valid) revert IGramVerifier.InvalidPoint(x, y);
    }

    function isInfinity(uint256 x, uint256 y) internal pure returns (bool) {
        return (x | y) == 0;
    }

    // ------------------------------------------------------------------ sums

    /// @notice sum + point
    function add(Sum memory sum, uint256 x, uint256 y) internal view {
        (sum.termX, sum.termY) = (x, y);
        bool done;
        assembly ("memory-safe") {
            done := staticcall(gas(), ADD, sum, 0x80, sum, 0x40)
            done := and(done, eq(returndatasize(), 0x40))
        }
        if (!done) _refuse(sum, ADD);
    }

    /// @notice sum + factor · point
    function addMultiple(Sum memory sum, uint256 x, uint256 y, uint256 factor) internal view {
        (sum.termX, sum.termY, sum.factor) = (x, y, factor);
        bool done;
        assembly ("memory-safe") {
            let term := add(sum, 0x40)
            done := staticcall(gas(), MULTIPLY, term, 0x60, term, 0x40)
            done := and(done, eq(returndatasize(), 0x40))
            if done {
                done := staticcall(gas(), ADD, sum, 0x80, sum, 0x40)
                done := and(done, eq(returndatasize(), 0x40))
            }
        }
        if (!done) _refuse(sum, MULTIPLY);
    }

    /// @notice sum + Σ_i factor_i · point_i over every `stride`-th point from the `first` on; infinity adds nothing.
    /// @return infinite how many of the first `counted` terms are infinity
    function addMultiples(
        Sum memory sum,
        bytes calldata points,
        uint256 first,
        uint256 stride,
        uint256[] memory factors,
        uint256 counted
    ) internal view returns (uint256 infinite) {
        bool done = true;
        assembly ("memory-safe") {
            let position := add(points.offset, shl(6, first))
            let factor := add(factors, 0x20)
            let end := add(factor, shl(5, mload(factors)))
            counted := add(factor, shl(5, counted))
            for {} lt(factor, end) { factor := add(factor, 0x20) } {
                let term := add(sum, 0x40)
                calldatacopy(term, position, 0x40)
                position := add(position, shl(6, stride))
                if iszero(or(mload(term), mload(add(sum, 0x60)))) {
                    infinite := add(infinite, lt(factor, counted))
                    continue
                }
                mstore(add(sum, 0x80), mload(factor))
                done := staticcall(gas(), MULTIPLY, term, 0x60, term, 0x40)
                done := and(done, eq(returndatasize(), 0x40))
                if iszero(done) { break }
                done := staticcall(gas(), ADD, sum, 0x80, sum, 0x40)
                done := and(done, eq(returndatasize(), 0x40))
                if iszero(done) { break }
            }
        }
        if (!done) _refuse(sum, MULTIPLY);
    }

    /// @dev Says why a precompile refused: it writes nothing then, so that its input still lies there.
    function _refuse(Sum memory sum, uint256 precompile) private pure {
        requirePoint(sum.termX, sum.termY);
        requirePoint(sum.x, sum.y);
        revert IGramVerifier.PrecompileFailed(precompile);
    }

    // ------------------------------------------------------------------ pairings

    /// @notice Whether the product of three pairings is one.
    /// @param pairs of each the first group's point, then the second's. The precompile checks them all, their order included
    function isProductOne(uint256[18] memory pairs) internal view returns (bool) {
        bool done;
        assembly ("memory-safe") {
            done := staticcall(gas(), PAIRING, pairs, 0x240, pairs, 0x20)
            done := and(done, eq(returndatasize(), 0x20))
        }
        if (!done) revert IGramVerifier.PrecompileFailed(PAIRING);
        return pairs[0] == 1;
    }

    // ------------------------------------------------------------------ scalars

    /// @notice Refuses a scalar that is not reduced.
    function requireScalar(uint256 scalar) internal pure {
        if (scalar >= R) revert IGramVerifier.InvalidScalar(scalar);
    }

    /// @notice a - b mod r, both reduced.
    function subtract(uint256 a, uint256 b) internal pure returns (uint256) {
        unchecked {
            return addmod(a, R - b, R);
        }
    }

    /// @notice 1 / scalar mod r, as its power of r - 2; zero for zero.
    function inverse(uint256 scalar) internal view returns (uint256) {
        uint256[6] memory words = [0x20, 0x20, 0x20, scalar, R - 2, R];
        bool done;
        assembly ("memory-safe") {
            done := staticcall(gas(), MODEXP, words, 0xc0, words, 0x20)
            done := and(done, eq(returndatasize(), 0x20))
        }
        if (!done) revert IGramVerifier.PrecompileFailed(MODEXP);
        return words[0];
    }
}
