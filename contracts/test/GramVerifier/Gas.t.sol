// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ProofVectors, Proven} from "./ProofVectors.sol";
import {TrapdoorProver} from "./TrapdoorProver.sol";

/// @notice What a proof costs to verify, with no row at infinity and no entry of the matrix zero: the most expensive case.
contract GramVerifierGasTest is ProofVectors {
    string private constant GROUP = "GramVerifier";
    uint256 private constant EXAM = 14_000; // what the sixth public row may add at n = 16

    function test_verify_staysWithinBudget() public {
        uint256 plain = _measure(16, 5, "verify_16");
        uint256 examined = _measure(16, 6, "verify_16_examined");
        vm.assertLt(plain, 400_000);
        vm.assertLt(examined, plain + EXAM);
    }

    function test_verify_ofAllSeats_staysWithinBudget() public {
        uint256 plain = _measure(64, 5, "verify_64");
        uint256 examined = _measure(64, 6, "verify_64_examined");
        vm.assertLt(plain, 1_000_000);
        vm.assertLt(examined, plain + 2 * EXAM);
    }

    function _measure(uint256 n, uint256 publicRows, string memory name) private returns (uint256) {
        Proven memory proven;
        uint256[] memory logs = new uint256[](1 + n + publicRows);
        for (uint256 i = 0; i < logs.length; ++i) {
            logs[i] = uint256(keccak256(abi.encode("log", i)));
        }
        proven.statement.context = keccak256("context");
        (proven.statement.dimension, proven.statement.chunks) = (1 << 20, 1);
        proven.statement.rows = TrapdoorProver.commit(logs);
        proven.statement.weights = randomBytes("weights", 4 * n);
        proven.gram = randomBytes("gram", 4 * n * (n + 1) + 16 * publicRows * n + 8 * publicRows * (publicRows + 1));
        proven.proof = TrapdoorProver.prove(proven.statement, proven.gram, logs, verifier.srsId());
        verify(proven);
        return vm.snapshotGasLastCall(GROUP, name);
    }
}
