// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice Arrays of one big-endian integer a seat, without padding: what stands behind a pay or lifetime hash.
library PackedArray {
    uint256 internal constant PAY_BYTES = 16;
    uint256 internal constant LIFETIME_BYTES = 8;

    /// @dev The caller has checked, by the array's hash, that it has an entry for this seat.
    function payAt(bytes calldata pays, uint256 seat) internal pure returns (uint128) {
        return uint128(bytes16(pays[seat * PAY_BYTES:(seat + 1) * PAY_BYTES]));
    }

    /// @dev As above, an entry for this seat is there.
    function lifetimeAt(bytes memory lifetime, uint256 seat) internal pure returns (uint256 score) {
        assembly ("memory-safe") {
            score := shr(192, mload(add(add(lifetime, 0x20), mul(seat, LIFETIME_BYTES))))
        }
    }

    function setPay(bytes memory pays, uint256 seat, uint256 amount) internal pure {
        _set(pays, seat, PAY_BYTES, amount);
    }

    function setLifetime(bytes memory lifetime, uint256 seat, uint256 score) internal pure {
        _set(lifetime, seat, LIFETIME_BYTES, score);
    }

    /// @dev Reads and writes the word that ends where the entry ends. An entry's word may begin in the array's length,
    /// which it leaves as it is. `index` is within the array and `value` fits `width` bytes.
    function _set(bytes memory array, uint256 index, uint256 width, uint256 value) private pure {
        assembly ("memory-safe") {
            let word := add(array, mul(add(index, 1), width))
            let above := shl(mul(width, 8), not(0))
            mstore(word, or(and(mload(word), above), value))
        }
    }
}
