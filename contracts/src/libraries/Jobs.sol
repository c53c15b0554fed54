// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Dispute, JobState, JobTerms, Ledger, Undo, Waiting} from "../interfaces/JobTypes.sol";

/// @notice A trainer's place in a job.
struct Seat {
    address trainer;
    uint32 since; // the attempt that ran or was next when it was taken: what it earns from then on is this trainer's
    uint32 nextAttempt; // the first that it could commit in and has not
    bool isLate; // staked once the draw had begun: any other goes first
    uint128 stake; // what arrived; zero while no stake is in place
    uint40 waitedSince; // when its trainer came
    uint32 yieldsIn; // the attempt, plus one, in which it is still for whoever has waited longer
    bytes32 seal; // of the last attempt in which this seat committed
}

/// @notice A seat that a trainer once had: what it earned in these attempts is still that trainer's.
struct Tenure {
    uint8 seat;
    uint32 since;
    uint32 until; // the first attempt that it did not have it in
}

/// @notice The draw for seats, where more enrol than there are.
struct SeatDraw {
    uint64 blockNumber; // whose hash decides; zero: nobody asked yet
    bytes32 seed; // that hash, zero before it is known
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
    uint24 aggregator; // the number of the one who settled it; zero where nobody did
    uint64 claimed; // seats that claimed
    bool feeGone; // claimed, or never due
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
    mapping(address trainer => Tenure[]) tenures; // seats that were taken from it
    mapping(address trainer => Waiting) waiting;
    SeatDraw draw;
    uint32 starved; // the last attempt that starved, plus one
    mapping(uint256 word => uint256 attempts) excused; // a bit each: nobody missed it who did not commit
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
    mapping(uint256 attempt => uint64 seats) covered; // a quorum of attestors held what they revealed
}
