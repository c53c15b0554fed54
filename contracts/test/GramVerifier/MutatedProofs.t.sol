// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {GramStatement} from "../../src/interfaces/IGramVerifier.sol";
import {Bn254} from "../../src/libraries/Bn254.sol";
import {ProofVectors, Proven} from "./ProofVectors.sol";
import {TrapdoorProver} from "./TrapdoorProver.sol";

/// @notice Proofs that were changed by chance, somewhere, a little or a lot: none is accepted. One run tries `PER_RUN` of
/// them, two times 1,280 runs make 81,920.
contract MutatedProofsTest is ProofVectors {
    uint256 private constant PER_RUN = 32;
    uint256 private constant GAS = 3_000_000; // more than any of these costs, so that no refusal is for want of it

    bytes[] private vectors;

    function setUp() public {
        for (uint256 i = 0; i < countVectors(); ++i) {
            vectors.push(abi.encode(vectorAt(i)));
        }
    }

    /// forge-config: default.fuzz.runs = 1280
    /// forge-config: quick.fuzz.runs = 8
    function testFuzz_verify_acceptsNoMutatedProof(uint256 seed) public view {
        _tryMany(seed, true);
    }

    /// forge-config: default.fuzz.runs = 1280
    /// forge-config: quick.fuzz.runs = 8
    function testFuzz_verify_acceptsNoMutatedStatement(uint256 seed) public view {
        _tryMany(seed, false);
    }

    /// @dev Every bit of a proof counts: S, W, the evaluations, the sums, the blinders and the mask.
    function test_verify_failsIfAnyBitOfTheProofIsFlipped() public view {
        Proven memory proven = _vector(1);
        bytes[4] memory parts = [proven.proof.argument, proven.proof.sums, proven.proof.blinders, proven.statement.rows];
        for (uint256 part = 0; part < 4; ++part) {
            uint256 bits = 8 * (part == 3 ? 64 : parts[part].length);
            for (uint256 bit = 0; bit < bits; ++bit) {
                _flip(parts[part], bit);
                vm.assertFalse(_isAccepted(proven), vm.toString(bit));
                _flip(parts[part], bit);
            }
        }
        vm.assertTrue(_isAccepted(proven));
    }

    /// @dev One in two of those that are mutated has an exam's row.
    function test_mutatedProofs_areOfBothKinds() public view {
        uint256 examined = 0;
        for (uint256 i = 0; i < vectors.length; ++i) {
            if (isExamined(_vector(i))) ++examined;
        }
        vm.assertEq(2 * examined, vectors.length);
    }

    function _tryMany(uint256 seed, bool proof) private view {
        for (uint256 i = 0; i < PER_RUN; ++i) {
            uint256 random = uint256(keccak256(abi.encode(seed, proof, i)));
            Proven memory proven = _vector(random % vectors.length);
            bytes32 before = keccak256(abi.encode(proven));
            uint256 times = 1 + (random >> 8) % 3;
            for (uint256 step = 0; step < times; ++step) {
                random = uint256(keccak256(abi.encode(random)));
                if (proof) _mutateProof(proven, random);
                else _mutateStatement(proven, random);
            }
            if (keccak256(abi.encode(proven)) == before) _flip(proven.proof.argument, random % 1000);
            vm.assertFalse(_isAccepted(proven), "a mutated proof is accepted");
        }
    }

    // ------------------------------------------------------------------ mutations

    function _mutateProof(Proven memory proven, uint256 random) private view {
        uint256 part = (random >> 8) % 4;
        if (part == 0) _mutatePoints(proven.proof.sums, proven.proof.sums.length / 64, random >> 16);
        else if (part == 1) _mutateScalars(proven.proof.blinders, 0, random >> 16);
        else if (part == 2) _mutatePoints(proven.proof.argument, 2, random >> 16);
        else _mutateScalars(proven.proof.argument, 4, random >> 16);
    }

    function _mutateStatement(Proven memory proven, uint256 random) private view {
        uint256 part = (random >> 8) % 7;
        bytes memory rows = proven.statement.rows;
        if (part == 0) _mutatePoints(rows, rows.length / 64, random >> 16);
        else if (part == 1) _mutateBytes(proven.gram, random >> 16);
        else if (part == 2) _mutateBytes(proven.statement.weights, random >> 16);
        else if (part == 3) proven.statement.context = bytes32(random);
        else if (part == 4) proven.statement.dimension = random >> (random % 250);
        else if (part == 5) _borrow(proven, random >> 16);
        else _recount(proven, random >> 16);
    }

    /// @dev A public row more or less: the last one's commitment and products go, or others come behind them.
    function _recount(Proven memory proven, uint256 random) private view {
        GramStatement memory statement = proven.statement;
        uint256 size = 64 * statement.chunks;
        (uint256 n, uint256 rows) = (statement.weights.length / 4, statement.rows.length / size);
        if (rows <= 1 + n || statement.rows.length != rows * size) return;
        bool more = random % 2 == 0;
        bytes memory other = _vector(random % vectors.length).statement.rows;
        bytes memory row = new bytes(size);
        for (uint256 i = 0; (random >> 8) % 3 != 0 && i < size && i < other.length; ++i) {
            row[i] = other[other.length - 1 - i / 64 * 64 - 63 + i % 64];
        }
        statement.rows = more ? bytes.concat(statement.rows, row) : _resized(statement.rows, (rows - 1) * size);
        uint256 publicRows = more ? rows - n : rows - n - 2;
        proven.gram = _resized(proven.gram, 4 * n * (n + 1) + 16 * publicRows * n + 8 * publicRows * (publicRows + 1));
    }

    /// @dev Cut, or with zeros behind.
    function _resized(bytes memory array, uint256 length) private pure returns (bytes memory resized) {
        resized = new bytes(length);
        for (uint256 i = 0; i < length && i < array.length; ++i) {
            resized[i] = array[i];
        }
    }

    function _mutatePoints(bytes memory points, uint256 count, uint256 random) private view {
        uint256 point = random % count;
        uint256 how = (random >> 16) % 5;
        uint256 y = wordAt(points, 2 * point + 1);
        if (how == 0) {
            _flip(points, 512 * point + (random >> 32) % 512);
        } else if (how == 1) {
            setWord(points, 2 * point + 1, Bn254.P - y % Bn254.P);
        } else if (how == 2) {
            _setPoint(points, point, TrapdoorProver.point(random >> 3));
        } else if (how == 3) {
            setWord(points, 2 * point + (random >> 32) % 2, _extreme(random >> 40));
        } else {
            uint256 other = (random >> 32) % count;
            (uint256 x2, uint256 y2) = (wordAt(points, 2 * other), wordAt(points, 2 * other + 1));
            setWord(points, 2 * other, wordAt(points, 2 * point));
            setWord(points, 2 * other + 1, y);
            setWord(points, 2 * point, x2);
            setWord(points, 2 * point + 1, y2);
        }
    }

    function _mutateScalars(bytes memory scalars, uint256 first, uint256 random) private pure {
        uint256 count = scalars.length / 32 - first;
        uint256 place = first + random % count;
        uint256 how = (random >> 16) % 6;
        uint256 scalar = wordAt(scalars, place);
        if (how == 0) {
            _flip(scalars, 256 * place + (random >> 32) % 256);
        } else if (how == 1) {
            setWord(scalars, place, mulmod(random, random, Bn254.R));
        } else if (how == 2) {
            setWord(scalars, place, addmod(scalar, 1 + (random >> 250), Bn254.R));
        } else if (how == 3) {
            setWord(scalars, place, (Bn254.R - scalar % Bn254.R) % Bn254.R);
        } else if (how == 4) {
            setWord(scalars, place, _extreme(random >> 40));
        } else {
            uint256 other = first + (random >> 32) % count;
            setWord(scalars, place, wordAt(scalars, other));
            setWord(scalars, other, scalar);
        }
    }

    function _mutateBytes(bytes memory array, uint256 random) private pure {
        uint256 at = (random >> 16) % array.length;
        if (random % 2 == 0) _flip(array, 8 * at + (random >> 64) % 8);
        // forge-lint: disable-next-line(unsafe-typecast)
        else array[at] = bytes1(uint8(random >> 64));
    }

    /// @dev A part of another proof in this one's place, whether it has its length or not.
    function _borrow(Proven memory proven, uint256 random) private view {
        Proven memory other = _vector(random % vectors.length);
        uint256 part = (random >> 16) % 7;
        if (part == 0) proven.proof.argument = other.proof.argument;
        else if (part == 1) proven.proof.sums = other.proof.sums;
        else if (part == 2) proven.proof.blinders = other.proof.blinders;
        else if (part == 3) proven.statement.rows = other.statement.rows;
        else if (part == 4) proven.gram = other.gram;
        else if (part == 5) proven.statement.context = other.statement.context;
        else proven.proof = other.proof;
    }

    function _extreme(uint256 random) private pure returns (uint256) {
        uint256[8] memory extremes =
            [0, 1, Bn254.R - 1, Bn254.R, Bn254.P - 1, Bn254.P, uint256(1) << 255, type(uint256).max];
        return extremes[random % 8];
    }

    function _setPoint(bytes memory points, uint256 index, bytes memory point) private pure {
        setWord(points, 2 * index, wordAt(point, 0));
        setWord(points, 2 * index + 1, wordAt(point, 1));
    }

    function _flip(bytes memory array, uint256 bit) private pure {
        // forge-lint: disable-next-line(incorrect-shift, unsafe-typecast)
        array[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
    }

    // ------------------------------------------------------------------ vectors

    function _vector(uint256 index) private view returns (Proven memory) {
        return abi.decode(vectors[index], (Proven));
    }

    function _isAccepted(Proven memory proven) private view returns (bool accepted) {
        bytes memory call = abi.encodeCall(verifier.verify, (proven.statement, proven.gram, proven.proof));
        (accepted,) = address(verifier).staticcall{gas: GAS}(call);
    }
}
