// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Base} from "../Base.sol";
import {EventLedger} from "./EventLedger.sol";

/// @notice The cheat codes that write the tally.
// forge-lint: disable-next-line(interface-naming)
interface TallyVm {
    function envOr(string calldata name, string calldata otherwise) external view returns (string memory value);
    function writeLine(string calldata path, string calldata line) external;
}

/// @notice Counts what the actors achieved in a run, and appends a line to the file that INVARIANT_TALLY names. What each
/// function does stands in an event of its own, and what a call that was refused logged is not counted.
abstract contract CampaignTally is Base {
    uint256 private constant ENDS = 37;
    TallyVm private constant TALLY = TallyVm(address(vm));

    function _tally(EventLedger actors) internal {
        string memory file = TALLY.envOr("INVARIANT_TALLY", "");
        if (bytes(file).length == 0) return;
        string memory line = "";
        for (uint256 i = 0; i < ENDS; ++i) {
            (string memory name, bytes32 signature) = _end(i);
            line = string.concat(line, name, " ", vm.toString(actors.timesSeen(signature)), " ");
        }
        TALLY.writeLine(file, line);
    }

    /// @dev What a function does first, then what came of it.
    function _end(uint256 i) private pure returns (string memory name, bytes32 signature) {
        if (i == 0) return ("openJob", IJobMarket.JobOpened.selector);
        if (i == 1) return ("enrol", IJobMarket.TrainerEnrolled.selector);
        if (i == 2) return ("withdrawStake", IJobMarket.StakeWithdrawn.selector);
        if (i == 3) return ("bond", IJobMarket.AggregatorBonded.selector);
        if (i == 4) return ("withdrawBond", IJobMarket.BondWithdrawn.selector);
        if (i == 5) return ("commit", IJobMarket.UpdateCommitted.selector);
        if (i == 6) return ("reveal", IJobMarket.UpdateRevealed.selector);
        if (i == 7) return ("commitExam", IJobMarket.ExamCommitted.selector);
        if (i == 8) return ("openExam", IJobMarket.ExamOpened.selector);
        if (i == 9) return ("publishExam", IJobMarket.ExamPublished.selector);
        if (i == 10) return ("settleRound", IJobMarket.RoundSettled.selector);
        if (i == 11) return ("expireRound", IJobMarket.AttemptExpired.selector);
        if (i == 12) return ("skipRound", IJobMarket.RoundSkipped.selector);
        if (i == 13) return ("closeJob", IJobMarket.JobClosed.selector);
        if (i == 14) return ("claim", IJobMarket.Claimed.selector);
        if (i == 15) return ("claimFee", IJobMarket.FeeClaimed.selector);
        if (i == 16) return ("refund", IJobMarket.Refunded.selector);
        if (i == 17) return ("a_new_model", IJobMarket.ModelCommitted.selector);
        if (i == 18) return ("an_update_excluded", IJobMarket.UpdateExcluded.selector);
        if (i == 19) return ("stakes_forfeited", IJobMarket.StakesForfeited.selector);
        if (i == 20) return ("an_exam_that_counted", IJobMarket.ExamTaken.selector);
        if (i == 21) return ("an_exam_left_out", IJobMarket.ExamExcluded.selector);
        if (i == 22) return ("an_exam_missed", IJobMarket.ExamMissed.selector);
        if (i == 23) return ("exams_never_published", IJobMarket.ExamUnpublished.selector);
        if (i == 24) return ("dispute", IJobMarket.DisputeOpened.selector);
        if (i == 25) return ("answer", IJobMarket.DisputeAnswered.selector);
        if (i == 26) return ("a_dispute_resolved", IJobMarket.DisputeResolved.selector);
        if (i == 27) return ("a_settlement_undone", IJobMarket.AttemptUndone.selector);
        if (i == 28) return ("an_exam_refuted", IJobMarket.ExamRefuted.selector);
        if (i == 29) return ("withdrawDisputeBond", IJobMarket.DisputeBondWithdrawn.selector);
        if (i == 30) return ("wait_for_a_seat", IJobMarket.TrainerWaits.selector);
        if (i == 31) return ("drawSeats", IJobMarket.DrawFixed.selector);
        if (i == 32) return ("seats_drawn", IJobMarket.SeatsDrawn.selector);
        if (i == 33) return ("a_seat_taken", IJobMarket.SeatTaken.selector);
        if (i == 34) return ("a_seat_lost", IJobMarket.SeatLost.selector);
        if (i == 35) return ("fileReceipts", IJobMarket.ReceiptsFiled.selector);
        return ("wait_no_more", IJobMarket.WaitEnded.selector);
    }
}
