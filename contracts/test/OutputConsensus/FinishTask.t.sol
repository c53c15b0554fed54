// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {PenaltyReason, TaskOutcome, TaskPhase} from "../../src/interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../../src/interfaces/IOutputConsensus.sol";
import {Act, ConsensusFixture, Play} from "./ConsensusFixture.sol";

contract FinishTaskTest is ConsensusFixture {
    function test_finish_paysAndUnlocks() public {
        _decide(_honest(3));
        vm.warp(_state().appealUntil);
        vm.expectEmit();
        emit IOutputConsensus.Credited(_seatAt(0), task, SHARE);
        vm.expectEmit();
        emit IOutputConsensus.Finished(task, TaskOutcome.Accepted, _outputsOf(_batch(1)), false, 0);
        consensus.finish(task);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(consensus.credits(_seatAt(i)), SHARE);
            _assertUnits(_seatAt(i), 1, 0);
        }
        vm.assertEq(consensus.ledger().escrowed, 0);
        _assertPhase(TaskPhase.Finished);
        _assertConserved();
    }

    /// @dev Nobody has what the excluded one would have had.
    function test_finish_burnsUnitAndShareOfWhoDisagrees() public {
        Play[] memory plays = _honest(3);
        plays[2].digests = _batch(2);
        _decide(plays);
        _assertUnits(_seatAt(2), 1, 1);
        vm.warp(_state().appealUntil);
        vm.expectEmit();
        emit IOutputConsensus.Penalised(task, 0, _seatAt(2), UNIT, PenaltyReason.Disagreed);
        consensus.finish(task);
        _assertUnits(_seatAt(2), 0, 0);
        vm.assertEq(consensus.credits(_seatAt(0)), SHARE);
        vm.assertEq(consensus.credits(owner), 0);
        vm.assertEq(consensus.ledger().burned, UNIT + SHARE);
        _assertConserved();
    }

    function test_finish_sparesWhoAgreesWithAMember() public {
        bytes32[] memory batch = _batch(1);
        _decide(_three(_flipped(batch, 0, 15), batch, _flipped(batch, 30, 10)));
        _finish();
        _assertUnits(_seatAt(0), 1, 0);
        vm.assertEq(consensus.credits(_seatAt(0)), 0);
        vm.assertEq(consensus.ledger().burned, SHARE);
        _assertConserved();
    }

    function test_finish_ofVoidPaysAQuarter() public {
        Play[] memory plays = _honest(3);
        (plays[0], plays[2]) = (_void(), _void());
        _decide(plays);
        _finish();
        vm.assertEq(consensus.credits(_seatAt(0)), SHARE / 4);
        vm.assertEq(consensus.credits(_seatAt(1)), 0);
        _assertUnits(_seatAt(1), 1, 0);
        vm.assertEq(consensus.credits(owner), 3 * (SHARE - SHARE / 4));
        vm.assertEq(consensus.ledger().burned, SHARE / 4);
        _assertConserved();
    }

    function test_finish_failsBeforeTheAppealPeriodsEnd() public {
        _refuses(TaskPhase.Drawing);
        _decide(_honest(3));
        vm.warp(_state().appealUntil - 1);
        _refuses(TaskPhase.Appeal);
        vm.warp(_state().appealUntil);
        consensus.finish(task);
    }

    function test_finish_failsTwice() public {
        _decide(_honest(3));
        _finish();
        _refuses(TaskPhase.Finished);
    }

    /// @dev Who left with all its other units is penalised all the same: what a seat holds cannot leave.
    function test_finish_findsTheUnitThatASeatHolds() public {
        Play[] memory plays = _honest(3);
        plays[2].act = Act.Mute;
        _seat();
        _play(plays);
        address silent = _seatAt(2);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.UnitsLocked.selector, 1, 0));
        vm.prank(silent);
        consensus.unstake(pool, 1);
        _settle();
        _finish();
        vm.assertEq(consensus.credits(silent), 0);
        (, uint256 members) = consensus.pool(pool);
        vm.assertEq(members, VERIFIERS - 1);
    }

    function _refuses(TaskPhase phase) private {
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongPhase.selector, phase, TaskPhase.Finish));
        consensus.finish(task);
    }
}
