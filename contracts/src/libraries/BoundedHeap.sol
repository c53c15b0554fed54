// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice The c largest of the values offered, in a binary heap with the smallest of them on top.
/// @dev A fresh array of c zeros is such a heap, so there is no filling phase; offer it at least c values. An offer costs
/// one comparison where the value is not among the c largest, and log2(c) steps at worst: no order of values is expensive.
library BoundedHeap {
    /// @notice Takes the value in, and the smallest one out, if the value is larger than that.
    function offer(uint256[] memory heap, uint256 value) internal pure {
        if (value > smallest(heap)) _sink(heap, value);
    }

    /// @notice The smallest of the values held: the c-th largest of all that were offered.
    function smallest(uint256[] memory heap) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(add(heap, 0x20))
        }
    }

    /// @notice Sum of the values held. The caller's values are below 2^128.
    function sum(uint256[] memory heap) internal pure returns (uint256 total) {
        unchecked {
            for (uint256 at = 0; at < heap.length; ++at) {
                total += heap[at];
            }
        }
    }

    /// @dev Replaces the top by the value: moves smaller children up until both children are at least as large.
    function _sink(uint256[] memory heap, uint256 value) private pure {
        assembly ("memory-safe") {
            // Places as byte offsets from the length word: the k-th value is at 32k, its children at 64k and 64k + 32.
            let last := shl(5, mload(heap))
            let at := 0x20
            for { let child := 0x40 } iszero(gt(child, last)) { child := shl(1, at) } {
                let smaller := mload(add(heap, child))
                if lt(child, last) {
                    let right := mload(add(heap, add(child, 0x20)))
                    if lt(right, smaller) {
                        smaller := right
                        child := add(child, 0x20)
                    }
                }
                if iszero(lt(smaller, value)) { break }
                mstore(add(heap, at), smaller)
                at := child
            }
            mstore(add(heap, at), value)
        }
    }
}
