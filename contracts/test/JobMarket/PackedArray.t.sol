// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {PackedArray} from "../../src/libraries/PackedArray.sol";
import {SeatMask} from "../../src/libraries/SeatMask.sol";
import {Base} from "../Base.sol";

contract PackedArrayTest is Base {
    function testFuzz_pays_areOneBigEndianWordASeat(uint128[64] memory amounts, uint256 count, uint128 other)
        public
        view
    {
        count = bound(count, 1, 64);
        bytes memory pays = new bytes(count * 16);
        bytes memory expected;
        for (uint256 seat = 0; seat < count; ++seat) {
            PackedArray.setPay(pays, seat, other);
            PackedArray.setPay(pays, seat, amounts[seat]); // the second time replaces the first
            expected = bytes.concat(expected, bytes16(amounts[seat]));
        }
        vm.assertEq(pays, expected);
        vm.assertEq(this.payAt(pays, count - 1), amounts[count - 1]);
    }

    function testFuzz_lifetimes_areOneBigEndianWordASeat(uint64[64] memory scores, uint256 count) public pure {
        count = bound(count, 1, 64);
        bytes memory lifetime = new bytes(count * 8);
        bytes memory expected;
        for (uint256 seat = count; seat > 0; --seat) {
            PackedArray.setScore(lifetime, seat - 1, scores[seat - 1]);
            expected = bytes.concat(bytes8(scores[seat - 1]), expected);
        }
        vm.assertEq(lifetime, expected);
        for (uint256 seat = 0; seat < count; ++seat) {
            vm.assertEq(PackedArray.scoreAt(lifetime, seat), scores[seat]);
        }
    }

    function payAt(bytes calldata pays, uint256 seat) external pure returns (uint128) {
        return PackedArray.payAt(pays, seat);
    }
}

contract SeatMaskTest is Base {
    function testFuzz_count_isTheNumberOfBits(uint64 mask) public pure {
        uint256 bits = 0;
        for (uint256 seat = 0; seat < 64; ++seat) {
            if (SeatMask.has(mask, seat)) ++bits;
        }
        vm.assertEq(SeatMask.count(mask), bits);
    }

    function test_count_ofNoneAndOfAll() public pure {
        vm.assertEq(SeatMask.count(0), 0);
        vm.assertEq(SeatMask.count(type(uint64).max), 64);
        vm.assertEq(SeatMask.only(63), 1 << 63);
    }

    function testFuzz_select_takesTheSeatsBehindTheRows(uint64 seats, uint64 rows) public pure {
        uint64 expected = 0;
        uint256 row = 0;
        for (uint256 seat = 0; seat < 64; ++seat) {
            if (!SeatMask.has(seats, seat)) continue;
            if (SeatMask.has(rows, row++)) expected |= SeatMask.only(seat);
        }
        vm.assertEq(SeatMask.select(seats, rows), expected);
    }
}
