// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Decision, IRoundRules} from "../../src/interfaces/IRoundRules.sol";
import {
    Dispute,
    Fact,
    JobId,
    JobState,
    JobTerms,
    Ledger,
    Outcome,
    Phase,
    Verdict
} from "../../src/interfaces/JobTypes.sol";
import {DisputeFixture} from "./DisputeFixture.sol";
import {ProgrammedRules} from "./ProgrammedRules.sol";
import {ReentrantActor} from "./Reentrancy.t.sol";

/// @notice Programmed rules that also mark: every exam adds one to each record.
contract MarkingRules {
    ProgrammedRules private immutable PROGRAMMED = new ProgrammedRules();

    fallback(bytes calldata input) external returns (bytes memory) {
        (bool done, bytes memory output) = address(PROGRAMMED).staticcall(input);
        require(done, "refused");
        // forge-lint: disable-next-line(unsafe-typecast)
        if (bytes4(input) != IRoundRules.decide.selector) return output;
        Decision memory decision = abi.decode(output, (Decision));
        for (uint256 i = 3; i < decision.records.length; i += 4) {
            decision.records[i] = bytes1(uint8(decision.records[i]) + 1);
        }
        return abi.encode(decision);
    }
}

/// @notice What attestors' answers do.
contract AnswerDisputeTest is DisputeFixture {
    uint256 private constant ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    // ------------------------------------------------------------------ how answers are counted

    function test_answer_aQuorumMayComeInSeveralCalls() public {
        _disputed();
        vm.expectEmit(address(market));
        emit IJobMarket.DisputeAnswered(job, 0, vm.addr(keys[0]), true);
        _answer(true, 0, 2);
        _assertPhase(Phase.Disputed);
        vm.assertEq(market.disputeOf(job).holding, 3);
        _answer(true, 4, 1);
        vm.assertEq(market.disputeOf(job).holding, 3 | 1 << 4);
        _assertPhase(Phase.Commit);
    }

    function test_answer_anAttestorCountsOnce() public {
        _disputed();
        _answer(false, 0, 2);
        _answer(false, 0, 2);
        bytes[] memory twice = new bytes[](2);
        twice[0] = _sign(keys[1], _digest(false));
        twice[1] = twice[0];
        market.answer(job, false, twice);
        vm.assertEq(market.disputeOf(job).failing, 3);
        _assertPhase(Phase.Disputed);
    }

    function test_answer_ofWhoSignsBothTheFirstCounts() public {
        _disputed();
        _answer(true, 0, 2);
        _answer(false, 0, 4); // only two of them are new
        Dispute memory dispute = market.disputeOf(job);
        vm.assertEq(dispute.holding, 3);
        vm.assertEq(dispute.failing, 12);
        _assertPhase(Phase.Disputed);
        _answer(true, 4, 1);
        _assertPhase(Phase.Commit);
        vm.assertEq(market.ledgerOf(job).burned, DISPUTE_BOND);
    }

    function test_answer_withNoSignatureChangesNothing() public {
        _disputed();
        market.answer(job, true, new bytes[](0));
        _assertPhase(Phase.Disputed);
    }

    function test_answer_inTheLastSecond() public {
        _disputed();
        vm.warp(block.timestamp + ANSWERS - 1);
        _answer(true, 0, QUORUM);
        _assertPhase(Phase.Commit);
    }

    function test_answer_failsTooLate() public {
        _disputed();
        uint256 until = block.timestamp + ANSWERS;
        vm.warp(until);
        bytes[] memory signatures = _signatures(_digest(false), 0, QUORUM);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AnswersOver.selector, until, until));
        market.answer(job, false, signatures);
    }

    function test_answer_failsWithoutADispute() public {
        _play(3);
        bytes[] memory signatures = _signatures(_digest(false), 0, QUORUM);
        _expectWrongPhase(Phase.Commit, Phase.Disputed);
        market.answer(job, false, signatures);
    }

    function test_answer_failsOnceItIsOver() public {
        _disputed();
        bytes[] memory signatures = _signatures(_digest(true), 0, QUORUM);
        market.answer(job, true, signatures);
        _expectWrongPhase(Phase.Commit, Phase.Disputed);
        market.answer(job, true, signatures);
    }

    function test_answer_failsByWhoIsNoAttestor() public {
        _disputed();
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _sign(77, _digest(false));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAttestor.selector, vm.addr(77)));
        market.answer(job, false, signatures);
    }

    function test_answer_failsForAnythingElseThanTheDispute() public {
        _disputed();
        uint256 id = JobId.unwrap(job);
        address here = address(market);
        _refuseDigest(_digestOf(block.chainid, here, id, 0, 0, Fact.Model, 0, true)); // the other verdict
        _refuseDigest(_digestOf(block.chainid, here, id + 1, 0, 0, Fact.Model, 0, false));
        _refuseDigest(_digestOf(block.chainid, here, id, 1, 0, Fact.Model, 0, false));
        _refuseDigest(_digestOf(block.chainid, here, id, 0, 1, Fact.Model, 0, false));
        _refuseDigest(_digestOf(block.chainid, here, id, 0, 0, Fact.Exclusion, 0, false));
        _refuseDigest(_digestOf(block.chainid, here, id, 0, 0, Fact.Model, 1, false));
        _refuseDigest(_digestOf(block.chainid + 1, here, id, 0, 0, Fact.Model, 0, false));
        _refuseDigest(_digestOf(block.chainid, address(this), id, 0, 0, Fact.Model, 0, false));
    }

    function test_answer_failsWithAMalleatedSignature() public {
        _disputed();
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[0], _digest(false));
        bytes32 other = bytes32(ORDER - uint256(s));
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = abi.encodePacked(r, other, v == 27 ? uint8(28) : uint8(27));
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureS.selector, other));
        market.answer(job, false, signatures);
    }

    function test_answer_failsWithAShortSignature() public {
        _disputed();
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = new bytes(64);
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureLength.selector, 64));
        market.answer(job, false, signatures);
        signatures[0] = new bytes(65);
        vm.expectRevert(ECDSA.ECDSAInvalidSignature.selector);
        market.answer(job, false, signatures);
    }

    function test_answerDigest_isTheTypedDatas() public {
        _playExcluding(4, 1 << 3);
        _dispute(_trainer(3), Fact.Exclusion);
        vm.assertEq(
            _digest(false), _digestOf(block.chainid, address(market), JobId.unwrap(job), 0, 0, Fact.Exclusion, 3, false)
        );
        vm.assertEq(
            market.answerDigest(JobId.wrap(9), 8, 7, Fact.Exam, 6, true),
            _digestOf(block.chainid, address(market), 9, 8, 7, Fact.Exam, 6, true)
        );
    }

    // ------------------------------------------------------------------ the fact holds

    function test_answer_aRightModelCostsTheDisputerItsBond() public {
        _disputed();
        JobState memory state = market.stateOf(job);
        Ledger memory ledger = market.ledgerOf(job);
        vm.warp(block.timestamp + 123);
        vm.expectEmit(address(market));
        emit IJobMarket.DisputeResolved(
            job, 0, Verdict.Holds, DISPUTE_BOND, FIRST_SETTLE + 123, FIRST_SETTLE + VESTING + 123, DEADLINE + 123
        );
        _answer(true, 0, QUORUM);

        state.attemptStart += 123;
        vm.assertEq(abi.encode(market.stateOf(job)), abi.encode(state));
        ledger.disputes -= DISPUTE_BOND;
        ledger.burned += DISPUTE_BOND;
        vm.assertEq(abi.encode(market.ledgerOf(job)), abi.encode(ledger));
        vm.assertEq(market.outcomeOf(job, 0).vestsAt, FIRST_SETTLE + VESTING + 123);
        vm.assertEq(market.termsOf(job).deadline, DEADLINE + 123);
        _expectNothingToPay();
        vm.prank(_trainer(0));
        market.withdrawDisputeBond(job, stranger);
        vm.warp(FIRST_SETTLE + VESTING + 123);
        _claim(0, 0);
        _assertConserved();
    }

    /// @dev Who earned most cannot undo what is right: each of them loses its bond, and the round stands.
    function test_answer_anAcceptedMajorityCannotExtort() public {
        _playExcluding(5, 1 << 4);
        bytes32 model = market.stateOf(job).model;
        _dispute(_trainer(0), Fact.Model);
        _answer(true, 0, QUORUM);
        _dispute(_trainer(4), Fact.Exclusion);
        _answer(true, 2, QUORUM);
        vm.assertEq(market.stateOf(job).model, model);
        vm.assertEq(market.stateOf(job).round, 1);
        vm.assertEq(market.ledgerOf(job).burned, 2 * DISPUTE_BOND);
        vm.assertEq(market.ledgerOf(job).credits, REWARD * 4 / 5 + FEE);
        _assertConserved();
    }

    /// @dev What was sealed before goes on as if nothing had been.
    function test_answer_theAttemptThatWaitedGoesOn() public {
        _play(3);
        _commitFirst(3);
        vm.warp(block.timestamp + 30);
        _dispute(owner, Fact.Model);
        vm.warp(block.timestamp + 400);
        _answer(true, 0, QUORUM);
        vm.warp(FIRST_SETTLE + COMMIT + 400 - 1);
        _assertPhase(Phase.Commit);
        _warpToReveal();
        _revealFirst(3);
        _warpToSettle();
        _settleNoted(_excluding(0));
        vm.assertEq(market.stateOf(job).round, 2);
        vm.assertEq(market.ledgerOf(job).stakes, 5 * STAKE);
    }

    // ------------------------------------------------------------------ the fact fails

    function test_answer_aFalseModelUndoesItsRound() public {
        _disputed();
        vm.warp(block.timestamp + 200);
        bytes memory compensation = _packSame(4, COMPENSATION);
        vm.expectEmit(address(market));
        emit IJobMarket.DisputeResolved(job, 0, Verdict.Fails, 0, 0, 0, DEADLINE + 200);
        vm.expectEmit(address(market));
        emit IJobMarket.AttemptUndone(job, 0, 0, aggregator, BOND - 4 * COMPENSATION, compensation, block.timestamp);
        vm.expectEmit(address(market));
        emit IJobMarket.AttemptStarted(job, 0, 2, successor, block.timestamp, 1 << 16, 2);
        _undo();

        _assertUndone(2, block.timestamp);
        vm.assertEq(market.stateOf(job).model, MODEL);
        vm.assertEq(market.disputeBondOf(job, _trainer(0)), DISPUTE_BOND);
        vm.assertEq(market.aggregatorsOf(job).length, 1);
        vm.assertEq(market.bondOf(job, aggregator), 0);
        Outcome memory outcome = market.outcomeOf(job, 0);
        vm.assertEq(outcome.vestsAt, block.timestamp);
        vm.assertEq(outcome.aggregator, address(0));
        vm.assertEq(bytes32(outcome.payHash), _payHash(0, compensation));
        _assertPhase(Phase.Commit);
    }

    function test_answer_compensationIsClaimedAtOnceAndThePaysNever() public {
        _disputed();
        bytes32 undoHash = _undoHash(0);
        bytes memory undone = pays[0];
        _undo();
        pays[0] = _packSame(4, COMPENSATION);
        for (uint256 seat = 0; seat < 4; ++seat) {
            uint256 balance = _trainer(seat).balance;
            _claim(seat, 0);
            vm.assertEq(_trainer(seat).balance - balance, COMPENSATION);
        }
        vm.prank(_trainer(0));
        vm.expectPartialRevert(IJobMarket.PayMismatch.selector);
        market.claim(job, 0, undone, undoHash, stranger);
        vm.prank(_trainer(0));
        vm.expectPartialRevert(IJobMarket.PayMismatch.selector);
        market.claim(job, 0, undone, 0, stranger);
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyClaimed.selector, 0, 0));
        market.claim(job, 0, pays[0], 0, stranger);
        vm.warp(DEADLINE + ANSWERS);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAggregator.selector, aggregator, address(0)));
        market.claimFee(job, 0, aggregator);
        vm.assertEq(market.ledgerOf(job).credits, 0);
        _assertConserved();
    }

    function test_answer_theRoundRunsAgainAndPays() public {
        _disputed();
        _undo();
        _play(4);
        vm.assertEq(market.stateOf(job).round, 1);
        vm.assertEq(market.outcomeOf(job, 2).aggregator, successor);
        vm.warp(block.timestamp + VESTING);
        _claim(3, 2);
        vm.assertEq(_trainer(3).balance, REWARD / 4);
        vm.prank(successor);
        market.claimFee(job, 2, stranger);
        vm.assertEq(stranger.balance, FEE);
        _assertConserved();
    }

    function test_answer_withoutASuccessorTheRoundWaitsForOne() public {
        vm.prank(successor);
        market.withdrawBond(job, successor);
        _disputed();
        _undo();
        _assertUndone(2, 0);
        _assertPhase(Phase.AwaitingAggregator);
        _bond(aggregator); // again
        _play(3);
        vm.assertEq(market.stateOf(job).round, 1);
    }

    function test_answer_whatWasCommittedSinceIsVoidAndCostsNobodyAStake() public {
        _play(4);
        _commitFirst(4);
        _dispute(_trainer(0), Fact.Model);
        vm.prank(_trainer(1));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyCommitted.selector, 1));
        market.withdrawStake(job, _trainer(1));
        _undo();
        _assertUndone(2, block.timestamp);
        vm.prank(_trainer(1));
        market.withdrawStake(job, _trainer(1));
        vm.assertEq(market.sealAt(job, 0), 0);
        _warpToReveal();
        _assertPhase(Phase.Starved);
        market.skipRound(job, 2);
        vm.assertEq(market.ledgerOf(job).stakes, 4 * STAKE);
        vm.assertEq(market.ledgerOf(job).carry, REWARD); // it had its minimum once
        _assertConserved();
    }

    function test_answer_whoDidNotRevealHasLostItsStakeAnyway() public {
        _toSettle(4, 3);
        _settleNoted(_excluding(0));
        _disputeAndUndo(owner, Fact.Model);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.stakes, 4 * STAKE);
        vm.assertEq(ledger.burned, STAKE + BOND - 3 * COMPENSATION);
        vm.assertEq(market.stateOf(job).staked, 1 << 4 | 7);
        _assertConserved();
    }

    function test_answer_theStepGoesBackToo() public {
        _toSettle(3, 3);
        Decision memory decision = _decision(_scores(ONE, ONE, ONE));
        decision.nextStepQ16 = 1 << 15;
        _settleNoted(_settlement(decision));
        vm.assertEq(market.stateOf(job).stepQ16, 1 << 15);
        _disputeAndUndo(owner, Fact.Model);
        _assertUndone(2, block.timestamp);
    }

    function test_answer_aPotGivesBackWhatItTookOfTheCarry() public {
        _toSettle(3, 3);
        Decision memory unpaid = _decision(_scores(0, 0, 0));
        unpaid.paid = false;
        _settleNoted(_settlement(unpaid));
        _play(3);
        vm.assertEq(market.ledgerOf(job).carry, 2);
        _disputeAndUndo(_trainer(0), Fact.Model);
        _assertUndone(2, block.timestamp);
        vm.assertEq(market.ledgerOf(job).carry, REWARD);
        _play(3);
        vm.assertEq(market.ledgerOf(job).carry, 2);
        vm.assertEq(market.ledgerOf(job).budget, REWARD + FEE);
    }

    function test_answer_byPriceTheOwnerHasNotHadWhatComesBack() public {
        _startWith(_priceTerms());
        _play(3);
        uint128 returned = REWARD - 3 * (REWARD / SEATS);
        vm.assertEq(market.ledgerOf(job).refundable, returned);
        _refuseRefund(FIRST_SETTLE + VESTING);
        _dispute(_trainer(0), Fact.Model);
        _refuseRefund(type(uint40).max);
        vm.warp(block.timestamp + ANSWERS - 1);
        _refuseRefund(type(uint40).max);
        _undo();
        _assertUndone(2, block.timestamp);
        vm.assertEq(market.ledgerOf(job).refundable, 0);
        _play(3);
        vm.warp(block.timestamp + VESTING);
        vm.prank(owner);
        market.refund(job, stranger);
        vm.assertEq(stranger.balance, returned);
        _assertConserved();
    }

    function test_answer_twoUndoneAttemptsOfOneRound() public {
        _disputed();
        _undo();
        _bond(aggregator);
        _play(3);
        _disputeAndUndo(_trainer(1), Fact.Model);
        vm.assertEq(market.stateOf(job).round, 0);
        vm.assertEq(market.stateOf(job).attempt, 4);
        vm.assertEq(market.aggregatorsOf(job)[0], aggregator);
        vm.assertEq(market.ledgerOf(job).disputes, 2 * DISPUTE_BOND);
        vm.assertEq(market.ledgerOf(job).credits, 7 * COMPENSATION);
        _play(3);
        vm.assertEq(market.stateOf(job).round, 1);
        vm.assertEq(market.outcomeOf(job, 4).aggregator, aggregator);
        _assertConserved();
    }

    function test_answer_theBrokenCannotLeaveWithItsBondMeanwhile() public {
        _play(3);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BondInUse.selector, aggregator));
        market.withdrawBond(job, aggregator);
        _dispute(_trainer(0), Fact.Model);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BondInUse.selector, aggregator));
        market.withdrawBond(job, aggregator);
        vm.prank(successor); // nobody is held to what it did not do
        market.withdrawBond(job, successor);
        _undo();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotBonded.selector, aggregator));
        market.withdrawBond(job, aggregator);
    }

    // ------------------------------------------------------------------ the last round

    function test_answer_inTheLastRoundTheJobGoesOn() public {
        _playAll();
        _disputeAndUndo(owner, Fact.Model);
        _assertUndone(1, block.timestamp);
        _assertPhase(Phase.Commit);
        vm.assertEq(market.stateOf(job).round, ROUNDS - 1);
        _play(3);
        _assertPhase(Phase.Finished);
        vm.warp(block.timestamp + VESTING);
        market.closeJob(job, _packLifetime());
        vm.assertEq(market.ledgerOf(job).refundable, 0);
        _assertConserved();
    }

    /// @dev Where no attempt fits any more, trainers are paid for the round by what they did in the others.
    function test_answer_withNoTimeLeftTheRewardIsDividedAtTheClose() public {
        JobTerms memory terms = _terms();
        terms.deadline = FIRST_SETTLE + COMMIT + REVEAL + SETTLE;
        _startWith(terms);
        _play(3);
        _play(3);
        _assertPhase(Phase.Finished);
        _dispute(owner, Fact.Model);
        vm.warp(block.timestamp + 77);
        _undo();
        _assertUndone(1, 0);
        _assertPhase(Phase.Finished);
        uint256 deadline = terms.deadline + 77;
        vm.warp(deadline - 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotCloseable.selector, deadline - 1, deadline));
        market.closeJob(job, _packLifetime());
        vm.warp(deadline);
        uint128 share = (REWARD + 1) / 3; // one more of the first round's rounding
        vm.expectEmit(address(market));
        emit IJobMarket.JobClosed(job, 2, REWARD + 2 * FEE, REWARD + 1 - 3 * share, _packSame(3, share));
        market.closeJob(job, _packLifetime());
        vm.prank(owner);
        market.withdrawDisputeBond(job, owner);
        _assertConserved();
    }

    // ------------------------------------------------------------------ exclusions

    function test_answer_aWrongExclusionUndoesTheRound() public {
        _playExcluding(4, 1 << 3);
        _disputeAndUndo(_trainer(3), Fact.Exclusion);
        _assertUndone(2, block.timestamp);
        vm.prank(_trainer(3));
        market.withdrawDisputeBond(job, stranger);
        vm.assertEq(stranger.balance, DISPUTE_BOND);
    }

    function test_answer_seatsContestOneAfterTheOther() public {
        _playExcluding(5, 1 << 3 | 1 << 4);
        _dispute(_trainer(3), Fact.Exclusion);
        vm.warp(block.timestamp + 100);
        _answer(true, 0, QUORUM);
        vm.warp(block.timestamp + VESTING - 1);
        _dispute(_trainer(4), Fact.Exclusion);
        ledgerBefore.deposited += DISPUTE_BOND; // the first one's
        ledgerBefore.burned += DISPUTE_BOND;
        vm.warp(block.timestamp + 100);
        _undo();
        _assertUndone(2, block.timestamp);
        vm.assertEq(market.termsOf(job).deadline, DEADLINE + 200);
    }

    function test_answer_whoExcludesEverybodyLosesItsBond() public {
        _playExcluding(4, 15);
        vm.assertEq(market.ledgerOf(job).carry, REWARD + FEE);
        vm.assertTrue(market.outcomeOf(job, 0).feeGone);
        _disputeAndUndo(_trainer(1), Fact.Exclusion);
        _assertUndone(2, block.timestamp); // the fee that was never due is the round's again
        _play(4);
        vm.assertEq(market.ledgerOf(job).credits, 4 * COMPENSATION + REWARD + FEE);
    }

    // ------------------------------------------------------------------ exams

    function test_answer_anUndoneRoundsExamIsMissedOnce() public {
        _startWith(_examTerms());
        _play(3);
        vm.assertEq(market.ledgerOf(job).exams, (ROUNDS - 1) * EXAM_DEPOSIT);
        vm.assertEq(market.ledgerOf(job).burned, EXAM_DEPOSIT);
        _disputeAndUndo(_trainer(0), Fact.Model);
        _assertUndone(2, block.timestamp);
        vm.assertEq(market.ledgerOf(job).exams, ROUNDS * EXAM_DEPOSIT);
        _play(3);
        vm.assertEq(market.ledgerOf(job).exams, (ROUNDS - 1) * EXAM_DEPOSIT);
        _sit(3);
        vm.assertEq(market.ledgerOf(job).exams, (ROUNDS - 1) * EXAM_DEPOSIT);
        vm.assertEq(market.ledgerOf(job).burned, EXAM_DEPOSIT + BOND - 3 * COMPENSATION);
        _assertConserved();
    }

    function test_answer_recordsGoBackToo() public {
        _deploy(IRoundRules(address(new MarkingRules())));
        _startWith(_examTerms());
        _sit(3);
        bytes32 records = market.stateOf(job).recordsHash;
        _sit(3);
        vm.assertNotEq(market.stateOf(job).recordsHash, records);
        _disputeAndUndo(_trainer(0), Fact.Model);
        _assertUndone(2, block.timestamp);
        vm.assertEq(market.stateOf(job).recordsHash, records);
        _sit(3); // its slice is another one
        vm.assertEq(market.stateOf(job).round, 2);
    }

    /// @dev Else a round that is undone would run again with every slice public.
    function test_publishExam_notBeforeTheLastSettlementIsFinal() public {
        _startWith(_examTerms());
        _sit(3);
        _sit(3);
        _sit(3);
        uint256 vestsAt = block.timestamp + VESTING;
        vm.warp(vestsAt - 1);
        vm.prank(examiner);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotVested.selector, vestsAt - 1, vestsAt));
        market.publishExam(job, BOOK);
        vm.warp(vestsAt);
        _publishExam();
        bytes memory tooLate = abi.encodeWithSelector(IJobMarket.DisputeTooLate.selector, vestsAt, vestsAt);
        _refuseDispute(_trainer(0), Fact.Model, tooLate);
    }

    function test_answer_aFalseExamCostsEveryDepositThatIsLeft() public {
        _startWith(_examTerms());
        _sit(3);
        _sit(3);
        _sit(3);
        _publishVested();
        vm.warp(block.timestamp + VESTING - 1);
        Ledger memory ledger = market.ledgerOf(job);
        _disputeExam(_trainer(4), 0);
        vm.warp(block.timestamp + 10);
        vm.expectEmit(address(market));
        emit IJobMarket.ExamRefuted(job, 0, ROUNDS * EXAM_DEPOSIT);
        _answer(false, 1, QUORUM);
        _assertPhase(Phase.Finished);
        vm.assertEq(market.ledgerOf(job).exams, 0);
        vm.assertEq(market.ledgerOf(job).burned, ledger.burned + ROUNDS * EXAM_DEPOSIT); // to nobody
        vm.assertEq(market.ledgerOf(job).carry, ledger.carry);
        vm.warp(block.timestamp + 1);
        uint128 carry = ledger.carry;
        vm.expectEmit(address(market));
        emit IJobMarket.JobClosed(job, ROUNDS, 0, carry - carry / 3 * 3, _packSame(3, carry / 3));
        market.closeJob(job, _packLifetime());
        vm.prank(_trainer(4));
        market.withdrawDisputeBond(job, stranger); // after the close, too
        vm.assertEq(stranger.balance, DISPUTE_BOND);
        _assertConserved();
    }

    function test_answer_aRightExamCostsTheDisputerItsBond() public {
        _startWith(_examTerms());
        _sit(3);
        _sit(3);
        _sit(3);
        _publishVested();
        _disputeExam(_trainer(4), 2);
        _answer(true, 1, QUORUM);
        vm.assertEq(market.ledgerOf(job).exams, ROUNDS * EXAM_DEPOSIT);
        vm.assertEq(market.ledgerOf(job).burned, DISPUTE_BOND);
    }

    // ------------------------------------------------------------------ bonds

    function test_withdrawDisputeBond_onceAndToAnyAddress() public {
        _disputed();
        _undo();
        vm.expectEmit(address(market));
        emit IJobMarket.DisputeBondWithdrawn(job, _trainer(0), stranger, DISPUTE_BOND);
        vm.prank(_trainer(0));
        market.withdrawDisputeBond(job, stranger);
        vm.assertEq(stranger.balance, DISPUTE_BOND);
        vm.assertEq(market.ledgerOf(job).disputes, 0);
        _expectNothingToPay();
        vm.prank(_trainer(0));
        market.withdrawDisputeBond(job, stranger);
        _assertConserved();
    }

    function test_withdrawDisputeBond_failsWhileItIsOpen() public {
        _disputed();
        _expectNothingToPay();
        vm.prank(_trainer(0));
        market.withdrawDisputeBond(job, stranger);
    }

    function test_withdrawDisputeBond_failsToNobody() public {
        _disputed();
        _undo();
        vm.prank(_trainer(0));
        vm.expectRevert(IJobMarket.ZeroAddress.selector);
        market.withdrawDisputeBond(job, address(0));
    }

    function test_withdrawDisputeBond_cannotBeReentered() public {
        _play(3);
        _disputeAndUndo(owner, Fact.Model);
        vm.etch(owner, address(new ReentrantActor()).code);
        ReentrantActor actor = ReentrantActor(payable(owner));
        bytes memory withdraw = abi.encodeCall(market.withdrawDisputeBond, (job, owner));
        actor.arm(address(market), withdraw);
        actor.act(address(market), 0, withdraw);
        vm.assertTrue(actor.entered());
        vm.assertFalse(actor.succeeded());
        vm.assertEq(actor.result(), abi.encodeWithSelector(ReentrancyGuard.ReentrancyGuardReentrantCall.selector));
        vm.assertEq(owner.balance, DISPUTE_BOND);
        _assertConserved();
    }

    // ------------------------------------------------------------------ fuzz

    /// @dev Whatever the amounts and however long it takes: an undone round leaves nothing but its costs.
    function testFuzz_answer_undoesExactly(uint256 frozen, uint96 reward, uint96 fee, uint256 seats) public {
        JobTerms memory terms = _terms();
        terms.roundReward = uint128(bound(reward, 1, type(uint96).max));
        terms.aggregatorFee = fee;
        terms.trainerStake = 2 * terms.roundReward;
        terms.aggregatorBond = terms.roundReward + SEATS * COMPENSATION;
        _startWith(terms);
        _playExcluding(5, uint64(bound(seats, 1, 30)));
        _dispute(owner, Fact.Model);
        vm.warp(block.timestamp + bound(frozen, 0, ANSWERS - 1));
        _undo();
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.budget, ledgerBefore.budget);
        vm.assertEq(ledger.carry, ledgerBefore.carry);
        vm.assertEq(ledger.refundable, ledgerBefore.refundable);
        vm.assertEq(ledger.credits, 5 * COMPENSATION);
        vm.assertEq(ledger.burned, terms.aggregatorBond - 5 * COMPENSATION);
        vm.assertEq(market.stateOf(job).attemptStart, block.timestamp);
        _assertConserved();
    }

    // ------------------------------------------------------------------ how to get there

    /// @dev The first round was settled with four updates, and its model is disputed at once.
    function _disputed() private {
        _play(4);
        _dispute(_trainer(0), Fact.Model);
    }

    function _playAll() private {
        for (uint256 round = 0; round < ROUNDS; ++round) {
            _play(3);
        }
    }

    function _refuseDigest(bytes32 digest) private {
        vm.assertNotEq(digest, _digest(false));
        bytes[] memory signatures = _signatures(digest, 0, QUORUM);
        vm.expectPartialRevert(IJobMarket.NotAttestor.selector);
        market.answer(job, false, signatures);
    }

    function _refuseRefund(uint256 vestsAt) private {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotVested.selector, block.timestamp, vestsAt));
        vm.prank(owner);
        market.refund(job, owner);
    }

    function _expectNothingToPay() private {
        vm.expectRevert(IJobMarket.NothingToPay.selector);
    }

    /// @dev EIP-712, from its text.
    function _digestOf(
        uint256 chain,
        address where,
        uint256 id,
        uint256 round,
        uint256 attempt,
        Fact fact,
        uint256 seat,
        bool holds
    ) private pure returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("fedmarket"),
                keccak256("1"),
                chain,
                where
            )
        );
        bytes32 kind = keccak256("Answer(uint256 job,uint256 round,uint256 attempt,uint8 fact,uint256 seat,bool holds)");
        bytes32 message =
            keccak256(bytes.concat(abi.encode(kind, id, round), abi.encode(attempt, uint256(fact), seat, holds)));
        return keccak256(abi.encodePacked(hex"1901", domain, message));
    }
}
