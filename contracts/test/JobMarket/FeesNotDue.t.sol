// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Fact, JobTerms, Ledger, Outcome, Phase, Settlement} from "../../src/interfaces/JobTypes.sol";
import {DisputeFixture} from "./DisputeFixture.sol";
import {programmed} from "./ProgrammedRules.sol";

/// @notice Settlements that decide nothing: what they earn, who comes next, and whose bond answers for them.
contract FeesNotDueTest is DisputeFixture {
    address private third = address(0x3ad);

    function _terms() internal view override returns (JobTerms memory) {
        return _examTerms();
    }

    // ------------------------------------------------------------------ everybody excluded

    function test_claimFee_noneForExcludingEverybody() public {
        _toExamined(4);
        _settleNoted(_excluding(15));
        _assertNoFee(0, aggregator);
        vm.assertEq(market.ledgerOf(job).carry, REWARD + FEE);
        vm.assertEq(market.aggregatorsOf(job)[0], successor);
        _assertConserved();
    }

    function test_claimFee_noneWhereNobodyRevealed() public {
        _toSettle(3, 0);
        _settleNoted(_emptySettlement());
        _assertNoFee(0, aggregator);
        vm.assertEq(market.ledgerOf(job).carry, REWARD + FEE);
    }

    /// @dev All but one: it decided about that one.
    function test_claimFee_isDueForWhoIsLeft() public {
        _toExamined(4);
        _settleNoted(_excluding(14));
        _assertFee(0, aggregator);
    }

    /// @dev What was not due is in the next round's pot, as far as one round may pay.
    function test_settleRound_aFeeThatIsNotDueGoesToTheTrainers() public {
        _toExamined(4);
        _settleNoted(_excluding(15));
        _sit(3);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.credits, 2 * REWARD / 3 * 3 + FEE);
        vm.assertEq(ledger.carry, FEE + 2 * REWARD % 3);
        _assertConserved();
    }

    // ------------------------------------------------------------------ an exam left out

    function test_claimFee_noneForLeavingAnExamOut() public {
        _leaveOut(4);
        _assertNoFee(0, aggregator);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.credits, REWARD);
        vm.assertEq(ledger.carry, FEE);
        vm.assertEq(ledger.exams, ROUNDS * EXAM_DEPOSIT); // it cost the owner nothing
        vm.assertEq(ledger.burned, 0);
        _assertConserved();
    }

    /// @dev A missed exam is the owner's fault: the deposit is gone, the fee is due, the aggregator stays.
    function test_claimFee_isDueWhereTheOwnerMissedTheExam() public {
        _play(3);
        vm.assertEq(market.aggregatorsOf(job)[0], aggregator);
        _assertFee(0, aggregator);
        vm.assertEq(market.ledgerOf(job).burned, EXAM_DEPOSIT);
    }

    function test_claimFee_noneForLeavingOutExamAndUpdates() public {
        _toExamined(3);
        Settlement memory settlement = _excluding(7);
        settlement.examReason = 2;
        _settleNoted(settlement);
        _assertNoFee(0, aggregator);
        vm.assertEq(market.ledgerOf(job).carry, REWARD + FEE);
        vm.assertEq(market.aggregatorsOf(job)[0], successor);
    }

    // ------------------------------------------------------------------ who comes next

    function test_settleRound_leavingAnExamOutMakesRoomForTheNext() public {
        _bond(third);
        _toExamined(4);
        Settlement memory settlement = _leavingOut();
        _prove(market, job, settlement);
        vm.expectEmit(address(market));
        emit IJobMarket.AttemptStarted(job, 1, 1, successor, block.timestamp, 1 << 16, 2);
        _handIn(settlement);
        _assertQueue(successor, third, aggregator);
        _toExamined(3);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAggregator.selector, aggregator, successor));
        market.settleRound(job, 1, _unproven());
    }

    function test_settleRound_leavingExamsOutGoesRound() public {
        _bond(third);
        _leaveOut(3);
        _leaveOut(3);
        _assertQueue(third, aggregator, successor);
        _leaveOut(3);
        _assertQueue(aggregator, successor, third);
        for (uint256 attempt = 0; attempt < 3; ++attempt) {
            vm.assertTrue(market.outcomeOf(job, attempt).feeGone);
        }
    }

    function test_settleRound_theOnlyAggregatorStays() public {
        _leave(successor);
        _leaveOut(3);
        vm.assertEq(market.aggregatorsOf(job).length, 1);
        vm.assertEq(market.aggregatorsOf(job)[0], aggregator);
        _assertPhase(Phase.Commit);
        _sit(3);
        _assertFee(1, aggregator);
    }

    function test_settleRound_leavingAnExamOutWithAFullQueue() public {
        address[] memory before = new address[](8);
        (before[0], before[1]) = (aggregator, successor);
        for (uint256 i = 2; i < 8; ++i) {
            before[i] = _trainer(20 + i);
            _bond(before[i]);
        }
        _leaveOut(3);
        address[] memory queue = market.aggregatorsOf(job);
        vm.assertEq(queue.length, 8);
        for (uint256 i = 0; i < 8; ++i) {
            vm.assertEq(queue[i], before[(i + 1) % 8]);
        }
    }

    /// @dev Each round's fee is that of who settled it.
    function test_claimFee_theNextsFeeIsTheNexts() public {
        _leaveOut(3);
        _sit(3);
        _assertFee(1, successor);
        _assertNoFee(0, aggregator);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAggregator.selector, aggregator, successor));
        market.claimFee(job, 1, aggregator);
    }

    // ------------------------------------------------------------------ whose bond is bound

    /// @dev Whoever settled answers for it until it vests, wherever in the queue it is by then.
    function test_withdrawBond_notBeforeOnesOwnSettlementHasVested() public {
        _bond(third);
        _leaveOut(3);
        uint256 vestsAt = market.outcomeOf(job, 0).vestsAt;
        _refuseToLeave(aggregator);
        _refuseToLeave(successor); // which is active
        vm.warp(vestsAt - 1);
        _refuseToLeave(aggregator);
        _leave(third); // which did nothing
        vm.warp(vestsAt);
        _leave(aggregator);
        _refuseToLeave(successor);
        vm.assertEq(market.aggregatorsOf(job).length, 1);
        vm.assertEq(market.ledgerOf(job).bonds, BOND);
        _assertConserved();
    }

    /// @dev A dispute puts that off.
    function test_withdrawBond_notWhileOnesOwnSettlementIsDisputed() public {
        _leaveOut(3);
        uint256 vestsAt = market.outcomeOf(job, 0).vestsAt;
        vm.warp(vestsAt - 1);
        _dispute(_trainer(0), Fact.Model);
        vm.warp(vestsAt + ANSWERS - 2);
        _refuseToLeave(aggregator);
        _answer(true, 0, QUORUM);
        _refuseToLeave(aggregator);
        vm.warp(block.timestamp + 1);
        _leave(aggregator);
    }

    /// @dev Once somebody else settled it is that one's that is bound.
    function test_withdrawBond_ofWhoSettledBeforeTheLast() public {
        _leaveOut(3);
        _leaveOut(3);
        _assertTwo(aggregator, successor);
        _refuseToLeave(successor); // settled last
        _refuseToLeave(aggregator); // active again
        _bond(third);
        _sit(3);
        _refuseToLeave(aggregator);
        _leave(successor);
    }

    // ------------------------------------------------------------------ whose bond is broken

    function test_answer_breaksTheBondOfWhoMadeIt_queueOfOne() public {
        _leave(successor);
        _leaveOut(3);
        _disputeAndUndo(_trainer(0), Fact.Model);
        _assertUndone(2, 0);
        vm.assertEq(market.aggregatorsOf(job).length, 0);
        _assertPhase(Phase.AwaitingAggregator);
        _assertBroken();
    }

    function test_answer_breaksTheBondOfWhoMadeIt_queueOfTwo() public {
        _leaveOut(3);
        vm.assertEq(market.aggregatorsOf(job)[0], successor);
        _disputeAndUndo(_trainer(0), Fact.Model);
        _assertUndone(2, block.timestamp);
        vm.assertEq(market.aggregatorsOf(job).length, 1);
        vm.assertEq(market.aggregatorsOf(job)[0], successor);
        _assertBroken();
        _sit(3); // by who had nothing to do with it
        _assertFee(2, successor);
    }

    function test_answer_breaksTheBondOfWhoMadeIt_queueOfThree() public {
        _bond(third);
        _leaveOut(3);
        _assertQueue(successor, third, aggregator);
        vm.warp(block.timestamp + 5);
        _disputeAndUndo(_trainer(0), Fact.Model);
        _assertUndone(2, block.timestamp);
        _assertTwo(successor, third);
        _assertBroken();
    }

    /// @dev Nor does a newcomer at the end of the queue answer for it.
    function test_answer_breaksTheBondOfWhoMadeIt_notOfWhoCameSince() public {
        _leaveOut(3);
        _bond(third);
        _assertQueue(successor, aggregator, third);
        uint256 bonds = market.ledgerOf(job).bonds;
        _disputeAndUndo(_trainer(0), Fact.Model);
        _assertTwo(successor, third);
        vm.assertEq(market.bondOf(job, third), BOND);
        vm.assertEq(market.ledgerOf(job).bonds, bonds - BOND);
        _assertBroken();
        _assertConserved();
    }

    /// @dev Undone, an exclusion of everybody gives the round its reward and fee back, once.
    function test_answer_anExclusionOfEverybodyThatIsUndone() public {
        _toExamined(4);
        _settleNoted(_excluding(15));
        _disputeAndUndo(_trainer(2), Fact.Exclusion);
        _assertUndone(2, block.timestamp);
        _assertBroken();
        _sit(4);
        _assertFee(2, successor);
        vm.assertEq(market.ledgerOf(job).credits, REWARD + 4 * COMPENSATION);
    }

    // ------------------------------------------------------------------ parts

    function _leavingOut() private returns (Settlement memory settlement) {
        settlement = _excluding(0);
        settlement.gram = programmed(_decision(_all(ONE)));
        settlement.examReason = 1;
    }

    function _all(uint64 score) private view returns (uint64[] memory scores) {
        uint256 count = 0;
        for (uint64 left = market.stateOf(job).revealed; left != 0; left &= left - 1) {
            ++count;
        }
        scores = new uint64[](count);
        for (uint256 i = 0; i < count; ++i) {
            scores[i] = score;
        }
    }

    /// @dev A whole round whose exam was opened and does not count.
    function _leaveOut(uint256 revealed) private {
        _toExamined(revealed);
        _settleNoted(_leavingOut());
    }

    function _unproven() private pure returns (Settlement memory settlement) {}

    function _leave(address account) private {
        vm.prank(account);
        market.withdrawBond(job, account);
    }

    function _refuseToLeave(address account) private {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BondInUse.selector, account));
        vm.prank(account);
        market.withdrawBond(job, account);
    }

    function _assertNoFee(uint256 attempt, address by) private {
        Outcome memory outcome = market.outcomeOf(job, attempt);
        vm.assertEq(outcome.aggregator, by);
        vm.assertTrue(outcome.feeGone);
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp < outcome.vestsAt) vm.warp(outcome.vestsAt);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoFeeDue.selector, attempt));
        vm.prank(by);
        market.claimFee(job, attempt, by);
    }

    function _assertFee(uint256 attempt, address by) private {
        Outcome memory outcome = market.outcomeOf(job, attempt);
        vm.assertEq(outcome.aggregator, by);
        vm.assertFalse(outcome.feeGone);
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp < outcome.vestsAt) vm.warp(outcome.vestsAt);
        uint256 before = by.balance;
        vm.prank(by);
        market.claimFee(job, attempt, by);
        vm.assertEq(by.balance - before, FEE);
    }

    /// @dev The first aggregator's, to the compensation of those who revealed and to nobody.
    function _assertBroken() private {
        vm.assertEq(market.bondOf(job, aggregator), 0);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotBonded.selector, aggregator));
        vm.prank(aggregator);
        market.withdrawBond(job, aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAggregator.selector, aggregator, address(0)));
        vm.prank(aggregator);
        market.claimFee(job, 0, aggregator);
    }

    function _assertTwo(address first, address second) private view {
        address[] memory queue = market.aggregatorsOf(job);
        vm.assertEq(queue.length, 2);
        vm.assertEq(queue[0], first);
        vm.assertEq(queue[1], second);
    }

    function _assertQueue(address first, address second, address last) private view {
        address[] memory queue = market.aggregatorsOf(job);
        vm.assertEq(queue.length, 3);
        vm.assertEq(queue[0], first);
        vm.assertEq(queue[1], second);
        vm.assertEq(queue[2], last);
    }
}
