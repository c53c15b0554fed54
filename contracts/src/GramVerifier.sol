// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {G1Point, G2Point, GramProof, GramStatement, IGramVerifier} from "./interfaces/IGramVerifier.sol";
import {Bn254} from "./libraries/Bn254.sol";
import {Gram} from "./libraries/Gram.sol";
import {GramForm} from "./libraries/GramForm.sol";
import {Transcript} from "./libraries/Transcript.sol";

/// @title Verifies a round's Gram matrix against what was committed.
/// @dev The text is docs/proofs.md; `zk/gram_proof.py` and `zk/reference.py` are the same function. Steps as there: form,
/// challenges, sums, quadratic form, opening.
contract GramVerifier is IGramVerifier {
    using Bn254 for Bn254.Sum;
    using Bn254 for bytes;
    using Bn254 for uint256[];

    /// @dev What the opening comes down to: f(X) - r1·X - r0 is divisible by X² - (z + 1/z)·X + 1.
    struct Opening {
        uint256 r0;
        uint256 r1;
        uint256 doubleMean; // z + 1/z
        uint256 gamma;
    }

    uint256 private constant R = Bn254.R;
    uint256 private constant BLINDERS = 6; // pairs of slots, so scalars, a chunk
    uint256 private constant EVALUATIONS = 2 * Bn254.POINT_BYTES; // where they begin: after S and W

    /// @inheritdoc IGramVerifier
    // forge-lint: disable-next-line(screaming-snake-case-immutable)
    bytes32 public immutable srsId;

    // [τ] in the first group; [τ] and [τ²] in the second, in the precompiles' order.
    uint256 private immutable TAU_X;
    uint256 private immutable TAU_Y;
    uint256 private immutable TAU2_X_IMAGINARY;
    uint256 private immutable TAU2_X_REAL;
    uint256 private immutable TAU2_Y_IMAGINARY;
    uint256 private immutable TAU2_Y_REAL;
    uint256 private immutable TAU_SQUARED2_X_IMAGINARY;
    uint256 private immutable TAU_SQUARED2_X_REAL;
    uint256 private immutable TAU_SQUARED2_Y_IMAGINARY;
    uint256 private immutable TAU_SQUARED2_Y_REAL;

    /// @param tau [τ] in the first group
    /// @param tau2 [τ] in the second
    /// @param tauSquared2 [τ²] in the second
    constructor(G1Point memory tau, G2Point memory tau2, G2Point memory tauSquared2) {
        Bn254.requireFinitePoint(tau.x, tau.y, "tau");
        G1Point memory one = Bn254.generator();
        G2Point memory one2 = Bn254.generator2();
        if (!_isSameProduct(tau, one2, one, tau2) || !_isSameProduct(tau, tau2, one, tauSquared2)) revert InvalidSrs();

        srsId = Transcript.srsId(tau, tau2, tauSquared2);
        (TAU_X, TAU_Y) = (tau.x, tau.y);
        (TAU2_X_IMAGINARY, TAU2_X_REAL) = (tau2.xImaginary, tau2.xReal);
        (TAU2_Y_IMAGINARY, TAU2_Y_REAL) = (tau2.yImaginary, tau2.yReal);
        (TAU_SQUARED2_X_IMAGINARY, TAU_SQUARED2_X_REAL) = (tauSquared2.xImaginary, tauSquared2.xReal);
        (TAU_SQUARED2_Y_IMAGINARY, TAU_SQUARED2_Y_REAL) = (tauSquared2.yImaginary, tauSquared2.yReal);
    }

    /// @inheritdoc IGramVerifier
    function verify(GramStatement calldata statement, bytes calldata gram, GramProof calldata proof) external view {
        uint256 chunks = statement.chunks;
        uint256 n = statement.weights.length;
        _checkLengths(statement, gram, proof);
        _checkPoints(statement.rows, proof, n, chunks);
        _checkScalars(proof.blinders);
        _checkScalars(proof.argument[EVALUATIONS:]);

        bytes32 seed = Transcript.seed(statement, gram, srsId);
        uint256[] memory alphas = Transcript.alphas(seed, 1 + n + Gram.PUBLIC_ROWS);
        (bytes32 state, uint256 beta) = Transcript.sums(seed, proof);
        uint256 v = GramForm.evaluate(gram, n, alphas);
        _checkSums(statement, proof.sums, alphas, beta);
        _checkOpening(proof, chunks, state, v);
    }

    /// @inheritdoc IGramVerifier
    function powersOfTau() public view returns (G1Point memory, G2Point memory, G2Point memory) {
        return (
            G1Point(TAU_X, TAU_Y),
            G2Point(TAU2_X_IMAGINARY, TAU2_X_REAL, TAU2_Y_IMAGINARY, TAU2_Y_REAL),
            G2Point(TAU_SQUARED2_X_IMAGINARY, TAU_SQUARED2_X_REAL, TAU_SQUARED2_Y_IMAGINARY, TAU_SQUARED2_Y_REAL)
        );
    }

    // ------------------------------------------------------------------ form

    /// @dev With no chunk there would be nothing to prove anything with.
    function _checkLengths(GramStatement calldata statement, bytes calldata gram, GramProof calldata proof)
        private
        pure
    {
        (uint256 chunks, uint256 n) = (statement.chunks, statement.weights.length);
        if (chunks == 0) revert InvalidLength("chunks", 0, 1);
        uint256 point = Bn254.POINT_BYTES * chunks;
        _requireLength("rows", statement.rows, (1 + n + Gram.PUBLIC_ROWS) * point);
        _requireLength("gram", gram, Gram.packedLength(n));
        _requireLength("sums", proof.sums, 2 * point);
        _requireLength("blinders", proof.blinders, 32 * BLINDERS * chunks);
        _requireLength("argument", proof.argument, EVALUATIONS + point + 32);
    }

    function _requireLength(string memory part, bytes calldata bytes_, uint256 expected) private pure {
        if (bytes_.length != expected) revert InvalidLength(part, bytes_.length, expected);
    }

    /// @dev Infinity may stand for a sum and for a public row, which may be zero; never for what someone chooses alone.
    function _checkPoints(bytes calldata rows, GramProof calldata proof, uint256 n, uint256 chunks) private pure {
        _checkFinitePoints(rows, 0, chunks, "mask");
        _checkFinitePoints(rows, chunks, (1 + n) * chunks, "update");
        _checkAnyPoints(rows, (1 + n) * chunks);
        _checkAnyPoints(proof.sums, 0);
        _checkFinitePoints(proof.argument, 0, 1, "S");
        _checkFinitePoints(proof.argument, 1, 2, "W");
    }

    function _checkFinitePoints(bytes calldata points, uint256 from, uint256 to, string memory part) private pure {
        for (uint256 i = from; i < to; ++i) {
            (uint256 x, uint256 y) = points.pointAt(i);
            Bn254.requireFinitePoint(x, y, part);
        }
    }

    function _checkAnyPoints(bytes calldata points, uint256 from) private pure {
        for (uint256 i = from; i < points.length / Bn254.POINT_BYTES; ++i) {
            (uint256 x, uint256 y) = points.pointAt(i);
            Bn254.requirePoint(x, y);
        }
    }

    function _checkScalars(bytes calldata scalars) private pure {
        for (uint256 i = 0; i < scalars.length / 32; ++i) {
            Bn254.requireScalar(_scalarAt(scalars, i));
        }
    }

    function _scalarAt(bytes calldata scalars, uint256 index) private pure returns (uint256 scalar) {
        assembly ("memory-safe") {
            scalar := calldataload(add(scalars.offset, shl(5, index)))
        }
    }

    // ------------------------------------------------------------------ sums

    /// @dev Both sums at once: Σ_i (α_i + β·w_i)·C_i = A + β·D for every chunk. Factors are below 2^161.
    function _checkSums(GramStatement calldata statement, bytes calldata sums, uint256[] memory alphas, uint256 beta)
        private
        view
    {
        uint32[] calldata weights = statement.weights;
        for (uint256 i = 0; i < weights.length; ++i) {
            alphas[1 + i] += beta * weights[i];
        }
        uint256 chunks = statement.chunks;
        for (uint256 chunk = 0; chunk < chunks; ++chunk) {
            Bn254.Sum memory rows = _weigh(statement.rows, chunk, chunks, alphas);
            Bn254.Sum memory claimed = _sum(sums, chunk);
            (uint256 x, uint256 y) = sums.pointAt(chunks + chunk);
            claimed.addMultiple(x, y, beta);
            if (rows.x != claimed.x || rows.y != claimed.y) revert SumsMismatch(chunk);
        }
    }

    function _weigh(bytes calldata rows, uint256 chunk, uint256 chunks, uint256[] memory factors)
        private
        view
        returns (Bn254.Sum memory sum)
    {
        for (uint256 i = 0; i < factors.length; ++i) {
            (uint256 x, uint256 y) = rows.pointAt(i * chunks + chunk);
            if (!Bn254.isInfinity(x, y)) sum.addMultiple(x, y, factors[i]);
        }
    }

    function _sum(bytes calldata points, uint256 index) private pure returns (Bn254.Sum memory sum) {
        (sum.x, sum.y) = points.pointAt(index);
    }

    // ------------------------------------------------------------------ opening

    /// @dev e(F - W, [1])·e((z + 1/z)·W, [τ])·e(-W, [τ²]) = 1
    function _checkOpening(GramProof calldata proof, uint256 chunks, bytes32 state, uint256 v) private view {
        Opening memory opening = _open(proof.argument, chunks, state, v);
        (uint256 x, uint256 y) = proof.argument.pointAt(1);
        uint256 negated = Bn254.P - y;
        Bn254.Sum memory remainder = _combine(proof, chunks, opening);
        remainder.add(x, negated);
        Bn254.Sum memory quotient;
        quotient.addMultiple(x, y, opening.doubleMean);

        (, G2Point memory tau2, G2Point memory tauSquared2) = powersOfTau();
        uint256[] memory pairs = Bn254.pairs(3);
        pairs.setPair(0, remainder.x, remainder.y, Bn254.generator2());
        pairs.setPair(1, quotient.x, quotient.y, tau2);
        pairs.setPair(2, x, negated, tauSquared2);
        if (!pairs.isProductOne()) revert OpeningMismatch();
    }

    /// @dev F = Σ_j γ^j·A_j + γ^c·S - r0·[1] - r1·[τ]
    function _combine(GramProof calldata proof, uint256 chunks, Opening memory opening)
        private
        view
        returns (Bn254.Sum memory f)
    {
        f = _sum(proof.sums, 0);
        uint256 power = opening.gamma;
        (uint256 x, uint256 y) = (0, 0);
        for (uint256 chunk = 1; chunk < chunks; ++chunk) {
            (x, y) = proof.sums.pointAt(chunk);
            f.addMultiple(x, y, power);
            power = mulmod(power, opening.gamma, R);
        }
        (x, y) = proof.argument.pointAt(0);
        f.addMultiple(x, y, power);
        G1Point memory one = Bn254.generator();
        f.addMultiple(one.x, one.y, R - opening.r0);
        f.addMultiple(TAU_X, TAU_Y, R - opening.r1);
    }

    /// @dev The line through (z, u) and (1/z, ū), the values of f there.
    function _open(bytes calldata argument, uint256 chunks, bytes32 state, uint256 v)
        private
        view
        returns (Opening memory opening)
    {
        bytes32 product = Transcript.product(state, argument[:Bn254.POINT_BYTES]);
        uint256 z = uint256(product) % R;
        uint256 squareLessOne = _checkedPoint(z);
        opening.gamma = Transcript.opening(product, argument[EVALUATIONS:]);
        (uint256 u, uint256 uInverse) = _fold(argument[EVALUATIONS:], chunks, z, opening.gamma, v);

        uint256 inverse = Bn254.inverse(mulmod(z, squareLessOne, R)); // 1/z = inverse·(z² - 1), 1/(z - 1/z) = inverse·z²
        uint256 slope = mulmod(inverse, mulmod(z, z, R), R);
        opening.doubleMean = addmod(z, mulmod(inverse, squareLessOne, R), R);
        opening.r1 = mulmod(Bn254.subtract(u, uInverse), slope, R);
        opening.r0 = Bn254.subtract(u, mulmod(opening.r1, z, R));
    }

    /// @dev Refuses z at which z and 1/z do not exist or are the same, and returns z² - 1.
    function _checkedPoint(uint256 z) internal pure returns (uint256 squareLessOne) {
        squareLessOne = addmod(mulmod(z, z, R), R - 1, R);
        if (z == 0 || squareLessOne == 0) revert DegenerateChallenge(z);
    }

    /// @dev The values of f = Σ_j γ^j·a_j + γ^c·S at z and at 1/z. S(1/z) is what the Laurent identity
    /// Σ_j a_j(z)·a_j(1/z) = v + z·S(z) + S(1/z)/z leaves it to be.
    function _fold(bytes calldata evaluations, uint256 chunks, uint256 z, uint256 gamma, uint256 v)
        private
        pure
        returns (uint256 u, uint256 uInverse)
    {
        uint256 products = 0;
        uint256 power = 1;
        for (uint256 chunk = 0; chunk < chunks; ++chunk) {
            (uint256 y, uint256 yInverse) = evaluations.pointAt(chunk); // two words, like a point
            products = addmod(products, mulmod(y, yInverse, R), R);
            u = addmod(u, mulmod(power, y, R), R);
            uInverse = addmod(uInverse, mulmod(power, yInverse, R), R);
            power = mulmod(power, gamma, R);
        }
        uint256 s = _scalarAt(evaluations, 2 * chunks);
        uint256 sInverse = mulmod(z, Bn254.subtract(products, addmod(v, mulmod(z, s, R), R)), R);
        u = addmod(u, mulmod(power, s, R), R);
        uInverse = addmod(uInverse, mulmod(power, sInverse, R), R);
    }

    function _isSameProduct(G1Point memory a, G2Point memory a2, G1Point memory b, G2Point memory b2)
        private
        view
        returns (bool)
    {
        uint256[] memory pairs = Bn254.pairs(2);
        pairs.setPair(0, a.x, a.y, a2);
        pairs.setPair(1, b.x, Bn254.P - b.y, b2);
        return pairs.isProductOne();
    }
}
