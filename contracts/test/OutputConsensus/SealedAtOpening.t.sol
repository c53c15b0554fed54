// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Evidence, TaskPhase, TaskTerms} from "../../src/interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../../src/interfaces/IOutputConsensus.sol";
import {ConsensusFixture, Play} from "./ConsensusFixture.sol";

/// @notice Canaries and the worker's claim.
contract SealedAtOpeningTest is ConsensusFixture {
    uint16[] private samples;
    bytes32[] private digests;

    // ------------------------------------------------------------------ canaries

    function test_openCanaries_saysThem() public {
        _canary(3, _batch(1)[3]);
        _toReveal(_honest(3));
        vm.expectEmit();
        emit IOutputConsensus.CanariesOpened(task, samples, digests, SALT);
        _openCanaries();
        vm.assertTrue(_state().canariesOpen);
    }

    /// @dev Who guesses a sample has the slack for it, but not where a canary shows that most did not guess. It keeps its unit:
    /// an honest batch may use its slack there too.
    function test_canary_thatCountsLeavesNoSlack() public {
        _canary(3, _flip(_batch(1)[3], 0, TOLERANCE));
        _toReveal(_withGuess());
        _openCanaries();
        _settle();
        vm.assertEq(_panel().clique, 6);
        vm.assertEq(_panel().spared, 1);
        _finish();
        vm.assertEq(consensus.credits(_seatAt(0)), 0);
        _assertUnits(_seatAt(0), 1, 0);
        vm.assertEq(consensus.ledger().burned, SHARE);
        _assertConserved();
    }

    /// @dev Who guesses more than the slack loses its unit, canary or none.
    function test_canary_sparesNobodyBeyondTheSlack() public {
        _canary(3, _batch(1)[3]);
        Play[] memory plays = _withGuess();
        plays[0].digests[4] = keccak256("another guess");
        _toReveal(plays);
        _openCanaries();
        _settle();
        vm.assertEq(_panel().clique, 6);
        vm.assertEq(_panel().spared, 0);
    }

    /// @dev The owner keeps true canaries sealed, sees where the standing panel used its slack, and appeals: that costs nobody
    /// a unit, and so it pays for its appeal itself.
    function test_canaries_shownOnAppealPenaliseNobodyWithinTheSlack() public {
        _canary(3, _batch(1)[3]);
        Play[] memory plays = _three(_batch(1), _batch(1), _batch(1));
        plays[0].digests[3] = plays[1].digests[3] = keccak256("slack");
        _decide(plays);
        vm.assertEq(_panel().clique, 7);
        _appeal(owner);
        _toReveal(_honest(7));
        _openCanaries();
        _settle();
        vm.assertEq(consensus.panel(task, 0).paid, 4);
        vm.assertEq(consensus.panel(task, 0).spared, 3);
        _finish();
        vm.assertEq(consensus.credits(owner), 0);
        for (uint256 i = 0; i < 3; ++i) {
            _assertUnits(consensus.panel(task, 0).seats[i].verifier, 1, 0);
        }
        _assertConserved();
    }

    function test_canary_beyondToleranceDoesNotCount() public {
        _canary(3, _flip(_batch(1)[3], 0, TOLERANCE + 1));
        _toReveal(_withGuess());
        _openCanaries();
        _settle();
        vm.assertEq(_panel().clique, 7);
    }

    /// @dev A false answer parts nobody: it counts only where most of the panel meet it.
    function testFuzz_falseCanaryPartsNobody(bytes32 answer) public {
        _canary(3, answer);
        _toReveal(_honest(3));
        _openCanaries();
        _settle();
        vm.assertEq(_panel().clique, 7);
    }

    /// @dev The owner's own seat meets its false canary, and is alone with that.
    function test_falseCanaryMetByOneDoesNotCount() public {
        bytes32 answer = keccak256("false");
        _canary(3, answer);
        Play[] memory plays = _honest(3);
        plays[0].digests[3] = answer;
        _toReveal(plays);
        _openCanaries();
        _settle();
        vm.assertEq(_panel().clique, 7, "within the slack");
    }

    /// @dev Each verifier has its slack at a sample of its own, and the owner true canaries at all of them: the majority stands,
    /// and the owner has no outputs for nothing.
    function test_canaries_undoNoMajority() public {
        TaskTerms memory terms = _terms();
        terms.samples = 16; // two of them may be beyond
        bytes32[] memory batch = _batchOf(1, 16);
        Play[] memory plays = new Play[](3);
        for (uint16 i = 0; i < 3; ++i) {
            samples.push(i);
            digests.push(batch[i]);
            plays[i].digests = _batchOf(1, 16);
            plays[i].digests[i] = keccak256(abi.encode("slack", i));
        }
        terms.canaries = keccak256(abi.encode(samples, digests, SALT));
        task = _open(terms);
        _toReveal(plays);
        _openCanaries();
        _settle();
        vm.assertEq(_panel().clique, 7);
    }

    function test_canary_thatStaysSealedCountsNothing() public {
        _canary(3, _batch(1)[3]);
        _toReveal(_withGuess());
        vm.warp(_panel().revealUntil - 1);
        _assertPhase(TaskPhase.Reveal);
        vm.warp(_panel().revealUntil);
        _settle();
        vm.assertEq(_panel().clique, 7);
    }

    function test_settle_failsWithOtherCanaries() public {
        _canary(3, _batch(1)[3]);
        _toReveal(_honest(3));
        _openCanaries();
        Evidence memory evidence = _evidence();
        evidence.canaryDigests[0] = keccak256("another");
        bytes32 given = keccak256(abi.encode(samples, evidence.canaryDigests, SALT));
        bytes32 kept = keccak256(abi.encode(samples, digests, SALT));
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongCommitment.selector, given, kept));
        consensus.settle(task, evidence);
    }

    function test_settle_failsWithCanariesThatAreNotOpen() public {
        _canary(3, _batch(1)[3]);
        _toReveal(_honest(3));
        vm.warp(_panel().revealUntil);
        Evidence memory evidence = _evidence();
        (evidence.canarySamples, evidence.canaryDigests, evidence.canarySalt) = (samples, digests, SALT);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.InvalidCanary.selector, 3));
        consensus.settle(task, evidence);
    }

    function test_openCanaries_failsForOthers() public {
        _canary(3, _batch(1)[3]);
        _toReveal(_honest(3));
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.NotOwner.selector, stranger, owner));
        vm.prank(stranger);
        consensus.openCanaries(task, samples, digests, SALT);
    }

    function test_openCanaries_failsWithoutAny() public {
        _seat();
        _commitAll(_honest(3));
        _refuses(abi.encodeWithSelector(IOutputConsensus.NothingSealed.selector));
    }

    function test_openCanaries_failsTwice() public {
        _canary(3, _batch(1)[3]);
        _seat();
        _commitAll(_honest(3));
        _openCanaries();
        _refuses(abi.encodeWithSelector(IOutputConsensus.AlreadyOpened.selector));
    }

    function test_openCanaries_failsOutsideTheRevealPhase() public {
        _canary(3, _batch(1)[3]);
        _seat();
        _refuses(abi.encodeWithSelector(IOutputConsensus.WrongTaskPhase.selector, TaskPhase.Commit, TaskPhase.Reveal));
        _commitAll(_honest(3));
        vm.warp(_panel().revealUntil);
        _refuses(abi.encodeWithSelector(IOutputConsensus.WrongTaskPhase.selector, TaskPhase.Settle, TaskPhase.Reveal));
    }

    function test_openCanaries_failsIfTheyAreOthers() public {
        _canary(3, _batch(1)[3]);
        _seat();
        _commitAll(_honest(3));
        bytes32 kept = keccak256(abi.encode(samples, digests, SALT));
        samples[0] = 4;
        bytes32 given = keccak256(abi.encode(samples, digests, SALT));
        _refuses(abi.encodeWithSelector(IOutputConsensus.WrongCommitment.selector, given, kept));
    }

    function test_openCanaries_failsIfTheyAreMalformed() public {
        samples.push(SAMPLES);
        digests.push(SALT);
        _refusesMalformed(abi.encodeWithSelector(IOutputConsensus.InvalidCanary.selector, SAMPLES));
        samples[0] = 2;
        samples.push(2);
        _refusesMalformed(abi.encodeWithSelector(IOutputConsensus.WrongDigestCount.selector, 1, 2));
        digests.push(SALT);
        _refusesMalformed(abi.encodeWithSelector(IOutputConsensus.InvalidCanary.selector, 2));
        for (uint256 i = 2; i < 17; ++i) {
            samples.push(2);
            digests.push(SALT);
        }
        _refusesMalformed(abi.encodeWithSelector(IOutputConsensus.TooManyCanaries.selector, 17, 16));
    }

    // ------------------------------------------------------------------ the claim

    function test_openClaim_thatAgreesEarnsTheReward() public {
        task = _open(_workerTerms());
        _toReveal(_honest(3));
        vm.expectEmit();
        emit IOutputConsensus.ClaimOpened(task, _batch(1));
        _openClaim();
        _settle();
        vm.assertTrue(_state().workerAccepted);
        _finish();
        vm.assertEq(consensus.credits(worker), WORKER_REWARD);
        vm.assertEq(consensus.credits(owner), 0);
        _assertConserved();
    }

    function test_openClaim_thatDisagreesEarnsNothing() public {
        task = _open(_workerTerms());
        _toReveal(_plays(3, _batch(2)));
        _openClaim();
        _settle();
        _finish();
        vm.assertEq(consensus.credits(worker), 0);
        vm.assertEq(consensus.credits(owner), WORKER_REWARD);
        _assertConserved();
    }

    function test_claim_thatStaysSealedEarnsNothing() public {
        task = _open(_workerTerms());
        _toReveal(_honest(3));
        vm.warp(_panel().revealUntil - 1);
        _assertPhase(TaskPhase.Reveal);
        vm.warp(_panel().revealUntil);
        _settle();
        _finish();
        vm.assertEq(consensus.credits(worker), 0);
        vm.assertEq(consensus.credits(owner), WORKER_REWARD);
    }

    function test_openClaim_mayBeTheOwners() public {
        task = _open(_workerTerms());
        _toReveal(_honest(3));
        vm.prank(owner);
        consensus.openClaim(task, _batch(1), SALT);
        vm.assertEq(_state().claimHash, keccak256(abi.encodePacked(_batch(1))));
    }

    /// @dev The owner knows the worker's outputs, has true canaries where they use the slack, and would have its reward back.
    function test_claim_isNotHeldToCanaries() public {
        bytes32[] memory claimed = _batch(1);
        claimed[3] = keccak256("slack");
        TaskTerms memory terms = _workerTerms();
        terms.claim = keccak256(abi.encode(keccak256(abi.encodePacked(claimed)), SALT));
        _canaryIn(terms, 3, _batch(1)[3]);
        _toReveal(_honest(3));
        _openCanaries();
        vm.prank(worker);
        consensus.openClaim(task, claimed, SALT);
        opened.claimed = claimed;
        _settle();
        vm.assertTrue(_state().workerAccepted);
        _finish();
        vm.assertEq(consensus.credits(worker), WORKER_REWARD);
        vm.assertEq(consensus.credits(owner), 0);
    }

    function test_settle_failsWithAnotherClaim() public {
        task = _open(_workerTerms());
        _toReveal(_honest(3));
        _openClaim();
        Evidence memory evidence = _evidence();
        evidence.claimed = _batch(2);
        bytes32 given = keccak256(abi.encodePacked(_batch(2)));
        bytes32 kept = keccak256(abi.encodePacked(_batch(1)));
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongClaim.selector, given, kept));
        consensus.settle(task, evidence);
    }

    function test_openClaim_refusals() public {
        _seat();
        _commitAll(_honest(3));
        bytes32[] memory claimed = _batch(1);
        vm.expectRevert(IOutputConsensus.NothingSealed.selector);
        vm.prank(owner);
        consensus.openClaim(task, claimed, SALT);

        task = _open(_workerTerms());
        _seat();
        vm.expectRevert(
            abi.encodeWithSelector(IOutputConsensus.WrongTaskPhase.selector, TaskPhase.Commit, TaskPhase.Reveal)
        );
        vm.prank(worker);
        consensus.openClaim(task, claimed, SALT);
        _commitAll(_honest(3));
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.NotParty.selector, stranger));
        vm.prank(stranger);
        consensus.openClaim(task, claimed, SALT);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongDigestCount.selector, 7, 8));
        vm.prank(worker);
        consensus.openClaim(task, _batchOf(1, 7), SALT);
        bytes32 given = keccak256(abi.encode(keccak256(abi.encodePacked(_batch(2))), SALT));
        bytes32 kept = keccak256(abi.encode(keccak256(abi.encodePacked(claimed)), SALT));
        claimed = _batch(2);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongCommitment.selector, given, kept));
        vm.prank(worker);
        consensus.openClaim(task, claimed, SALT);
        _openClaim();
        vm.expectRevert(IOutputConsensus.AlreadyOpened.selector);
        vm.prank(worker);
        consensus.openClaim(task, _batchOf(1, SAMPLES), SALT);
    }

    // ------------------------------------------------------------------ helpers

    function _canary(uint16 sample, bytes32 digest) private {
        _canaryIn(_terms(), sample, digest);
    }

    function _canaryIn(TaskTerms memory terms, uint16 sample, bytes32 digest) private {
        samples.push(sample);
        digests.push(digest);
        terms.canaries = keccak256(abi.encode(samples, digests, SALT));
        task = _open(terms);
    }

    function _toReveal(Play[] memory plays) private {
        _seat();
        _commitAll(plays);
        _revealAll(plays);
    }

    /// @dev Seat 0 guesses sample 3.
    function _withGuess() private pure returns (Play[] memory plays) {
        plays = _honest(3);
        plays[0].digests = _batch(1);
        plays[0].digests[3] = keccak256("a guess");
    }

    function _openCanaries() private {
        vm.prank(owner);
        consensus.openCanaries(task, samples, digests, SALT);
        opened.canarySamples = samples;
        opened.canaryDigests = digests;
        opened.canarySalt = SALT;
    }

    function _refuses(bytes memory error) private {
        vm.expectRevert(error);
        vm.prank(owner);
        consensus.openCanaries(task, samples, digests, SALT);
    }

    function _refusesMalformed(bytes memory error) private {
        TaskTerms memory terms = _terms();
        terms.canaries = keccak256(abi.encode(samples, digests, SALT));
        _stakeMany(3);
        vm.roll(block.number + 1);
        task = _open(terms);
        _seat();
        _commitAll(_honest(3));
        _refuses(error);
    }
}
