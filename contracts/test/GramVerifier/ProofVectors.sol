// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {GramVerifier} from "../../src/GramVerifier.sol";
import {GramProof, GramStatement} from "../../src/interfaces/IGramVerifier.sol";
import {Base} from "../Base.sol";
import {TrapdoorProver} from "./TrapdoorProver.sol";

/// @notice A statement with its proof.
struct Proven {
    string name;
    GramStatement statement;
    bytes gram;
    GramProof proof;
}

/// @notice tests/vectors/proofs.json: proofs by the reference prover, and a verifier with its powers of tau.
abstract contract ProofVectors is Base {
    GramVerifier internal verifier = TrapdoorProver.newVerifier();
    string internal json = vm.readFile("../tests/vectors/proofs.json");

    function countVectors() internal view returns (uint256 count) {
        while (vm.keyExistsJson(json, _key(count))) ++count;
    }

    function vectorAt(uint256 index) internal view returns (Proven memory proven) {
        string memory key = _key(index);
        proven.name = vm.parseJsonString(json, string.concat(key, ".name"));
        proven.statement.context = vm.parseJsonBytes32(json, string.concat(key, ".context"));
        proven.statement.dimension = vm.parseJsonUint(json, string.concat(key, ".dimension"));
        proven.statement.chunks = vm.parseJsonUint(json, string.concat(key, ".chunks"));
        proven.statement.rows = bytesAt(key, ".rows");
        proven.statement.weights = _packed(vm.parseJsonUintArray(json, string.concat(key, ".weights")));
        proven.gram = bytesAt(key, ".gram");
        proven.proof = GramProof({
            sums: bytesAt(key, ".sums"), blinders: bytesAt(key, ".blinders"), argument: bytesAt(key, ".argument")
        });
    }

    /// @dev Whether it has six public rows, not five.
    function isExamined(Proven memory proven) internal pure returns (bool) {
        uint256 rows = proven.statement.rows.length / (64 * proven.statement.chunks);
        return rows - 1 - proven.statement.weights.length / 4 == 6;
    }

    function bytesAt(string memory key, string memory field) internal view returns (bytes memory) {
        return vm.parseJsonBytes(json, string.concat(key, field));
    }

    function verify(Proven memory proven) internal view {
        verifier.verify(proven.statement, proven.gram, proven.proof);
    }

    /// @dev Whether it is accepted; for whatever reason it may not be.
    function isAccepted(Proven memory proven) internal view returns (bool accepted) {
        (accepted,) = address(verifier)
            .staticcall(abi.encodeCall(verifier.verify, (proven.statement, proven.gram, proven.proof)));
    }

    function refuse(Proven memory proven, bytes memory expected) internal {
        vm.expectRevert(expected);
        verifier.verify(proven.statement, proven.gram, proven.proof);
    }

    function copyOf(bytes memory original) internal pure returns (bytes memory) {
        return bytes.concat(original);
    }

    function copyOf(Proven memory original) internal pure returns (Proven memory copy) {
        return abi.decode(abi.encode(original), (Proven));
    }

    function wordAt(bytes memory array, uint256 index) internal pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(add(array, 0x20), shl(5, index)))
        }
    }

    function setWord(bytes memory array, uint256 index, uint256 word) internal pure {
        assembly ("memory-safe") {
            mstore(add(add(array, 0x20), shl(5, index)), word)
        }
    }

    function randomBytes(bytes32 seed, uint256 length) internal pure returns (bytes memory random) {
        random = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            random[i] = keccak256(abi.encode(seed, i / 32))[i % 32];
        }
    }

    function _key(uint256 index) internal pure returns (string memory) {
        return string.concat("$.cases[", vm.toString(index), "]");
    }

    function _packed(uint256[] memory weights) private pure returns (bytes memory packed) {
        for (uint256 i = 0; i < weights.length; ++i) {
            // forge-lint: disable-next-line(unsafe-typecast)
            packed = bytes.concat(packed, bytes4(uint32(weights[i])));
        }
    }
}
