// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {GramProof, GramStatement} from "../../src/interfaces/IGramVerifier.sol";
import {Bn254} from "../../src/libraries/Bn254.sol";
import {Packed} from "../Packed.sol";
import {Proven} from "./ProofVectors.sol";
import {TrapdoorProver} from "./TrapdoorProver.sol";

/// @notice A round of short vectors over the field, in one chunk, and the prover of docs/proofs.md for it. It knows tau, but
/// uses it only to commit: quotients are those of polynomials. Given a false matrix it cheats as well as the protocol
/// lets it: every part is what the transcript asks for, only the last division does not come out even.
library VectorProver {
    using Packed for bytes;

    uint256 internal constant R = Bn254.R;
    uint256 internal constant DIMENSION = 4;
    uint256 internal constant BLINDERS = 6;
    uint256 internal constant SLOTS = DIMENSION + 2 * BLINDERS;
    uint256 internal constant UPDATES = 3; // after the mask; public rows follow

    /// @dev ι = 5^((r - 1) / 4), whose square is -1.
    uint256 internal constant IOTA = 0x30644e72e131a029048b6e193fd841045cea24f6fd736bec231204708f703636;

    /// @dev How a prover departs from the protocol.
    struct Cheat {
        bool derivesOpening; // s is what makes the derived S(1/z) the true one, not S(z)
        bool choosesAlphas; // the challenges are these, not the transcript's
        uint256[] alphas;
    }

    // ------------------------------------------------------------------ rows

    /// @notice Coefficients of a row: its coordinates, then six blinders r, each in the slots of r and ι·r.
    function polynomial(int256[4] memory values, uint256 seed) internal pure returns (uint256[] memory slots) {
        slots = new uint256[](SLOTS);
        for (uint256 x = 0; x < DIMENSION; ++x) {
            // forge-lint: disable-next-line(unsafe-typecast)
            slots[x] = values[x] < 0 ? R - uint256(-values[x]) : uint256(values[x]);
        }
        for (uint256 k = 0; k < BLINDERS; ++k) {
            uint256 r = seed == 0 ? 0 : uint256(keccak256(abi.encode("blinder", seed, k))) % R;
            slots[DIMENSION + 2 * k] = r;
            slots[DIMENSION + 2 * k + 1] = mulmod(IOTA, r, R);
        }
    }

    function dot(uint256[] memory a, uint256[] memory b) internal pure returns (uint256 product) {
        for (uint256 x = 0; x < a.length; ++x) {
            product = addmod(product, mulmod(a[x], b[x], R), R);
        }
    }

    function evaluate(uint256[] memory polynomial_, uint256 x) internal pure returns (uint256 value) {
        for (uint256 i = polynomial_.length; i > 0; --i) {
            value = addmod(mulmod(value, x, R), polynomial_[i - 1], R);
        }
    }

    function commit(uint256[] memory polynomial_) internal view returns (bytes memory) {
        return TrapdoorProver.point(evaluate(polynomial_, TrapdoorProver.TAU));
    }

    /// @notice The packed matrix of the rows after the mask; refuses none that the format cannot hold.
    function gramOf(uint256[][] memory rows) internal pure returns (bytes memory packed) {
        for (uint256 i = 1; i <= UPDATES; ++i) {
            for (uint256 j = i; j <= UPDATES; ++j) {
                packed = bytes.concat(packed, bytes8(uint64(int64(centred(dot(rows[i], rows[j]))))));
            }
        }
        for (uint256 i = 1; i <= UPDATES; ++i) {
            for (uint256 k = UPDATES + 1; k < rows.length; ++k) {
                packed = bytes.concat(packed, bytes16(uint128(int128(centred(dot(rows[i], rows[k]))))));
            }
        }
        for (uint256 k = UPDATES + 1; k < rows.length; ++k) {
            for (uint256 m = k; m < rows.length; ++m) {
                packed = bytes.concat(packed, bytes16(uint128(int128(centred(dot(rows[k], rows[m]))))));
            }
        }
    }

    /// @notice The signed integer of least size with this residue.
    function centred(uint256 residue) internal pure returns (int256) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return residue > R / 2 ? -int256(R - residue) : int256(residue);
    }

    // ------------------------------------------------------------------ proofs

    /// @notice The statement about these rows with this matrix, and the best proof there is for it.
    function prove(uint256[][] memory rows, bytes memory gram, bytes memory weights, bytes32 srsId)
        internal
        view
        returns (Proven memory)
    {
        Cheat memory none;
        return prove(rows, gram, weights, srsId, none);
    }

    function prove(uint256[][] memory rows, bytes memory gram, bytes memory weights, bytes32 srsId, Cheat memory cheat)
        internal
        view
        returns (Proven memory proven)
    {
        GramStatement memory statement = proven.statement;
        statement.context = keccak256("context");
        (statement.dimension, statement.chunks) = (DIMENSION, 1);
        statement.weights = weights;
        proven.gram = gram;
        for (uint256 i = 0; i < rows.length; ++i) {
            statement.rows = bytes.concat(statement.rows, commit(rows[i]));
        }
        bytes32 seed = TrapdoorProver.seedOf(statement, gram, srsId);
        uint256[] memory alphas = cheat.choosesAlphas ? cheat.alphas : TrapdoorProver.alphasOf(seed, rows.length);
        proven.proof = _argue(rows, alphas, weights, seed, TrapdoorProver.form(gram, UPDATES, alphas), cheat);
    }

    function _argue(
        uint256[][] memory rows,
        uint256[] memory alphas,
        bytes memory weights,
        bytes32 seed,
        uint256 v,
        Cheat memory cheat
    ) private view returns (GramProof memory proof) {
        uint256[] memory a = combine(rows, alphas);
        uint256[] memory d = combine(rows, TrapdoorProver.rowWeights(weights, rows.length));
        proof.sums = bytes.concat(commit(a), commit(d));
        for (uint256 k = 0; k < BLINDERS; ++k) {
            proof.blinders = bytes.concat(proof.blinders, bytes32(d[DIMENSION + 2 * k]));
        }
        bytes32 state = keccak256(abi.encodePacked(keccak256("fedmarket/sums/1"), seed, proof.sums, proof.blinders));
        uint256[] memory s = autocorrelation(a);
        bytes memory product = commit(s);
        state = keccak256(abi.encodePacked(keccak256("fedmarket/product/1"), state, product));
        uint256 z = uint256(state) % R;
        bytes memory evaluations = _evaluations(a, s, z, v, cheat);
        uint256 gamma =
            uint256(keccak256(abi.encodePacked(keccak256("fedmarket/opening/1"), state, evaluations))) >> 128;
        for (uint256 i = 0; i < s.length; ++i) {
            a[i] = addmod(a[i], mulmod(gamma, s[i], R), R);
        }
        proof.argument = bytes.concat(product, commit(quotient(a, z)), evaluations);
    }

    function _evaluations(uint256[] memory a, uint256[] memory s, uint256 z, uint256 v, Cheat memory cheat)
        private
        view
        returns (bytes memory)
    {
        uint256 inverse = TrapdoorProver.inverse(z);
        (uint256 y, uint256 yInverse, uint256 opened) = (evaluate(a, z), evaluate(a, inverse), evaluate(s, z));
        if (cheat.derivesOpening) {
            uint256 other = addmod(v, mulmod(inverse, evaluate(s, inverse), R), R);
            opened = mulmod(inverse, addmod(mulmod(y, yInverse, R), R - other, R), R);
        }
        return abi.encode(y, yInverse, opened);
    }

    function combine(uint256[][] memory rows, uint256[] memory factors) internal pure returns (uint256[] memory sum) {
        sum = new uint256[](SLOTS);
        for (uint256 i = 0; i < rows.length; ++i) {
            for (uint256 x = 0; x < SLOTS; ++x) {
                sum[x] = addmod(sum[x], mulmod(factors[i], rows[i][x], R), R);
            }
        }
    }

    /// @notice S_m = Σ_x a_x·a_(x+m+1).
    function autocorrelation(uint256[] memory a) internal pure returns (uint256[] memory s) {
        s = new uint256[](a.length - 1);
        for (uint256 m = 0; m < s.length; ++m) {
            for (uint256 x = 0; x + m + 1 < a.length; ++x) {
                s[m] = addmod(s[m], mulmod(a[x], a[x + m + 1], R), R);
            }
        }
    }

    /// @notice f / (X² - (z + 1/z)·X + 1), whatever remains.
    function quotient(uint256[] memory f, uint256 z) internal view returns (uint256[] memory result) {
        uint256 middle = addmod(z, TrapdoorProver.inverse(z), R);
        result = new uint256[](f.length - 2);
        for (uint256 i = result.length; i > 0; --i) {
            uint256 lead = f[i + 1];
            result[i - 1] = lead;
            f[i] = addmod(f[i], mulmod(middle, lead, R), R);
            f[i - 1] = addmod(f[i - 1], R - lead, R);
        }
    }
}
