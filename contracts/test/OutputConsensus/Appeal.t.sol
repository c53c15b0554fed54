// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Evidence, Panel, TaskOutcome, TaskPhase} from "../../src/interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../../src/interfaces/IOutputConsensus.sol";
import {Act, ConsensusFixture, Play} from "./ConsensusFixture.sol";

contract AppealTest is ConsensusFixture {
    uint128 private constant BOND = 7 * SHARE;

    // ------------------------------------------------------------------ asking

    function test_appeal_asksForTwiceThePanelAndOne() public {
        _decide(_honest(3));
        vm.deal(owner, BOND);
        vm.expectEmit();
        emit IOutputConsensus.Appealed(task, owner, BOND);
        vm.expectEmit();
        emit IOutputConsensus.DrawFixed(task, 2, block.number + DELAY);
        vm.prank(owner);
        consensus.appeal{value: BOND}(task);
        vm.assertEq(_panel().size, 7);
        vm.assertEq(_panel().askedAt, block.number);
        vm.assertEq(_state().appellant, owner);
        vm.assertEq(_state().bond, BOND);
        _assertPhase(TaskPhase.Drawing);
        _assertConserved();
    }

    function test_appeal_mayBeTheWorkersOrAnExcludedSeats() public {
        task = _open(_workerTerms());
        Play[] memory plays = _honest(3);
        (plays[1].digests, plays[0].digests) = (_batch(2), _batch(1));
        _decide(plays);
        uint256 state = vm.snapshotState();
        _appeal(worker);
        vm.assertEq(_state().appellant, worker);
        vm.assertTrue(vm.revertToState(state));
        address excluded = _seatAt(1);
        _appeal(excluded);
        vm.assertEq(_state().appellant, excluded);
    }

    function test_appeal_failsForOthers() public {
        Play[] memory plays = _honest(3);
        plays[1].act = Act.Mute;
        _decide(plays);
        _refuses(stranger, _notEntitled(stranger));
        _refuses(_seatAt(0), _notEntitled(_seatAt(0))); // of the clique
        _refuses(_seatAt(1), _notEntitled(_seatAt(1))); // silent
    }

    /// @dev Whoever sat in the first panel, where the second decided.
    function test_appeal_failsForAnEarlierPanelsSeat() public {
        _decide(_three(_batch(1), _batch(2), _batch(3)));
        address former = consensus.panel(task, 0).seats[0].verifier;
        _decide(_honest(3));
        _refuses(former, _notEntitled(former));
    }

    function test_appeal_failsIfTheBondIsWrong() public {
        _decide(_honest(3));
        vm.deal(owner, BOND);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongValue.selector, BOND - 1, BOND));
        vm.prank(owner);
        consensus.appeal{value: BOND - 1}(task);
    }

    function test_appeal_endsWithItsPeriod() public {
        _refuses(owner, _wrongPhase(TaskPhase.Drawing));
        _decide(_honest(3));
        vm.warp(_state().appealUntil);
        _refuses(owner, _wrongPhase(TaskPhase.Finish));
        vm.warp(_state().appealUntil - 1);
        _appeal(owner);
        _refuses(owner, _wrongPhase(TaskPhase.Drawing));
    }

    function test_appeal_isTheLast() public {
        _decide(_honest(3));
        _appeal(owner);
        _decide(_honest(7));
        _refuses(owner, _wrongPhase(TaskPhase.Finish));
    }

    function test_appeal_failsIfThePoolIsTooSmall() public {
        for (uint256 i = 0; i < VERIFIERS - 9; ++i) {
            vm.prank(_verifier(i));
            consensus.unstake(pool, 1);
        }
        _decide(_honest(3));
        _refuses(owner, abi.encodeWithSelector(IOutputConsensus.PoolTooSmall.selector, 6, 7));
    }

    function test_takeSeat_failsForTheAppellantAndTheStandingPanel() public {
        Play[] memory plays = _honest(3);
        plays[1].digests = _batch(2);
        _decide(plays);
        address excluded = _seatAt(1);
        _appeal(excluded);
        Panel memory standing = consensus.panel(task, 0);
        _draw();
        for (uint256 i = 0; i < 3; ++i) {
            address account = standing.seats[i].verifier;
            vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.Barred.selector, account));
            vm.prank(account);
            consensus.takeSeat(task);
        }
    }

    /// @dev Two units do not seat anybody twice.
    function test_takeSeat_failsForTheFirstPanelInTheSecond() public {
        _stake(stranger, 64);
        vm.roll(block.number + 1);
        task = _open(_terms());
        _draw();
        vm.prank(stranger);
        consensus.takeSeat(task);
        _seatOthers();
        _play(_three(_batch(1), _batch(2), _batch(3)));
        _settle();
        vm.assertTrue(_isSeated(consensus.panel(task, 0), stranger), "sat");
        _draw();
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.Barred.selector, stranger));
        vm.prank(stranger);
        consensus.takeSeat(task);
    }

    // ------------------------------------------------------------------ lost

    function test_appealLost_theAppellantPays() public {
        _decide(_honest(3));
        _appeal(owner);
        _decide(_honest(7));
        _finish();
        vm.assertEq(consensus.credits(owner), 0);
        for (uint256 i = 0; i < 7; ++i) {
            vm.assertEq(consensus.credits(_panelSeat(2, i)), SHARE);
            _assertUnits(_panelSeat(2, i), 1, 0);
        }
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(consensus.credits(_panelSeat(0, i)), SHARE);
        }
        vm.assertEq(consensus.ledger().burned, 0);
        vm.assertEq(consensus.ledger().escrowed, 0);
        _assertConserved();
    }

    /// @dev It costs the appellant the same whoever is excluded.
    function test_appealLost_whatExcludedSeatsWouldHaveHadIsBurned() public {
        _decide(_honest(3));
        _appeal(owner);
        Play[] memory plays = _honest(7);
        (plays[5].digests, plays[6].act) = (_batch(5), Act.Silent);
        _decide(plays);
        _finish();
        vm.assertEq(consensus.credits(owner), 0);
        vm.assertEq(consensus.ledger().burned, 2 * SHARE + 2 * UNIT);
        _assertUnits(_panelSeat(2, 5), 0, 0);
        _assertConserved();
    }

    // ------------------------------------------------------------------ won

    /// @dev Two of three said something else: the third appeals, is paid and has its bond back, out of what they lose.
    function test_appealWon_theOverturnedMajorityPays() public {
        address right = _overturn();
        _finish();
        vm.assertEq(consensus.credits(right), BOND + SHARE);
        _assertUnits(right, 1, 0);
        for (uint256 i = 0; i < 2; ++i) {
            _assertUnits(_panelSeat(0, i), 0, 0);
            vm.assertEq(consensus.credits(_panelSeat(0, i)), 0);
        }
        for (uint256 i = 0; i < 7; ++i) {
            vm.assertEq(consensus.credits(_panelSeat(2, i)), SHARE);
        }
        // Two units and two shares were lost, and seven shares came back.
        vm.assertEq(consensus.ledger().burned, 2 * UNIT + 2 * SHARE - BOND);
        vm.assertEq(_state().outputs, _outputsOf(_batch(1)));
        _assertConserved();
    }

    function test_appealWon_saysHowTheStandingPanelIsJudged() public {
        _toOverturn();
        _seat();
        _play(_honest(7));
        vm.expectEmit();
        emit IOutputConsensus.Rejudged(task, 0, 4, 0);
        _settle();
        vm.assertEq(consensus.panel(task, 0).paid, 4);
        _assertPhase(TaskPhase.Finish);
    }

    /// @dev Near some of the appeal's clique and not its medoid: neither paid nor penalised.
    function test_appealWon_sparesWhoAgreesWithAMember() public {
        bytes32[] memory batch = _batch(1);
        _decide(_plays(3, _flipped(batch, 0, TOLERANCE + 5)));
        _appeal(owner);
        Play[] memory plays = _honest(7);
        plays[3].digests = _flipped(batch, 0, 10);
        _decide(plays);
        vm.assertEq(consensus.panel(task, 0).paid, 0);
        vm.assertEq(consensus.panel(task, 0).spared, 7);
        _finish();
        vm.assertEq(consensus.credits(owner), 0, "nobody lost what could pay the appeal");
        vm.assertEq(consensus.ledger().burned, 3 * SHARE);
        for (uint256 i = 0; i < 3; ++i) {
            _assertUnits(_panelSeat(0, i), 1, 0);
        }
        _assertConserved();
    }

    function test_appealWon_byTheWorkerEarnsItsReward() public {
        task = _open(_workerTerms());
        _seat();
        _commitAll(_plays(3, _batch(2)));
        _revealAll(_plays(3, _batch(2)));
        _openClaim();
        _settle();
        vm.assertFalse(_state().workerAccepted);
        _appeal(worker);
        _decide(_honest(7));
        vm.assertTrue(_state().workerAccepted);
        _finish();
        // Three units and shares are more than the bond.
        vm.assertEq(consensus.credits(worker), BOND + WORKER_REWARD);
        _assertConserved();
    }

    function test_appealWon_makesATaskVoid() public {
        _decide(_honest(3));
        _appeal(owner);
        Play[] memory plays = _honest(7);
        for (uint256 i = 0; i < 4; ++i) {
            plays[i] = _void();
        }
        _decide(plays);
        _assertOutcome(TaskOutcome.Void);
        _finish();
        // Void is worth a quarter, and spares who gave digests: the standing panel's shares go back but for the quarters.
        vm.assertEq(consensus.credits(owner), BOND - 7 * SHARE / 4 + 3 * SHARE - 3 * (SHARE / 4));
        vm.assertEq(consensus.credits(_panelSeat(2, 0)), SHARE / 4);
        vm.assertEq(consensus.credits(_panelSeat(2, 5)), 0);
        _assertUnits(_panelSeat(2, 5), 1, 0);
        _assertUnits(_panelSeat(0, 0), 1, 0);
        _assertConserved();
    }

    function test_appealWon_againstVoid() public {
        Play[] memory plays = _honest(3);
        (plays[0], plays[1]) = (_void(), _void());
        _decide(plays);
        _assertOutcome(TaskOutcome.Void);
        address right = _seatAt(2);
        _appeal(right);
        _decide(_honest(7));
        _assertOutcome(TaskOutcome.Accepted);
        _finish();
        vm.assertEq(consensus.credits(right), BOND + SHARE);
        _assertUnits(_panelSeat(0, 0), 0, 0);
        _assertConserved();
    }

    // ------------------------------------------------------------------ undecided

    function test_appealWithoutMajority_leavesTheDecision() public {
        _decide(_honest(3));
        _appeal(owner);
        Play[] memory plays = _honest(7);
        for (uint256 i = 0; i < 4; ++i) {
            plays[i].digests = _batch(10 + i);
        }
        plays[6].act = Act.Silent;
        _decide(plays);
        _assertOutcome(TaskOutcome.Accepted);
        _assertPhase(TaskPhase.Finish);
        _finish();
        vm.assertEq(consensus.credits(owner), BOND);
        vm.assertEq(consensus.credits(_panelSeat(0, 0)), SHARE);
        vm.assertEq(consensus.credits(_panelSeat(2, 0)), 0);
        _assertUnits(_panelSeat(2, 0), 1, 0);
        _assertUnits(_panelSeat(2, 6), 0, 0);
        _assertConserved();
    }

    function test_appealStarved_leavesTheDecision() public {
        _decide(_honest(3));
        _appeal(owner);
        _draw();
        address only = _verifier(0);
        for (uint256 i = 1; _isSeated(consensus.panel(task, 0), only); ++i) {
            only = _verifier(i);
        }
        vm.prank(only);
        consensus.takeSeat(task);
        vm.warp(_panel().seatUntil);
        Evidence memory none;
        consensus.settle(task, none);
        _assertUnits(only, 1, 0);
        _finish();
        vm.assertEq(consensus.credits(owner), BOND);
        vm.assertEq(consensus.credits(_panelSeat(0, 1)), SHARE);
        _assertConserved();
    }

    // ------------------------------------------------------------------ evidence

    function test_settle_failsWithoutTheStandingPanelsDigests() public {
        _toOverturn();
        _seat();
        _play(_honest(7));
        Evidence memory evidence = _evidence();
        evidence.original = new bytes32[][](0);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongSeatCount.selector, 0, 3));
        consensus.settle(task, evidence);
        evidence = _evidence();
        evidence.original[1] = _batch(1);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongDigests.selector, 0, 1));
        consensus.settle(task, evidence);
    }

    // ------------------------------------------------------------------ helpers

    /// @dev Seats 0 and 1 agree on something else than seat 2, which appeals.
    function _toOverturn() private returns (address right) {
        Play[] memory plays = _plays(3, _batch(2));
        plays[2].digests = _batch(1);
        _decide(plays);
        right = _seatAt(2);
        _appeal(right);
    }

    function _overturn() private returns (address right) {
        right = _toOverturn();
        _decide(_honest(7));
    }

    function _panelSeat(uint256 index, uint256 seat) private view returns (address) {
        return consensus.panel(task, index).seats[seat].verifier;
    }

    /// @dev Verifiers with higher numbers than the stranger's first: two more sit.
    function _seatOthers() private {
        uint256 own = consensus.numberOf(task, 0, stranger);
        uint256 count = 0;
        for (uint256 i = 0; i < VERIFIERS && count < 2; ++i) {
            if (consensus.numberOf(task, 0, _verifier(i)) < own) continue;
            vm.prank(_verifier(i));
            consensus.takeSeat(task);
            ++count;
        }
        vm.warp(_panel().seatUntil);
    }

    function _refuses(address account, bytes memory error) private {
        vm.deal(account, BOND);
        vm.expectRevert(error);
        vm.prank(account);
        consensus.appeal{value: BOND}(task);
    }

    function _notEntitled(address account) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IOutputConsensus.NotEntitled.selector, account);
    }

    function _wrongPhase(TaskPhase phase) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IOutputConsensus.WrongPhase.selector, phase, TaskPhase.Appeal);
    }
}
