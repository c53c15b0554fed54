// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Hamming} from "../../src/libraries/Hamming.sol";
import {Base} from "../Base.sol";

contract HammingTest is Base {
    function testFuzz_distance_isThatOfBitByBit(bytes32 a, bytes32 b) public pure {
        vm.assertEq(Hamming.distance(a, b), _naive(a, b));
        vm.assertEq(Hamming.distance(b, a), _naive(a, b));
    }

    /// @dev Random words have about 128: runs of ones reach every count.
    function test_count_ofRuns() public pure {
        for (uint256 length = 0; length <= 256; ++length) {
            // forge-lint: disable-next-line(incorrect-shift)
            uint256 run = length == 256 ? type(uint256).max : (1 << length) - 1;
            vm.assertEq(Hamming.count(run), length);
            vm.assertEq(Hamming.count(run << (256 - length)), length);
        }
    }

    function _naive(bytes32 a, bytes32 b) private pure returns (uint256 count) {
        for (uint256 i = 0; i < 256; ++i) {
            if ((uint256(a) >> i) & 1 != (uint256(b) >> i) & 1) ++count;
        }
    }
}
