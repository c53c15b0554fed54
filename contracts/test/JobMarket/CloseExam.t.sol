// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {JobTerms, Ledger, Phase, Settlement} from "../../src/interfaces/JobTypes.sol";
import {ERC20Token} from "../tokens/ERC20Token.sol";
import {ExamFixture} from "./ExamFixture.sol";

/// @notice What becomes of the deposits: the owner's where the exams are published, nobody's where they are not.
contract CloseExamTest is ExamFixture {
    // ------------------------------------------------------------------ published

    function test_closeJob_aPublishedExamReturnsItsDeposits() public {
        _playAllExamined();
        uint256 vestsAt = block.timestamp + VESTING;
        _publishExam();
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotCloseable.selector, block.timestamp, vestsAt));
        market.closeJob(job, _packLifetime());
        vm.warp(vestsAt); // as early as any other job
        vm.expectEmit(address(market));
        emit IJobMarket.JobClosed(job, 3, ROUNDS * DEPOSIT, 0, new bytes(SEATS * 16));
        market.closeJob(job, _packLifetime());
        vm.assertEq(market.ledgerOf(job).exams, 0);
        vm.prank(owner);
        market.refund(job, owner);
        vm.assertEq(owner.balance, ROUNDS * DEPOSIT);
        _assertConserved();
    }

    function test_closeJob_inATokenDepositsAreOfItAndReturnInIt() public {
        ERC20Token token = new ERC20Token();
        JobTerms memory terms = _terms();
        terms.token = address(token);
        _startWith(terms);
        vm.assertEq(token.balanceOf(address(market)), market.owed(address(token)));
        _playAllExamined();
        _publishExam();
        vm.warp(block.timestamp + VESTING);
        market.closeJob(job, _packLifetime());
        uint256 before = token.balanceOf(owner);
        vm.prank(owner);
        market.refund(job, owner);
        vm.assertEq(token.balanceOf(owner) - before, ROUNDS * DEPOSIT);
        vm.assertEq(owner.balance, 0);
        _assertConserved();
    }

    function test_closeJob_missedDepositsDoNotReturn() public {
        _playRound(3, ONE);
        _playExamined(3, ONE);
        _playExamined(3, ONE);
        _publishExam();
        vm.warp(block.timestamp + VESTING);
        market.closeJob(job, _packLifetime());
        vm.assertEq(market.ledgerOf(job).refundable, 2 * DEPOSIT);
        _assertConserved();
    }

    function test_closeJob_depositsOfRoundsThatNeverRanReturnWithTheirBudget() public {
        _playExamined(3, ONE);
        _warpToReveal();
        market.skipRound(job, 1);
        vm.warp(DEADLINE);
        market.skipRound(job, 2);
        _publishExam();
        market.closeJob(job, _packLifetime());
        vm.assertEq(market.ledgerOf(job).refundable, 2 * (REWARD + FEE) + ROUNDS * DEPOSIT);
        _assertConserved();
    }

    function test_closeJob_byPriceDepositsReturn() public {
        _startWith(_priceTerms());
        _playAllExamined();
        uint128 rest = market.ledgerOf(job).refundable;
        vm.assertEq(rest, ROUNDS * (REWARD - 3 * (REWARD / SEATS)));
        _publishExam();
        vm.warp(block.timestamp + VESTING);
        market.closeJob(job, _packLifetime());
        vm.assertEq(market.ledgerOf(job).refundable, rest + ROUNDS * DEPOSIT);
        _assertConserved();
    }

    function test_closeJob_publishedInTheLastSecondThatItCanBe() public {
        _playAllExamined();
        uint256 closeable = block.timestamp + VESTING + COMMIT;
        vm.warp(closeable - 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotCloseable.selector, closeable - 1, closeable));
        market.closeJob(job, _packLifetime());
        _publishExam();
        market.closeJob(job, _packLifetime()); // at once
        vm.assertEq(market.ledgerOf(job).refundable, ROUNDS * DEPOSIT);
    }

    function test_closeJob_whereNoAggregatorEverCame() public {
        job = _open(_terms());
        vm.warp(DEADLINE);
        _publishExam();
        market.closeJob(job, _packLifetime());
        vm.prank(owner);
        market.refund(job, owner);
        vm.assertEq(owner.balance, ROUNDS * (REWARD + FEE + DEPOSIT));
        _assertConserved();
    }

    // ------------------------------------------------------------------ not published

    /// @dev The deposits are burned: an owner's own identities may be those with the scores. What carried over is theirs still.
    function test_closeJob_anExamThatStaysSecretCostsItsDeposits() public {
        _playExamined(4, ONE);
        _playExamined(3, ONE);
        _toExamined(3);
        Settlement memory empty = _emptySettlement();
        (empty.excluded, empty.reasons) = (7, hex"010101");
        _settle(empty);
        uint256 closeable = block.timestamp + VESTING + COMMIT;
        vm.warp(closeable - 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotCloseable.selector, closeable - 1, closeable));
        market.closeJob(job, _packLifetime());
        vm.warp(closeable);
        uint256 carry = market.ledgerOf(job).carry;
        vm.assertEq(carry, REWARD + FEE + 1); // of the round that nobody was paid for
        uint256[] memory pays = new uint256[](4);
        (pays[0], pays[1], pays[2], pays[3]) = (carry * 2 / 7, carry * 2 / 7, carry * 2 / 7, carry / 7);
        uint256 dust = carry - 3 * pays[0] - pays[3];
        vm.expectEmit(address(market));
        emit IJobMarket.ExamUnpublished(job, ROUNDS * DEPOSIT);
        vm.expectEmit(address(market));
        emit IJobMarket.JobClosed(job, 3, 0, dust, _packPays(pays));
        vm.prank(stranger);
        market.closeJob(job, _packLifetime());
        vm.prank(_trainer(3));
        market.claim(job, 3, _packPays(pays), _undoHash(3), stranger);
        vm.assertEq(stranger.balance, carry / 7);
        vm.assertEq(market.ledgerOf(job).burned, ROUNDS * DEPOSIT + dust);
        vm.expectRevert(IJobMarket.NothingToPay.selector);
        vm.prank(owner);
        market.refund(job, owner);
        _assertConserved();
    }

    function test_closeJob_unpublishedAtTheDeadlineNeedsOneMoreCommitPeriod() public {
        _playExamined(3, ONE);
        vm.warp(DEADLINE + COMMIT - 1);
        vm.expectRevert(
            abi.encodeWithSelector(IJobMarket.NotCloseable.selector, DEADLINE + COMMIT - 1, DEADLINE + COMMIT)
        );
        market.closeJob(job, _packLifetime());
        vm.warp(DEADLINE + COMMIT);
        vm.expectEmit(address(market));
        emit IJobMarket.ExamUnpublished(job, ROUNDS * DEPOSIT);
        market.closeJob(job, _packLifetime());
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.refundable, 2 * (REWARD + FEE));
        vm.assertEq(ledger.exams, 0);
        _assertConserved();
    }

    /// @dev The attempt that is still open at the close costs its aggregator the bond, and the owner all deposits, which
    /// nobody gets.
    function test_closeJob_unpublishedWithAnAttemptOpen() public {
        _playExamined(3, ONE);
        _toExam(3);
        vm.warp(DEADLINE + COMMIT);
        market.closeJob(job, _packLifetime());
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.refundable, FEE + REWARD + FEE);
        // The first round's pay and dust aside: the second round's reward, by lifetime score.
        uint256 share = (REWARD + 1) / 3;
        vm.assertEq(ledger.burned, ROUNDS * DEPOSIT + BOND - 3 * COMPENSATION + (REWARD + 1) % 3);
        vm.assertEq(ledger.credits, REWARD / 3 * 3 + FEE + 3 * COMPENSATION + 3 * share);
        _assertConserved();
    }

    /// @dev Who is left with nothing to publish loses nothing by it: the last deposit is gone already.
    function test_closeJob_anOwnerWhoStopsAnswering() public {
        for (uint256 round = 0; round < ROUNDS; ++round) {
            _playRound(3, ONE);
        }
        vm.warp(block.timestamp + VESTING + COMMIT);
        vm.expectEmit(address(market));
        emit IJobMarket.ExamUnpublished(job, 0);
        market.closeJob(job, _packLifetime());
        _assertPhase(Phase.Closed);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.refundable, 0);
        vm.assertEq(ledger.credits, ROUNDS * (REWARD + FEE));
        vm.assertEq(ledger.burned, ROUNDS * DEPOSIT);
        _assertConserved();
    }

    /// @dev Nobody worked, and they are burned all the same.
    function test_closeJob_unpublishedWhereNobodyEverScoredBurns() public {
        job = _open(_terms());
        vm.warp(DEADLINE + COMMIT);
        market.closeJob(job, _packLifetime());
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.burned, ROUNDS * DEPOSIT);
        vm.assertEq(ledger.refundable, ROUNDS * (REWARD + FEE));
        _assertConserved();
    }

    function test_closeJob_aJobWithoutAnExamWaitsForNone() public {
        _startWithoutExam();
        vm.warp(DEADLINE);
        market.closeJob(job, _packLifetime());
        _assertPhase(Phase.Closed);
    }

    // ------------------------------------------------------------------ afterwards

    function test_closeJob_withExamsEverythingCanLeave() public {
        JobTerms memory terms = _terms();
        terms.aggregatorFee = 0;
        terms.roundReward = 0.9 ether; // divisible by three
        _startWith(terms);
        _playAllExamined();
        _publishExam();
        vm.warp(block.timestamp + VESTING);
        market.closeJob(job, _packLifetime());
        bytes memory pays = _packSame(3, 0.3 ether);
        for (uint256 attempt = 0; attempt < ROUNDS; ++attempt) {
            for (uint256 seat = 0; seat < 3; ++seat) {
                vm.prank(_trainer(seat));
                market.claim(job, attempt, pays, _undoHash(attempt), stranger);
            }
        }
        vm.prank(owner);
        market.refund(job, owner);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(uint256(ledger.stakes) + ledger.bonds, 5 * STAKE + 2 * BOND);
        vm.assertEq(ledger.deposited, uint256(ledger.paid) + ledger.refunded + ledger.stakes + ledger.bonds);
        vm.assertEq(stranger.balance, 2.7 ether);
        vm.assertEq(owner.balance, ROUNDS * DEPOSIT);
        _assertConserved();
    }

    function test_closeJob_noExamIsCommittedOrOpenedAfterIt() public {
        vm.warp(DEADLINE + COMMIT);
        market.closeJob(job, _packLifetime());
        uint256 attempt = _attempt();
        _expectWrongPhase(Phase.Closed, Phase.Commit);
        market.commitExam(job, attempt, SPEC);
        _expectWrongPhase(Phase.Closed, Phase.Exam);
        market.openExam(job, attempt, SPEC, "", SPEC);
    }
}
