// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {JobTerms, Ledger} from "../../src/interfaces/JobTypes.sol";
import {ERC20Token} from "../tokens/ERC20Token.sol";
import {FeeToken, SurchargeToken} from "../tokens/FeeToken.sol";
import {
    CallbackToken,
    FalseToken,
    LyingToken,
    PretendingToken,
    RevertingToken,
    SilentToken
} from "../tokens/HostileToken.sol";
import {MarketFixture} from "./MarketFixture.sol";

contract TokensTest is MarketFixture {
    function test_token_wholeJob() public {
        ERC20Token token = new ERC20Token();
        _wholeJob(address(token));
        vm.assertEq(token.balanceOf(address(market)), 0);
    }

    function test_silentToken_wholeJob() public {
        SilentToken token = new SilentToken();
        _wholeJob(address(token));
        vm.assertEq(token.balanceOf(address(market)), 0);
    }

    function test_token_failsWithCoins() public {
        JobTerms memory terms = _in(address(new ERC20Token()));
        vm.deal(owner, 1);
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongValue.selector, 1, 0));
        market.openJob{value: 1}(terms, SPEC, MODEL, initialCommitment, srs, _deposit(terms));
    }

    function test_token_failsWhereThereIsNone() public {
        vm.expectRevert();
        market.openJob(_in(stranger), SPEC, MODEL, initialCommitment, srs, 10 ether);
    }

    /// @dev The same deposit opens no second job: it is owed.
    function test_token_jobsDoNotShareDeposits() public {
        ERC20Token token = new ERC20Token();
        JobTerms memory terms = _in(address(token));
        _open(terms);
        vm.expectRevert();
        vm.prank(stranger);
        market.openJob(terms, SPEC, MODEL, initialCommitment, srs, _deposit(terms));
        _open(terms);
        vm.assertEq(market.owed(address(token)), 2 * _deposit(terms));
    }

    // ------------------------------------------------------------------ fees

    function test_feeToken_countsWhatArrives() public {
        FeeToken token = new FeeToken();
        JobTerms memory terms = _in(address(token));
        uint256 required = _deposit(terms);
        _fund(owner, address(token), 2 * required);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InsufficientDeposit.selector, required * 99 / 100, required));
        market.openJob(terms, SPEC, MODEL, initialCommitment, srs, required);

        vm.prank(owner);
        job = market.openJob(terms, SPEC, MODEL, initialCommitment, srs, required * 2);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.deposited, required * 2 * 99 / 100);
        vm.assertEq(ledger.budget, required);
        vm.assertEq(token.balanceOf(address(market)), market.owed(address(token)));
        _assertConserved();
    }

    function test_feeToken_aStakeIsWhatArrivedAndLeavesWhole() public {
        FeeToken token = new FeeToken();
        JobTerms memory terms = _in(address(token));
        _fund(owner, address(token), 2 * _deposit(terms));
        job = market.openJob(terms, SPEC, MODEL, initialCommitment, srs, 2 * _deposit(terms));
        _fund(_trainer(0), address(token), 2 * STAKE);
        market.enrol(job, 2 * STAKE, new bytes32[](0));
        vm.assertEq(market.ledgerOf(job).stakes, uint256(2) * STAKE * 99 / 100);
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        vm.assertEq(market.ledgerOf(job).refunded, uint256(2) * STAKE * 99 / 100);
        vm.assertEq(token.balanceOf(address(market)), market.owed(address(token)));
        _assertConserved();
    }

    /// @dev Paying out would take another job's money along.
    function test_surchargeToken_cannotTakeWhatAnotherJobIsOwed() public {
        SurchargeToken token = new SurchargeToken();
        JobTerms memory terms = _in(address(token));
        for (uint256 i = 0; i < 2; ++i) {
            _fund(owner, address(token), 2 * _deposit(terms));
            job = market.openJob(terms, SPEC, MODEL, initialCommitment, srs, _deposit(terms) + 1 ether);
        }
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.TransferFailed.selector, owner, 1 ether));
        market.refund(job, owner);
        vm.assertEq(token.balanceOf(address(market)), market.owed(address(token)));
    }

    // ------------------------------------------------------------------ lies

    function test_pretendingToken_depositsNothing() public {
        PretendingToken token = new PretendingToken();
        JobTerms memory terms = _in(address(token));
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InsufficientDeposit.selector, 0, _deposit(terms)));
        market.openJob(terms, SPEC, MODEL, initialCommitment, srs, _deposit(terms));
    }

    function test_lyingToken_moreThanWasSentIsNotCounted() public {
        LyingToken token = new LyingToken();
        JobTerms memory terms = _in(address(token));
        job = _open(terms);
        token.lie(100, 1000); // with the next transfer all balances grow tenfold
        _enrol(_trainer(0));
        vm.assertEq(market.ledgerOf(job).stakes, STAKE);
        _assertConserved();
    }

    function test_lyingToken_lessThanBeforeCountsAsNothing() public {
        LyingToken token = new LyingToken();
        job = _open(_in(address(token)));
        token.lie(100, 10);
        _fund(_trainer(0), address(token), STAKE);
        vm.expectPartialRevert(IJobMarket.InsufficientDeposit.selector);
        market.enrol(job, STAKE, new bytes32[](0));
    }

    /// @dev A token that shrinks in place is refused as soon as it shows: a deposit would fill another's hole.
    function test_lyingToken_failsWhileLessIsThereThanIsOwed() public {
        LyingToken token = new LyingToken();
        job = _open(_in(address(token)));
        token.lie(50, 0);
        uint256 owed = market.owed(address(token));
        _fund(_trainer(0), address(token), STAKE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.TokenShortfall.selector, address(token), owed / 2, owed));
        market.enrol(job, STAKE, new bytes32[](0));
        token.lie(100, 0);
        vm.prank(_trainer(0));
        market.enrol(job, STAKE, new bytes32[](0));
    }

    // ------------------------------------------------------------------ refusals

    function test_revertingToken_changesNothingWhileItRefuses() public {
        RevertingToken token = new RevertingToken();
        job = _open(_in(address(token)));
        _enrol(3);
        bytes32 before = keccak256(abi.encode(market.ledgerOf(job), market.stateOf(job)));
        _fund(_trainer(3), address(token), STAKE);
        token.freeze(true);
        vm.prank(_trainer(0));
        vm.expectRevert(RevertingToken.Frozen.selector);
        market.withdrawStake(job, stranger);
        vm.prank(_trainer(3));
        vm.expectRevert(RevertingToken.Frozen.selector);
        market.enrol(job, STAKE, new bytes32[](0));
        vm.assertEq(keccak256(abi.encode(market.ledgerOf(job), market.stateOf(job))), before);
        token.freeze(false);
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        vm.assertEq(token.balanceOf(stranger), STAKE);
    }

    /// @dev Rounds go on while a token is frozen: nothing is sent in them.
    function test_revertingToken_cannotStopASettlement() public {
        RevertingToken token = new RevertingToken();
        job = _open(_in(address(token)));
        _enrol(3);
        _bond(aggregator);
        token.freeze(true);
        _playRound(3, ONE);
        vm.assertEq(market.stateOf(job).round, 1);
        _assertConserved();
    }

    function test_falseToken_failsWhereItAnswersFalse() public {
        FalseToken token = new FalseToken();
        job = _open(_in(address(token)));
        _enrol(3);
        token.refuse(true);
        bytes memory failed = abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, token);
        vm.prank(_trainer(0));
        vm.expectRevert(failed);
        market.withdrawStake(job, stranger);
        _fund(_trainer(3), address(token), STAKE);
        vm.expectRevert(failed);
        market.enrol(job, STAKE, new bytes32[](0));
        vm.assertEq(market.ledgerOf(job).stakes, 3 * STAKE);
        _assertConserved();
    }

    // ------------------------------------------------------------------ hooks

    function test_callbackToken_cannotDepositTwiceAtOnce() public {
        CallbackToken token = new CallbackToken();
        job = _open(_in(address(token)));
        token.mint(address(token), STAKE);
        token.callBack(address(market), abi.encodeCall(market.enrol, (job, STAKE, new bytes32[](0))));
        _enrol(_trainer(0));
        _assertRefused(token);
        vm.assertEq(market.ledgerOf(job).stakes, STAKE);
    }

    function test_callbackToken_cannotReenterWhileItPays() public {
        CallbackToken token = new CallbackToken();
        job = _open(_in(address(token)));
        _enrol(2);
        token.callBack(address(market), abi.encodeCall(market.withdrawStake, (job, stranger)));
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        _assertRefused(token);
        vm.assertEq(token.balanceOf(stranger), STAKE);
        _assertConserved();
    }

    function _assertRefused(CallbackToken token) private view {
        vm.assertTrue(token.called());
        vm.assertFalse(token.succeeded());
        vm.assertEq(token.result(), abi.encodeWithSelector(ReentrancyGuard.ReentrancyGuardReentrantCall.selector));
    }

    function _in(address token) private view returns (JobTerms memory terms) {
        terms = _terms();
        terms.token = token;
    }

    /// @dev One job from opening to the last withdrawal.
    function _wholeJob(address token) private {
        job = _open(_in(token));
        _enrol(4);
        _bond(aggregator);
        for (uint256 round = 0; round < ROUNDS; ++round) {
            _playRound(4, ONE);
        }
        vm.warp(block.timestamp + VESTING);
        market.closeJob(job, _packLifetime());
        bytes memory pays = _packSame(4, REWARD / 4);
        for (uint256 attempt = 0; attempt < ROUNDS; ++attempt) {
            for (uint256 seat = 0; seat < 4; ++seat) {
                vm.prank(_trainer(seat));
                market.claim(job, attempt, pays, _undoHash(attempt), stranger);
            }
            vm.prank(aggregator);
            market.claimFee(job, attempt, stranger);
        }
        for (uint256 seat = 0; seat < 4; ++seat) {
            vm.prank(_trainer(seat));
            market.withdrawStake(job, stranger);
        }
        vm.prank(aggregator);
        market.withdrawBond(job, stranger);
        vm.assertEq(market.owed(token), 0);
        _assertConserved();
    }
}
