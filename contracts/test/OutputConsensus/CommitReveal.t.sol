// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SeatState, TaskPhase} from "../../src/interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../../src/interfaces/IOutputConsensus.sol";
import {Act, ConsensusFixture, Play} from "./ConsensusFixture.sol";

contract CommitRevealTest is ConsensusFixture {
    function setUp() public override {
        super.setUp();
        _seat();
    }

    // ------------------------------------------------------------------ commits

    function test_commitOutputs_keepsTheSeal() public {
        address account = _seatAt(1);
        bytes32 seal = _sealOf(account, _batch(1));
        vm.expectEmit();
        emit IOutputConsensus.OutputsCommitted(task, 0, account, seal);
        vm.prank(account);
        consensus.commitOutputs(task, seal);
        vm.assertEq(_panel().seats[1].seal, seal);
        vm.assertEq(uint256(_panel().seats[1].state), uint256(SeatState.Committed));
        _assertPhase(TaskPhase.Commit);
    }

    function test_commitOutputs_failsTwice() public {
        _commit(0, _batch(1));
        _commitRefuses(_seatAt(0), abi.encodeWithSelector(IOutputConsensus.AlreadyCommitted.selector, _seatAt(0)));
    }

    function test_commitOutputs_failsWithoutASeat() public {
        _commitRefuses(stranger, abi.encodeWithSelector(IOutputConsensus.NotSeated.selector, stranger));
    }

    function test_commitOutputs_failsWithoutASeal() public {
        address account = _seatAt(0);
        vm.expectRevert(IOutputConsensus.EmptySeal.selector);
        vm.prank(account);
        consensus.commitOutputs(task, 0);
    }

    /// @dev Half-open: the phase's first moment is in it, the next one's is not.
    function test_commitOutputs_beginsAndEndsWithItsPhase() public {
        vm.warp(_panel().seatUntil - 1);
        _commitRefuses(_seatAt(0), _wrongPhase(TaskPhase.Seating, TaskPhase.Commit));
        vm.warp(_panel().seatUntil);
        _commit(0, _batch(1));
        vm.warp(_panel().commitUntil - 1);
        _commit(1, _batch(1));
        vm.warp(_panel().commitUntil);
        _commitRefuses(_seatAt(2), _wrongPhase(TaskPhase.Reveal, TaskPhase.Commit));
    }

    /// @dev Nobody has anything to reveal or to wait for.
    function test_settle_followsIfNobodyCommitted() public {
        vm.warp(_panel().commitUntil - 1);
        _assertPhase(TaskPhase.Commit);
        vm.warp(_panel().commitUntil);
        _assertPhase(TaskPhase.Settle);
    }

    // ------------------------------------------------------------------ reveals

    function test_revealOutputs_keepsTheHashAndSaysTheDigests() public {
        _commitAll(_honest(3));
        address account = _seatAt(2);
        vm.expectEmit();
        emit IOutputConsensus.OutputsRevealed(task, 0, account, _outputsOf(_batch(1)), _batch(1));
        _reveal(2, _batch(1));
        vm.assertEq(_panel().seats[2].digestsHash, keccak256(abi.encodePacked(_batch(1))));
        vm.assertEq(_panel().seats[2].outputs, _outputsOf(_batch(1)));
        vm.assertEq(uint256(_panel().seats[2].state), uint256(SeatState.Revealed));
    }

    /// @dev Once all have committed nobody can copy any more.
    function test_revealOutputs_beginsOnceAllHaveCommitted() public {
        _commit(0, _batch(1));
        _commit(1, _batch(1));
        _revealRefuses(0, _batch(1), _wrongPhase(TaskPhase.Commit, TaskPhase.Reveal));
        _commit(2, _batch(1));
        vm.assertEq(block.timestamp, _panel().seatUntil);
        _assertPhase(TaskPhase.Reveal);
    }

    function test_revealOutputs_beginsAndEndsWithItsPhase() public {
        Play[] memory plays = _honest(3);
        plays[2].act = Act.Silent;
        _commitAll(plays);
        vm.warp(_panel().commitUntil - 1);
        _revealRefuses(0, _batch(1), _wrongPhase(TaskPhase.Commit, TaskPhase.Reveal));
        vm.warp(_panel().commitUntil);
        _reveal(0, _batch(1));
        vm.warp(_panel().revealUntil);
        _revealRefuses(1, _batch(1), _wrongPhase(TaskPhase.Settle, TaskPhase.Reveal));
        vm.warp(_panel().revealUntil - 1);
        _reveal(1, _batch(1));
    }

    function test_revealOutputs_saysThatTheRequestCannotBeMet() public {
        Play[] memory plays = _honest(3);
        plays[0] = _void();
        _commitAll(plays);
        _reveal(0, new bytes32[](0));
        vm.assertEq(uint256(_panel().seats[0].state), uint256(SeatState.Void));
    }

    function test_revealOutputs_failsTwice() public {
        _commitAll(_honest(3));
        _reveal(0, _batch(1));
        _revealRefuses(0, _batch(1), abi.encodeWithSelector(IOutputConsensus.AlreadyRevealed.selector, _seatAt(0)));
    }

    function test_revealOutputs_failsWithoutACommit() public {
        Play[] memory plays = _honest(3);
        plays[0].act = Act.Silent;
        _commitAll(plays);
        _revealRefuses(0, _batch(1), abi.encodeWithSelector(IOutputConsensus.NotCommitted.selector, _seatAt(0)));
    }

    function test_revealOutputs_failsWithoutASeat() public {
        _commitAll(_honest(3));
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.NotSeated.selector, stranger));
        vm.prank(stranger);
        consensus.revealOutputs(task, new bytes32[](0), 0, SALT);
    }

    function test_revealOutputs_failsIfItIsNotWhatWasSealed() public {
        _commitAll(_honest(3));
        bytes32 given = _sealOf(_seatAt(0), _batch(2));
        bytes32 kept = _sealOf(_seatAt(0), _batch(1));
        _revealRefuses(0, _batch(2), abi.encodeWithSelector(IOutputConsensus.WrongSeal.selector, given, kept));
    }

    function test_revealOutputs_failsIfTheCountIsWrong() public {
        _commitAll(_honest(3));
        bytes memory error = abi.encodeWithSelector(IOutputConsensus.WrongDigestCount.selector, 7, 8);
        _revealRefuses(0, _batchOf(1, 7), error);
        error = abi.encodeWithSelector(IOutputConsensus.WrongDigestCount.selector, 9, 8);
        _revealRefuses(0, _batchOf(1, 9), error);
    }

    function test_revealOutputs_failsIfADigestIsZero() public {
        bytes32[] memory digests = _batch(1);
        digests[5] = 0;
        _commitAll(_plays(3, digests));
        _revealRefuses(0, digests, abi.encodeWithSelector(IOutputConsensus.ZeroDigest.selector, 5));
    }

    function test_revealOutputs_failsWithoutOutputsOrWithThoseOfNothing() public {
        _commitAll(_honest(3));
        address account = _seatAt(0);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongOutputs.selector, 0));
        vm.prank(account);
        consensus.revealOutputs(task, _batch(1), 0, SALT);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongOutputs.selector, SALT));
        vm.prank(account);
        consensus.revealOutputs(task, new bytes32[](0), SALT, SALT);
    }

    // ------------------------------------------------------------------ cheats

    /// @dev A seal names its verifier: another's is worth nothing.
    function test_copiedSealCannotBeRevealed() public {
        bytes32 seal = _sealOf(_seatAt(0), _batch(1));
        for (uint256 seat = 0; seat < 3; ++seat) {
            address account = _seatAt(seat);
            vm.prank(account);
            consensus.commitOutputs(task, seal);
        }
        bytes32 own = _sealOf(_seatAt(1), _batch(1));
        _revealRefuses(1, _batch(1), abi.encodeWithSelector(IOutputConsensus.WrongSeal.selector, own, seal));
    }

    /// @dev Nor is one of another panel, task, chain or contract.
    function test_sealOfAnotherPlaceCannotBeRevealed() public {
        address account = _seatAt(0);
        bytes32 hash = keccak256(abi.encodePacked(_batch(1)));
        bytes32 outputs = _outputsOf(_batch(1));
        bytes32[4] memory seals = [
            keccak256(abi.encode(block.chainid + 1, consensus, task, uint256(0), account, hash, outputs, SALT)),
            keccak256(abi.encode(block.chainid, stranger, task, uint256(0), account, hash, outputs, SALT)),
            keccak256(abi.encode(block.chainid, consensus, _id(7), uint256(0), account, hash, outputs, SALT)),
            keccak256(abi.encode(block.chainid, consensus, task, uint256(1), account, hash, outputs, SALT))
        ];
        uint256 state = vm.snapshotState();
        for (uint256 i = 0; i < seals.length; ++i) {
            vm.prank(account);
            consensus.commitOutputs(task, seals[i]);
            vm.warp(_panel().commitUntil);
            bytes32 own = _sealOf(account, _batch(1));
            _revealRefuses(0, _batch(1), abi.encodeWithSelector(IOutputConsensus.WrongSeal.selector, own, seals[i]));
            vm.assertTrue(vm.revertToState(state));
        }
    }

    /// @dev Whoever waits for the others' reveals finds the phase over: they open once it has committed, or cannot.
    function test_copyAfterRevealComesTooLate() public {
        Play[] memory plays = _honest(3);
        plays[2].act = Act.Silent;
        _commitAll(plays);
        _reveal(0, _batch(1));
        _commitRefuses(_seatAt(2), _wrongPhase(TaskPhase.Reveal, TaskPhase.Commit));
        _reveal(1, _batch(1));
        _settle();
        _assertUnits(_seatAt(2), 0, 0);
    }

    function test_commitWithoutRevealLosesAUnit() public {
        Play[] memory plays = _honest(3);
        plays[2].act = Act.Mute;
        _play(plays);
        _settle();
        _assertUnits(_seatAt(2), 0, 0);
        vm.assertEq(_panel().clique, 3);
    }

    /// @dev All-zero digests cannot be revealed: who seals them is silent.
    function test_zeroDigestsLoseAUnit() public {
        Play[] memory plays = _honest(3);
        plays[2].digests = new bytes32[](SAMPLES);
        _commitAll(plays);
        _revealRefuses(2, plays[2].digests, abi.encodeWithSelector(IOutputConsensus.ZeroDigest.selector, 0));
        plays[2].act = Act.Mute;
        _revealAll(plays);
        vm.warp(_panel().revealUntil);
        _settle();
        _assertUnits(_seatAt(2), 0, 0);
    }

    function _commitRefuses(address account, bytes memory error) private {
        vm.expectRevert(error);
        vm.prank(account);
        consensus.commitOutputs(task, SALT);
    }

    function _revealRefuses(uint256 seat, bytes32[] memory digests, bytes memory error) private {
        address account = _seatAt(seat);
        bytes32 outputs = _outputsOf(digests);
        vm.expectRevert(error);
        vm.prank(account);
        consensus.revealOutputs(task, digests, outputs, SALT);
    }

    function _wrongPhase(TaskPhase phase, TaskPhase expected) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IOutputConsensus.WrongPhase.selector, phase, expected);
    }
}
