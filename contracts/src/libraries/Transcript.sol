// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {G1Point, G2Point, GramProof, GramStatement} from "../interfaces/IGramVerifier.sol";

/// @notice What the proof's challenges are hashed from. Every hash begins with the hash of its own name, and every
/// challenge follows from all that was said before it. `zk/transcript.py` is the same.
library Transcript {
    bytes32 private constant SRS = keccak256("fedmarket/srs/1");
    bytes32 private constant GRAM = keccak256("fedmarket/gram/1");
    bytes32 private constant ALPHA = keccak256("fedmarket/alpha/1");
    bytes32 private constant SUMS = keccak256("fedmarket/sums/1");
    bytes32 private constant PRODUCT = keccak256("fedmarket/product/1");
    bytes32 private constant OPENING = keccak256("fedmarket/opening/1");

    uint256 private constant CHALLENGE_SHIFT = 128; // challenges have 128 bits

    /// @notice The name of these powers of tau.
    function srsId(G1Point memory tau, G2Point memory tau2, G2Point memory tauSquared2)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(SRS, tau, tau2, tauSquared2));
    }

    /// @notice Binds everything that is being proven.
    /// @param n number of updates
    function seed(GramStatement calldata statement, bytes calldata gram, uint256 n, bytes32 srs)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                GRAM,
                statement.context,
                srs,
                statement.dimension,
                statement.chunks,
                n,
                keccak256(statement.rows),
                keccak256(gram),
                keccak256(statement.weights)
            )
        );
    }

    /// @notice One challenge a row, each a hash of its own: under powers of one, errors of the matrix could cancel.
    function alphas(bytes32 seed_, uint256 rows) internal pure returns (uint256[] memory challenges) {
        challenges = new uint256[](rows);
        bytes32[3] memory words = [ALPHA, seed_, 0];
        assembly ("memory-safe") {
            let row := add(words, 0x40)
            let challenge := add(challenges, 0x20)
            for { let i := 0 } lt(i, rows) { i := add(i, 1) } {
                mstore(row, i)
                mstore(challenge, shr(CHALLENGE_SHIFT, keccak256(words, 0x60)))
                challenge := add(challenge, 0x20)
            }
        }
    }

    /// @notice Follows once the sums are fixed.
    function sums(bytes32 seed_, GramProof calldata proof) internal pure returns (bytes32 state, uint256 beta) {
        state = keccak256(abi.encodePacked(SUMS, seed_, proof.sums, proof.blinders));
        beta = uint256(state) >> CHALLENGE_SHIFT;
    }

    /// @notice Follows once S is fixed: the hash of which the evaluation point is the remainder mod r.
    function product(bytes32 state, bytes calldata point) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(PRODUCT, state, point));
    }

    /// @notice Follows once the evaluations are fixed.
    function opening(bytes32 state, bytes calldata evaluations) internal pure returns (uint256 gamma) {
        return uint256(keccak256(abi.encodePacked(OPENING, state, evaluations))) >> CHALLENGE_SHIFT;
    }
}
