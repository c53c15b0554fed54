// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Phase} from "../../src/interfaces/JobTypes.sol";
import {MarketFixture} from "./MarketFixture.sol";

contract BondTest is MarketFixture {
    bytes32 private constant KEY = keccak256("an X25519 public key");

    function test_bond_theFirstStartsTheAttemptWhenEnrolmentEnds() public {
        job = _open(_terms());
        _assertPhase(Phase.AwaitingAggregator);
        vm.deal(aggregator, BOND);
        vm.expectEmit(address(market));
        emit IJobMarket.AggregatorBonded(job, aggregator, BOND, KEY);
        vm.expectEmit(address(market));
        emit IJobMarket.AttemptStarted(job, 0, 0, aggregator, FIRST_COMMIT, 1 << 16, 2);
        vm.prank(aggregator);
        market.bond{value: BOND}(job, BOND, KEY);

        _assertPhase(Phase.Enrolment);
        vm.assertEq(market.stateOf(job).attemptStart, FIRST_COMMIT);
        vm.assertEq(market.bondOf(job, aggregator), BOND);
        vm.assertEq(market.ledgerOf(job).bonds, BOND);
        _assertConserved();
    }

    function test_bond_afterEnrolmentStartsTheAttemptAtOnce() public {
        job = _open(_terms());
        vm.warp(FIRST_COMMIT + 1);
        _bond(aggregator);
        _assertPhase(Phase.Commit);
        vm.assertEq(market.stateOf(job).attemptStart, FIRST_COMMIT + 1);
    }

    function test_bond_othersQueueInOrder() public {
        _bond(stranger);
        address[] memory queue = market.aggregatorsOf(job);
        vm.assertEq(queue.length, 3);
        vm.assertEq(queue[0], aggregator);
        vm.assertEq(queue[1], successor);
        vm.assertEq(queue[2], stranger);
        vm.assertEq(market.stateOf(job).attempt, 0);
    }

    function test_bond_lateSuccessorRunsTheRoundAgain() public {
        vm.prank(successor);
        market.withdrawBond(job, successor);
        _toSettle(3, 3);
        _warpToOverdue();
        market.expireRound(job, 0);
        _assertPhase(Phase.AwaitingAggregator);
        vm.warp(block.timestamp + 500);
        _bond(successor);
        _assertPhase(Phase.Commit);
        vm.assertEq(market.stateOf(job).round, 0);
        vm.assertEq(market.stateOf(job).attempt, 1);
        _playRound(3, ONE);
        vm.assertEq(market.stateOf(job).round, 1);
        _assertConserved();
    }

    function test_bond_failsForTheOwner() public {
        vm.deal(owner, BOND);
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.OwnerCannotAggregate.selector, owner));
        market.bond{value: BOND}(job, BOND, KEY);
    }

    function test_bond_failsTwice() public {
        vm.deal(successor, BOND);
        vm.prank(successor);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyBonded.selector, successor));
        market.bond{value: BOND}(job, BOND, KEY);
    }

    function test_bond_failsIfItIsShort() public {
        vm.deal(stranger, BOND);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InsufficientDeposit.selector, BOND - 1, BOND));
        market.bond{value: BOND - 1}(job, BOND - 1, KEY);
    }

    /// @dev Nobody could seal an update to it: rounds would starve, at no cost to who announced it.
    function test_bond_failsWithAKeyThatNothingCanBeSealedTo() public {
        bytes32[] memory keys = _keysOfLowOrder();
        vm.deal(stranger, BOND);
        for (uint256 i = 0; i < keys.length; ++i) {
            vm.prank(stranger);
            vm.expectRevert(abi.encodeWithSelector(IJobMarket.UnusableKey.selector, keys[i]));
            market.bond{value: BOND}(job, BOND, keys[i]);
        }
        vm.assertEq(market.aggregatorsOf(job).length, 2);
        _assertConserved();
    }

    function _keysOfLowOrder() private view returns (bytes32[] memory keys) {
        keys = vm.parseJsonBytes32Array(vm.readFile("../tests/vectors/sealing_keys.json"), "$.of_low_order");
        vm.assertEq(keys.length, 14);
    }

    function test_bond_failsIfTheQueueIsFull() public {
        for (uint256 i = 0; i < 6; ++i) {
            _bond(_trainer(i));
        }
        vm.deal(stranger, BOND);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AggregatorQueueFull.selector, 8));
        market.bond{value: BOND}(job, BOND, KEY);
    }

    function test_bond_failsIfNoAttemptFitsBeforeTheDeadline() public {
        job = _open(_terms());
        vm.warp(DEADLINE - COMMIT - REVEAL - SETTLE + 1);
        _assertPhase(Phase.Finished);
        vm.deal(aggregator, BOND);
        vm.prank(aggregator);
        _expectWrongPhase(Phase.Finished, Phase.AwaitingAggregator);
        market.bond{value: BOND}(job, BOND, KEY);
    }

    function test_bond_inTheLastMomentThatAnAttemptFits() public {
        job = _open(_terms());
        vm.warp(DEADLINE - COMMIT - REVEAL - SETTLE);
        _bond(aggregator);
        _assertPhase(Phase.Commit);
        _warpToOverdue();
        vm.assertEq(block.timestamp, DEADLINE);
    }

    function test_bond_failsIfClosed() public {
        vm.warp(DEADLINE);
        market.closeJob(job, _packLifetime());
        vm.deal(stranger, BOND);
        vm.prank(stranger);
        _expectWrongPhase(Phase.Closed, Phase.AwaitingAggregator);
        market.bond{value: BOND}(job, BOND, KEY);
    }

    // ------------------------------------------------------------------ withdrawBond

    function test_withdrawBond_bySuccessorAtAnyTime() public {
        _bond(stranger);
        _toSettle(3, 3);
        vm.expectEmit(address(market));
        emit IJobMarket.BondWithdrawn(job, successor, address(0xbeef), BOND);
        vm.prank(successor);
        market.withdrawBond(job, address(0xbeef));
        vm.assertEq(address(0xbeef).balance, BOND);
        address[] memory queue = market.aggregatorsOf(job);
        vm.assertEq(queue.length, 2);
        vm.assertEq(queue[0], aggregator);
        vm.assertEq(queue[1], stranger);
        vm.assertEq(market.bondOf(job, successor), 0);
        _assertConserved();
    }

    function test_withdrawBond_byAllAfterTheClose() public {
        _toSettle(3, 3);
        _settleAll(3, ONE);
        vm.warp(DEADLINE);
        market.closeJob(job, _packLifetime());
        vm.prank(successor);
        market.withdrawBond(job, stranger);
        vm.prank(aggregator);
        market.withdrawBond(job, stranger);
        vm.assertEq(stranger.balance, 2 * BOND);
        vm.assertEq(market.ledgerOf(job).bonds, 0);
        _assertConserved();
    }

    function test_withdrawBond_failsForTheActiveAggregator() public {
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BondInUse.selector, aggregator));
        market.withdrawBond(job, aggregator);
    }

    function test_withdrawBond_failsIfRoundsAreOverButTheJobIsOpen() public {
        for (uint256 round = 0; round < ROUNDS; ++round) {
            _playRound(3, ONE);
        }
        _assertPhase(Phase.Finished);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BondInUse.selector, aggregator));
        market.withdrawBond(job, aggregator);
    }

    function test_withdrawBond_failsIfNotBonded() public {
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotBonded.selector, stranger));
        market.withdrawBond(job, stranger);
    }

    function test_withdrawBond_failsTwice() public {
        vm.prank(successor);
        market.withdrawBond(job, successor);
        vm.prank(successor);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotBonded.selector, successor));
        market.withdrawBond(job, successor);
    }

    function test_withdrawBond_failsIfItWasBroken() public {
        _toSettle(3, 3);
        _warpToOverdue();
        market.expireRound(job, 0);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotBonded.selector, aggregator));
        market.withdrawBond(job, aggregator);
    }
}
