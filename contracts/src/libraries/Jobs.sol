// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {JobState, JobTerms, Ledger, Outcome} from "../interfaces/IJobMarket.sol";

/// @notice A trainer's place in a job. It never changes hands.
struct Seat {
    address trainer;
    uint128 stake; // what arrived; zero while no stake is in place
    bytes32 seal; // of the last attempt in which this seat committed
}

/// @notice All that the marketplace keeps of one job.
struct Job {
    JobTerms terms;
    JobState state;
    Ledger ledger;
    mapping(uint256 seat => Seat) seats;
    mapping(address trainer => uint256 seatPlusOne) seatNumbers;
    address[] aggregators; // bonded, the active one first
    mapping(address aggregator => uint128) bonds;
    mapping(uint256 attempt => Outcome) outcomes;
}
