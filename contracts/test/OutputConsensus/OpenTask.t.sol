// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {PoolId, TaskPhase, TaskTerms} from "../../src/interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../../src/interfaces/IOutputConsensus.sol";
import {ConsensusFixture} from "./ConsensusFixture.sol";

contract OpenTaskTest is ConsensusFixture {
    function test_openTask_escrowsAndAsksForItsPanel() public {
        TaskTerms memory terms = _workerTerms();
        uint256 value = 3 * SHARE + WORKER_REWARD;
        vm.deal(owner, value);
        vm.expectEmit();
        emit IOutputConsensus.TaskOpened(_id(1), pool, owner, terms);
        vm.expectEmit();
        emit IOutputConsensus.DrawFixed(_id(1), 0, block.number + DELAY);
        vm.prank(owner);
        task = consensus.openTask{value: value}(terms);
        (TaskTerms memory kept,) = consensus.task(task);
        vm.assertEq(keccak256(abi.encode(kept)), keccak256(abi.encode(terms)));
        vm.assertEq(_state().owner, owner);
        vm.assertEq(_panel().askedAt, block.number);
        vm.assertEq(_panel().size, 3);
        vm.assertEq(consensus.ledger().escrowed, 3 * SHARE + value);
        _assertPhase(TaskPhase.Drawing);
        _assertConserved();
    }

    function test_openTask_failsIfValueIsWrong() public {
        vm.deal(owner, 10 ether);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongValue.selector, 3 * SHARE - 1, 3 * SHARE));
        vm.prank(owner);
        consensus.openTask{value: 3 * SHARE - 1}(_terms());
    }

    function test_openTask_failsIfATermIsOutOfRange() public {
        uint8[4] memory panels = [1, 2, 4, 9];
        for (uint256 i = 0; i < panels.length; ++i) {
            TaskTerms memory odd = _terms();
            odd.verifiers = panels[i];
            _refuses(odd, "verifiers", panels[i]);
        }
        TaskTerms memory terms = _terms();
        terms.samples = 0;
        _refuses(terms, "samples", 0);
        terms.samples = 257;
        _refuses(terms, "samples", 257);
        terms = _terms();
        terms.share = 0;
        _refuses(terms, "share", 0);
        terms.share = UNIT / 3 + 1;
        _refuses(terms, "share", UNIT / 3 + 1);
        terms.share = type(uint128).max;
        _refuses(terms, "share", type(uint128).max);
        terms = _terms();
        terms.request = 0;
        _refuses(terms, "request", 0);
        terms = _terms();
        terms.workerReward = 1;
        _refuses(terms, "workerReward", 1);
        terms = _terms();
        terms.claim = bytes32(uint256(5));
        _refuses(terms, "claim", 5);
        terms = _terms();
        terms.worker = worker;
        _refuses(terms, "claim", 0);
    }

    /// @dev An appeal's evidence has to fit into a transaction.
    function test_openTask_failsIfAnAppealWouldNotFit() public {
        TaskTerms memory terms = _terms();
        (terms.verifiers, terms.samples) = (5, 171);
        _refuses(terms, "samples", 171);
        (terms.verifiers, terms.samples) = (7, 129);
        _refuses(terms, "samples", 129);
        terms.samples = 128;
        _open(terms);
        (terms.verifiers, terms.samples) = (3, 256);
        _open(terms);
    }

    function test_openTask_failsIfAPeriodIsOutOfRange() public {
        TaskTerms memory terms = _terms();
        terms.seatPeriod = 59;
        _refuses(terms, "seatPeriod", 59);
        terms = _terms();
        terms.commitPeriod = 30 days + 1;
        _refuses(terms, "commitPeriod", 30 days + 1);
        terms = _terms();
        terms.revealPeriod = 0;
        _refuses(terms, "revealPeriod", 0);
        terms = _terms();
        terms.appealPeriod = type(uint32).max;
        _refuses(terms, "appealPeriod", type(uint32).max);
    }

    function test_openTask_failsIfUnknownPool() public {
        TaskTerms memory terms = _terms();
        terms.pool = PoolId.wrap(3);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.UnknownPool.selector, 3));
        consensus.openTask(terms);
    }

    function test_openTask_failsIfThePoolIsTooSmall() public {
        TaskTerms memory terms = _terms();
        terms.pool = consensus.openPool(_poolTerms());
        _joins(terms.pool, _verifier(0));
        _joins(terms.pool, _verifier(1));
        _joins(terms.pool, owner);
        vm.deal(owner, 3 * SHARE);
        // The owner may not sit.
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.PoolTooSmall.selector, 2, 3));
        vm.prank(owner);
        consensus.openTask{value: 3 * SHARE}(terms);
        _joins(terms.pool, _verifier(2));
        vm.prank(owner);
        consensus.openTask{value: 3 * SHARE}(terms);
    }

    function _joins(PoolId id, address account) private {
        vm.deal(account, UNIT);
        vm.prank(account);
        consensus.stake{value: UNIT}(id, 1);
    }

    function _refuses(TaskTerms memory terms, string memory term, uint256 value) private {
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.InvalidTerm.selector, term, value));
        consensus.openTask(terms);
    }
}
