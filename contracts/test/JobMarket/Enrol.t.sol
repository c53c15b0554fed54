// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {JobTerms, Ledger, Phase} from "../../src/interfaces/JobTypes.sol";
import {MarketFixture} from "./MarketFixture.sol";

contract EnrolTest is MarketFixture {
    function test_enrol_takesTheNextSeat() public {
        address trainer = _trainer(5);
        vm.deal(trainer, STAKE);
        vm.expectEmit(address(market));
        emit IJobMarket.TrainerEnrolled(job, trainer, 5, STAKE);
        vm.prank(trainer);
        market.enrol{value: STAKE}(job, STAKE, new bytes32[](0));

        (bool taken, uint256 seat) = market.seatOf(job, trainer);
        vm.assertTrue(taken);
        vm.assertEq(seat, 5);
        vm.assertEq(market.trainerAt(job, 5), trainer);
        vm.assertEq(market.stateOf(job).staked, _firstSeats(6));
        vm.assertEq(market.stateOf(job).seatsTaken, 6);
        vm.assertEq(market.ledgerOf(job).stakes, 6 * STAKE);
        _assertConserved();
    }

    function test_seatOf_isNotTakenForAStranger() public view {
        (bool taken, uint256 seat) = market.seatOf(job, stranger);
        vm.assertFalse(taken);
        vm.assertEq(seat, 0);
    }

    function test_enrol_aLargerStakeIsTheTrainersToTakeBack() public {
        vm.deal(_trainer(5), STAKE + 7);
        vm.prank(_trainer(5));
        market.enrol{value: STAKE + 7}(job, STAKE + 7, new bytes32[](0));
        vm.prank(_trainer(5));
        market.withdrawStake(job, stranger);
        vm.assertEq(stranger.balance, STAKE + 7);
        _assertConserved();
    }

    function test_enrol_puttingAStakeBackKeepsTheSeat() public {
        vm.prank(_trainer(2));
        market.withdrawStake(job, _trainer(2));
        vm.assertEq(market.stateOf(job).staked, _firstSeats(5) & ~uint64(4));
        _enrol(_trainer(2));
        vm.assertEq(market.trainerAt(job, 2), _trainer(2));
        vm.assertEq(market.stateOf(job).seatsTaken, 5);
        vm.assertEq(market.stateOf(job).staked, _firstSeats(5));
        _assertConserved();
    }

    function test_enrol_oneStakeCannotTakeEverySeat() public {
        for (uint256 i = 5; i < 20; ++i) {
            _enrol(_trainer(i));
            vm.prank(_trainer(i));
            market.withdrawStake(job, stranger);
        }
        _enrol(_trainer(63));
        (bool taken, uint256 seat) = market.seatOf(job, _trainer(63));
        vm.assertTrue(taken && seat == 5);
        vm.assertEq(market.trainerAt(job, 5), _trainer(63));
        (taken,) = market.seatOf(job, _trainer(5));
        vm.assertTrue(!taken);
        vm.assertEq(market.stateOf(job).seatsTaken, 6);
        _assertConserved();
    }

    function test_enrol_waitsIfTheOnlySeatsGivenUpHaveCommitted() public {
        uint256 seats = market.termsOf(job).seats;
        for (uint256 i = 5; i < seats; ++i) {
            _enrol(_trainer(i));
        }
        _playRound(5, 1 << 30);
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        _enrol(_trainer(63));
        (bool taken,) = market.seatOf(job, _trainer(63));
        vm.assertFalse(taken);
        vm.assertEq(market.waitingOf(job, _trainer(63)).stake, STAKE);
        vm.prank(_trainer(63));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.SeatsFull.selector, seats));
        market.takeSeat(job);
        vm.assertEq(market.trainerAt(job, 0), _trainer(0));
        _assertConserved();
    }

    function test_enrol_duringARound() public {
        _warpToCommit();
        _enrol(_trainer(5));
        _commit(5);
        vm.assertEq(market.stateOf(job).committed, 1 << 5);
    }

    function test_enrol_failsIfTheStakeIsShort() public {
        vm.deal(stranger, STAKE);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InsufficientDeposit.selector, STAKE - 1, STAKE));
        market.enrol{value: STAKE - 1}(job, STAKE - 1, new bytes32[](0));
    }

    function test_enrol_failsIfEnrolled() public {
        vm.deal(_trainer(1), STAKE);
        vm.prank(_trainer(1));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyEnrolled.selector, _trainer(1), 1));
        market.enrol{value: STAKE}(job, STAKE, new bytes32[](0));
    }

    function test_enrol_failsIfClosed() public {
        vm.warp(DEADLINE);
        market.closeJob(job, _packLifetime());
        vm.deal(stranger, STAKE);
        vm.prank(stranger);
        _expectWrongPhase(Phase.Closed, Phase.Enrolment);
        market.enrol{value: STAKE}(job, STAKE, new bytes32[](0));
    }

    // ------------------------------------------------------------------ withdrawStake

    function test_withdrawStake_returnsIt() public {
        vm.expectEmit(address(market));
        emit IJobMarket.StakeWithdrawn(job, _trainer(3), 3, stranger, STAKE);
        vm.prank(_trainer(3));
        market.withdrawStake(job, stranger);
        vm.assertEq(stranger.balance, STAKE);
        Ledger memory ledger = market.ledgerOf(job);
        vm.assertEq(ledger.stakes, 4 * STAKE);
        vm.assertEq(ledger.refunded, STAKE);
        _assertConserved();
    }

    function test_withdrawStake_duringARoundByOneWhoDidNotCommit() public {
        _toSettle(4, 4);
        vm.prank(_trainer(4));
        market.withdrawStake(job, stranger);
        vm.assertEq(stranger.balance, STAKE);
    }

    function test_withdrawStake_afterTheAttempt() public {
        _playRound(3, ONE);
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        vm.assertEq(stranger.balance, STAKE);
        _assertConserved();
    }

    function test_withdrawStake_afterTheClose() public {
        _toSettle(3, 3);
        vm.warp(DEADLINE);
        market.closeJob(job, _packLifetime());
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        vm.assertEq(stranger.balance, STAKE);
        _assertConserved();
    }

    function test_withdrawStake_failsBetweenCommitAndTheEndOfTheAttempt() public {
        _warpToCommit();
        _commitFirst(3);
        _refuseWithdrawal();
        _warpToReveal();
        _revealFirst(3);
        _refuseWithdrawal();
        _warpToSettle();
        _refuseWithdrawal();
        _warpToOverdue();
        _refuseWithdrawal();
        market.expireRound(job, 0);
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
    }

    function test_withdrawStake_failsInAStarvedRoundUntilItIsSkipped() public {
        _warpToCommit();
        _commitFirst(2);
        _warpToReveal();
        _refuseWithdrawal();
        market.skipRound(job, 0);
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        vm.assertEq(stranger.balance, STAKE);
    }

    function test_withdrawStake_failsIfWithdrawn() public {
        vm.prank(_trainer(0));
        market.withdrawStake(job, stranger);
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.StakeNotInPlace.selector, 0));
        market.withdrawStake(job, stranger);
    }

    function test_withdrawStake_failsIfForfeited() public {
        _toSettle(4, 3);
        _settleAll(3, ONE);
        vm.prank(_trainer(3));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.StakeNotInPlace.selector, 3));
        market.withdrawStake(job, stranger);
    }

    function test_withdrawStake_failsWithoutASeat() public {
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotTrainer.selector, stranger));
        market.withdrawStake(job, stranger);
    }

    function test_withdrawStake_failsToNobody() public {
        vm.prank(_trainer(0));
        vm.expectRevert(IJobMarket.ZeroAddress.selector);
        market.withdrawStake(job, address(0));
    }

    function _refuseWithdrawal() private {
        vm.prank(_trainer(0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyCommitted.selector, 0));
        market.withdrawStake(job, stranger);
    }

    // ------------------------------------------------------------------ who may

    /// @dev Leaves 0 and 1 have a node, leaf 2 moves up.
    function _openToThree() private returns (bytes32[3] memory leaves) {
        for (uint256 i = 0; i < 3; ++i) {
            leaves[i] = keccak256(bytes.concat(keccak256(abi.encode(_trainer(i)))));
        }
        JobTerms memory terms = _terms();
        terms.entry.allowRoot =
            Hashes.commutativeKeccak256(Hashes.commutativeKeccak256(leaves[0], leaves[1]), leaves[2]);
        job = _open(terms);
    }

    function _enrolWith(address trainer, bytes32[] memory proof) private {
        vm.deal(trainer, STAKE);
        vm.prank(trainer);
        market.enrol{value: STAKE}(job, STAKE, proof);
    }

    function _refuseWith(address trainer, bytes32[] memory proof) private {
        vm.deal(trainer, STAKE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAllowed.selector, trainer));
        vm.prank(trainer);
        market.enrol{value: STAKE}(job, STAKE, proof);
    }

    function test_enrol_whoIsOnTheListWithItsProof() public {
        bytes32[3] memory leaves = _openToThree();
        bytes32[] memory proof = new bytes32[](2);
        (proof[0], proof[1]) = (leaves[0], leaves[2]);
        _enrolWith(_trainer(1), proof);
        proof = new bytes32[](1);
        proof[0] = Hashes.commutativeKeccak256(leaves[0], leaves[1]);
        _enrolWith(_trainer(2), proof);
        vm.assertEq(market.stateOf(job).seatsTaken, 2);
        _assertConserved();
    }

    /// @dev Not with nothing, not with somebody else's proof, and not with a node in an account's place.
    function test_enrol_failsForWhoIsNotOnTheList() public {
        bytes32[3] memory leaves = _openToThree();
        _refuseWith(_trainer(3), new bytes32[](0));
        bytes32[] memory proof = new bytes32[](2);
        (proof[0], proof[1]) = (leaves[0], leaves[2]);
        _refuseWith(_trainer(3), proof);
        _refuseWith(_trainer(0), proof); // another's, though its own would do
        proof = new bytes32[](1);
        proof[0] = leaves[2];
        // forge-lint: disable-next-line(unsafe-typecast)
        _refuseWith(address(uint160(uint256(Hashes.commutativeKeccak256(leaves[0], leaves[1])))), proof);
        vm.assertEq(market.ledgerOf(job).stakes, 0);
    }

    /// @dev Who has a seat needs no leave to put its stake back.
    function test_enrol_putsAStakeBackWithoutAProof() public {
        bytes32[3] memory leaves = _openToThree();
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = Hashes.commutativeKeccak256(leaves[0], leaves[1]);
        _enrolWith(_trainer(2), proof);
        vm.prank(_trainer(2));
        market.withdrawStake(job, _trainer(2));
        _enrolWith(_trainer(2), new bytes32[](0));
        vm.assertEq(market.ledgerOf(job).stakes, STAKE);
    }

    function test_enrol_aListOfOneNeedsNoProof() public {
        JobTerms memory terms = _terms();
        terms.entry.allowRoot = keccak256(bytes.concat(keccak256(abi.encode(_trainer(0)))));
        job = _open(terms);
        _enrolWith(_trainer(0), new bytes32[](0));
        _refuseWith(_trainer(1), new bytes32[](0));
    }
}
