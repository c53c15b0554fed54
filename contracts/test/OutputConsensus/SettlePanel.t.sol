// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Evidence, Panel, PenaltyReason, TaskOutcome, TaskPhase} from "../../src/interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../../src/interfaces/IOutputConsensus.sol";
import {Act, ConsensusFixture, Play} from "./ConsensusFixture.sol";

contract SettlePanelTest is ConsensusFixture {
    function test_settle_acceptsWhatAllAgreeOn() public {
        _seat();
        _play(_honest(3));
        vm.expectEmit();
        emit IOutputConsensus.Settled(task, 0, TaskOutcome.Accepted, 7, 0, 0, _outputsOf(_batch(1)), 0xff);
        _settle();
        vm.assertEq(_state().appealUntil, block.timestamp + APPEAL);
        vm.assertEq(_state().outputs, _outputsOf(_batch(1)));
        _assertOutcome(TaskOutcome.Accepted);
        _assertPhase(TaskPhase.Appeal);
        _assertConserved();
    }

    function test_settle_needsNoWaitingOnceAllHaveRevealed() public {
        _seat();
        Play[] memory plays = _honest(3);
        _commitAll(plays);
        _assertPhase(TaskPhase.Reveal);
        _revealAll(plays);
        _assertPhase(TaskPhase.Settle);
        _settle();
    }

    /// @dev Who did not commit cannot reveal: nobody waits for it.
    function test_settle_waitsForNobodyWhoDidNotCommit() public {
        _seat();
        Play[] memory plays = _honest(3);
        plays[1].act = Act.Silent;
        _commitAll(plays);
        _revealAll(plays);
        _settle();
        vm.assertEq(_panel().clique, 5);
    }

    function test_settle_acceptsWithinTolerance() public {
        bytes32[] memory batch = _batch(1);
        _decide(_three(batch, _flipped(batch, 0, TOLERANCE), batch));
        vm.assertEq(_panel().clique, 7);
    }

    function test_settle_excludesBeyondTolerance() public {
        bytes32[] memory batch = _batch(1);
        _decide(_three(batch, _flipped(batch, 0, TOLERANCE + 1), batch));
        vm.assertEq(_panel().clique, 5);
        vm.assertEq(_panel().spared, 0);
    }

    /// @dev Of eight samples one may be beyond.
    function test_settle_allowsSlack() public {
        bytes32[] memory other = _batch(1);
        other[3] = ~other[3];
        _decide(_three(_batch(1), other, _batch(1)));
        vm.assertEq(_panel().clique, 7);
        vm.assertEq(_panel().acceptedSamples, 0xff);
    }

    function test_settle_allowsNoMoreThanTheSlack() public {
        bytes32[] memory other = _batch(1);
        (other[3], other[4]) = (~other[3], ~other[4]);
        _decide(_three(_batch(1), other, _batch(1)));
        vm.assertEq(_panel().clique, 5);
    }

    /// @dev Each of the three has a sample of its own, so that on none of those a majority is near the medoid but itself.
    function test_settle_acceptsSamplesThatMostAgreeOn() public {
        bytes32[] memory a = _batch(1);
        bytes32[] memory b = _batch(1);
        bytes32[] memory c = _batch(1);
        (a[3], b[3], c[3]) = (keccak256("a"), keccak256("b"), keccak256("c"));
        _decide(_three(a, b, c));
        vm.assertEq(_panel().clique, 7);
        vm.assertEq(_panel().acceptedSamples, 0xff ^ 8);
    }

    function test_settle_takesTheMedoid() public {
        bytes32[] memory batch = _batch(1);
        _decide(_three(_flipped(batch, 0, 10), batch, _flipped(batch, 10, 10)));
        vm.assertEq(_panel().medoid, 1);
        vm.assertEq(_state().outputs, _outputsOf(batch));
    }

    /// @dev Seats 0 and 1 agree, 1 and 2 agree more closely, 0 and 2 do not: every pair counts, and no chain.
    function test_settle_takesTheClosestOfEquallyLargeCliques() public {
        bytes32[] memory batch = _batch(1);
        _decide(_three(_flipped(batch, 0, 15), batch, _flipped(batch, 30, 10)));
        vm.assertEq(_panel().clique, 6);
        vm.assertEq(_panel().spared, 1);
    }

    function test_settle_takesTheLowestOfEquallyCloseCliques() public {
        bytes32[] memory batch = _batch(1);
        _decide(_three(_flipped(batch, 0, 15), batch, _flipped(batch, 30, 15)));
        vm.assertEq(_panel().clique, 3);
        vm.assertEq(_panel().spared, 4);
        vm.assertEq(_panel().medoid, 0);
    }

    function test_settle_penalisesTheSilentAtOnce() public {
        _seat();
        Play[] memory plays = _honest(3);
        plays[1].act = Act.Silent;
        _play(plays);
        vm.expectEmit();
        emit IOutputConsensus.Penalised(task, 0, _seatAt(1), UNIT, PenaltyReason.Silent);
        _settle();
        _assertUnits(_seatAt(1), 0, 0);
        _assertUnits(_seatAt(0), 1, 1);
        vm.assertEq(consensus.ledger().burned, UNIT);
        _assertConserved();
    }

    function test_settle_withoutMajorityAsksForASecondPanel() public {
        _seat();
        Play[] memory plays = _three(_batch(1), _batch(2), _batch(3));
        _play(plays);
        vm.expectEmit();
        emit IOutputConsensus.Settled(task, 0, TaskOutcome.NoMajority, 0, 0, 0, 0, 0);
        vm.expectEmit();
        emit IOutputConsensus.DrawFixed(task, 1, block.number + DELAY);
        _settle();
        _assertPhase(TaskPhase.Drawing);
        vm.assertEq(_state().panel, 1);
        Panel memory first = consensus.panel(task, 0);
        for (uint256 i = 0; i < 3; ++i) {
            _assertUnits(first.seats[i].verifier, 1, 0);
        }
    }

    function test_settle_secondPanelDecides() public {
        _decide(_three(_batch(1), _batch(2), _batch(3)));
        Panel memory first = consensus.panel(task, 0);
        _decide(_honest(3));
        vm.assertEq(_state().standing, 1);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertFalse(_isSeated(first, _seatAt(i)), "sat twice");
        }
        _finish();
        vm.assertEq(consensus.credits(_seatAt(0)), SHARE);
        _assertConserved();
    }

    function test_settle_twiceWithoutMajorityRefunds() public {
        _decide(_three(_batch(1), _batch(2), _batch(3)));
        _seat();
        _play(_three(_batch(1), _batch(2), _batch(3)));
        vm.expectEmit();
        emit IOutputConsensus.Credited(owner, task, 3 * SHARE);
        vm.expectEmit();
        emit IOutputConsensus.Finished(task, TaskOutcome.NoMajority, 0, false, 0);
        _settle();
        _assertPhase(TaskPhase.Finished);
        _assertOutcome(TaskOutcome.NoMajority);
        vm.assertEq(consensus.ledger().escrowed, 0);
        vm.assertEq(consensus.ledger().burned, 0);
        _assertConserved();
    }

    /// @dev A panel that does not fill up has not sat: nobody is penalised, and nobody barred.
    function test_settle_ofStarvedPanelAsksForASecondOne() public {
        _draw();
        vm.prank(_verifier(0));
        consensus.takeSeat(task);
        vm.warp(_panel().seatUntil);
        _assertPhase(TaskPhase.Settle);
        Evidence memory none;
        consensus.settle(task, none);
        _assertUnits(_verifier(0), 1, 0);
        vm.assertEq(_state().panel, 1);

        _draw();
        vm.prank(_verifier(0));
        consensus.takeSeat(task);
        vm.warp(_panel().seatUntil);
        consensus.settle(task, none);
        _assertPhase(TaskPhase.Finished);
        _assertUnits(_verifier(0), 1, 0);
        vm.assertEq(consensus.credits(owner), 3 * SHARE);
        _assertConserved();
    }

    function test_settle_voidByMajority() public {
        _seat();
        Play[] memory plays = _honest(3);
        (plays[0], plays[2]) = (_void(), _void());
        _play(plays);
        vm.expectEmit();
        emit IOutputConsensus.Settled(task, 0, TaskOutcome.Void, 5, 2, 0, 0, 0);
        _settle();
        _assertOutcome(TaskOutcome.Void);
    }

    /// @dev Void agrees with void alone.
    function test_settle_penalisesVoidAgainstAMajorityOfDigests() public {
        Play[] memory plays = _honest(3);
        plays[1] = _void();
        _decide(plays);
        vm.assertEq(_panel().clique, 5);
        vm.assertEq(_panel().spared, 0);
    }

    function testFuzz_settle_doesNotDependOnWhoCalls(address caller, uint256 seed) public {
        vm.assume(caller != address(0));
        bytes32[] memory batch = _batch(seed);
        _seat();
        _play(_three(batch, _flipped(batch, seed % 200, seed % 40), _flipped(batch, seed % 100, seed % 30)));
        uint256 state = vm.snapshotState();
        _settle();
        Panel memory decided = consensus.panel(task, 0);
        vm.assertTrue(vm.revertToState(state));
        vm.prank(caller);
        consensus.settle(task, _evidence());
        vm.assertEq(keccak256(abi.encode(consensus.panel(task, 0))), keccak256(abi.encode(decided)));
    }

    // ------------------------------------------------------------------ refusals

    function test_settle_failsIfSomebodyMayStillReveal() public {
        _seat();
        Play[] memory plays = _honest(3);
        plays[0].act = Act.Mute;
        _commitAll(plays);
        _revealAll(plays);
        vm.warp(_panel().revealUntil - 1);
        Evidence memory evidence = _evidence();
        vm.expectRevert(
            abi.encodeWithSelector(IOutputConsensus.WrongPhase.selector, TaskPhase.Reveal, TaskPhase.Settle)
        );
        consensus.settle(task, evidence);
        vm.warp(_panel().revealUntil);
        _settle();
    }

    function test_settle_failsIfBatchesAreMissing() public {
        _seat();
        _play(_honest(3));
        Evidence memory evidence = _evidence();
        evidence.digests = new bytes32[][](2);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongSeatCount.selector, 2, 3));
        consensus.settle(task, evidence);
    }

    function test_settle_failsIfADigestIsAnother() public {
        _seat();
        _play(_honest(3));
        Evidence memory evidence = _evidence();
        evidence.digests[1][7] = keccak256("another");
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongDigests.selector, 0, 1));
        consensus.settle(task, evidence);
    }

    function test_settle_failsIfTheSilentAreGivenDigests() public {
        _seat();
        Play[] memory plays = _honest(3);
        plays[2].act = Act.Mute;
        _play(plays);
        Evidence memory evidence = _evidence();
        evidence.digests[2] = _batch(1);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongDigests.selector, 0, 2));
        consensus.settle(task, evidence);
    }

    function test_settle_failsIfSettled() public {
        _decide(_honest(3));
        Evidence memory evidence = _evidence();
        vm.expectRevert(
            abi.encodeWithSelector(IOutputConsensus.WrongPhase.selector, TaskPhase.Appeal, TaskPhase.Settle)
        );
        consensus.settle(task, evidence);
    }

    function test_settle_failsIfUnknown() public {
        Evidence memory none;
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.UnknownTask.selector, 99));
        consensus.settle(_id(99), none);
    }
}
