// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {GramVerifier} from "../../src/GramVerifier.sol";
import {G1Point, G2Point, GramProof, GramStatement} from "../../src/interfaces/IGramVerifier.sol";
import {Bn254} from "../../src/libraries/Bn254.sol";
import {Packed} from "../Packed.sol";

/// @notice Proves any matrix for any rows, true or not, because it knows tau: a commitment is then one scalar, the value of
/// its polynomial at tau ("log"), and a quotient need not exist to be committed to. Its proofs are as good as real ones to
/// a verifier with these powers of tau. The transcript and the quadratic form are written out here once more.
library TrapdoorProver {
    using Packed for bytes;

    uint256 internal constant R = Bn254.R;
    uint256 internal constant PUBLIC_ROWS = 5; // in a round without an exam

    /// @dev That of tests/vectors/proofs.json.
    uint256 internal constant TAU = 0x0b87141698be4a67dd03a476ab1330e1cd2bf746eeb7b87b97bfd14905aa794c;

    /// @dev What the transcript has come to.
    struct Challenges {
        uint256[] alphas;
        uint256 v;
        uint256 z;
        uint256 gamma;
    }

    function newVerifier() internal returns (GramVerifier) {
        (G1Point memory tau, G2Point memory tau2, G2Point memory tauSquared2) = powersOfTau();
        return new GramVerifier(tau, tau2, tauSquared2);
    }

    function powersOfTau() internal pure returns (G1Point memory, G2Point memory, G2Point memory) {
        return (
            G1Point({
                x: 0x0896730bff42e96d2dbefffdcc6a01d884e95496829514677472f51d6dc85305,
                y: 0x184beb0e10fc2f651286e6decff35cc05439dc666200bf5bcffa92cad5d31b41
            }),
            G2Point({
                xImaginary: 0x01bfa03263c08fa9b1479c44ee48c4c7770df4662cd2cbeedd4cf27873941105,
                xReal: 0x1361133e4432514473bb4f331041994719133fdbca6e52d9ba4e70679630f935,
                yImaginary: 0x0a61a5318fd24c84284abd350b10afc3f2ede5c1c9c525d013b405f4e675af70,
                yReal: 0x00845867751473d293d0173ae3727b9477beb47d13a7dc0b5f60908f1109c97b
            }),
            G2Point({
                xImaginary: 0x1d614966f4756d4d387dc7a3d780d325c85980b1c0f64131cfade163edc45607,
                xReal: 0x0670558b249d4bd06f5d0fb99675941fbe0f00193525d044cc7cc9048b983250,
                yImaginary: 0x10e0260eb51448f067b4189c28df01664d56f33b2c30eb8550f38c1c323036b8,
                yReal: 0x116e2cae59d54d4d3e60637fed8c76f1941f0ce5c09ecd4d1c82fa0b49630bd5
            })
        );
    }

    /// @notice The commitment whose chunks have these logs.
    function commit(uint256[] memory logs) internal view returns (bytes memory commitment) {
        for (uint256 i = 0; i < logs.length; ++i) {
            commitment = bytes.concat(commitment, point(logs[i]));
        }
    }

    function point(uint256 log) internal view returns (bytes memory) {
        Bn254.Sum memory sum;
        sum = _plusMultiple(sum, log);
        return abi.encode(sum.x, sum.y);
    }

    /// @param logs one a point of the statement's rows
    function prove(GramStatement memory statement, bytes memory gram, uint256[] memory logs, bytes32 srsId)
        internal
        view
        returns (GramProof memory)
    {
        return prove(statement, gram, logs, srsId, "");
    }

    /// @param blinders to say that D has; empty for some of the prover's own, none where D sums nothing
    function prove(
        GramStatement memory statement,
        bytes memory gram,
        uint256[] memory logs,
        bytes32 srsId,
        bytes memory blinders
    ) internal view returns (GramProof memory proof) {
        Challenges memory c;
        bytes32 seed = seedOf(statement, gram, srsId);
        c.alphas = alphasOf(seed, logs.length / statement.chunks);
        c.v = form(gram, statement.weights.length / 4, c.alphas);
        uint256[] memory a = _weigh(logs, c.alphas, statement.chunks);
        proof.sums = bytes.concat(commit(a), commit(_aggregate(statement, logs)));
        proof.blinders = blinders.length > 0 ? blinders : _blinders(seed, statement);
        bytes32 state = keccak256(abi.encodePacked(keccak256("fedmarket/sums/1"), seed, proof.sums, proof.blinders));
        proof.argument = _argue(a, c, state);
    }

    function _aggregate(GramStatement memory statement, uint256[] memory logs) private pure returns (uint256[] memory) {
        uint256 chunks = statement.chunks;
        return _weigh(logs, rowWeights(statement.weights, logs.length / chunks), chunks);
    }

    function _blinders(bytes32 seed, GramStatement memory statement) private pure returns (bytes memory) {
        bool sumsNothing = keccak256(statement.weights) == keccak256(new bytes(statement.weights.length));
        return sumsNothing ? new bytes(192 * statement.chunks) : _scalars(seed, "blinders", 6 * statement.chunks);
    }

    function _argue(uint256[] memory a, Challenges memory c, bytes32 state) private view returns (bytes memory) {
        uint256 productLog = uint256(keccak256(abi.encode(state, "S"))) % R;
        bytes memory product = point(productLog);
        bytes memory evaluations = _scalars(state, "evaluations", 2 * a.length + 1);
        state = keccak256(abi.encodePacked(keccak256("fedmarket/product/1"), state, product));
        c.z = uint256(state) % R;
        c.gamma = uint256(keccak256(abi.encodePacked(keccak256("fedmarket/opening/1"), state, evaluations))) >> 128;
        uint256[3] memory folded = _fold(a, productLog, c, words(evaluations));
        return bytes.concat(product, point(_quotient(folded, c.z)), evaluations);
    }

    // ------------------------------------------------------------------ transcript

    function seedOf(GramStatement memory statement, bytes memory gram, bytes32 srsId) internal pure returns (bytes32) {
        bytes memory sizes = abi.encode(statement.dimension, statement.chunks, statement.weights.length / 4);
        return keccak256(
            abi.encodePacked(
                keccak256("fedmarket/gram/1"),
                statement.context,
                srsId,
                sizes,
                keccak256(statement.rows),
                keccak256(gram),
                keccak256(statement.weights)
            )
        );
    }

    function alphasOf(bytes32 seed, uint256 rows) internal pure returns (uint256[] memory alphas) {
        alphas = new uint256[](rows);
        for (uint256 i = 0; i < rows; ++i) {
            alphas[i] = uint256(keccak256(abi.encode(keccak256("fedmarket/alpha/1"), seed, i))) >> 128;
        }
    }

    /// @notice The weights of so many rows: nothing for the mask and the public ones.
    function rowWeights(bytes memory weights, uint256 rows) internal pure returns (uint256[] memory all) {
        all = new uint256[](rows);
        for (uint256 i = 0; i < weights.length / 4; ++i) {
            all[1 + i] = weights.entryAt(i, 4);
        }
    }

    // ------------------------------------------------------------------ quadratic form

    /// @notice αᵀGα, entry by entry, of n updates and as many public rows as there are challenges for.
    function form(bytes memory gram, uint256 n, uint256[] memory alphas) internal pure returns (uint256 v) {
        uint256 rows = alphas.length - 1;
        uint256 at = 0;
        for (uint256 pass = 0; pass < 3; ++pass) {
            for (uint256 i = pass < 2 ? 0 : n; i < (pass < 2 ? n : rows); ++i) {
                for (uint256 j = pass == 1 ? n : i; j < (pass == 0 ? n : rows); ++j) {
                    uint256 width = pass == 0 ? 8 : 16;
                    uint256 term = mulmod(mulmod(alphas[1 + i], alphas[1 + j], R), entry(gram, at, width), R);
                    v = addmod(v, i == j ? term : addmod(term, term, R), R);
                    at += width;
                }
            }
        }
    }

    /// @notice The residue of a signed big-endian integer.
    function entry(bytes memory packed, uint256 at, uint256 width) internal pure returns (uint256 residue) {
        for (uint256 i = 0; i < width; ++i) {
            residue = (residue << 8) | uint8(packed[at + i]);
        }
        // forge-lint: disable-next-line(incorrect-shift)
        if (uint8(packed[at]) >= 0x80) residue = R - ((1 << (8 * width)) - residue);
    }

    // ------------------------------------------------------------------ scalars

    function inverse(uint256 scalar) internal view returns (uint256) {
        return Bn254.inverse(scalar);
    }

    function words(bytes memory packed) internal pure returns (uint256[] memory list) {
        list = new uint256[](packed.length / 32);
        for (uint256 i = 0; i < list.length; ++i) {
            assembly ("memory-safe") {
                mstore(add(add(list, 0x20), shl(5, i)), mload(add(add(packed, 0x20), shl(5, i))))
            }
        }
    }

    function _plusMultiple(Bn254.Sum memory sum, uint256 log) private view returns (Bn254.Sum memory) {
        Bn254.addMultiple(sum, 1, 2, log);
        return sum;
    }

    /// @dev Σ_i factor_i·log_ij for every chunk j.
    function _weigh(uint256[] memory logs, uint256[] memory factors, uint256 chunks)
        private
        pure
        returns (uint256[] memory sums)
    {
        sums = new uint256[](chunks);
        for (uint256 i = 0; i < logs.length; ++i) {
            sums[i % chunks] = addmod(sums[i % chunks], mulmod(factors[i / chunks], logs[i], R), R);
        }
    }

    /// @dev f at tau, at z and at 1/z, for these evaluations, whatever they are.
    function _fold(uint256[] memory a, uint256 productLog, Challenges memory c, uint256[] memory evaluations)
        private
        pure
        returns (uint256[3] memory folded)
    {
        uint256 power = 1;
        uint256 rest = R - c.v; // Σ y_j·ȳ_j - v - z·s
        for (uint256 j = 0; j < a.length; ++j) {
            (uint256 y, uint256 yInverse) = (evaluations[2 * j], evaluations[2 * j + 1]);
            _add(folded, power, a[j], y, yInverse);
            rest = addmod(rest, mulmod(y, yInverse, R), R);
            power = mulmod(power, c.gamma, R);
        }
        uint256 s = evaluations[2 * a.length];
        rest = addmod(rest, R - mulmod(c.z, s, R), R);
        _add(folded, power, productLog, s, mulmod(c.z, rest, R));
    }

    /// @dev The quotient at tau that these values need.
    function _quotient(uint256[3] memory folded, uint256 z) private view returns (uint256) {
        uint256 zInverse = inverse(z);
        uint256 r1 = mulmod(addmod(folded[1], R - folded[2], R), inverse(addmod(z, R - zInverse, R)), R);
        uint256 r0 = addmod(folded[1], R - mulmod(r1, z, R), R);
        uint256 numerator = addmod(folded[0], R - addmod(mulmod(r1, TAU, R), r0, R), R);
        uint256 denominator = addmod(addmod(mulmod(TAU, TAU, R), 1, R), R - mulmod(addmod(z, zInverse, R), TAU, R), R);
        return mulmod(numerator, inverse(denominator), R);
    }

    function _add(uint256[3] memory folded, uint256 power, uint256 a, uint256 b, uint256 c) private pure {
        folded[0] = addmod(folded[0], mulmod(power, a, R), R);
        folded[1] = addmod(folded[1], mulmod(power, b, R), R);
        folded[2] = addmod(folded[2], mulmod(power, c, R), R);
    }

    function _scalars(bytes32 seed, string memory what, uint256 count) private pure returns (bytes memory packed) {
        for (uint256 i = 0; i < count; ++i) {
            packed = bytes.concat(packed, bytes32(uint256(keccak256(abi.encode(seed, what, i))) % R));
        }
    }
}
