// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IGramVerifier} from "../interfaces/IGramVerifier.sol";
import {Bn254} from "./Bn254.sol";

/// @notice Commitments as bytes: one point a chunk, chunk by chunk.
library Commitments {
    using Bn254 for Bn254.Sum;
    using Bn254 for bytes;

    /// @notice How many bytes a commitment of so many chunks has.
    function size(uint256 chunks) internal pure returns (uint256) {
        return Bn254.POINT_BYTES * chunks;
    }

    /// @notice Refuses an array of another length.
    function requireLength(string memory part, bytes calldata points, uint256 expected) internal pure {
        if (points.length != expected) revert IGramVerifier.InvalidLength(part, points.length, expected);
    }

    /// @notice Refuses what is no commitment of so many chunks. Infinity passes: it commits to zeros.
    function requireValid(bytes calldata commitment, uint256 chunks) internal pure {
        requireLength("commitment", commitment, size(chunks));
        for (uint256 chunk = 0; chunk < chunks; ++chunk) {
            (uint256 x, uint256 y) = commitment.pointAt(chunk);
            Bn254.requirePoint(x, y);
        }
    }

    /// @notice Also refuses infinity, which hides nothing.
    function requireBlinded(bytes calldata commitment, uint256 chunks) internal pure {
        requireLength("commitment", commitment, size(chunks));
        for (uint256 chunk = 0; chunk < chunks; ++chunk) {
            (uint256 x, uint256 y) = commitment.pointAt(chunk);
            if (Bn254.isInfinity(x, y)) revert IGramVerifier.PointAtInfinity("commitment");
            Bn254.requirePoint(x, y);
        }
    }

    /// @notice One of an array of commitments. The caller has checked that it is that long.
    function at(bytes calldata commitments, uint256 index, uint256 size_)
        internal
        pure
        returns (bytes calldata commitment)
    {
        assembly ("memory-safe") {
            commitment.offset := add(commitments.offset, mul(index, size_))
            commitment.length := size_
        }
    }

    /// @notice The rolling hash of an attempt's reveals with one more: keccak256(chain, seat as a word, commitment).
    function extended(bytes32 chain, uint256 seat, bytes calldata commitment) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let words := mload(0x40) // free memory, which nothing needs afterwards
            mstore(words, chain)
            mstore(add(words, 0x20), seat)
            calldatacopy(add(words, 0x40), commitment.offset, commitment.length)
            hash := keccak256(words, add(commitment.length, 0x40))
        }
    }

    /// @notice a + 2^doublings·b, chunk by chunk. Both have as many chunks, and points that are valid.
    function plus(bytes calldata a, bytes calldata b, uint256 doublings) internal view returns (bytes memory sum) {
        sum = new bytes(a.length);
        for (uint256 chunk = 0; chunk < a.length / Bn254.POINT_BYTES; ++chunk) {
            Bn254.Sum memory total;
            (total.x, total.y) = b.pointAt(chunk);
            for (uint256 i = 0; i < doublings; ++i) {
                total.add(total.x, total.y);
            }
            (uint256 x, uint256 y) = a.pointAt(chunk);
            total.add(x, y);
            _put(sum, chunk, total);
        }
    }

    function _put(bytes memory points, uint256 index, Bn254.Sum memory point) private pure {
        assembly ("memory-safe") {
            let position := add(add(points, 0x20), shl(6, index))
            mstore(position, mload(point))
            mstore(add(position, 0x20), mload(add(point, 0x20)))
        }
    }
}
