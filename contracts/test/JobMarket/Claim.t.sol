// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Ledger} from "../../src/interfaces/JobTypes.sol";
import {MarketFixture} from "./MarketFixture.sol";

contract ClaimTest is MarketFixture {
    uint256 private constant SHARE = REWARD / 4;
    uint256 private vestsAt;
    bytes private pays;

    function setUp() public override {
        super.setUp();
        _playRound(4, ONE);
        vestsAt = block.timestamp + VESTING;
        pays = _packSame(4, SHARE);
        vm.warp(vestsAt);
    }

    function test_claim_paysToAnyAddress() public {
        vm.expectEmit(address(market));
        emit IJobMarket.Claimed(job, 0, _trainer(1), 1, stranger, SHARE);
        vm.prank(_trainer(1));
        market.claim(job, 0, pays, _undoHash(0), stranger);
        vm.assertEq(stranger.balance, SHARE);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.paid, SHARE);
        vm.assertEq(ledger.credits, 3 * SHARE + FEE);
        vm.assertEq(market.outcomeOf(job, 0).claimed, 2);
        _assertConserved();
    }

    function test_claim_failsOneSecondBeforeItVests() public {
        vm.warp(vestsAt - 1);
        vm.prank(_trainer(1));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotVested.selector, vestsAt - 1, vestsAt));
        market.claim(job, 0, pays, _undoHash(0), stranger);
    }

    function test_claim_failsTwice() public {
        vm.prank(_trainer(1));
        market.claim(job, 0, pays, _undoHash(0), stranger);
        vm.prank(_trainer(1));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyClaimed.selector, 0, 1));
        market.claim(job, 0, pays, _undoHash(0), stranger);
        vm.assertEq(stranger.balance, SHARE);
    }

    function test_claim_failsWithAnotherArray() public {
        bytes memory forged = _packSame(1, REWARD);
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.PayMismatch.selector, _payHash(0, forged), _payHash(0, pays)));
        market.claim(job, 0, forged, _undoHash(0), stranger);
    }

    function test_claim_failsForAnAttemptThatDidNotEnd() public {
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.PayMismatch.selector, _payHash(1, pays), bytes24(0)));
        market.claim(job, 1, pays, _undoHash(1), stranger);
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.PayMismatch.selector, _payHash(1, ""), bytes24(0)));
        market.claim(job, 1, "", _undoHash(1), stranger);
    }

    function test_claim_failsWithoutASeat() public {
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotTrainer.selector, stranger));
        market.claim(job, 0, pays, _undoHash(0), stranger);
    }

    function test_claim_failsWithoutPay() public {
        vm.prank(_trainer(4));
        vm.expectRevert(IJobMarket.NothingToPay.selector);
        market.claim(job, 0, pays, _undoHash(0), stranger);
    }

    function test_claim_failsToNobody() public {
        vm.prank(_trainer(0));
        vm.expectRevert(IJobMarket.ZeroAddress.selector);
        market.claim(job, 0, pays, _undoHash(0), address(0));
    }

    function test_claim_aReceiverThatRefusesHurtsOnlyItself() public {
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.TransferFailed.selector, address(this), SHARE));
        market.claim(job, 0, pays, _undoHash(0), address(this)); // this contract takes no coins
        vm.prank(_trainer(1));
        market.claim(job, 0, pays, _undoHash(0), stranger);
        vm.prank(_trainer(0));
        market.claim(job, 0, pays, _undoHash(0), stranger);
        vm.assertEq(stranger.balance, 2 * SHARE);
        _assertConserved();
    }

    function test_claim_byOneWhoseStakeIsGone() public {
        vm.prank(_trainer(1));
        market.withdrawStake(job, stranger);
        vm.prank(_trainer(1));
        market.claim(job, 0, pays, _undoHash(0), stranger);
        vm.assertEq(stranger.balance, STAKE + SHARE);
    }

    // ------------------------------------------------------------------ claimFee

    function test_claimFee_paysTheAggregator() public {
        vm.expectEmit(address(market));
        emit IJobMarket.FeeClaimed(job, 0, aggregator, stranger, FEE);
        vm.prank(aggregator);
        market.claimFee(job, 0, stranger);
        vm.assertEq(stranger.balance, FEE);
        vm.assertEq(market.ledgerOf(job).paid, FEE);
        vm.assertTrue(market.outcomeOf(job, 0).feeGone);
        _assertConserved();
    }

    function test_claimFee_failsTwice() public {
        vm.prank(aggregator);
        market.claimFee(job, 0, stranger);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoFeeDue.selector, 0));
        market.claimFee(job, 0, stranger);
    }

    function test_claimFee_failsOneSecondBeforeItVests() public {
        vm.warp(vestsAt - 1);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotVested.selector, vestsAt - 1, vestsAt));
        market.claimFee(job, 0, stranger);
    }

    function test_claimFee_failsForAnother() public {
        vm.prank(successor);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAggregator.selector, successor, aggregator));
        market.claimFee(job, 0, successor);
    }

    function test_claimFee_failsWhereNoneIsDue() public {
        vm.prank(address(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAggregator.selector, address(0), address(0)));
        market.claimFee(job, 1, stranger);
    }

    function test_claimFee_failsToNobody() public {
        vm.prank(aggregator);
        vm.expectRevert(IJobMarket.ZeroAddress.selector);
        market.claimFee(job, 0, address(0));
    }

    // ------------------------------------------------------------------ refund

    function test_refund_failsForAnother() public {
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotOwner.selector, stranger, owner));
        market.refund(job, stranger);
    }

    function test_refund_failsWithNothingToTake() public {
        vm.prank(owner);
        vm.expectRevert(IJobMarket.NothingToPay.selector);
        market.refund(job, owner);
    }

    function test_refund_paysToAnyAddressAndOnce() public {
        vm.warp(_start() + COMMIT);
        market.skipRound(job, 1);
        vm.expectEmit(address(market));
        emit IJobMarket.Refunded(job, owner, stranger, REWARD + FEE);
        vm.prank(owner);
        market.refund(job, stranger);
        vm.assertEq(stranger.balance, REWARD + FEE);
        vm.assertEq(market.ledgerOf(job).refunded, REWARD + FEE);
        vm.prank(owner);
        vm.expectRevert(IJobMarket.NothingToPay.selector);
        market.refund(job, stranger);
        _assertConserved();
    }

    function test_refund_failsToNobody() public {
        vm.warp(_start() + COMMIT);
        market.skipRound(job, 1);
        vm.prank(owner);
        vm.expectRevert(IJobMarket.ZeroAddress.selector);
        market.refund(job, address(0));
    }
}
