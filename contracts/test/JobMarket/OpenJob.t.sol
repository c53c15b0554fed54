// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {JobMarket} from "../../src/JobMarket.sol";
import {IGramVerifier} from "../../src/interfaces/IGramVerifier.sol";
import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {IRoundRules, RuleKind} from "../../src/interfaces/IRoundRules.sol";
import {JobId, JobState, JobTerms, Ledger, Phase} from "../../src/interfaces/JobTypes.sol";
import {MarketFixture} from "./MarketFixture.sol";

contract OpenJobTest is MarketFixture {
    function test_openJob_locksTheWholeReward() public {
        JobTerms memory terms = _terms();
        uint256 amount = _deposit(terms);
        uint256 owedBefore = market.owed(address(0));
        vm.deal(owner, amount);
        vm.expectEmit(address(market));
        emit IJobMarket.JobOpened(JobId.wrap(1), owner, SPEC, MODEL, initialCommitment, srs, amount, terms);
        vm.prank(owner);
        job = market.openJob{value: amount}(terms, SPEC, MODEL, initialCommitment, srs, amount);

        vm.assertEq(JobId.unwrap(job), 1);
        vm.assertEq(market.jobCount(), 2);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.deposited, 3.3 ether);
        vm.assertEq(ledger.budget, 3.3 ether);
        vm.assertEq(ledger.refundable, 0);
        vm.assertEq(market.owed(address(0)) - owedBefore, amount);
        JobState memory state = market.stateOf(job);
        vm.assertEq(state.owner, owner);
        vm.assertEq(state.model, MODEL);
        vm.assertEq(state.stepQ16, 1 << 16);
        vm.assertEq(state.attemptStart, 0);
        _assertPhase(Phase.AwaitingAggregator);
        _assertConserved();
    }

    function test_openJob_keepsTheTerms() public {
        JobTerms memory terms = _priceTerms();
        terms.rules.rules[1].kind = RuleKind.MultiKrum;
        terms.rules.rules[1].a = 2;
        terms.rules.rules[2].b = 7;
        job = _open(terms);
        vm.assertEq(keccak256(abi.encode(market.termsOf(job))), keccak256(abi.encode(terms)));
    }

    function test_openJob_surplusIsTheOwnersAtOnce() public {
        JobTerms memory terms = _terms();
        uint256 amount = _deposit(terms) + 5;
        vm.deal(owner, amount);
        vm.prank(owner);
        job = market.openJob{value: amount}(terms, SPEC, MODEL, initialCommitment, srs, amount);
        vm.assertEq(market.ledgerOf(job).refundable, 5);
        vm.prank(owner);
        market.refund(job, owner);
        vm.assertEq(owner.balance, 5);
        _assertConserved();
    }

    function test_openJob_failsIfTheDepositIsShort() public {
        JobTerms memory terms = _terms();
        uint256 amount = _deposit(terms) - 1;
        vm.deal(owner, amount);
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InsufficientDeposit.selector, amount, amount + 1));
        market.openJob{value: amount}(terms, SPEC, MODEL, initialCommitment, srs, amount);
    }

    function test_openJob_failsIfTheValueDiffers() public {
        JobTerms memory terms = _terms();
        uint256 amount = _deposit(terms);
        vm.deal(owner, amount);
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongValue.selector, amount - 1, amount));
        market.openJob{value: amount - 1}(terms, SPEC, MODEL, initialCommitment, srs, amount);
    }

    function test_openJob_failsIfTheSpecIsEmpty() public {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InvalidTerm.selector, "specDigest", 0));
        market.openJob(_terms(), 0, MODEL, initialCommitment, srs, 0);
    }

    function test_openJob_failsIfTheModelIsEmpty() public {
        vm.expectRevert(IJobMarket.EmptyModel.selector);
        market.openJob(_terms(), SPEC, 0, initialCommitment, srs, 0);
    }

    function test_openJob_failsIfTheRulesRefuseTheirTerms() public {
        JobTerms memory terms = _terms();
        terms.rules.dimension = 0;
        vm.expectRevert(abi.encodeWithSelector(IRoundRules.InvalidRuleTerms.selector, "dimension", 0));
        market.openJob(terms, SPEC, MODEL, initialCommitment, srs, 0);
    }

    function test_constructor_failsWithoutRulesOrVerifier() public {
        (IRoundRules rules, IGramVerifier verifier) = (market.rules(), market.verifier());
        vm.expectRevert(IJobMarket.ZeroAddress.selector);
        new JobMarket(IRoundRules(address(0)), verifier);
        vm.expectRevert(IJobMarket.ZeroAddress.selector);
        new JobMarket(rules, IGramVerifier(address(0)));
    }

    function test_views_failIfTheJobIsUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.UnknownJob.selector, 1));
        market.stateOf(JobId.wrap(1));
    }

    // ------------------------------------------------------------------ sizes

    function test_openJob_seatsWithinRange() public {
        JobTerms memory terms = _terms();
        terms.seats = 65;
        _refuse(terms, "seats", 65);
        terms.seats = 0;
        _refuse(terms, "seats", 0);
        terms.seats = 64;
        _open(terms);
        terms.seats = 3;
        _open(terms);
    }

    /// @dev A round's points are a commitment a chunk of every update, public row, mask and exam.
    function test_openJob_soManyChunksThatARoundOfAllSeatsHas1024Points() public {
        JobTerms memory terms = _terms();
        terms.seats = 16; // 16 + 7 rows, 1024 / 23 = 44
        terms.chunks = 45;
        _refuse(terms, "chunks", 45);
        terms.chunks = 0;
        _refuse(terms, "chunks", 0);
        terms.chunks = 44;
        _open(terms);
        terms.seats = 3;
        terms.chunks = 65;
        _refuse(terms, "chunks", 65);
        terms.chunks = 64;
        _open(terms);
    }

    function test_openJob_minimumCommitsWithinRange() public {
        JobTerms memory terms = _terms();
        terms.minimumCommits = 2;
        _refuse(terms, "minimumCommits", 2);
        terms.minimumCommits = SEATS + 1;
        _refuse(terms, "minimumCommits", SEATS + 1);
        terms.minimumCommits = SEATS;
        _open(terms);
    }

    function test_openJob_atLeastOneRound() public {
        JobTerms memory terms = _terms();
        terms.rounds = 0;
        _refuse(terms, "rounds", 0);
        terms.rounds = 1;
        _open(terms);
    }

    function test_openJob_scaleWithinRange() public {
        JobTerms memory terms = _terms();
        terms.scaleExponent = 31;
        _refuse(terms, "scaleExponent", 31);
        terms.scaleExponent = 30;
        terms.initialShift = 9;
        _refuse(terms, "initialShift", 9);
        terms.initialShift = 8;
        _open(terms);
    }

    // ------------------------------------------------------------------ times

    function test_openJob_confirmationPeriodWithinRange() public {
        JobTerms memory terms = _terms();
        terms.confirmationPeriod = 0;
        _refuse(terms, "confirmationPeriod", 0);
        terms.confirmationPeriod = 90 days + 1;
        _refuse(terms, "confirmationPeriod", 90 days + 1);
    }

    function test_openJob_phasesLongerThanConfirmations() public {
        JobTerms memory terms = _terms();
        terms.confirmationPeriod = SETTLE;
        _refuse(terms, "settlePeriod", SETTLE);
        terms.settlePeriod = SETTLE + 1;
        terms.revealPeriod = SETTLE;
        _refuse(terms, "revealPeriod", SETTLE);
        terms.revealPeriod = SETTLE + 1;
        terms.commitPeriod = SETTLE;
        _refuse(terms, "commitPeriod", SETTLE);
        terms.commitPeriod = SETTLE + 1;
        _open(terms);
    }

    function test_openJob_phasesAtMostNinetyDays() public {
        JobTerms memory terms = _terms();
        terms.deadline = NOW + 1000 days;
        terms.commitPeriod = 90 days + 1;
        _refuse(terms, "commitPeriod", 90 days + 1);
        terms.commitPeriod = 90 days;
        terms.revealPeriod = 90 days + 1;
        _refuse(terms, "revealPeriod", 90 days + 1);
        terms.revealPeriod = 90 days;
        terms.settlePeriod = 90 days + 1;
        _refuse(terms, "settlePeriod", 90 days + 1);
        terms.settlePeriod = 90 days;
        terms.vestingPeriod = 90 days - 1;
        _open(terms);
    }

    function test_openJob_vestingEndsBeforeTheNextCommitPhase() public {
        JobTerms memory terms = _terms();
        terms.vestingPeriod = 0;
        _refuse(terms, "vestingPeriod", 0);
        terms.vestingPeriod = COMMIT;
        _refuse(terms, "vestingPeriod", COMMIT);
        terms.vestingPeriod = COMMIT - 1;
        _open(terms);
    }

    function test_openJob_enrolmentEndsInTheFuture() public {
        JobTerms memory terms = _terms();
        terms.enrolUntil = NOW - 1;
        _refuse(terms, "enrolUntil", NOW - 1);
        terms.enrolUntil = NOW;
        _open(terms);
    }

    function test_openJob_oneAttemptFitsBeforeTheDeadline() public {
        JobTerms memory terms = _terms();
        terms.deadline = FIRST_OVERDUE - 1;
        _refuse(terms, "deadline", FIRST_OVERDUE - 1);
        terms.deadline = FIRST_OVERDUE;
        _open(terms);
    }

    function test_openJob_deadlineWithinFiveYears() public {
        JobTerms memory terms = _terms();
        terms.deadline = NOW + 5 * 365 days + 1;
        _refuse(terms, "deadline", NOW + 5 * 365 days + 1);
        terms.deadline = NOW + 5 * 365 days;
        _open(terms);
    }

    // ------------------------------------------------------------------ money

    function test_openJob_someReward() public {
        JobTerms memory terms = _terms();
        terms.roundReward = 0;
        _refuse(terms, "roundReward", 0);
        terms.roundReward = 1;
        _open(terms);
    }

    function test_openJob_stakeCoversTheMostThatAPotCanPay() public {
        JobTerms memory terms = _terms();
        terms.trainerStake = 2 * REWARD - 1;
        _refuse(terms, "trainerStake", 2 * REWARD - 1);
        terms.trainerStake = 2 * REWARD;
        _open(terms);
    }

    function test_openJob_stakeCoversThePrice() public {
        JobTerms memory terms = _priceTerms();
        terms.trainerStake = terms.price - 1;
        _refuse(terms, "trainerStake", terms.price - 1);
    }

    function test_openJob_priceWithinRange() public {
        JobTerms memory terms = _priceTerms();
        terms.price = 0;
        _refuse(terms, "price", 0);
        terms.price = REWARD / SEATS + 1;
        _refuse(terms, "price", REWARD / SEATS + 1);
        terms.price = REWARD / SEATS;
        terms.scoreTarget = 0;
        _refuse(terms, "scoreTarget", 0);
        terms.scoreTarget = 1;
        _open(terms);
    }

    function test_openJob_bondCoversRewardAndCompensation() public {
        JobTerms memory terms = _terms();
        terms.aggregatorBond = REWARD - 1;
        _refuse(terms, "aggregatorBond", REWARD - 1);
        terms.aggregatorBond = REWARD;
        terms.compensation = REWARD / SEATS + 1;
        _refuse(terms, "aggregatorBond", REWARD);
        terms.compensation = REWARD / SEATS;
        _open(terms);
    }

    function testFuzz_openJob_largestAmountsDoNotOverflow(uint128 reward, uint128 fee, uint128 compensation) public {
        JobTerms memory terms = _terms();
        (terms.roundReward, terms.aggregatorFee, terms.compensation) = (reward, fee, compensation);
        terms.trainerStake = type(uint128).max;
        terms.aggregatorBond = type(uint128).max;
        terms.rounds = type(uint16).max;
        uint256 required = _deposit(terms);
        bool valid = reward > 0 && reward <= type(uint128).max / 2 && uint256(compensation) * SEATS < 1 << 128;
        if (!valid) vm.expectPartialRevert(IJobMarket.InvalidTerm.selector);
        else vm.expectRevert(abi.encodeWithSelector(IJobMarket.InsufficientDeposit.selector, 0, required));
        market.openJob(terms, SPEC, MODEL, initialCommitment, srs, 0);
    }

    function _refuse(JobTerms memory terms, string memory term, uint256 value) private {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InvalidTerm.selector, term, value));
        market.openJob(terms, SPEC, MODEL, initialCommitment, srs, 0);
    }
}
