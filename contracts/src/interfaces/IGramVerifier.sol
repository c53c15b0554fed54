// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice A point of BN254's first group, affine; (0, 0) is the point at infinity.
struct G1Point {
    uint256 x;
    uint256 y;
}

/// @notice A point of BN254's second group, affine, in the order of the EVM's precompiles.
struct G2Point {
    uint256 xImaginary;
    uint256 xReal;
    uint256 yImaginary;
    uint256 yReal;
}

/// @notice What is proven: that `gram`, handed in beside it, holds the inner products of the committed rows, and that the
/// proof's D is the weighted sum of the update rows' commitments.
/// @dev A commitment is one point for each chunk, 64 bytes each. Rows are: the aggregator's mask, whose inner products are
/// all zero; the updates; the public rows, which are five and, in a round with an exam, its reference as the sixth. How
/// many there are follows from the number of bytes: each of the other sizes is in the statement, too.
struct GramStatement {
    bytes32 context; // what the proof is for: it is worth nothing for anything else
    uint256 dimension; // d, the length of the vectors
    uint256 chunks; // c, into how many pieces they are cut
    bytes rows; // the commitments of all 1 + n + 5 rows, or 1 + n + 6
    bytes weights; // one uint32 an update, big-endian, zero where it is not in the sum: this says how large n is
}

/// @notice The proof. Points are 64 bytes, scalars 32, big-endian.
struct GramProof {
    bytes sums; // A, the rows' sum under the challenges, then D, their sum under the weights: c points each
    bytes blinders; // rho, D's blinders: c times 6 scalars. Bound into the transcript, not proven
    bytes argument; // S, W, then y_j and its counterpart at 1/z for each chunk, then s
}

/// @title Verifies that a Gram matrix is the one of committed vectors. docs/proofs.md has the protocol and its proof.
/// @notice Stateless. Any integers that fit the packed matrix are held against the commitments as they are; whether they
/// are in range for vectors of the job's kind is what `IRoundRules.decide` checks, before this.
/// @dev The matrix is packed as `IRoundRules` says.
interface IGramVerifier {
    /// @notice There is no update, no coordinate or no chunk: nothing to prove.
    error EmptyStatement();
    /// @notice A part of the statement or the proof has another length than rows and chunks ask for.
    error InvalidLength(string part, uint256 length, uint256 expected);
    /// @notice The commitments are neither so many bytes as five public rows leave, nor as many as six do.
    error InvalidRows(uint256 length, uint256 withFive, uint256 withSix);
    /// @notice The coordinates are not reduced, or not on the curve.
    error InvalidPoint(uint256 x, uint256 y);
    /// @notice The point at infinity stands where someone chooses a point alone: an update, the mask, S or W.
    error PointAtInfinity(string part);
    /// @notice A scalar is not reduced.
    error InvalidScalar(uint256 scalar);
    /// @notice The evaluation point is one at which an opening proves nothing: 0, 1 or -1.
    error DegenerateChallenge(uint256 z);
    /// @notice A or D is not the sum of the rows' commitments that it should be.
    error SumsMismatch(uint256 chunk);
    /// @notice The opening does not hold: the matrix is not the one of the committed rows.
    error OpeningMismatch();
    /// @notice The powers of tau are not powers of one number.
    error InvalidSrs();
    /// @notice The chain's curve arithmetic refused its input, or had no gas.
    error PrecompileFailed(uint256 precompile);

    /// @notice keccak256 of the powers of tau that commitments are made under, as docs/proofs.md says.
    function srsId() external view returns (bytes32);

    /// @notice The powers of tau that it verifies with: in the first group, and that and its square in the second.
    function powersOfTau() external view returns (G1Point memory, G2Point memory, G2Point memory);

    /// @notice Reverts unless the proof holds.
    function verify(GramStatement calldata statement, bytes calldata gram, GramProof calldata proof) external view;
}
