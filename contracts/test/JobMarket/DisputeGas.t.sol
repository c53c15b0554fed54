// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Fact} from "../../src/interfaces/JobTypes.sol";
import {DisputeFixture} from "./DisputeFixture.sol";

/// @notice What a dispute costs, each action as a transaction of its own: eight seats, five attestors, three of them a quorum.
contract DisputeGasTest is DisputeFixture {
    /// forge-config: default.isolate = true
    function test_disputes_costWhatTheSnapshotSays() public {
        _disputed();
        vm.snapshotGasLastCall("JobMarket", "dispute");
        bytes[] memory signatures = _signatures(_digest(false), 0, QUORUM);
        market.answer(job, false, signatures);
        vm.snapshotGasLastCall("JobMarket", "answer_undo_by_3");
        vm.prank(_trainer(0));
        market.withdrawDisputeBond(job, _trainer(0));
        vm.snapshotGasLastCall("JobMarket", "withdrawDisputeBond");
    }

    /// forge-config: default.isolate = true
    function test_answer_thatItHoldsCostsWhatTheSnapshotSays() public {
        _disputed();
        bytes[] memory signatures = _signatures(_digest(true), 0, QUORUM);
        market.answer(job, true, signatures);
        vm.snapshotGasLastCall("JobMarket", "answer_uphold_by_3");
    }

    /// forge-config: default.isolate = true
    function test_thaw_costsWhatTheSnapshotSays() public {
        _disputed();
        vm.warp(block.timestamp + ANSWERS);
        market.thaw(job);
        vm.snapshotGasLastCall("JobMarket", "thaw");
    }

    function _disputed() private {
        _play(5);
        _commitFirst(5);
        _dispute(_trainer(0), Fact.Model);
    }
}
