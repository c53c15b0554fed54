// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    ExclusionReason,
    IJobMarket,
    JobState,
    Ledger,
    Outcome,
    Phase,
    Settlement
} from "../../src/interfaces/IJobMarket.sol";
import {Decision} from "../../src/interfaces/IRoundRules.sol";
import {MarketFixture} from "./MarketFixture.sol";

contract SettleRoundTest is MarketFixture {
    function test_settleRound_dividesTheRewardByScore() public {
        _toSettle(3, 3);
        _settle(_settlement(_scores(ONE, 2 * ONE, 5 * ONE)));

        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.credits, REWARD + FEE);
        vm.assertEq(ledger.budget, 2 * (REWARD + FEE));
        Outcome memory outcome = market.outcomeOf(job, 0);
        uint256[] memory pays = new uint256[](3);
        (pays[0], pays[1], pays[2]) = (REWARD / 8, REWARD / 4, 5 * REWARD / 8);
        vm.assertEq(outcome.payHash, keccak256(_packPays(pays)));
        vm.assertEq(outcome.aggregator, aggregator);
        vm.assertEq(outcome.vestsAt, block.timestamp + VESTING);
        _assertConserved();
    }
}
