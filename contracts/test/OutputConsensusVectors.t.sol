// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Verdict} from "../src/libraries/Verdicts.sol";
import {Base} from "./Base.sol";
import {ConsensusDecider, SharedPanel} from "./ConsensusDecider.sol";

/// @notice tests/vectors/consensus.json: what the contract's interface, read literally, says of panels.
contract OutputConsensusVectorsTest is Base {
    function test_sharedVectors_areDecidedAsWritten() public {
        string memory json = vm.readFile("../tests/vectors/consensus.json");
        string[] memory names = vm.parseJsonKeys(json, "$");
        vm.assertGt(names.length, 100);
        for (uint256 i = 0; i < names.length; ++i) {
            string memory key = string.concat("$.", names[i]);
            bytes memory panel = vm.parseJsonBytes(json, string.concat(key, ".panel"));
            bytes memory told = vm.parseJsonBytes(json, string.concat(key, ".verdict"));
            vm.assertEq(_verdict(panel), told, names[i]);
        }
    }

    function _verdict(bytes memory panel) private returns (bytes memory) {
        Verdict memory verdict = new ConsensusDecider().verdictOf(_shared(panel));
        return abi.encode(verdict.outcome, verdict.clique, verdict.spared, verdict.medoid, verdict.acceptedSamples);
    }

    function _shared(bytes memory panel) private pure returns (SharedPanel memory given) {
        (
            given.seats,
            given.samples,
            given.tolerance,
            given.slack,
            given.states,
            given.digests,
            given.canarySamples,
            given.canaryDigests
        ) = abi.decode(panel, (uint256, uint256, uint256, uint256, uint8[], bytes32[][], uint16[], bytes32[]));
    }
}
