// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IGramVerifier} from "../../src/interfaces/IGramVerifier.sol";
import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {IRoundRules} from "../../src/interfaces/IRoundRules.sol";
import {ExclusionReason, JobTerms, Ledger, PayMode, Phase, Settlement} from "../../src/interfaces/JobTypes.sol";
import {ExamFixture} from "./ExamFixture.sol";
import {packedLength} from "./ProgrammedRules.sol";

/// @notice Whether a round's exam counts is decided by what was opened, and what it costs by whether it was.
contract SettleExamTest is ExamFixture {
    // ------------------------------------------------------------------ an exam that counts

    function test_settleRound_anExamThatIsOpenedCountsAndCostsNothing() public {
        _toExamined(3);
        Settlement memory settlement = _examined(3, ONE);
        _settle(settlement);
        vm.assertEq(settlement.gram.length, packedLength(3, true));
        vm.assertEq(settlement.exam.length, 64);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.exams, ROUNDS * DEPOSIT);
        vm.assertEq(ledger.credits, REWARD / 3 * 3 + FEE);
        vm.assertEq(ledger.carry, 1);
        vm.assertEq(market.stateOf(job).model, keccak256("new model"));
        _assertConserved();
    }

    function test_settleRound_everyRoundHasAnExamOfItsOwn() public {
        _playAllExamined();
        _assertPhase(Phase.Finished);
        (, bytes32 first) = market.examOf(job, 0);
        (, bytes32 last) = market.examOf(job, 2);
        vm.assertNotEq(first, last);
        vm.assertEq(market.ledgerOf(job).exams, ROUNDS * DEPOSIT);
    }

    function test_settleRound_anExamOfTwoChunks() public {
        JobTerms memory terms = _terms();
        terms.chunks = 2;
        _startWith(terms);
        _playExamined(4, ONE);
        vm.assertEq(market.stateOf(job).round, 1);
    }

    /// @dev r's products are proven as everybody's are.
    function test_settleRound_failsIfAProductWithTheExamIsFalse() public {
        _toExamined(3);
        Settlement memory settlement = _examined(3, ONE);
        _prove(market, job, settlement);
        settlement.gram[settlement.gram.length - 1] ^= 0x01; // of r with itself
        _refuse(settlement, abi.encodeWithSelector(IGramVerifier.SumsMismatch.selector, 0));
    }

    /// @dev The right commitment beside a proof about another r.
    function test_settleRound_failsIfTheProofIsOfAnotherExam() public {
        _warpToCommit();
        bytes memory opened = _commitment(4);
        _commitExam(_sealOf(owner, keccak256(opened), _examContent(), _examSalt()));
        _commitFirst(3);
        _warpToReveal();
        _revealFirst(3);
        _warpToExam();
        market.openExam(job, 0, _examContent(), opened, _examSalt());
        _warpToSettle();
        Settlement memory settlement = _examined(3, ONE);
        _prove(market, job, settlement); // of what the fixture would have opened
        settlement.exam = opened;
        _refuse(settlement, abi.encodeWithSelector(IGramVerifier.SumsMismatch.selector, 0));
    }

    // ------------------------------------------------------------------ another exam than was opened

    function test_settleRound_failsWithAnotherExamThanWasOpened() public {
        _toExamined(3);
        bytes32 opened = keccak256(_examCommitment());
        Settlement memory settlement = _examined(3, ONE);
        _prove(market, job, settlement);
        settlement.exam = _commitment(0);
        _refuse(settlement, _mismatch(settlement.exam, opened));
        settlement.exam = bytes.concat(_examCommitment(), _examCommitment());
        _refuse(settlement, _mismatch(settlement.exam, opened));
    }

    function test_settleRound_failsAsIfThereWereNoExamWhereOneWasOpened() public {
        _toExamined(3);
        bytes32 opened = keccak256(_examCommitment());
        _refuse(_settlement(_scores(ONE, ONE, ONE)), _mismatch("", opened));
    }

    /// @dev Nor does the commitment alone do, with a matrix that r has no row in.
    function test_settleRound_failsWithAMatrixWithoutTheExamsRow() public {
        _toExamined(3);
        Settlement memory settlement = _settlement(_scores(ONE, ONE, ONE));
        settlement.exam = _examCommitment();
        settlement.records = new bytes(4 * SEATS);
        _refuse(settlement, _gramLength(packedLength(3, false), packedLength(3, true)));
    }

    function test_settleRound_failsWithAnExamWhereNoneWasOpened() public {
        _toExam(3);
        _warpToSettle();
        _refuseExam();
        _startWith(_terms());
        _toSettle(3, 3); // nor committed
        _refuseExam();
        _startWithoutExam();
        _toSettle(3, 3);
        _refuseExam();
    }

    function test_settleRound_failsWithAMatrixWithARowTooManyWhereNoneWasOpened() public {
        _toSettle(3, 3);
        Settlement memory settlement = _settlement(_decision(_scores(ONE, ONE, ONE)), true);
        _refuse(settlement, _gramLength(packedLength(3, true), packedLength(3, false)));
    }

    function test_openJob_withoutAnExamKeepsNoRecords() public {
        vm.assertEq(market.stateOf(job).recordsHash, keccak256(new bytes(4 * SEATS)));
        _startWithoutExam();
        vm.assertEq(market.stateOf(job).recordsHash, 0);
    }

    // ------------------------------------------------------------------ left out

    /// @dev On record, and it costs the owner nothing: the aggregator may never have got r. It costs the aggregator its fee.
    function test_settleRound_anOpenedExamCanBeLeftOutWithAReason() public {
        for (uint8 reason = 1; reason <= uint8(type(ExclusionReason).max); ++reason) {
            _startWith(_terms());
            _toExamined(3);
            Settlement memory settlement = _settlement(_scores(ONE, ONE, ONE));
            settlement.examReason = reason;
            _prove(market, job, settlement);
            vm.assertEq(settlement.exam.length, 0);
            vm.expectEmit(address(market));
            emit IJobMarket.ExamExcluded(job, 0, ExclusionReason(reason));
            _handIn(settlement);
            vm.assertEq(market.ledgerOf(job).exams, ROUNDS * DEPOSIT);
            vm.assertEq(market.ledgerOf(job).refundable, 0);
            vm.assertEq(market.ledgerOf(job).credits, REWARD / 3 * 3);
            vm.assertEq(market.ledgerOf(job).carry, FEE + REWARD % 3);
            _assertConserved();
        }
    }

    function test_settleRound_failsIfAnExamIsLeftOutAndHandedIn() public {
        _toExamined(3);
        Settlement memory settlement = _examined(3, ONE);
        settlement.examReason = uint8(ExclusionReason.Mismatch);
        settlement.exam = _examCommitment();
        _refuse(settlement, _mismatch(settlement.exam, keccak256("")));
    }

    function test_settleRound_failsWithAReasonWhereNothingWasOpened() public {
        _toExam(3);
        _warpToSettle();
        Settlement memory settlement = _settlement(_scores(ONE, ONE, ONE));
        settlement.examReason = uint8(ExclusionReason.Unavailable);
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.ExamNotOpened.selector, 0));
        _startWithoutExam();
        _toSettle(3, 3);
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.ExamNotOpened.selector, 0));
    }

    function test_settleRound_failsWithAnUnknownReasonToLeaveTheExamOut() public {
        _toExamined(3);
        Settlement memory settlement = _settlement(_scores(ONE, ONE, ONE));
        settlement.examReason = 4;
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.InvalidExamReason.selector, 4));
        settlement.examReason = 255;
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.InvalidExamReason.selector, 255));
    }

    // ------------------------------------------------------------------ missed

    /// @dev It is in no round's pot: an owner's own identities would have their share of it.
    function test_settleRound_aMissedExamCostsADepositThatGoesToNobody() public {
        _toExam(3); // committed, and not opened
        _warpToSettle();
        Settlement memory settlement = _settlement(_scores(ONE, ONE, 2 * ONE));
        _prove(market, job, settlement);
        vm.expectEmit(address(market));
        emit IJobMarket.ExamMissed(job, 0, DEPOSIT);
        _handIn(settlement);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.exams, 2 * DEPOSIT);
        vm.assertEq(ledger.burned, DEPOSIT);
        vm.assertEq(ledger.carry, 0);
        vm.assertEq(ledger.credits, REWARD + FEE);
        _assertConserved();

        (lifetimeScores[0], lifetimeScores[1], lifetimeScores[2]) = (ONE, ONE, 2 * ONE);
        _toExamined(3);
        settlement = _examined(3, ONE);
        _settle(settlement);
        vm.assertEq(market.ledgerOf(job).credits, REWARD + FEE + REWARD / 3 * 3 + FEE);
        vm.assertEq(market.ledgerOf(job).burned, DEPOSIT);
        vm.assertEq(market.ledgerOf(job).exams, 2 * DEPOSIT);
        _assertConserved();
    }

    function test_settleRound_anExamThatWasNeverCommittedIsMissed() public {
        _playRound(3, ONE);
        vm.assertEq(market.ledgerOf(job).exams, 2 * DEPOSIT);
        vm.assertEq(market.ledgerOf(job).burned, DEPOSIT);
        vm.assertEq(market.ledgerOf(job).carry, 1);
    }

    /// @dev An owner who is gone: every round is settled without it, and pays.
    function test_settleRound_anOwnerWhoStopsAnsweringStopsNothing() public {
        for (uint256 round = 0; round < ROUNDS; ++round) {
            _playRound(3, ONE);
        }
        _assertPhase(Phase.Finished);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.exams, 0);
        vm.assertEq(ledger.refundable, 0);
        vm.assertEq(uint256(ledger.credits) + ledger.carry, ROUNDS * (REWARD + FEE));
        vm.assertEq(ledger.burned, ROUNDS * DEPOSIT);
        _assertConserved();
    }

    function test_settleRound_withNobodyLeftAMissingOpeningStillCosts() public {
        _toSettle(3, 3);
        Settlement memory settlement = _emptySettlement();
        (settlement.excluded, settlement.reasons) = (7, hex"010101");
        vm.expectEmit(address(market));
        emit IJobMarket.ExamMissed(job, 0, DEPOSIT);
        _settle(settlement);
        vm.assertEq(market.ledgerOf(job).carry, REWARD + FEE);
        vm.assertEq(market.ledgerOf(job).burned, DEPOSIT);
        _toSettle(3, 0);
        _settle(_emptySettlement());
        vm.assertEq(market.ledgerOf(job).carry, 2 * (REWARD + FEE));
        vm.assertEq(market.ledgerOf(job).burned, 2 * DEPOSIT + 3 * STAKE);
        _assertConserved();
    }

    function test_settleRound_withNobodyLeftAnOpenedExamIsNotNeeded() public {
        _toExamined(3);
        Settlement memory settlement = _emptySettlement();
        (settlement.excluded, settlement.reasons) = (7, hex"010101");
        _settle(settlement);
        vm.assertEq(market.ledgerOf(job).exams, ROUNDS * DEPOSIT);
        vm.assertEq(market.ledgerOf(job).carry, REWARD + FEE);
    }

    /// @dev What the aggregator lost is not the examiner's fault, and a slice is gone with every attempt.
    function test_expireRound_costsNoDeposit() public {
        _toSettle(3, 3);
        _warpToOverdue();
        market.expireRound(job, 0);
        vm.assertEq(market.ledgerOf(job).exams, ROUNDS * DEPOSIT);
        _playExamined(3, ONE);
        vm.assertEq(market.ledgerOf(job).exams, ROUNDS * DEPOSIT);
        _assertConserved();
    }

    function test_skipRound_costsNoDeposit() public {
        _warpToReveal();
        market.skipRound(job, 0);
        vm.assertEq(market.ledgerOf(job).exams, ROUNDS * DEPOSIT);
        _playExamined(3, ONE);
        vm.assertEq(market.ledgerOf(job).exams, ROUNDS * DEPOSIT);
    }

    function test_settleRound_anAttemptBeyondTheSlicesGoesWithoutAnExamAndCostsNothing() public {
        _expire(0);
        _expire(1);
        _expire(2);
        _playExamined(3, ONE); // attempt 3 has the last of the four slices
        vm.assertEq(market.ledgerOf(job).exams, ROUNDS * DEPOSIT);
        _playRound(3, ONE);
        _playRound(3, ONE);
        _assertPhase(Phase.Finished);
        vm.assertEq(market.ledgerOf(job).exams, ROUNDS * DEPOSIT);
        _assertConserved();
    }

    // ------------------------------------------------------------------ price

    function test_settleRound_priceReturnsTheRestWhereAnExamCountsAndSomebodyPasses() public {
        _startWith(_priceOfExams());
        _toExamined(3);
        _settle(_settlement(_decision(_scores(ONE, 0, 0)), true));
        vm.assertEq(market.ledgerOf(job).refundable, REWARD - REWARD / SEATS);
        vm.assertEq(market.ledgerOf(job).carry, 0);
        _assertConserved();
    }

    /// @dev An exam that nobody can pass earns the owner nothing.
    function test_settleRound_priceReturnsNothingWhereNobodyPasses() public {
        _startWith(_priceOfExams());
        _toExamined(3);
        _settle(_examined(3, 0));
        vm.assertEq(market.ledgerOf(job).refundable, 0);
        vm.assertEq(market.ledgerOf(job).carry, REWARD);
        _assertConserved();
    }

    function test_settleRound_priceReturnsNothingWhereTheExamIsMissed() public {
        _startWith(_priceOfExams());
        _toSettle(3, 3);
        _settle(_settlement(_scores(ONE, 0, 0)));
        vm.assertEq(market.ledgerOf(job).refundable, 0);
        vm.assertEq(market.ledgerOf(job).carry, REWARD - REWARD / SEATS);
        vm.assertEq(market.ledgerOf(job).burned, DEPOSIT);
        _assertConserved();
    }

    function test_settleRound_priceReturnsNothingWhereTheExamIsLeftOut() public {
        _startWith(_priceOfExams());
        _toExamined(3);
        Settlement memory settlement = _settlement(_scores(ONE, 0, 0));
        settlement.examReason = 1;
        _settle(settlement);
        vm.assertEq(market.ledgerOf(job).refundable, 0);
        vm.assertEq(market.ledgerOf(job).carry, REWARD - REWARD / SEATS + FEE);
        _assertConserved();
    }

    /// @dev Whatever happens to exams and whatever rules decide: in a pot nothing returns to the owner, by price nothing
    /// of a round without an exam or without pay, and no wei is lost.
    function testFuzz_settleRound_ownersGainByNoExamThatDoesNotCount(
        uint64[3] memory scores,
        uint8 opened,
        uint8 reason,
        bool pot
    ) public {
        _startWith(pot ? _terms() : _priceOfExams());
        if (opened % 2 == 0) _toExamined(3);
        else _toSettle(3, 3);
        bool counts = opened % 2 == 0 && reason % 4 == 0;
        Settlement memory settlement = _settlement(_decision(_scores(scores[0], scores[1], scores[2])), counts);
        settlement.examReason = opened % 2 == 0 ? reason % 4 : 0;
        _settle(settlement);
        Ledger memory ledger = market.ledgerOf(job);
        uint256 lost = opened % 2 == 0 ? 0 : DEPOSIT;
        vm.assertEq(ledger.exams, ROUNDS * DEPOSIT - lost);
        vm.assertEq(ledger.burned, lost);
        vm.assertEq(ledger.credits + uint256(ledger.carry) + ledger.refundable, REWARD + FEE);
        bool feeDue = settlement.examReason == 0;
        vm.assertEq(market.outcomeOf(job, 0).feeGone, !feeDue);
        if (pot || !counts || ledger.credits == (feeDue ? FEE : 0)) vm.assertEq(ledger.refundable, 0);
        _assertConserved();
    }

    // ------------------------------------------------------------------ parts

    function _priceOfExams() private view returns (JobTerms memory terms) {
        terms = _priceTerms();
        vm.assertEq(uint256(terms.payMode), uint256(PayMode.Price));
    }

    function _expire(uint256 attempt) private {
        _toExam(3);
        _warpToOverdue();
        if (attempt == 1) _bond(aggregator);
        if (attempt == 2) _bond(successor);
        market.expireRound(job, attempt);
    }

    function _refuseExam() private {
        Settlement memory settlement = _settlement(_decision(_scores(ONE, ONE, ONE)), true);
        settlement.exam = _examCommitment();
        _refuse(settlement, _mismatch(settlement.exam, keccak256("")));
    }

    function _mismatch(bytes memory handedIn, bytes32 expected) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobMarket.ExamMismatch.selector, keccak256(handedIn), expected);
    }

    function _gramLength(uint256 length, uint256 expected) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IRoundRules.GramLength.selector, length, expected);
    }
}
