// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {JobMarket} from "../../src/JobMarket.sol";
import {JobId, JobTerms, Phase} from "../../src/interfaces/JobTypes.sol";
import {PackedArray} from "../../src/libraries/PackedArray.sol";
import {MarketActors} from "./MarketActors.sol";

/// @notice The actors, of whom two more than there are seats seek one.
abstract contract SeatActors is MarketActors {
    using PackedArray for bytes;

    uint256 public seatsDrawn; // that changed hands by it
    uint256 public idleSeatsTaken;

    constructor(JobMarket market_) MarketActors(market_) {}

    /// @notice Everybody who may train.
    function trainers() external pure returns (address[] memory accounts) {
        accounts = new address[](TRAINERS);
        for (uint256 actor = 0; actor < TRAINERS; ++actor) {
            accounts[actor] = _actor(actor);
        }
    }

    /// @notice Somebody waits for a seat, draws or takes one, or waits no more.
    function seek(uint256 job, uint256 actor, uint256 what, uint256 seed) external recorded {
        what %= 6;
        address trainer = _waiting(job % JOBS, actor % TRAINERS);
        if (what == 0) _enrol(job % JOBS, actor % TRAINERS, seed % 10 ether);
        else if (what == 1) _draw(0, seed);
        else if (what == 2) _takeSeat(seed % 2 == 0 ? 0 : job % JOBS, seed);
        else if (what == 3) _takeIdleSeat(job % JOBS, trainer, seed);
        else if (what == 4) _withdrawStake(job % JOBS, seed % 2 == 0 ? trainer : _actor(actor % TRAINERS), seed);
        else vm.roll(block.number + seed % 400);
    }

    /// @dev Somebody who waits in the job, beginning with this trainer; that one where nobody does.
    function _waiting(uint256 job, uint256 start) private view returns (address) {
        for (uint256 i = 0; i < TRAINERS; ++i) {
            address trainer = _actor((start + i) % TRAINERS);
            if (market.waitingOf(JobId.wrap(job), trainer).stake != 0) return trainer;
        }
        return _actor(start % TRAINERS);
    }

    /// @dev What is due for those who wait: the draw, its seats, and seats that are idle.
    function _seatWhoWaits(uint256 job, uint256 seed) internal override {
        if (job == 0 && _isDrawing()) {
            (, bytes32 drawn) = market.drawOf(JobId.wrap(0));
            if (drawn == 0) _draw(0, seed % 8 == 0 ? 400 : 129);
        }
        address trainer = _waiting(job, seed % TRAINERS);
        (bool able,) = _yieldingSeat(job, trainer, seed);
        Phase phase = market.phaseOf(JobId.wrap(job));
        if (able && phase == Phase.Commit && !_isUnvested(job)) _takeIdleSeat(job, trainer, seed);
    }

    /// @dev After so many blocks more.
    function _draw(uint256 job, uint256 blocks) private {
        vm.roll(vm.getBlockNumber() + blocks % 400);
        market.drawSeats(JobId.wrap(job));
    }

    function _isDrawing() private view returns (bool) {
        JobTerms memory terms = market.termsOf(JobId.wrap(0));
        // forge-lint: disable-next-line(block-timestamp)
        return block.timestamp < terms.enrolUntil && block.timestamp + terms.entry.drawPeriod >= terms.enrolUntil;
    }

    function _takeSeat(uint256 job, uint256 seed) private {
        bool draws = job == 0 && _isDrawing();
        address trainer = _waiting(job, seed % TRAINERS);
        bool full = _state(job).seatsTaken == SEATS;
        vm.prank(trainer);
        market.takeSeat(JobId.wrap(job));
        if (draws && full) ++seatsDrawn; // or a seat that was given up
    }

    /// @dev Its trainer's book of lifetime scores and records begins anew.
    function _takeIdleSeat(uint256 job, address trainer, uint256 seed) private {
        (, uint256 seat) = _yieldingSeat(job, trainer, seed);
        bytes memory records = _state(job).hasExam ? _recordsOf(job, type(uint64).max >> (64 - SEATS)) : bytes("");
        vm.prank(trainer);
        market.takeIdleSeat(JobId.wrap(job), seat, lifetimes[job], records);
        ++idleSeatsTaken;
        _noteTaken(job, seat);
        bytes memory cleared = lifetimes[job];
        cleared.setScore(seat, 0);
        lifetimes[job] = cleared;
    }

    /// @dev The first seat that somebody may take, beginning with a random one; that one where there is none.
    function _yieldingSeat(uint256 job, address trainer, uint256 start)
        private
        view
        returns (bool found, uint256 seat)
    {
        for (uint256 i = 0; i < SEATS; ++i) {
            seat = (start % SEATS + i) % SEATS;
            if (market.yieldsTo(JobId.wrap(job), seat, trainer)) return (true, seat);
        }
        return (false, start % SEATS);
    }
}
