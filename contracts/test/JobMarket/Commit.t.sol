// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Phase} from "../../src/interfaces/JobTypes.sol";
import {MarketFixture} from "./MarketFixture.sol";

contract CommitTest is MarketFixture {
    bytes32 private constant SEAL = keccak256("seal");

    function test_commit_sealsAnUpdate() public {
        _warpToCommit();
        vm.expectEmit(address(market));
        emit IJobMarket.UpdateCommitted(job, 0, _trainer(1), 1, SEAL);
        vm.prank(_trainer(1));
        market.commit(job, 0, SEAL);
        vm.assertEq(market.stateOf(job).committed, 2);
        vm.assertEq(market.sealAt(job, 1), SEAL);
        vm.assertEq(market.sealAt(job, 0), 0);
    }

    function test_commit_theMinimumIsRemembered() public {
        _warpToCommit();
        _commitFirst(2);
        vm.assertFalse(market.stateOf(job).hadMinimum);
        _commit(2);
        vm.assertTrue(market.stateOf(job).hadMinimum);
    }

    function test_commit_inTheFirstAndTheLastSecond() public {
        vm.warp(FIRST_COMMIT);
        _commit(0);
        vm.warp(FIRST_REVEAL - 1);
        _commit(1);
    }

    function test_commit_failsOneSecondEarly() public {
        vm.warp(FIRST_COMMIT - 1);
        vm.prank(_trainer(0));
        _expectWrongPhase(Phase.Enrolment, Phase.Commit);
        market.commit(job, 0, SEAL);
    }

    function test_commit_failsInTheFirstSecondAfter() public {
        vm.warp(FIRST_COMMIT);
        _commitFirst(3);
        vm.warp(FIRST_REVEAL);
        vm.prank(_trainer(3));
        _expectWrongPhase(Phase.Reveal, Phase.Commit);
        market.commit(job, 0, SEAL);
    }

    function test_commit_failsAfterTheCommitPhaseOfAStarvedRound() public {
        vm.warp(FIRST_REVEAL);
        vm.prank(_trainer(3));
        _expectWrongPhase(Phase.Starved, Phase.Commit);
        market.commit(job, 0, SEAL);
    }

    function test_commit_failsTwice() public {
        _warpToCommit();
        _commit(0);
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyCommitted.selector, 0));
        market.commit(job, 0, SEAL);
        vm.assertEq(market.sealAt(job, 0), _seal(0));
    }

    function test_commit_failsWithAnotherAttemptsNumber() public {
        _warpToCommit();
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongAttempt.selector, 1, 0));
        market.commit(job, 1, SEAL);
    }

    function test_commit_failsWithoutASeal() public {
        _warpToCommit();
        vm.prank(_trainer(0));
        vm.expectRevert(IJobMarket.EmptySeal.selector);
        market.commit(job, 0, 0);
    }

    function test_commit_failsWithoutASeat() public {
        _warpToCommit();
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotTrainer.selector, stranger));
        market.commit(job, 0, SEAL);
    }

    function test_commit_failsWithoutAStake() public {
        vm.prank(_trainer(0));
        market.withdrawStake(job, _trainer(0));
        _warpToCommit();
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.StakeNotInPlace.selector, 0));
        market.commit(job, 0, SEAL);
    }

    function test_commit_failsIfNobodyAggregates() public {
        job = _open(_terms());
        _enrol(1);
        vm.warp(FIRST_COMMIT);
        vm.prank(_trainer(0));
        _expectWrongPhase(Phase.AwaitingAggregator, Phase.Commit);
        market.commit(job, 0, SEAL);
    }

    function test_commit_anewInTheNextAttempt() public {
        _toSettle(3, 3);
        _warpToOverdue();
        market.expireRound(job, 0);
        vm.assertEq(market.sealAt(job, 0), 0);
        _commit(0);
        vm.assertEq(market.sealAt(job, 0), _seal(0));
        vm.assertEq(market.stateOf(job).committed, 1);
    }
}
