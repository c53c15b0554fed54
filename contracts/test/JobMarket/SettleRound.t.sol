// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Decision} from "../../src/interfaces/IRoundRules.sol";
import {
    ExclusionReason,
    JobState,
    JobTerms,
    Ledger,
    Outcome,
    Phase,
    Settlement
} from "../../src/interfaces/JobTypes.sol";
import {PackedArray} from "../../src/libraries/PackedArray.sol";
import {MarketFixture} from "./MarketFixture.sol";
import {programmed} from "./ProgrammedRules.sol";

contract SettleRoundTest is MarketFixture {
    function test_settleRound_dividesTheRewardByScore() public {
        _toSettle(3, 3);
        _settle(_settlement(_scores(ONE, 2 * ONE, 5 * ONE)));

        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.credits, REWARD + FEE);
        vm.assertEq(ledger.budget, 2 * (REWARD + FEE));
        vm.assertEq(ledger.carry, 0);
        Outcome memory outcome = market.outcomeOf(job, 0);
        vm.assertEq(bytes32(outcome.payHash), _payHash(0, _packPays(_pays(REWARD / 8, REWARD / 4, 5 * REWARD / 8))));
        vm.assertEq(outcome.aggregator, aggregator);
        vm.assertEq(outcome.vestsAt, block.timestamp + VESTING);
        _assertConserved();
    }

    function test_settleRound_adoptsTheModelAndKeepsLifetimeScores() public {
        _toSettle(3, 3);
        _settle(_settlement(_scores(3, 0, 5)));
        lifetimeScores[0] = 3;
        lifetimeScores[2] = 5;
        JobState memory state = market.stateOf(job);
        vm.assertEq(state.model, keccak256("new model"));
        vm.assertEq(state.lifetimeHash, keccak256(_packLifetime()));
    }

    function test_settleRound_startsTheNextRoundAtOnce() public {
        _toSettle(3, 3);
        vm.expectEmit(address(market));
        emit IJobMarket.AttemptStarted(job, 1, 1, aggregator, block.timestamp, 1 << 16, 2);
        _settleAll(3, ONE);
        JobState memory state = market.stateOf(job);
        vm.assertEq(state.round, 1);
        vm.assertEq(state.attempt, 1);
        vm.assertEq(state.committed, 0);
        vm.assertEq(state.revealed, 0);
        vm.assertFalse(state.hadMinimum);
        _assertPhase(Phase.Commit);
    }

    function test_settleRound_publishesEverything() public {
        _toSettle(4, 4);
        Decision memory decision = _decision(_scores(ONE, 0, ONE));
        decision.accepted = 5; // the first and the third row: seats 0 and 3
        PackedArray.setWeight(decision.weights, 2, 77);
        Settlement memory settlement = _settlement(decision);
        settlement.excluded = 2;
        settlement.reasons = hex"03";
        uint256[] memory pays = new uint256[](4);
        (pays[0], pays[3]) = (REWARD * 3 / 8, REWARD * 3 / 8);

        _prove(market, job, settlement);

        vm.expectEmit(address(market));
        emit IJobMarket.UpdateExcluded(job, 0, 1, ExclusionReason.Mismatch);
        vm.expectEmit(address(market));
        emit IJobMarket.RoundProven(job, 0, settlement.gram, _published(settlement));
        vm.expectEmit(address(market));
        emit IJobMarket.RoundSettled(
            job,
            0,
            0,
            aggregator,
            settlement.model,
            9,
            true,
            decision.weights,
            decision.scores,
            _packPays(pays),
            0,
            block.timestamp + VESTING
        );
        _settle(settlement);
        vm.assertEq(market.ledgerOf(job).carry, REWARD / 4);
        _assertConserved();
    }

    function test_settleRound_failsIfNobodyIsAcceptedAndThereAreBlinders() public {
        _toSettle(3, 3);
        Decision memory decision = _decision(_scores(0, 0, 0));
        (decision.accepted, decision.paid, decision.weights) = (0, false, new bytes(12));
        Settlement memory settlement = _settlement(decision);
        settlement.model = market.stateOf(job).model;
        settlement.proof.blinders = new bytes(192);
        settlement.proof.blinders[191] = 0x01;
        _prove(market, job, settlement);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BlindersOfNothing.selector, settlement.proof.blinders));
        market.settleRound(job, 0, settlement);
    }

    function test_settleRound_theNewStepShiftsTheScale() public {
        _toSettle(3, 3);
        Decision memory decision = _decision(_scores(ONE, ONE, ONE));
        decision.nextStepQ16 = (1 << 15) + 1; // halved once, rounded up
        vm.expectEmit(address(market));
        emit IJobMarket.AttemptStarted(job, 1, 1, aggregator, block.timestamp, (1 << 15) + 1, 1);
        _settle(_settlement(decision));
        vm.assertEq(market.stateOf(job).stepQ16, (1 << 15) + 1);
    }

    function test_settleRound_endsTheJobAfterTheLastRound() public {
        for (uint256 round = 0; round < ROUNDS; ++round) {
            _playRound(3, ONE);
        }
        _assertPhase(Phase.Finished);
        vm.assertEq(market.stateOf(job).attemptStart, 0);
        vm.assertEq(market.ledgerOf(job).budget, 0);
        // Two rounds' dust makes the third's pool divisible again.
        vm.assertEq(market.ledgerOf(job).credits, ROUNDS * (REWARD + FEE));
        _assertConserved();
    }

    function test_settleRound_startsNoAttemptThatWouldEndLate() public {
        JobTerms memory terms = _terms();
        terms.deadline = FIRST_OVERDUE - 1 + COMMIT + REVEAL + SETTLE - 1;
        _startWith(terms);
        _toSettle(3, 3);
        vm.warp(FIRST_OVERDUE - 1);
        _settle(_settlement(_scores(ONE, ONE, ONE)));
        _assertPhase(Phase.Finished);
    }

    // ------------------------------------------------------------------ what does not get paid

    function test_settleRound_dustAndUnpaidCarryOver() public {
        _toSettle(3, 3);
        _settle(_settlement(_scores(1, 1, 1)));
        vm.assertEq(market.ledgerOf(job).carry, 1); // 10^18 is not divisible by three
        _assertConserved();
    }

    function test_settleRound_thePoolTakesAtMostOneRewardOfTheCarry() public {
        _playNobody();
        _playNobody();
        vm.assertEq(market.ledgerOf(job).carry, 2 * REWARD);
        _toSettle(3, 3);
        _settle(_settlement(_scores(ONE, ONE, 2 * ONE)));
        vm.assertEq(
            bytes32(market.outcomeOf(job, 2).payHash), _payHash(2, _packPays(_pays(REWARD / 2, REWARD / 2, REWARD)))
        );
        vm.assertEq(market.ledgerOf(job).carry, REWARD);
        _assertConserved();
    }

    function test_settleRound_theFallbackPaysNobody() public {
        _toSettle(3, 3);
        Decision memory decision = _decision(_scores(ONE, ONE, ONE));
        decision.paid = false;
        _settle(_settlement(decision));
        vm.assertEq(market.stateOf(job).model, keccak256("new model"));
        vm.assertEq(market.stateOf(job).lifetimeHash, 0);
        vm.assertEq(market.ledgerOf(job).carry, REWARD);
        vm.assertEq(market.ledgerOf(job).credits, FEE);
        _assertConserved();
    }

    function test_settleRound_withNobodyRevealed() public {
        _toSettle(3, 0);
        _settle(_emptySettlement());
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.carry, REWARD + FEE);
        vm.assertEq(ledger.credits, 0);
        vm.assertEq(ledger.burned, 3 * STAKE);
        vm.assertEq(market.stateOf(job).round, 1);
        _assertConserved();
    }

    function test_settleRound_withEverybodyExcluded() public {
        _toSettle(3, 3);
        Settlement memory settlement = _emptySettlement();
        settlement.excluded = 7;
        settlement.reasons = hex"010203";
        _settle(settlement);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.carry, REWARD + FEE);
        vm.assertEq(ledger.credits, 0);
        vm.assertEq(ledger.stakes, 5 * STAKE);
        _assertConserved();
    }

    function test_settleRound_withoutAFee() public {
        JobTerms memory terms = _terms();
        terms.aggregatorFee = 0;
        _startWith(terms);
        _toSettle(3, 3);
        _settleAll(3, ONE);
        vm.assertEq(market.outcomeOf(job, 0).aggregator, aggregator); // on record all the same
        vm.warp(block.timestamp + VESTING);
        vm.prank(aggregator);
        vm.expectRevert(IJobMarket.NothingToPay.selector);
        market.claimFee(job, 0, aggregator);
    }

    function testFuzz_settleRound_lifetimeScoresSaturate(uint64 score) public {
        _playRound(3, type(uint64).max);
        _toSettle(3, 3);
        Settlement memory settlement = _settlement(_scores(score, 0, 0));
        settlement.lifetime = _packLifetime();
        _settle(settlement);
        vm.assertEq(market.stateOf(job).lifetimeHash, keccak256(_packLifetime()));
    }

    // ------------------------------------------------------------------ price

    function test_settleRound_priceByScoreUpToTheTarget() public {
        _startWith(_priceTerms());
        _toSettle(4, 4);
        Settlement memory settlement = _settlement(_scores(ONE / 4, ONE, 9 * ONE));
        settlement.excluded = 8;
        settlement.reasons = hex"01";
        _settle(settlement);
        uint256 price = REWARD / SEATS;
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(bytes32(market.outcomeOf(job, 0).payHash), _payHash(0, _packPays(_pays(price / 4, price, price))));
        vm.assertEq(ledger.credits, 2 * price + price / 4 + FEE);
        vm.assertEq(ledger.carry, REWARD / 4);
        vm.assertEq(ledger.refundable, REWARD - REWARD / 4 - 2 * price - price / 4);
        _assertConserved();
    }

    function test_settleRound_priceWithNobodyRevealedReturnsNothing() public {
        _startWith(_priceTerms());
        _toSettle(3, 0);
        _settle(_emptySettlement());
        vm.assertEq(market.ledgerOf(job).carry, REWARD + FEE);
        vm.assertEq(market.ledgerOf(job).refundable, 0);
        _assertConserved();
    }

    function test_settleRound_priceCarriesNoMoreThanIsLeft() public {
        JobTerms memory terms = _priceTerms();
        terms.seats = 4;
        terms.price = REWARD / 4;
        terms.trainerStake = terms.price;
        job = _open(terms);
        _enrol(4);
        _bond(aggregator);
        _toSettle(4, 4);
        Settlement memory settlement = _settlement(_scores(ONE, ONE, ONE));
        settlement.lifetime = new bytes(4 * 8);
        settlement.excluded = 1;
        settlement.reasons = hex"01";
        _settle(settlement);
        vm.assertEq(market.ledgerOf(job).carry, REWARD / 4);
        vm.assertEq(market.ledgerOf(job).refundable, 0);
        _assertConserved();
    }

    // ------------------------------------------------------------------ cheats

    /// @dev f + 1 Sybils whose bytes open for nobody: the round settles all the same, and they gain nothing.
    function test_settleRound_unopenableCommitmentsCannotStopARound() public {
        _enrol(_trainer(5));
        _enrol(_trainer(6));
        _toSettle(7, 7);
        Settlement memory settlement = _settlement(_scores(ONE, ONE, ONE));
        settlement.excluded = 0x78; // seats 3 to 6
        settlement.reasons = hex"02020202";
        _settle(settlement);
        uint256 share = uint256(REWARD) * 3 / 7 / 3;
        vm.assertEq(bytes32(market.outcomeOf(job, 0).payHash), _payHash(0, _packPays(_pays(share, share, share))));
        vm.assertEq(market.ledgerOf(job).carry, REWARD - 3 * share);
        vm.assertEq(market.ledgerOf(job).stakes, 7 * STAKE);
        _assertConserved();
    }

    function test_settleRound_whoCommitsAndDoesNotRevealForfeits() public {
        _toSettle(5, 3);
        vm.expectEmit(address(market));
        emit IJobMarket.StakesForfeited(job, 0, 0x18, 2 * STAKE);
        _settleAll(3, ONE);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.burned, 2 * STAKE);
        vm.assertEq(ledger.stakes, 3 * STAKE);
        vm.assertEq(market.stateOf(job).staked, 7);
        _assertConserved();
    }

    function test_settleRound_forfeitsTheWholeStakeThatIsThere() public {
        vm.deal(_trainer(5), 5 * STAKE);
        vm.prank(_trainer(5));
        market.enrol{value: 5 * STAKE}(job, 5 * STAKE, new bytes32[](0));
        _toSettle(6, 5);
        _settleAll(5, ONE);
        vm.assertEq(market.ledgerOf(job).burned, 5 * STAKE);
        _assertConserved();
    }

    function test_settleRound_failsForASuccessor() public {
        _toSettle(3, 3);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAggregator.selector, successor, aggregator));
        vm.prank(successor);
        market.settleRound(job, 0, _settlement(_scores(ONE, ONE, ONE)));
    }

    function test_settleRound_failsForTheOwner() public {
        _toSettle(3, 3);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAggregator.selector, owner, aggregator));
        vm.prank(owner);
        market.settleRound(job, 0, _settlement(_scores(ONE, ONE, ONE)));
    }

    function test_settleRound_failsTwice() public {
        _toSettle(3, 3);
        Settlement memory settlement = _settlement(_scores(ONE, ONE, ONE));
        _settle(settlement);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongAttempt.selector, 0, 1));
        vm.prank(aggregator);
        market.settleRound(job, 0, settlement);
        vm.prank(aggregator);
        _expectWrongPhase(Phase.Commit, Phase.Settle);
        market.settleRound(job, 1, settlement);
    }

    function test_settleRound_inTheFirstSecond() public {
        _toSettle(3, 3);
        vm.assertEq(block.timestamp, FIRST_SETTLE);
        _settle(_settlement(_scores(ONE, ONE, ONE)));
    }

    function test_settleRound_inTheLastSecond() public {
        _toSettle(3, 3);
        vm.warp(FIRST_OVERDUE - 1);
        _settle(_settlement(_scores(ONE, ONE, ONE)));
    }

    function test_settleRound_failsOneSecondEarly() public {
        _toSettle(3, 3);
        vm.warp(FIRST_SETTLE - 1);
        vm.prank(aggregator);
        _expectWrongPhase(Phase.Reveal, Phase.Settle);
        market.settleRound(job, 0, _settlement(_scores(ONE, ONE, ONE)));
    }

    function test_settleRound_failsInTheFirstSecondAfter() public {
        _toSettle(3, 3);
        vm.warp(FIRST_OVERDUE);
        vm.prank(aggregator);
        _expectWrongPhase(Phase.Overdue, Phase.Settle);
        market.settleRound(job, 0, _settlement(_scores(ONE, ONE, ONE)));
    }

    function test_settleRound_failsIfItExcludesWhoDidNotReveal() public {
        _toSettle(4, 3);
        Settlement memory settlement = _settlement(_scores(ONE, ONE, ONE));
        settlement.excluded = 0x8a; // seats 1, 3 and 7; only the first revealed
        settlement.reasons = hex"010101";
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.NotRevealed.selector, 0x88));
    }

    function test_settleRound_failsWithoutAReasonForEachExclusion() public {
        _toSettle(3, 3);
        Settlement memory settlement = _settlement(_scores(ONE, ONE, ONE));
        settlement.excluded = 3;
        settlement.reasons = hex"01";
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.ReasonsLength.selector, 1, 2));
        settlement.reasons = hex"010101";
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.ReasonsLength.selector, 3, 2));
    }

    function test_settleRound_failsWithAnUnknownReason() public {
        _toSettle(3, 3);
        Settlement memory settlement = _settlement(_scores(ONE, ONE, ONE));
        settlement.excluded = 6;
        settlement.reasons = hex"0100";
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.InvalidReason.selector, 2, 0));
        settlement.reasons = hex"0401";
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.InvalidReason.selector, 1, 4));
    }

    function test_settleRound_failsWithoutAModel() public {
        _toSettle(3, 3);
        Settlement memory settlement = _settlement(_scores(ONE, ONE, ONE));
        settlement.model = 0;
        _prove(market, job, settlement);
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.EmptyModel.selector));
    }

    function test_settleRound_failsWithAnotherModelThanNobodysUpdatesMake() public {
        _toSettle(3, 0);
        Settlement memory settlement = _emptySettlement();
        settlement.model = SPEC;
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.ModelMustStay.selector, SPEC, MODEL));
    }

    function test_settleRound_failsWithFalseLifetimeScores() public {
        _toSettle(3, 3);
        bytes memory none = new bytes(SEATS * 8);
        Settlement memory settlement = _settlement(_scores(ONE, ONE, ONE));
        settlement.lifetime = new bytes(SEATS * 8 - 1);
        _refuse(settlement, _lifetimeMismatch(settlement.lifetime, none));
        settlement.lifetime = new bytes(SEATS * 8);
        settlement.lifetime[9] = 0x01;
        _refuse(settlement, _lifetimeMismatch(settlement.lifetime, none));
        _settleAll(3, ONE);
        _toSettle(3, 3);
        settlement.lifetime = none;
        vm.expectRevert(_lifetimeMismatch(none, _packLifetime()));
        vm.prank(aggregator);
        market.settleRound(job, 1, settlement);
    }

    // ------------------------------------------------------------------ any decision

    /// @dev Whatever the rules decide, money is conserved and the round settles.
    function testFuzz_settleRound_noScoresStopIt(uint64[SEATS] memory scores, uint8 count, uint8 excluded, bool pot)
        public
    {
        uint256 revealed = bound(count, 3, SEATS);
        _startWith(pot ? _terms() : _priceTerms());
        for (uint256 seat = 5; seat < SEATS; ++seat) {
            _enrol(_trainer(seat));
        }
        _toSettle(SEATS, revealed);
        Settlement memory settlement;
        settlement.excluded = uint64(excluded) & _firstSeats(revealed);
        uint256 left = _fill(settlement, scores, revealed);
        settlement.model = left == 0 ? MODEL : SPEC;
        _settle(settlement);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.credits + uint256(ledger.carry) + ledger.refundable, REWARD + FEE);
        if (pot) vm.assertEq(ledger.refundable, 0);
        _assertConserved();
    }

    function _fill(Settlement memory settlement, uint64[SEATS] memory scores, uint256 revealed)
        private
        pure
        returns (uint256 left)
    {
        for (uint256 seat = 0; seat < revealed; ++seat) {
            if ((settlement.excluded >> seat) & 1 == 0) ++left;
            else settlement.reasons = bytes.concat(settlement.reasons, hex"02");
        }
        uint64[] memory rows = new uint64[](left);
        for (uint256 row = 0; row < left; ++row) {
            rows[row] = scores[row];
        }
        settlement.gram = programmed(_decision(rows));
        settlement.lifetime = new bytes(SEATS * 8);
    }

    function _startWith(JobTerms memory terms) private {
        vm.warp(NOW);
        job = _open(terms);
        _enrol(5);
        _bond(aggregator);
    }

    function _playNobody() private {
        _toSettle(3, 3);
        uint64[] memory scores = new uint64[](3);
        Decision memory decision = _decision(scores);
        decision.accepted = 0;
        decision.weights = new bytes(3 * 4);
        Settlement memory settlement = _settlement(decision);
        settlement.model = MODEL;
        _settle(settlement);
    }

    function _pays(uint256 a, uint256 b, uint256 c) private pure returns (uint256[] memory pays) {
        pays = new uint256[](3);
        (pays[0], pays[1], pays[2]) = (a, b, c);
    }

    function _lifetimeMismatch(bytes memory given, bytes memory kept) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobMarket.LifetimeMismatch.selector, keccak256(given), keccak256(kept));
    }
}
