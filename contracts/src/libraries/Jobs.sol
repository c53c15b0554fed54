// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Dispute, JobState, JobTerms, Ledger, Undo} from "../interfaces/IJobMarket.sol";

/// @notice A trainer's place in a job. It never changes hands.
struct Seat {
    address trainer;
    uint128 stake; // what arrived; zero while no stake is in place
    bytes32 seal; // of the last attempt in which this seat committed
}

/// @notice A place in the queue of aggregators; empty where the account is zero.
struct Bonded {
    address account;
    uint24 number; // counted from one over everybody who ever bonded
}

/// @notice How an attempt ended, as it is stored: a settlement writes one word.
/// @dev 192 bits of a hash: no easier to collide than the proofs' curve is to break.
struct Ending {
    bytes24 payHash;
    uint40 vestsAt;
    uint24 aggregator; // the number of the one whose fee it was; zero where none is due
    uint64 claimed; // seats that claimed
    bool feeClaimed;
}

/// @notice What is kept of an attempt's exam, for ever: attempts are never numbered twice.
struct Exam {
    bytes32 seal;
    bytes32 opened; // keccak256 of r's commitment
}

/// @notice All that the marketplace keeps of one job.
struct Job {
    JobTerms terms;
    JobState state;
    Ledger ledger;
    mapping(uint256 seat => Seat) seats;
    mapping(address trainer => uint256 seatPlusOne) seatNumbers;
    Bonded[8] queue; // of aggregators, without gaps, the active one first
    address[] bonders; // everybody who ever bonded, by number
    mapping(address aggregator => uint128) bonds;
    mapping(uint256 attempt => Ending) endings;
    mapping(uint256 attempt => Exam) exams;
    uint40 examPublishedAt; // zero before
    Dispute dispute; // the open one, or the last
    Undo undo; // what it may undo
    mapping(uint256 attempt => uint256 facts) disputed; // a bit each: see Disputes
    mapping(address by => uint128) disputeBonds; // to be taken back
}
