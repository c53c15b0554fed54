// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Fact, JobId, JobTerms, TrainerRecord} from "../../src/interfaces/JobTypes.sol";
import {SeatFixture} from "./SeatFixture.sol";

/// @notice What a trainer was paid for in an owner's jobs, and jobs that ask for it.
contract RecordsTest is SeatFixture {
    address private another = address(0xa40); // owner

    // ------------------------------------------------------------------ how they grow

    function test_claim_extendsTheRecord() public {
        _playSeats(7);
        _vest();
        uint256 first = block.timestamp;
        _claimAs(_trainer(0), 0);
        _assertRecord(owner, _trainer(0), 1, first, first);
        _assertRecord(owner, _trainer(1), 0, 0, 0); // which did not claim
        _playSeats(7);
        _vest();
        _claimAs(_trainer(0), 1);
        _assertRecord(owner, _trainer(0), 2, first, block.timestamp);
        _assertRecord(another, _trainer(0), 0, 0, 0);
    }

    function test_claim_ofAllJobsOfOneOwner() public {
        _playSeats(7);
        _vest();
        _claimAs(_trainer(0), 0);
        _startAgain(owner);
        _playSeats(7);
        _vest();
        _claimAs(_trainer(0), 0);
        _assertPaidRounds(owner, _trainer(0), 2);
        _startAgain(another);
        _playSeats(7);
        _vest();
        _claimAs(_trainer(0), 0);
        _assertPaidRounds(owner, _trainer(0), 2);
        _assertPaidRounds(another, _trainer(0), 1);
    }

    /// @dev Twice for one round, nor for another's, nor for a round that paid nothing.
    function test_claim_thatFailsExtendsNothing() public {
        _playSeats(7);
        _vest();
        _refuseClaim(_trainer(3), 0, abi.encodeWithSelector(IJobMarket.NothingToPay.selector));
        _claimAs(_trainer(0), 0);
        _refuseClaim(_trainer(0), 0, abi.encodeWithSelector(IJobMarket.AlreadyClaimed.selector, 0, 0));
        bytes32 undoHash = _undoHash(0);
        vm.prank(_trainer(1));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.TransferFailed.selector, address(this), REWARD / 3));
        market.claim(job, 0, pays[0], undoHash, address(this)); // this contract takes no coins
        _assertPaidRounds(owner, _trainer(0), 1);
        _assertPaidRounds(owner, _trainer(1), 0);
        _assertPaidRounds(owner, _trainer(3), 0);
    }

    /// @dev An owner's identities that aggregate and never settle would earn a record for a bond, and no work.
    function test_claim_aCompensationIsNoRecord() public {
        _toSettleOf(7);
        _warpToOverdue();
        market.expireRound(job, 0);
        pays[0] = _packSame(3, COMPENSATION);
        vm.assertEq(_claimAs(_trainer(0), 0), COMPENSATION);
        _assertRecord(owner, _trainer(0), 0, 0, 0);
    }

    function test_claim_ofAnUndoneRoundIsNoRecord() public {
        _playSeats(7);
        _disputeAndUndo(_trainer(0), Fact.Model);
        pays[0] = _packSame(3, COMPENSATION);
        vm.assertEq(_claimAs(_trainer(0), 0), COMPENSATION);
        _assertRecord(owner, _trainer(0), 0, 0, 0);
    }

    /// @dev What the close divides is of rounds that were counted.
    function test_claim_ofTheCloseIsNoRecord() public {
        _playSeats(7);
        _vest();
        _claimAs(_trainer(0), 0);
        _toSettleOf(7);
        uint256 carry = market.ledgerOf(job).carry + REWARD;
        vm.warp(DEADLINE);
        market.closeJob(job, _packLifetime());
        uint256 attempt = _attempt();
        pays[attempt] = _packSame(3, carry / 3);
        vm.assertEq(_claimAs(_trainer(0), attempt), carry / 3);
        _assertPaidRounds(owner, _trainer(0), 1);
    }

    /// @dev A patron that pays many next to nothing vouches for nothing: a pay counts from a quarter of an equal share on.
    function test_claim_ofLessThanAQuarterOfAnEqualShareIsNoRecord() public {
        uint64 reward = uint64(1 ether);
        vm.assertEq(reward, REWARD);
        uint64 least = reward / (4 * SEATS);
        _toSettleOf(7);
        uint64[] memory scores = new uint64[](3);
        (scores[0], scores[1], scores[2]) = (least, least - 1, reward - 2 * least + 1);
        _settleNoted(_settlement(scores));
        _vest();
        vm.assertEq(_claimAs(_trainer(0), 0), least);
        vm.assertEq(_claimAs(_trainer(1), 0), least - 1);
        _assertPaidRounds(owner, _trainer(0), 1);
        _assertPaidRounds(owner, _trainer(1), 0);
        _assertConserved();
    }

    /// @dev Under a price from a quarter of it on, however low it is.
    function test_claim_ofLessThanAQuarterOfAPriceIsNoRecord() public {
        JobTerms memory terms = _priceTerms();
        terms.rounds = 2;
        terms.price = 1000;
        terms.trainerStake = 1000;
        job = _open(terms);
        _enrol(3);
        _bond(aggregator);
        _toSettleOf(7);
        uint64 target = terms.scoreTarget;
        _settleNoted(_settlement(_scores(target / 4 + 1, target / 5, target)));
        _vest();
        for (uint256 seat = 0; seat < 3; ++seat) {
            vm.assertGt(_claimAs(_trainer(seat), 0), 0);
        }
        _assertPaidRounds(owner, _trainer(0), 1);
        _assertPaidRounds(owner, _trainer(1), 0);
        _assertPaidRounds(owner, _trainer(2), 1);
    }

    /// @dev Each tenant's own: not the seat's.
    function test_claim_onASeatThatChangedHands() public {
        _fill();
        _enrol(_waiter(0));
        _playSeats(15);
        _playSeats(7);
        _playSeats(7);
        _vest();
        _takeIdle(_waiter(0), 3);
        _playSeats(15);
        _vest();
        _claimAs(_trainer(3), 0);
        _claimAs(_waiter(0), 3);
        _assertPaidRounds(owner, _trainer(3), 1);
        _assertPaidRounds(owner, _waiter(0), 1);
    }

    // ------------------------------------------------------------------ jobs that ask for one

    function test_enrol_whoWasPaidOftenEnough() public {
        _earn(2);
        job = _open(_closed(owner, 2));
        _enrol(_trainer(0));
        _assertSits(_trainer(0), 0);
        vm.deal(_trainer(3), STAKE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.RecordTooShort.selector, 0, 2));
        vm.prank(_trainer(3));
        market.enrol{value: STAKE}(job, STAKE, new bytes32[](0));
        job = _open(_closed(owner, 3));
        vm.deal(_trainer(0), STAKE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.RecordTooShort.selector, 2, 3));
        vm.prank(_trainer(0));
        market.enrol{value: STAKE}(job, STAKE, new bytes32[](0));
    }

    /// @dev Whoever opens jobs of its own and pays its own identities has records of its own, and no one else's.
    function test_enrol_anotherOwnersRecordIsNone() public {
        _startAgain(another);
        _earn(2);
        _assertPaidRounds(another, _trainer(0), 2);
        job = _openAs(owner, _closed(owner, 1));
        vm.deal(_trainer(0), STAKE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.RecordTooShort.selector, 0, 1));
        vm.prank(_trainer(0));
        market.enrol{value: STAKE}(job, STAKE, new bytes32[](0));
        job = _openAs(owner, _closed(another, 2)); // whom this owner trusts
        _enrol(_trainer(0));
        _assertSits(_trainer(0), 0);
    }

    /// @dev A stake is put back in place as it is, whatever the record: the seat is its trainer's.
    function test_enrol_aSeatIsAskedOnce() public {
        _earn(1);
        job = _open(_closed(owner, 1));
        _enrol(_trainer(0));
        _withdraw(_trainer(0), stranger);
        _enrol(_trainer(0));
        _assertSits(_trainer(0), 0);
    }

    /// @dev Nor may wait who may not sit.
    function test_enrol_waitingNeedsTheRecordToo() public {
        _earn(1);
        JobTerms memory terms = _closed(owner, 1);
        terms.seats = 3;
        job = _open(terms);
        _enrol(3);
        vm.deal(_waiter(0), STAKE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.RecordTooShort.selector, 0, 1));
        vm.prank(_waiter(0));
        market.enrol{value: STAKE}(job, STAKE, new bytes32[](0));
    }

    /// @dev A list and a record: who is on the list needs the record, too.
    function test_enrol_bothAList_andARecord() public {
        _earn(1);
        JobTerms memory terms = _closed(owner, 1);
        terms.entry.allowRoot = keccak256(bytes.concat(keccak256(abi.encode(_trainer(3)))));
        job = _open(terms);
        vm.deal(_trainer(0), STAKE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotAllowed.selector, _trainer(0)));
        vm.prank(_trainer(0));
        market.enrol{value: STAKE}(job, STAKE, new bytes32[](0));
        vm.deal(_trainer(3), STAKE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.RecordTooShort.selector, 0, 1));
        vm.prank(_trainer(3));
        market.enrol{value: STAKE}(job, STAKE, new bytes32[](0));
    }

    function test_openJob_aPatronAndRoundsOrNeither() public {
        JobTerms memory terms = _closed(address(0), 1);
        _refuse(terms, "entry.paidRounds", 1);
        terms = _closed(owner, 0);
        _refuse(terms, "entry.paidRounds", 0);
        _open(_closed(address(0), 0));
        terms = _closed(owner, type(uint32).max);
        job = _open(terms);
        vm.assertEq(abi.encode(market.termsOf(job)), abi.encode(terms));
    }

    // ------------------------------------------------------------------ parts

    /// @dev The first three trainers are paid for so many rounds.
    function _earn(uint256 rounds) private {
        for (uint256 round = 0; round < rounds; ++round) {
            _playSeats(7);
            _vest();
            for (uint256 seat = 0; seat < 3; ++seat) {
                _claimAs(_trainer(seat), settled);
            }
        }
        vm.warp(NOW);
    }

    function _closed(address patron, uint32 rounds) private view returns (JobTerms memory terms) {
        terms = _terms();
        (terms.entry.patron, terms.entry.paidRounds) = (patron, rounds);
    }

    function _openAs(address account, JobTerms memory terms) private returns (JobId id) {
        address before = owner;
        owner = account;
        id = _open(terms);
        owner = before;
    }

    /// @dev Another job, by this owner.
    function _startAgain(address account) private {
        delete lifetimeScores;
        vm.warp(NOW);
        job = _openAs(account, _terms());
        _enrol(5);
        _bond(aggregator);
        _bond(successor);
    }

    function _refuse(JobTerms memory terms, string memory term, uint256 value) private {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InvalidTerm.selector, term, value));
        market.openJob(terms, SPEC, MODEL, initialCommitment, srs, 0);
    }

    function _assertPaidRounds(address by, address trainer, uint256 rounds) private view {
        vm.assertEq(market.recordOf(by, trainer).paidRounds, rounds);
    }

    function _assertRecord(address by, address trainer, uint256 rounds, uint256 first, uint256 last) private view {
        TrainerRecord memory record = market.recordOf(by, trainer);
        vm.assertEq(record.paidRounds, rounds, "rounds");
        vm.assertEq(record.firstAt, first, "first");
        vm.assertEq(record.lastAt, last, "last");
    }
}
