// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Payouts, Shares} from "../../src/libraries/Payouts.sol";
import {Base} from "../Base.sol";
import {Packed} from "../Packed.sol";

contract PayoutsTest is Base {
    function testFuzz_pot_paysNoMoreThanThePoolAndReturnsNothing(
        uint128 reward,
        uint128 carry,
        uint256 revealed,
        uint64[] memory scores
    ) public pure {
        scores = _atMost64(scores);
        uint256 included = scores.length;
        revealed = bound(revealed, included, 64);
        Shares memory shares = Payouts.pot(reward, carry, included, revealed, Packed.scores(scores));
        uint256 pool = uint256(reward) + (carry < reward ? carry : reward);
        uint256 divided = revealed == 0 ? 0 : pool * included / revealed;
        vm.assertEq(shares.total, _sum(shares.pays));
        vm.assertLe(shares.total, divided);
        vm.assertEq(shares.returned, 0);
        if (_sum(scores) == 0) vm.assertEq(shares.total, 0);
        else vm.assertLe(divided - shares.total, scores.length, "dust");
    }

    function testFuzz_pot_higherScoreNeverEarnsLess(uint128 reward, uint64[] memory scores) public pure {
        scores = _atMost64(scores);
        Shares memory shares = Payouts.pot(reward, 0, scores.length, scores.length, Packed.scores(scores));
        for (uint256 row = 1; row < scores.length; ++row) {
            if (scores[row] >= scores[row - 1]) vm.assertGe(shares.pays[row], shares.pays[row - 1]);
            else vm.assertLe(shares.pays[row], shares.pays[row - 1]);
        }
    }

    /// @dev No trainer can be paid more in one round than its stake is at least worth.
    function testFuzz_pot_paysNobodyMoreThanTwiceTheReward(uint128 reward, uint128 carry, uint64[] memory scores)
        public
        pure
    {
        scores = _atMost64(scores);
        Shares memory shares = Payouts.pot(reward, carry, scores.length, scores.length, Packed.scores(scores));
        for (uint256 row = 0; row < scores.length; ++row) {
            vm.assertLe(shares.pays[row], 2 * uint256(reward));
        }
    }

    /// @dev Excluding seats never pays the others more.
    function testFuzz_pot_exclusionGainsNobody(uint128 reward, uint128 carry, uint64[4] memory four) public pure {
        uint64[] memory all = new uint64[](4);
        uint64[] memory rest = new uint64[](3);
        uint256 sum = 0;
        for (uint256 row = 0; row < 4; ++row) {
            all[row] = four[row];
            if (row < 3) rest[row] = four[row];
            sum += four[row];
        }
        vm.assume(four[3] <= sum / 4); // who is excluded was no more than average
        Shares memory before = Payouts.pot(reward, carry, 4, 4, Packed.scores(all));
        Shares memory afterwards = Payouts.pot(reward, carry, 3, 4, Packed.scores(rest));
        for (uint256 row = 0; row < 3; ++row) {
            vm.assertLe(afterwards.pays[row], before.pays[row] + 1);
        }
    }

    function testFuzz_price_conserves(
        uint128 reward,
        uint128 price,
        uint64 target,
        uint256 revealed,
        uint64[] memory scores
    ) public pure {
        scores = _atMost64(scores);
        uint256 included = scores.length;
        revealed = bound(revealed, included, 64);
        price = uint128(bound(price, 0, reward / 64));
        vm.assume(target != 0);
        Shares memory shares = Payouts.price(reward, price, target, included, revealed, Packed.scores(scores));
        vm.assertEq(shares.total, _sum(shares.pays));
        vm.assertLe(shares.total + shares.returned, reward);
        uint256 carried = reward - shares.total - shares.returned;
        uint256 owed = revealed == 0 ? reward : uint256(reward) * (revealed - included) / revealed;
        vm.assertEq(carried, owed < reward - shares.total ? owed : reward - shares.total);
        for (uint256 row = 0; row < scores.length; ++row) {
            vm.assertEq(shares.pays[row] == price, scores[row] >= target || price == shares.pays[row]);
            vm.assertLe(shares.pays[row], price);
        }
    }

    function test_pot_ofNobody() public pure {
        Shares memory shares = Payouts.pot(10, 5, 0, 0, "");
        vm.assertEq(shares.total, 0);
    }

    function test_price_roundsDown() public pure {
        uint64[] memory scores = new uint64[](3);
        (scores[0], scores[1], scores[2]) = (1, 2, 3);
        Shares memory shares = Payouts.price(100, 10, 3, 3, 3, Packed.scores(scores));
        vm.assertEq(shares.pays[0], 3);
        vm.assertEq(shares.pays[1], 6);
        vm.assertEq(shares.pays[2], 10);
        vm.assertEq(shares.returned, 81);
    }

    function _atMost64(uint64[] memory scores) private pure returns (uint64[] memory cut) {
        cut = new uint64[](scores.length > 64 ? 64 : scores.length);
        for (uint256 row = 0; row < cut.length; ++row) {
            cut[row] = scores[row];
        }
    }

    function _sum(uint256[] memory values) private pure returns (uint256 sum) {
        for (uint256 i = 0; i < values.length; ++i) {
            sum += values[i];
        }
    }

    function _sum(uint64[] memory values) private pure returns (uint256 sum) {
        for (uint256 i = 0; i < values.length; ++i) {
            sum += values[i];
        }
    }
}
