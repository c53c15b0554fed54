// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice X25519 public keys, 32 bytes, little-endian.
library SealingKeys {
    /// @dev Of the last byte. X25519 ignores it (RFC 7748, section 5).
    bytes32 private constant TOP_BIT = bytes32(uint256(0x80));

    /// @notice Whether anything can be sealed to a key. With a point of low order, on the curve or its twist, everybody agrees
    /// on the same secret, and whoever seals refuses to.
    /// @dev There are five such points, and seven ways to write them in 255 bits: two of the numbers can have p added.
    function isUsable(bytes32 key) internal pure returns (bool) {
        bytes32 u = key & ~TOP_BIT;
        return u != 0 // of order 2
            && u != 0x0100000000000000000000000000000000000000000000000000000000000000 // 1
            && u != 0xe0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800 // of order 8
            && u != 0x5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157 // of order 8
            && u != 0xecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f // p - 1
            && u != 0xedffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f // p
            && u != 0xeeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f; // p + 1
    }
}
