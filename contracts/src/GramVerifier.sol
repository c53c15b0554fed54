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

    /// @dev What the opening comes down to: f(X) - r1·X - r0 is divisible by X² - (z + 1/z)·X + 1.
    struct Opening {
        uint256 r0;
        uint256 r1;
        uint256 middle; // z + 1/z
        uint256 gamma;
    }

    uint256 private constant R = Bn254.R;
    uint256 private constant SCALAR_BYTES = 32;
    uint256 private constant WEIGHT_BYTES = 4;
    uint256 private constant BLINDER_PAIRS = 6; // a chunk
    uint256 private constant EXAMINED_ROWS = 6; // public rows of a round with an exam
    uint256 private constant EVALUATIONS = 2 * Bn254.POINT_BYTES; // where they begin in the argument: after S and W

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
        if (Bn254.isInfinity(tau.x, tau.y)) revert PointAtInfinity("tau");
        Bn254.requirePoint(tau.x, tau.y);
        G1Point memory one = G1Point({x: Bn254.ONE_X, y: Bn254.ONE_Y});
        G2Point memory one2 = G2Point({
            xImaginary: Bn254.ONE2_X_IMAGINARY,
            xReal: Bn254.ONE2_X_REAL,
            yImaginary: Bn254.ONE2_Y_IMAGINARY,
            yReal: Bn254.ONE2_Y_REAL
        });
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
        bytes calldata weights = statement.weights;
        uint256 n = weights.length / WEIGHT_BYTES;
        if (n == 0 || chunks == 0 || statement.dimension == 0) revert EmptyStatement();
        uint256 publicRows = _countPublicRows(statement, n);
        _checkLengths(statement, gram, proof, n, publicRows);
        _checkPoints(statement.rows, chunks);
        _checkPoints(proof.sums, 2 * chunks);
        _checkScalars(proof.blinders);

        bytes32 state = Transcript.seed(statement, gram, n, srsId);
        uint256[] memory alphas = Transcript.alphas(state, 1 + n + publicRows);
        uint256 v = GramForm.evaluate(gram, n, alphas);
        uint256 beta;
        (state, beta) = Transcript.sums(state, proof);
        _addWeights(alphas, weights, beta);
        _checkSums(statement.rows, proof.sums, alphas, 1 + n, beta);
        _checkOpening(proof.argument, proof.sums, state, v);
    }

    /// @inheritdoc IGramVerifier
    function powersOfTau() external view returns (G1Point memory, G2Point memory, G2Point memory) {
        return (
            G1Point({x: TAU_X, y: TAU_Y}),
            G2Point({
                xImaginary: TAU2_X_IMAGINARY, xReal: TAU2_X_REAL, yImaginary: TAU2_Y_IMAGINARY, yReal: TAU2_Y_REAL
            }),
            G2Point({
                    xImaginary: TAU_SQUARED2_X_IMAGINARY,
                    xReal: TAU_SQUARED2_X_REAL,
                    yImaginary: TAU_SQUARED2_Y_IMAGINARY,
                    yReal: TAU_SQUARED2_Y_REAL
                })
        );
    }

    // ------------------------------------------------------------------ form

    /// @dev Five, or six in a round with an exam: what the rows leave room for besides the mask and n updates.
    function _countPublicRows(GramStatement calldata statement, uint256 n) private pure returns (uint256) {
        uint256 size = Bn254.POINT_BYTES * statement.chunks; // of one commitment
        uint256 length = statement.rows.length;
        uint256 expected = (1 + n + Gram.PUBLIC_ROWS) * size;
        if (length == expected) return Gram.PUBLIC_ROWS;
        if (length == expected + size) return EXAMINED_ROWS;
        revert InvalidRows(length, expected, expected + size);
    }

    function _checkLengths(
        GramStatement calldata statement,
        bytes calldata gram,
        GramProof calldata proof,
        uint256 n,
        uint256 publicRows
    ) private pure {
        uint256 size = Bn254.POINT_BYTES * statement.chunks;
        uint256 length = statement.weights.length;
        if (length != WEIGHT_BYTES * n) revert InvalidLength("weights", length, WEIGHT_BYTES * n);
        length = Gram.packedLength(n, publicRows);
        if (gram.length != length) revert InvalidLength("gram", gram.length, length);
        length = proof.sums.length;
        if (length != 2 * size) revert InvalidLength("sums", length, 2 * size);
        length = proof.blinders.length;
        if (length != BLINDER_PAIRS * size / 2) revert InvalidLength("blinders", length, BLINDER_PAIRS * size / 2);
        length = proof.argument.length;
        uint256 expected = EVALUATIONS + size + SCALAR_BYTES;
        if (length != expected) revert InvalidLength("argument", length, expected);
    }

    /// @dev Asked of the points that the prover chooses, the mask first among the rows. The other rows the precompile asks.
    function _checkPoints(bytes calldata points, uint256 count) private pure {
        for (uint256 i = 0; i < count; ++i) {
            (uint256 x, uint256 y) = points.pointAt(i);
            Bn254.requirePoint(x, y);
        }
    }

    function _checkScalars(bytes calldata scalars) private pure {
        uint256 count = scalars.length / SCALAR_BYTES;
        for (uint256 i = 0; i < count; ++i) {
            Bn254.requireScalar(_scalarAt(scalars, i));
        }
    }

    /// @dev The caller has checked that there are as many.
    function _scalarAt(bytes calldata scalars, uint256 index) private pure returns (uint256 scalar) {
        assembly ("memory-safe") {
            scalar := calldataload(add(scalars.offset, shl(5, index)))
        }
    }

    // ------------------------------------------------------------------ sums

    /// @dev The factors of both sums at once: α_i + β·w_i, below 2^161.
    function _addWeights(uint256[] memory alphas, bytes calldata weights, uint256 beta) private pure {
        assembly ("memory-safe") {
            let factor := add(alphas, 0x40) // after the length and the mask's
            let end := add(weights.offset, weights.length)
            for { let at := weights.offset } lt(at, end) { at := add(at, 4) } {
                mstore(factor, add(mload(factor), mul(beta, shr(224, calldataload(at)))))
                factor := add(factor, 0x20)
            }
        }
    }

    /// @dev Σ_i (α_i + β·w_i)·C_i = A + β·D for every chunk.
    /// @param chosen how many of the rows may not be infinity: only public ones may, which may be zero
    function _checkSums(
        bytes calldata rows,
        bytes calldata sums,
        uint256[] memory factors,
        uint256 chosen,
        uint256 beta
    ) private view {
        uint256 chunks = sums.length / (2 * Bn254.POINT_BYTES);
        for (uint256 chunk = 0; chunk < chunks; ++chunk) {
            Bn254.Sum memory weighed;
            uint256 infinite = weighed.addMultiples(rows, chunk, chunks, factors, chosen);
            if (infinite != 0) revert PointAtInfinity("mask or update");
            Bn254.Sum memory claimed;
            (claimed.x, claimed.y) = sums.pointAt(chunk);
            (uint256 x, uint256 y) = sums.pointAt(chunks + chunk);
            claimed.addMultiple(x, y, beta);
            if (weighed.x != claimed.x || weighed.y != claimed.y) revert SumsMismatch(chunk);
        }
    }

    // ------------------------------------------------------------------ opening

    /// @dev e(F - W, [1])·e((z + 1/z)·W, [τ])·e(-W, [τ²]) = 1
    function _checkOpening(bytes calldata argument, bytes calldata sums, bytes32 state, uint256 v) private view {
        Opening memory opening = _open(argument, state, v);
        Bn254.Sum memory remainder = _combine(argument, sums, opening);
        (uint256 x, uint256 y) = argument.pointAt(1);
        if (Bn254.isInfinity(x, y)) revert PointAtInfinity("W");
        Bn254.requirePoint(x, y);
        Bn254.Sum memory shifted;
        shifted.addMultiple(x, y, opening.middle);
        y = Bn254.P - y; // -W from here on
        remainder.add(x, y);
        bool holds = Bn254.isProductOne(
            [
                remainder.x,
                remainder.y,
                Bn254.ONE2_X_IMAGINARY,
                Bn254.ONE2_X_REAL,
                Bn254.ONE2_Y_IMAGINARY,
                Bn254.ONE2_Y_REAL,
                shifted.x,
                shifted.y,
                TAU2_X_IMAGINARY,
                TAU2_X_REAL,
                TAU2_Y_IMAGINARY,
                TAU2_Y_REAL,
                x,
                y,
                TAU_SQUARED2_X_IMAGINARY,
                TAU_SQUARED2_X_REAL,
                TAU_SQUARED2_Y_IMAGINARY,
                TAU_SQUARED2_Y_REAL
            ]
        );
        if (!holds) revert OpeningMismatch();
    }

    /// @dev F = Σ_j γ^j·A_j + γ^c·S - r0·[1] - r1·[τ]
    function _combine(bytes calldata argument, bytes calldata sums, Opening memory opening)
        private
        view
        returns (Bn254.Sum memory f)
    {
        (f.x, f.y) = sums.pointAt(0);
        uint256 power = opening.gamma;
        (uint256 x, uint256 y) = (0, 0);
        for (uint256 chunk = 1; chunk < sums.length / (2 * Bn254.POINT_BYTES); ++chunk) {
            (x, y) = sums.pointAt(chunk);
            f.addMultiple(x, y, power);
            power = mulmod(power, opening.gamma, R);
        }
        (x, y) = argument.pointAt(0);
        if (Bn254.isInfinity(x, y)) revert PointAtInfinity("S");
        Bn254.requirePoint(x, y);
        f.addMultiple(x, y, power);
        f.addMultiple(Bn254.ONE_X, Bn254.ONE_Y, R - opening.r0);
        f.addMultiple(TAU_X, TAU_Y, R - opening.r1);
    }

    /// @dev The line through (z, u) and (1/z, ū), the values of f there.
    function _open(bytes calldata argument, bytes32 state, uint256 v) private view returns (Opening memory opening) {
        bytes calldata evaluations = argument[EVALUATIONS:];
        _checkScalars(evaluations);
        bytes32 product = Transcript.product(state, argument[:Bn254.POINT_BYTES]);
        uint256 z = uint256(product) % R;
        uint256 squareLessOne = _squareLessOne(z);
        opening.gamma = Transcript.opening(product, evaluations);
        (uint256 u, uint256 uInverse) = _fold(evaluations, z, opening.gamma, v);

        uint256 inverse = Bn254.inverse(mulmod(z, squareLessOne, R)); // 1/z = inverse·(z² - 1), 1/(z - 1/z) = inverse·z²
        uint256 slope = mulmod(inverse, mulmod(z, z, R), R);
        opening.middle = addmod(z, mulmod(inverse, squareLessOne, R), R);
        opening.r1 = mulmod(Bn254.subtract(u, uInverse), slope, R);
        opening.r0 = Bn254.subtract(u, mulmod(opening.r1, z, R));
    }

    /// @dev z² - 1. Refuses z at which z and 1/z do not exist or are the same.
    function _squareLessOne(uint256 z) internal pure returns (uint256 result) {
        result = addmod(mulmod(z, z, R), R - 1, R);
        if (z == 0 || result == 0) revert DegenerateChallenge(z);
    }

    /// @dev The values of f = Σ_j γ^j·a_j + γ^c·S at z and at 1/z. S(1/z) is what the Laurent identity
    /// Σ_j a_j(z)·a_j(1/z) = v + z·S(z) + S(1/z)/z leaves it to be.
    function _fold(bytes calldata evaluations, uint256 z, uint256 gamma, uint256 v)
        private
        pure
        returns (uint256 u, uint256 uInverse)
    {
        uint256 chunks = evaluations.length / Bn254.POINT_BYTES;
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

    // ------------------------------------------------------------------ powers of tau

    /// @dev e(a, a2) = e(b, b2); the third pair is one whatever they are.
    function _isSameProduct(G1Point memory a, G2Point memory a2, G1Point memory b, G2Point memory b2)
        private
        view
        returns (bool)
    {
        uint256[18] memory pairs;
        (pairs[0], pairs[1]) = (a.x, a.y);
        (pairs[2], pairs[3], pairs[4], pairs[5]) = (a2.xImaginary, a2.xReal, a2.yImaginary, a2.yReal);
        (pairs[6], pairs[7]) = (b.x, Bn254.P - b.y);
        (pairs[8], pairs[9], pairs[10], pairs[11]) = (b2.xImaginary, b2.xReal, b2.yImaginary, b2.yReal);
        return Bn254.isProductOne(pairs);
    }
}
