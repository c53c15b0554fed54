// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice A pool's number, counted from zero.
type PoolId is uint256;

/// @notice A task's number, counted from zero over all pools.
type TaskId is uint256;

/// @notice What may be done to a task now. Each moment belongs to the phase that begins with it.
enum TaskPhase {
    Drawing, // the block that decides the panel's draw is fixed: once it is mined anybody may draw
    Seating, // who has drawn a seat takes it
    Commit,
    Reveal, // also what was sealed at the opening is opened
    Settle, // anybody may settle; a panel that did not fill up is here at once
    Appeal, // decided, and to be appealed against
    Finish, // anybody may finish
    Finished
}

/// @notice What a panel, or a task in the end, comes to.
enum TaskOutcome {
    Undecided,
    Accepted, // a majority agrees on outputs
    Void, // a majority says that the request cannot be met
    NoMajority // nor enough seats taken
}

/// @notice Where a seat stands.
enum SeatState {
    Taken,
    Committed,
    Revealed, // digests and outputs
    Void // revealed that the request cannot be met
}

/// @notice Why a seat's unit is burned.
enum PenaltyReason {
    Silent, // no commit, or no reveal
    Disagreed // agrees with nobody of the clique that decides
}

/// @notice What verifiers stake on: a service, and what counts there as the same output.
/// @dev Tolerance and kind are the pool's, and not a task's: a task's owner could set them so that honest ones differ.
struct PoolTerms {
    bytes32 service; // sha-256 digest of the service document's content id
    uint8 digestKind; // that of the service document: the contract counts bits, whatever they stand for
    uint16 toleranceBits; // two digests of a sample agree when at most so many bits differ; below 128
    uint16 slackPermille; // of a batch's samples, rounded down, may be beyond tolerance where two agree; below 250
    uint16 maxSamples; // 1 to 256
    uint128 unit; // wei a ticket in the draws: what a seat locks
}

/// @notice An account's stake in a pool.
struct Verifier {
    uint16 units; // at most 64
    uint16 locked; // those of them that seats hold
    uint64 since; // the block of its last stake: seats of panels asked for later are open to it
}

/// @notice A task's terms. Money in wei, periods in seconds.
struct TaskTerms {
    PoolId pool;
    bytes32 request; // sha-256 digest of the request document's content id: prompts and decoding
    uint64 seed;
    uint16 samples;
    uint8 verifiers; // k: 3, 5 or 7; an appeal takes 2k + 1
    uint128 share; // what a seat that is accepted earns; a third of the pool's unit at most
    address worker; // whose outputs are checked, zero: nobody's; it may not sit
    uint128 workerReward;
    bytes32 claim; // keccak256(abi.encode(keccak256(abi.encodePacked(digests)), salt)) of the worker's; zero without a worker
    bytes32 canaries; // keccak256(abi.encode(samples, digests, salt)) of answers that the owner knows; zero: none
    uint32 seatPeriod;
    uint32 commitPeriod;
    uint32 revealPeriod;
    uint32 appealPeriod;
}

/// @notice Where a task stands.
struct TaskState {
    address owner;
    TaskPhase phase;
    uint8 panel; // the latest: 0, 1 after a second draw, 2 on appeal
    uint8 standing; // the panel whose decision an appeal is about: 0 or 1
    TaskOutcome outcome; // before the end: what it will be if nobody appeals
    bool canariesOpen;
    bool workerAccepted; // the claim agrees with the medoid
    uint40 appealUntil; // zero before there is a decision
    address appellant; // zero: nobody appealed
    uint128 bond; // what the appellant put down
    bytes32 claimHash; // keccak256(abi.encodePacked(digests)) of the opened claim, else zero
    bytes32 outputs; // of the medoid
}

/// @notice A seat of a panel.
struct Seat {
    address verifier;
    SeatState state;
    uint256 number; // the lowest of its tickets'
    bytes32 seal; // zero before it committed
    bytes32 digestsHash; // keccak256(abi.encodePacked(digests)), zero before it revealed
    bytes32 outputs; // sha-256 digest of the outputs' content id; zero where void
}

/// @notice A panel and its decision.
struct Panel {
    uint8 size;
    uint64 askedAt; // the block in which it was asked for
    uint64 drawBlock; // whose hash decides
    bytes32 seed; // that hash, zero before it is known
    uint40 seatUntil; // zero before the draw, as the other two
    uint40 commitUntil;
    uint40 revealUntil;
    TaskOutcome outcome;
    uint8 medoid; // a seat
    uint16 clique; // seats, a bit each; zero without a majority, as what follows
    uint16 paid; // whoever is paid: the clique, or after an appeal who agrees with its medoid
    uint16 spared; // neither paid nor penalised
    uint256 acceptedSamples; // a bit each: most of the panel agree with the medoid there
    Seat[] seats;
}

/// @notice What a settlement is reckoned from, checked against what the chain keeps.
struct Evidence {
    bytes32[][] digests; // a seat of the panel, empty where it revealed none
    bytes32[][] original; // on appeal: the same of the standing panel
    uint16[] canarySamples; // where the canaries are open
    bytes32[] canaryDigests;
    bytes32 canarySalt;
    bytes32[] claimed; // where the claim is open
}

/// @notice Where the money is. Always: deposited = withdrawn + burned + stakes + escrowed + credits.
struct ConsensusLedger {
    uint128 deposited;
    uint128 withdrawn;
    uint128 burned; // stays in the contract for ever, out of everyone's reach
    uint128 stakes;
    uint128 escrowed; // rewards and bonds of tasks that are not finished
    uint128 credits; // to be withdrawn
}
