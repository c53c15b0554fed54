// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {PoolTerms, TaskTerms} from "../../src/interfaces/ConsensusTypes.sol";
import {ConsensusFixture, Play} from "./ConsensusFixture.sol";

/// @notice What calls cost as transactions of their own, calldata and all.
/// forge-config: default.isolate = true
/// forge-config: quick.isolate = true
contract ConsensusGasTest is ConsensusFixture {
    function _poolTerms() internal pure override returns (PoolTerms memory terms) {
        terms = super._poolTerms();
        terms.slackPermille = 50;
    }

    function test_gas_actions() public {
        task = _open(_terms());
        _snapshot("openTask");
        _draw();
        _snapshot("drawSeats");
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(_verifier(i));
            consensus.takeSeat(task);
        }
        _snapshot("takeSeat");
        vm.warp(_panel().seatUntil);
        vm.prank(_seatAt(0));
        consensus.commitOutputs(task, SALT);
        _snapshot("commitOutputs");
    }

    function test_gas_stake() public {
        _stake(stranger, 1);
        _snapshot("stake");
        vm.prank(stranger);
        consensus.unstake(pool, 1);
        _snapshot("unstake");
        vm.prank(stranger);
        consensus.withdraw(stranger);
        _snapshot("withdraw");
    }

    function test_gas_reveal64() public {
        _openBatches(3, 64);
        _seat();
        Play[] memory plays = _spread(3, _batchOf(1, 64));
        _commitAll(plays);
        address account = _seatAt(0);
        vm.prank(account);
        consensus.revealOutputs(task, plays[0].digests, _outputsOf(plays[0].digests), SALT);
        _snapshot("revealOutputs_64");
    }

    function test_gas_settle_3x64() public {
        vm.assertLe(_settleGas(3, 64, "settle_3x64"), 1_000_000);
        _finish();
        _snapshot("finish_3");
    }

    function test_gas_settle_5x64() public {
        vm.assertLe(_settleGas(5, 64, "settle_5x64"), 2_000_000);
    }

    function test_gas_settle_7x64() public {
        vm.assertLe(_settleGas(7, 64, "settle_7x64"), 3_000_000);
    }

    function test_gas_settle_appeal_15x64() public {
        _settleGas(7, 64, "settle_7x64");
        _appeal(owner);
        _snapshot("appeal");
        _seat();
        _play(_spread(15, _batchOf(2, 64)));
        vm.assertLe(_settleMeasured("settle_appeal_15x64"), 6_000_000);
        _finish();
        _snapshot("finish_appeal_15");
    }

    /// @dev The most that the terms allow, and every batch of the standing panel is compared with all of the
    /// appeal's to its end.
    function test_gas_settle_appeal_15x128() public {
        _openBatches(7, 128);
        _seat();
        bytes32[] memory far = _batchOf(1, 128);
        for (uint256 i = 116; i < 128; ++i) {
            far[i] = keccak256(abi.encode("far", i));
        }
        _play(_spread(7, far));
        _settleMeasured("settle_7x128");
        _appeal(owner);
        _seat();
        _play(_spread(15, _batchOf(1, 128)));
        vm.assertLe(abi.encodeCall(consensus.settle, (task, _evidence())).length, 120 * 1024);
        vm.assertLe(_settleMeasured("settle_appeal_15x128"), 14_000_000); // a transaction's limit is 2^24
        vm.assertEq(consensus.panel(task, 0).paid | consensus.panel(task, 0).spared, 0);
    }

    function _settleGas(uint8 count, uint16 samples, string memory name) private returns (uint256) {
        _openBatches(count, samples);
        _seat();
        _play(_spread(count, _batchOf(1, samples)));
        return _settleMeasured(name);
    }

    function _settleMeasured(string memory name) private returns (uint256) {
        _settle();
        return vm.snapshotGasLastCall("OutputConsensus", name);
    }

    /// @dev Everybody agrees, and nobody has the same digests: every pair is counted to its end.
    function _spread(uint256 count, bytes32[] memory digests) private pure returns (Play[] memory plays) {
        plays = _plays(count, digests);
        for (uint256 i = 0; i < count; ++i) {
            plays[i].digests = _flipped(digests, 10 * i, 1 + i % 9);
        }
    }

    function _openBatches(uint8 count, uint16 samples) private {
        _stakeMany(15);
        vm.roll(BLOCK + 2);
        TaskTerms memory terms = _terms();
        (terms.verifiers, terms.samples) = (count, samples);
        task = _open(terms);
    }

    function _snapshot(string memory name) private {
        vm.snapshotGasLastCall("OutputConsensus", name);
    }
}
