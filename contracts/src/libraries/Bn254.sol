// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {G1Point, G2Point, IGramVerifier} from "../interfaces/IGramVerifier.sol";

/// @notice The curve BN254 (alt_bn128) as the EVM's precompiles know it, and the field of its scalars.
/// @dev A precompile that fails, returns nothing or has too little gas ends the call: what lies in the memory that it
/// should have written to is never read.
library Bn254 {
    /// @notice The field of the coordinates.
    uint256 internal constant P = 0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47;
    /// @notice The order of the groups: the field of the scalars.
    uint256 internal constant R = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001;
    uint256 internal constant POINT_BYTES = 64;

    uint256 private constant MODEXP = 5;
    uint256 private constant ADD = 6;
    uint256 private constant MULTIPLY = 7;
    uint256 private constant PAIRING = 8;
    uint256 private constant PAIR_WORDS = 6;

    /// @notice A sum of points and, behind it, the term that is added next: the precompiles read them where they lie.
    struct Sum {
        uint256 x;
        uint256 y;
        uint256 termX;
        uint256 termY;
        uint256 factor;
    }

    /// @notice The first group's generator.
    function generator() internal pure returns (G1Point memory) {
        return G1Point(1, 2);
    }

    /// @notice The second group's generator.
    function generator2() internal pure returns (G2Point memory) {
        return G2Point(
            0x198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2,
            0x1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed,
            0x090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b,
            0x12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa
        );
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

    /// @notice Also refuses infinity.
    /// @param part what stands there, for the message
    function requireFinitePoint(uint256 x, uint256 y, string memory part) internal pure {
        if (isInfinity(x, y)) revert IGramVerifier.PointAtInfinity(part);
        requirePoint(x, y);
    }

    function isInfinity(uint256 x, uint256 y) internal pure returns (bool) {
        return (x | y) == 0;
    }

    // ------------------------------------------------------------------ sums

    /// @notice sum + point
    function add(Sum memory sum, uint256 x, uint256 y) internal view {
        (sum.termX, sum.termY) = (x, y);
        _addTerm(sum);
    }

    /// @notice sum + factor · point
    function addMultiple(Sum memory sum, uint256 x, uint256 y, uint256 factor) internal view {
        (sum.termX, sum.termY, sum.factor) = (x, y, factor);
        uint256 term;
        assembly ("memory-safe") {
            term := add(sum, 0x40)
        }
        _call(MULTIPLY, term, 0x60, term, 0x40);
        _addTerm(sum);
    }

    function _addTerm(Sum memory sum) private view {
        uint256 start;
        assembly ("memory-safe") {
            start := sum
        }
        _call(ADD, start, 0x80, start, 0x40);
    }

    // ------------------------------------------------------------------ pairings

    /// @notice A list of that many pairs of points, for `setPair` and `isProductOne`.
    function pairs(uint256 count) internal pure returns (uint256[] memory list) {
        return new uint256[](count * PAIR_WORDS);
    }

    /// @notice Puts a pair into the list.
    function setPair(uint256[] memory list, uint256 index, uint256 x, uint256 y, G2Point memory point) internal pure {
        uint256 at = index * PAIR_WORDS;
        (list[at], list[at + 1]) = (x, y);
        (list[at + 2], list[at + 3]) = (point.xImaginary, point.xReal);
        (list[at + 4], list[at + 5]) = (point.yImaginary, point.yReal);
    }

    /// @notice Whether the product of the pairings is one. The precompile checks every point, the second group's order
    /// included.
    function isProductOne(uint256[] memory list) internal view returns (bool) {
        uint256[1] memory result;
        (uint256 input, uint256 output) = (0, 0);
        assembly ("memory-safe") {
            input := add(list, 0x20)
            output := result
        }
        _call(PAIRING, input, 0x20 * list.length, output, 0x20);
        return result[0] == 1;
    }

    // ------------------------------------------------------------------ scalars

    /// @notice Refuses a scalar that is not reduced.
    function requireScalar(uint256 scalar) internal pure {
        if (scalar >= R) revert IGramVerifier.InvalidScalar(scalar);
    }

    /// @notice a - b mod r, both reduced.
    function subtract(uint256 a, uint256 b) internal pure returns (uint256) {
        return addmod(a, R - b, R);
    }

    /// @notice 1 / scalar mod r, as its power of r - 2; zero for zero.
    function inverse(uint256 scalar) internal view returns (uint256) {
        uint256[6] memory words = [0x20, 0x20, 0x20, scalar, R - 2, R];
        uint256 start;
        assembly ("memory-safe") {
            start := words
        }
        _call(MODEXP, start, 0xc0, start, 0x20);
        return words[0];
    }

    // ------------------------------------------------------------------ internals

    function _call(uint256 precompile, uint256 input, uint256 inputBytes, uint256 output, uint256 outputBytes)
        private
        view
    {
        bool done;
        assembly ("memory-safe") {
            done := staticcall(gas(), precompile, input, inputBytes, output, outputBytes)
            done := and(done, eq(returndatasize(), outputBytes))
        }
        if (!done) revert IGramVerifier.PrecompileFailed(precompile);
    }
}
