// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {RoundRules} from "../src/RoundRules.sol";
import {Base} from "./Base.sol";

/// @notice tests/vectors/rules.json: what docs/rules.md, read literally, answers.
contract RoundRulesVectorsTest is Base {
    RoundRules private _rules = new RoundRules();

    function test_sharedVectors_areDecidedAsWritten() public view {
        string memory json = vm.readFile("../tests/vectors/rules.json");
        string[] memory names = vm.parseJsonKeys(json, "$");
        vm.assertGt(names.length, 40);
        for (uint256 i = 0; i < names.length; ++i) {
            string memory key = string.concat("$.", names[i]);
            bytes memory call = vm.parseJsonBytes(json, string.concat(key, ".call"));
            (bool succeeds, bytes memory outcome) = address(_rules).staticcall(call);
            vm.assertEq(succeeds, vm.parseJsonBool(json, string.concat(key, ".succeeds")), names[i]);
            vm.assertEq(outcome, vm.parseJsonBytes(json, string.concat(key, ".outcome")), names[i]);
        }
    }
}
