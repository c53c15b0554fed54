// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Decision} from "../../src/interfaces/IRoundRules.sol";
import {Dispute, Fact, JobTerms, Ledger, Phase, Settlement} from "../../src/interfaces/JobTypes.sol";
import {ERC20Token} from "../tokens/ERC20Token.sol";
import {DisputeFixture} from "./DisputeFixture.sol";

/// @notice Who may dispute what, when, and for how much.
contract DisputeTest is DisputeFixture {
    uint256 private constant FROZEN = type(uint40).max;

    // ------------------------------------------------------------------ a model

    function test_dispute_stopsTheJobForABond() public {
        _play(4);
        Ledger memory ledger = market.ledgerOf(job);
        vm.expectEmit(address(market));
        emit IJobMarket.DisputeOpened(job, 0, _trainer(2), 0, Fact.Model, 0, DISPUTE_BOND, block.timestamp + ANSWERS);
        _dispute(_trainer(2), Fact.Model);

        _assertPhase(Phase.Disputed);
        Dispute memory dispute = market.disputeOf(job);
        vm.assertEq(dispute.by, _trainer(2));
        vm.assertEq(dispute.openedAt, block.timestamp);
        vm.assertEq(dispute.bond, DISPUTE_BOND);
        vm.assertEq(dispute.startsAt, FIRST_SETTLE);
        vm.assertEq(dispute.vestsAt, FIRST_SETTLE + VESTING);
        vm.assertEq(dispute.pays, REWARD);
        vm.assertEq(uint256(dispute.holding) + dispute.failing, 0);
        vm.assertEq(market.stateOf(job).attemptStart, FIRST_SETTLE);
        vm.assertEq(market.outcomeOf(job, 0).vestsAt, FROZEN);
        ledger.deposited += DISPUTE_BOND;
        ledger.disputes = DISPUTE_BOND;
        vm.assertEq(abi.encode(market.ledgerOf(job)), abi.encode(ledger));
        _assertConserved();
    }

    function test_dispute_byTheOwner() public {
        _play(3);
        _dispute(owner, Fact.Model);
        vm.assertEq(market.disputeOf(job).by, owner);
    }

    function test_dispute_ofAModelByASeatThatItsRoundExcluded() public {
        _playExcluding(4, 1 << 3);
        _dispute(_trainer(3), Fact.Model);
        vm.assertEq(market.disputeOf(job).seat, 0);
    }

    function test_dispute_failsByAStranger() public {
        _play(3);
        _refuseDispute(stranger, Fact.Model, abi.encodeWithSelector(IJobMarket.NotTrainer.selector, stranger));
    }

    function test_dispute_failsByTheAggregator() public {
        _play(3);
        _refuseDispute(aggregator, Fact.Model, abi.encodeWithSelector(IJobMarket.NotTrainer.selector, aggregator));
    }

    function test_dispute_failsByASeatThatDidNotReveal() public {
        _play(3);
        bytes memory expected = abi.encodeWithSelector(IJobMarket.CannotDispute.selector, _trainer(3), 0, Fact.Model);
        _refuseDispute(_trainer(3), Fact.Model, expected);
    }

    function test_dispute_failsOfAModelThatStayed() public {
        _toSettle(3, 3);
        Decision memory nobody = _decision(_scores(0, 0, 0));
        nobody.accepted = 0;
        nobody.weights = new bytes(12);
        Settlement memory settlement = _settlement(nobody);
        settlement.model = market.stateOf(job).model;
        _settleNoted(settlement);
        bytes memory expected = abi.encodeWithSelector(IJobMarket.NotDisputable.selector, 0, Fact.Model);
        _refuseDispute(_trainer(0), Fact.Model, expected);
        _refuseDispute(owner, Fact.Model, expected);
    }

    /// @dev A sum of zero changes no commitment, and whatever is behind the new digest has to open it all the same.
    function test_dispute_ofANewDigestForTheSameCommitment() public {
        _toSettle(3, 3);
        Decision memory decision = _decision(_scores(ONE, ONE, ONE));
        decision.weights = new bytes(12);
        bytes32 rows = market.stateOf(job).publicRows;
        _settleNoted(_settlement(decision));
        vm.assertEq(market.stateOf(job).publicRows, rows);
        _dispute(_trainer(0), Fact.Model);
        _assertPhase(Phase.Disputed);
    }

    /// @dev The old digest does not open the new commitment.
    function test_dispute_ofAnOldDigestForANewCommitment() public {
        _toSettle(3, 3);
        Settlement memory settlement = _excluding(0);
        settlement.model = MODEL;
        _settleNoted(settlement);
        _dispute(owner, Fact.Model);
        _assertPhase(Phase.Disputed);
    }

    // ------------------------------------------------------------------ an exclusion

    function test_dispute_ofAnExclusionByWhomItLeftOut() public {
        _playExcluding(5, 1 << 3 | 1 << 4);
        vm.expectEmit(address(market));
        emit IJobMarket.DisputeOpened(
            job, 0, _trainer(4), 0, Fact.Exclusion, 4, DISPUTE_BOND, block.timestamp + ANSWERS
        );
        _dispute(_trainer(4), Fact.Exclusion);
        vm.assertEq(market.disputeOf(job).seat, 4);
    }

    function test_dispute_ofAnExclusionFailsByAnybodyElse() public {
        _playExcluding(5, 1 << 3);
        bytes memory expected =
            abi.encodeWithSelector(IJobMarket.CannotDispute.selector, _trainer(2), 0, Fact.Exclusion);
        _refuseDispute(_trainer(2), Fact.Exclusion, expected);
        _refuseDispute(owner, Fact.Exclusion, abi.encodeWithSelector(IJobMarket.NotTrainer.selector, owner));
    }

    function test_dispute_ofAnExclusionWhereNobodyIsLeft() public {
        _playExcluding(3, 7);
        _refuseDispute(
            _trainer(0), Fact.Model, abi.encodeWithSelector(IJobMarket.NotDisputable.selector, 0, Fact.Model)
        );
        _dispute(_trainer(0), Fact.Exclusion);
        vm.assertEq(market.disputeOf(job).pays, 0);
    }

    // ------------------------------------------------------------------ an exam

    function test_dispute_ofAPublishedExamByASeat() public {
        _finishWithExams();
        _publishVested();
        vm.warp(block.timestamp + VESTING - 1);
        vm.expectEmit(address(market));
        emit IJobMarket.DisputeOpened(
            job, 1, _trainer(4), ROUNDS, Fact.Exam, 0, DISPUTE_BOND, block.timestamp + ANSWERS
        );
        _disputeExam(_trainer(4), 1);
        _assertPhase(Phase.Disputed);
    }

    function test_dispute_ofAnExamFailsAfterItsWindow() public {
        _finishWithExams();
        vm.warp(block.timestamp + 20);
        _publishVested();
        uint256 until = block.timestamp + VESTING;
        vm.warp(until);
        _refuseExam(_trainer(0), 1, abi.encodeWithSelector(IJobMarket.DisputeTooLate.selector, until, until));
    }

    function test_dispute_ofAnExamFailsBeforeItIsPublished() public {
        _finishWithExams();
        _refuseExam(_trainer(0), 1, _notDisputable(1));
    }

    function test_dispute_ofAnExamFailsInARound() public {
        _startWith(_examTerms());
        _sit(3);
        _refuseExam(_trainer(0), 0, _notDisputable(0));
    }

    function test_dispute_ofAnExamFailsWhereItWasNotOpened() public {
        _finishWithExams();
        _publishVested();
        _refuseExam(_trainer(0), 0, _notDisputable(0)); // the first was missed
        _refuseExam(_trainer(0), 7, _notDisputable(7));
    }

    function test_dispute_ofAnExamFailsWithoutASeat() public {
        _finishWithExams();
        _publishVested();
        _refuseExam(stranger, 1, abi.encodeWithSelector(IJobMarket.NotTrainer.selector, stranger));
        _refuseExam(owner, 1, abi.encodeWithSelector(IJobMarket.NotTrainer.selector, owner));
    }

    function test_dispute_ofAnExamFailsTwice() public {
        _finishWithExams();
        _publishVested();
        _disputeExam(_trainer(0), 1);
        _answer(true, 0, QUORUM);
        _refuseExam(_trainer(1), 1, abi.encodeWithSelector(IJobMarket.DisputedBefore.selector, 1, Fact.Exam, 0));
        _disputeExam(_trainer(1), 2); // another attempt's
    }

    /// @dev Where all is lost already, nobody stops the job for more of it.
    function test_dispute_ofAnExamFailsOnceOneWasRefuted() public {
        _finishWithExams();
        _publishVested();
        _disputeExam(_trainer(0), 1);
        _answer(false, 0, QUORUM);
        _refuseExam(_trainer(1), 2, _notDisputable(2));
    }

    // ------------------------------------------------------------------ when

    function test_dispute_inTheLastSecondBeforeItVests() public {
        _play(3);
        vm.warp(FIRST_SETTLE + VESTING - 1);
        _dispute(_trainer(0), Fact.Model);
        _assertPhase(Phase.Disputed);
    }

    function test_dispute_failsOnceVested() public {
        _play(3);
        uint256 vestsAt = FIRST_SETTLE + VESTING;
        vm.warp(vestsAt);
        bytes memory expected = abi.encodeWithSelector(IJobMarket.DisputeTooLate.selector, vestsAt, vestsAt);
        _refuseDispute(_trainer(0), Fact.Model, expected);
        _refuseDispute(owner, Fact.Model, expected);
    }

    function test_dispute_failsOfAnEarlierAttempt() public {
        _play(3);
        (bytes memory undo, bytes memory paid) = (_undoData(), pays[0]);
        uint256 vestsAt = block.timestamp + VESTING;
        _play(3);
        bytes memory expected = abi.encodeWithSelector(IJobMarket.DisputeTooLate.selector, block.timestamp, vestsAt);
        _refuseDisputeOf(_trainer(0), 0, Fact.Model, paid, undo, expected);
    }

    /// @dev What binds a settlement's pays can be shown for no other attempt.
    function test_dispute_failsOfAnAttemptThatExpired() public {
        _toSettle(3, 3);
        _warpToOverdue();
        market.expireRound(job, 0);
        bytes memory paid = _packSame(3, COMPENSATION);
        _refuseDisputeOf(_trainer(0), 0, Fact.Model, paid, "", _mismatch(paid, "", _payHash(0, paid)));
        vm.assertEq(bytes32(market.outcomeOf(job, 0).payHash), _payHash(0, paid));
    }

    function test_dispute_failsOfAnAttemptThatDidNotEnd() public {
        _play(3);
        bytes memory undo = _undoData();
        _refuseDisputeOf(_trainer(0), 1, Fact.Model, pays[0], undo, _mismatch(pays[0], undo, 0));
    }

    function test_dispute_failsWithOtherPays() public {
        _play(3);
        bytes memory undo = _undoData();
        bytes memory forged = _packSame(3, REWARD);
        _refuseDisputeOf(
            _trainer(0), 0, Fact.Model, forged, undo, _mismatch(forged, undo, market.outcomeOf(job, 0).payHash)
        );
    }

    function test_dispute_failsWithAnotherUndo() public {
        _play(3);
        undos[job][0].returned = REWARD;
        bytes memory undo = _undoData();
        _refuseDisputeOf(
            _trainer(0), 0, Fact.Model, pays[0], undo, _mismatch(pays[0], undo, market.outcomeOf(job, 0).payHash)
        );
    }

    function test_dispute_failsWhileAnotherIsOpen() public {
        _playExcluding(5, 1 << 4);
        _dispute(_trainer(0), Fact.Model);
        _refuseDispute(
            _trainer(4),
            Fact.Exclusion,
            abi.encodeWithSelector(IJobMarket.WrongPhase.selector, Phase.Disputed, Phase.Finished)
        );
    }

    function test_dispute_failsAfterTheClose() public {
        _finishWithExams();
        _publishVested();
        vm.warp(block.timestamp + VESTING);
        market.closeJob(job, _packLifetime());
        bytes memory expected = abi.encodeWithSelector(IJobMarket.WrongPhase.selector, Phase.Closed, Phase.Finished);
        _refuseExam(_trainer(0), 1, expected);
        _refuseDispute(_trainer(0), Fact.Model, expected);
    }

    function test_dispute_failsTwice() public {
        _play(3);
        _dispute(_trainer(0), Fact.Model);
        _answer(true, 0, QUORUM);
        bytes memory expected = abi.encodeWithSelector(IJobMarket.DisputedBefore.selector, 0, Fact.Model, 0);
        _refuseDispute(_trainer(1), Fact.Model, expected);
        _refuseDispute(owner, Fact.Model, expected);
    }

    function test_dispute_ofTheNextAttemptsModel() public {
        _play(3);
        _dispute(_trainer(0), Fact.Model);
        _answer(true, 0, QUORUM);
        _play(3);
        _dispute(_trainer(0), Fact.Model);
        vm.assertEq(market.disputeOf(job).attempt, 1);
        vm.assertEq(market.disputeOf(job).round, 1);
    }

    function test_dispute_failsWithoutAttestors() public {
        JobTerms memory terms = _terms();
        delete terms.disputes;
        _startWith(terms);
        _play(3);
        _refuseDispute(_trainer(0), Fact.Model, abi.encodeWithSelector(IJobMarket.NoAttestors.selector, job));
    }

    // ------------------------------------------------------------------ for how much

    function test_dispute_failsIfTheBondIsShort() public {
        _play(3);
        bytes memory undo = _undoData();
        vm.deal(_trainer(0), 1 ether);
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InsufficientDeposit.selector, DISPUTE_BOND - 1, DISPUTE_BOND));
        market.dispute{value: DISPUTE_BOND - 1}(job, 0, Fact.Model, pays[0], undo, DISPUTE_BOND - 1);
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongValue.selector, 0, DISPUTE_BOND));
        market.dispute(job, 0, Fact.Model, pays[0], undo, DISPUTE_BOND);
    }

    function test_dispute_putsAllThatArrivedAtStake() public {
        _play(3);
        _disputeOf(_trainer(0), 0, Fact.Model, pays[0], _undoData(), 2 * DISPUTE_BOND);
        _answer(true, 0, QUORUM);
        vm.assertEq(market.ledgerOf(job).burned, 2 * DISPUTE_BOND);
        _assertConserved();
    }

    function test_dispute_inAToken() public {
        ERC20Token token = new ERC20Token();
        JobTerms memory terms = _terms();
        terms.token = address(token);
        _startWith(terms);
        _play(3);
        uint256 before = token.balanceOf(address(market));
        _dispute(_trainer(0), Fact.Model);
        vm.assertEq(token.balanceOf(address(market)) - before, DISPUTE_BOND);
        _undo();
        vm.prank(_trainer(0));
        market.withdrawDisputeBond(job, stranger);
        vm.assertEq(token.balanceOf(stranger), DISPUTE_BOND);
        vm.assertEq(token.balanceOf(address(market)), market.owed(address(token)));
        _assertConserved();
    }

    function test_dispute_inATokenFailsWithCoins() public {
        ERC20Token token = new ERC20Token();
        JobTerms memory terms = _terms();
        terms.token = address(token);
        _startWith(terms);
        _play(3);
        bytes memory undo = _undoData();
        vm.deal(_trainer(0), 1);
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongValue.selector, 1, 0));
        market.dispute{value: 1}(job, 0, Fact.Model, pays[0], undo, DISPUTE_BOND);
    }

    // ------------------------------------------------------------------ how often

    /// @dev Who wants to hold a round up can do so once for its model and once for each seat that was left out, each time
    /// for one answer period and one bond.
    function test_dispute_stopsAJobAsOftenAsAnAttemptHasFacts() public {
        _playExcluding(5, 1 << 3 | 1 << 4);
        uint256 vestsAt = FIRST_SETTLE + VESTING;
        for (uint256 i = 0; i < 3; ++i) {
            _dispute(_trainer(2 + i), i == 0 ? Fact.Model : Fact.Exclusion);
            vm.warp(block.timestamp + ANSWERS);
            market.thaw(job);
            vm.assertEq(market.ledgerOf(job).burned, (1 + i) * DISPUTE_BOND);
            vm.assertEq(market.outcomeOf(job, 0).vestsAt, vestsAt + (1 + i) * ANSWERS);
        }
        for (uint256 seat = 0; seat < 5; ++seat) {
            uint256 who = seat < 3 ? 0 : seat;
            Fact fact = seat < 3 ? Fact.Model : Fact.Exclusion;
            _refuseDispute(
                _trainer(seat), fact, abi.encodeWithSelector(IJobMarket.DisputedBefore.selector, 0, fact, who)
            );
        }
        _assertConserved();
    }

    // ------------------------------------------------------------------ how to get there

    /// @dev An exam job after its last round: the first exam was missed, the others sat.
    function _finishWithExams() private {
        _startWith(_examTerms());
        _play(3);
        _sit(3);
        _sit(3);
        _assertPhase(Phase.Finished);
    }

    function _notDisputable(uint256 attempt) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobMarket.NotDisputable.selector, attempt, Fact.Exam);
    }

    function _mismatch(bytes memory paid, bytes memory undo, bytes32 expected) private pure returns (bytes memory) {
        bytes24 hash = bytes24(keccak256(abi.encode(keccak256(paid), keccak256(undo))));
        // forge-lint: disable-next-line(unsafe-typecast)
        return abi.encodeWithSelector(IJobMarket.PayMismatch.selector, hash, bytes24(expected)); // as a word
    }
}
