// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SealingKeys} from "../../src/libraries/SealingKeys.sol";
import {Base} from "../Base.sol";

/// @notice tests/vectors/sealing_keys.json, which the Python side agrees with.
contract SealingKeysTest is Base {
    string private json = vm.readFile("../tests/vectors/sealing_keys.json");

    function test_isUsable_noPointOfLowOrderHoweverItIsWritten() public view {
        bytes32[] memory keys = _keys("$.of_low_order");
        vm.assertEq(keys.length, 14);
        for (uint256 i = 0; i < keys.length; ++i) {
            vm.assertFalse(SealingKeys.isUsable(keys[i]), vm.toString(uint256(keys[i])));
        }
    }

    function test_isUsable_whatIsCloseToThem() public view {
        bytes32[] memory keys = _keys("$.usable");
        vm.assertGe(keys.length, 8);
        for (uint256 i = 0; i < keys.length; ++i) {
            vm.assertTrue(SealingKeys.isUsable(keys[i]), vm.toString(uint256(keys[i])));
        }
    }

    function test_isUsable_whateverItsTopBitIs() public view {
        bytes32[] memory keys = _keys("$.usable");
        for (uint256 i = 0; i < keys.length; ++i) {
            vm.assertTrue(SealingKeys.isUsable(keys[i] ^ bytes32(uint256(0x80))));
        }
    }

    function _keys(string memory list) private view returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(json, list);
    }
}
