// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {JobTerms} from "../../src/interfaces/JobTypes.sol";
import {DisputeFixture} from "./DisputeFixture.sol";
import {Filed, ReceiptFixture} from "./ReceiptFixture.sol";

/// @notice What filing receipts costs as a transaction of its own: sixteen seats, five attestors, three of them a quorum.
contract ReceiptGasTest is ReceiptFixture {
    function _terms() internal view override returns (JobTerms memory terms) {
        terms = DisputeFixture._terms();
        terms.seats = 16;
    }

    /// forge-config: default.isolate = true
    function test_fileReceipts_costsWhatTheSnapshotSays() public {
        for (uint256 seat = 5; seat < 16; ++seat) {
            _enrol(_trainer(seat));
        }
        _revealed(16);
        Filed memory filed = _receipts(0xffff, 0, QUORUM);
        market.fileReceipts(job, 0, filed.seats, filed.heldUntil, filed.signatures);
        vm.snapshotGasLastCall("JobMarket", "fileReceipts_3_of_16");
        vm.assertEq(_covered(), 0xffff);
    }
}
