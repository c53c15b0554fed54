// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {IRoundRules} from "../../src/interfaces/IRoundRules.sol";
import {JobTerms, Phase} from "../../src/interfaces/JobTypes.sol";
import {SeatMask} from "../../src/libraries/SeatMask.sol";
import {MarkingRules} from "./AnswerDispute.t.sol";
import {SeatFixture} from "./SeatFixture.sol";

/// @notice What becomes of what was earned on a seat that somebody else has taken.
contract TenuresTest is SeatFixture {
    uint64 private constant FOUR = 15;
    uint256 private constant SHARE = REWARD / 4;
    address private waiter = _waiter(0);

    function setUp() public override {
        super.setUp();
        _fill();
        _enrol(waiter);
    }

    // ------------------------------------------------------------------ claims

    /// @dev Attempts before are the former tenant's, later ones the new one's, and neither can have the other's.
    function test_claim_eachItsOwnAttempts() public {
        _playSeats(FOUR); // 0
        _leave(3); // 1 and 2
        _takeIdle(waiter, 3); // in 3
        _playSeats(FOUR);
        _vest();

        _refuseClaim(waiter, 0, _notTrainer(waiter));
        _refuseClaim(_trainer(3), 3, _notTrainer(_trainer(3)));
        vm.assertEq(_claimAs(_trainer(3), 0), SHARE);
        vm.assertEq(_claimAs(waiter, 3), _shareOf(3));
        _refuseClaim(_trainer(3), 0, abi.encodeWithSelector(IJobMarket.AlreadyClaimed.selector, 0, 3));
        _refuseClaim(waiter, 3, abi.encodeWithSelector(IJobMarket.AlreadyClaimed.selector, 3, 3));
        _refuseClaim(waiter, 0, _notTrainer(waiter));
        for (uint256 seat = 0; seat < 3; ++seat) {
            vm.assertEq(_claimAs(_trainer(seat), 0), SHARE);
        }
        _assertConserved();
    }

    /// @dev What it earned on one seat, on another, and on the first again.
    function test_claim_byATrainerWithThreeTenures() public {
        _playSeats(FOUR); // 0: on seat 3
        _leave(3);
        _takeIdle(waiter, 3); // in 3
        _playSeats(FOUR); // 3
        _vest();
        _takeIdle(_trainer(3), 7); // in 4, which nobody ever committed on
        _playSeats(FOUR & ~uint64(8) | 1 << 7); // 4: on seat 7
        _vest();
        _leaveBoth(3, 7); // 5 and 6
        _enrol(_waiter(1));
        _takeIdle(_waiter(1), 7); // in 7
        _takeIdle(_trainer(3), 3);
        _playSeats(FOUR); // 7: on seat 3
        _vest();

        vm.assertEq(_claimAs(_trainer(3), 0), SHARE);
        _refuseClaim(_trainer(3), 3, _notTrainer(_trainer(3)));
        vm.assertEq(_claimAs(_trainer(3), 4), _payOf(4, 7));
        vm.assertEq(_claimAs(_trainer(3), 7), _payOf(7, 3));
        vm.assertEq(_claimAs(waiter, 3), _payOf(3, 3));
        _refuseClaim(waiter, 7, _notTrainer(waiter));
        _refuseClaim(waiter, 0, _notTrainer(waiter));
        _refuseClaim(_waiter(1), 4, _notTrainer(_waiter(1)));
        _assertConserved();
    }

    /// @dev Nor does an expired attempt's compensation change hands.
    function test_claim_theCompensationOfAnAttemptBefore() public {
        _toSettleOf(FOUR);
        _warpToOverdue();
        market.expireRound(job, 0);
        pays[0] = _packSame(4, COMPENSATION);
        _leave(3);
        _takeIdle(waiter, 3);
        _refuseClaim(waiter, 0, _notTrainer(waiter));
        vm.assertEq(_claimAs(_trainer(3), 0), COMPENSATION);
        _assertConserved();
    }

    /// @dev A seat taken in the attempt in which its former tenant came leaves no tenure behind.
    function test_claim_nothingForWhoNeverCommitted() public {
        _starve(3);
        _takeIdle(waiter, 3);
        _playSeats(FOUR);
        _vest();
        _refuseClaim(_trainer(3), 1, _notTrainer(_trainer(3)));
        vm.assertEq(_claimAs(waiter, 1), SHARE);
    }

    // ------------------------------------------------------------------ lifetime scores

    /// @dev What carried over goes by the scores that are left: none are inherited, none are taken along.
    function test_closeJob_whoLostItsSeatHasNoShareAndWhoTookItOnlyItsOwn() public {
        _playSeats(FOUR);
        _leave(3);
        _takeIdle(waiter, 3);
        vm.assertEq(market.stateOf(job).lifetimeHash, keccak256(_packLifetime()));
        vm.assertEq(lifetimeScores[3], 0);
        _playSeats(FOUR); // three scores of four and one of one: 13 in all
        _toSettleOf(FOUR);
        uint256 carry = REWARD + market.ledgerOf(job).carry;
        vm.warp(DEADLINE);
        market.closeJob(job, _packLifetime());
        uint256 attempt = _attempt();
        uint256[] memory shares = new uint256[](4);
        (shares[0], shares[1], shares[2], shares[3]) = (carry * 4 / 13, carry * 4 / 13, carry * 4 / 13, carry / 13);
        pays[attempt] = _packPays(shares);
        vm.assertEq(_claimAs(waiter, attempt), carry / 13);
        vm.assertEq(_claimAs(_trainer(0), attempt), carry * 4 / 13);
        _refuseClaim(_trainer(3), attempt, _notTrainer(_trainer(3)));
        _assertConserved();
    }

    function test_takeIdleSeat_failsWithOtherScores() public {
        _playSeats(FOUR);
        _leave(3);
        bytes memory forged = _packLifetime();
        forged[0] = hex"ff";
        bytes32 expected = keccak256(_packLifetime());
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.LifetimeMismatch.selector, keccak256(forged), expected));
        vm.prank(waiter);
        market.takeIdleSeat(job, 3, forged, "");
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.LifetimeMismatch.selector, keccak256(""), expected));
        vm.prank(waiter);
        market.takeIdleSeat(job, 3, "", "");
    }

    /// @dev With no score yet there is nothing to take away, and the array of zeros is what is brought along.
    function test_takeIdleSeat_beforeAnybodyScored() public {
        _starve(0);
        _takeIdle(waiter, 3);
        vm.assertEq(market.stateOf(job).lifetimeHash, 0);
    }

    // ------------------------------------------------------------------ records of exams

    /// @dev They bias what later exams accept: whoever comes is judged by its own alone.
    function test_takeIdleSeat_takesTheRecordAway() public {
        _sitThrough();
        bytes memory before = _records();
        vm.assertEq(uint256(uint8(before[15])), 1); // every exam that it sat added one
        _takeIdle(waiter, 3);
        bytes memory left = _records();
        vm.assertEq(uint256(uint8(left[15])), 0);
        vm.assertEq(uint256(uint8(left[11])), uint256(uint8(before[11])));
        vm.assertEq(market.stateOf(job).recordsHash, keccak256(left));
        _commitExam();
        _commitSeats(FOUR);
        _warpToReveal();
        _revealSeats(FOUR);
        _warpToExam();
        _openExam();
        _warpToSettle();
        _settleNoted(_excluding(0));
        vm.assertEq(uint256(uint8(_records()[15])), 1);
        _assertPhase(Phase.Commit);
    }

    function test_takeIdleSeat_failsWithOtherRecords() public {
        _sitThrough();
        bytes memory lifetime = _packLifetime();
        bytes32 expected = keccak256(_records());
        bytes memory forged = new bytes(4 * SEATS);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.RecordsMismatch.selector, keccak256(forged), expected));
        vm.prank(waiter);
        market.takeIdleSeat(job, 3, lifetime, forged);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.RecordsMismatch.selector, keccak256(""), expected));
        vm.prank(waiter);
        market.takeIdleSeat(job, 3, lifetime, "");
    }

    /// @dev One exam with seat 3, two rounds without it.
    function _sitThrough() private {
        _deploy(IRoundRules(address(new MarkingRules())));
        delete lifetimeScores;
        JobTerms memory terms = _examTerms();
        (terms.rounds, terms.exam.slices) = (MORE_ROUNDS, MORE_ROUNDS);
        _startWith(terms);
        _fill();
        _enrol(waiter);
        for (uint256 round = 0; round < 3; ++round) {
            _warpToCommit();
            _commitExam();
            uint64 seats = round == 0 ? FOUR : FOUR >> 1;
            _commitSeats(seats);
            _warpToReveal();
            _revealSeats(seats);
            _warpToExam();
            _openExam();
            _warpToSettle();
            _settleNoted(_excluding(0));
        }
        _vest();
    }

    // ------------------------------------------------------------------ parts

    /// @dev Two rounds without this seat, the second vested.
    function _leave(uint256 seat) private {
        _leaveBoth(seat, seat);
    }

    function _leaveBoth(uint256 a, uint256 b) private {
        uint64 others = 7 & ~(SeatMask.only(a) | SeatMask.only(b));
        _playSeats(others);
        _playSeats(others);
        _vest();
    }

    function _payOf(uint256 attempt, uint256 seat) private view returns (uint256) {
        bytes memory packed = pays[attempt];
        uint256 pay = 0;
        for (uint256 i = 0; i < 16; ++i) {
            pay = pay << 8 | uint8(packed[16 * seat + i]);
        }
        vm.assertGe(pay, SHARE - 1);
        return pay;
    }

    function _shareOf(uint256 attempt) private view returns (uint256) {
        return _payOf(attempt, 3);
    }

    function _notTrainer(address account) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobMarket.NotTrainer.selector, account);
    }
}
