// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {EntryTerms, JobId, Ledger, Phase, TrainerRecord, Waiting} from "../interfaces/JobTypes.sol";
import {Aggregators} from "./Aggregators.sol";
import {Attempts} from "./Attempts.sol";
import {Draws} from "./Draws.sol";
import {Escrow} from "./Escrow.sol";
import {Job} from "./Jobs.sol";
import {Lifetimes} from "./Lifetimes.sol";
import {Rounds} from "./Rounds.sol";
import {SealingKeys} from "./SealingKeys.sol";
import {SeatMask} from "./SeatMask.sol";
import {SeatRecords} from "./SeatRecords.sol";
import {Seats} from "./Seats.sol";
import {Tokens} from "./Tokens.sol";

/// @notice How trainers and aggregators come and go, and what they put down and take back.
/// @dev Linked, not inlined, as `Attempts` is. `owed` is what the marketplace owes in each token.
library Members {
    using Aggregators for Job;
    using Draws for Job;
    using Escrow for Ledger;
    using Lifetimes for Job;
    using Rounds for Job;
    using SeatMask for uint64;
    using SeatRecords for Job;
    using Seats for Job;

    /// @param records what trainers were paid in, by owner
    function enrol(
        Job storage job,
        JobId id,
        mapping(address token => uint256) storage owed,
        mapping(address owner => mapping(address trainer => TrainerRecord)) storage records,
        uint256 amount,
        bytes32[] calldata proof
    ) external {
        if (job.state.closed) revert IJobMarket.WrongPhase(Phase.Closed, Phase.Enrolment);
        uint256 seatPlusOne = job.seatNumbers[msg.sender];
        if (seatPlusOne == 0) _requireAllowed(job, records, proof);
        else if (job.state.staked.has(seatPlusOne - 1)) revert IJobMarket.AlreadyEnrolled(msg.sender, seatPlusOne - 1);

        Waiting memory entry = Waiting({
            stake: Tokens.deposit(owed, job.terms.token, amount, job.terms.trainerStake),
            since: uint40(block.timestamp),
            isLate: Draws.isLate(job.terms)
        });
        job.ledger.addStake(entry.stake);
        if (seatPlusOne != 0) {
            job.restake(seatPlusOne - 1, entry.stake, entry.isLate);
            emit IJobMarket.TrainerEnrolled(id, msg.sender, seatPlusOne - 1, entry.stake);
            return;
        }
        (bool found, uint256 seat) = job.freeSeat();
        if (found) {
            job.give(seat, msg.sender, entry, _firstAttempt(job));
            emit IJobMarket.TrainerEnrolled(id, msg.sender, seat, entry.stake);
        } else {
            job.waiting[msg.sender] = entry;
            emit IJobMarket.TrainerWaits(id, msg.sender, entry.stake);
        }
    }

    function draw(Job storage job, JobId id) external {
        job.advance(id);
    }

    /// @notice Seats somebody who waits: on a free seat, or on one that it has drawn.
    function takeSeat(Job storage job, JobId id) external {
        if (job.state.closed) revert IJobMarket.WrongPhase(Phase.Closed, Phase.Enrolment);
        Waiting memory entry = _takeEntry(job);
        (bool found, uint256 seat) = job.freeSeat();
        if (!found) {
            (found, seat) = job.drawnSeat(msg.sender, entry);
            if (!found) revert IJobMarket.SeatsFull(job.terms.seats);
            _dislodge(job, id, seat, job.seats[seat].waitedSince);
        }
        _seat(job, id, seat, entry);
    }

    /// @notice Seats somebody who waits on a seat whose trainer does not come any more, or one that has just gone to somebody
    /// who had waited less.
    /// @dev Not between a commit phase's end and the settlement, whose lifetime scores and records it would change; nor while
    /// that can be undone.
    function takeIdleSeat(Job storage job, JobId id, uint256 seat, bytes calldata lifetime, bytes calldata records)
        external
    {
        Phase phase = job.phase();
        bool isOpen = phase == Phase.Commit || _isBeforeCommit(phase);
        if (!isOpen) revert IJobMarket.WrongPhase(phase, Phase.Commit);
        uint256 vestsAt = job.lastVestsAt();
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp < vestsAt) revert IJobMarket.NotVested(block.timestamp, vestsAt);
        Waiting memory entry = _takeEntry(job);
        if (!job.yieldsTo(seat, entry)) revert IJobMarket.SeatNotIdle(seat);

        job.clear(lifetime, seat);
        if (job.state.hasExam) job.clearRecord(records, seat);
        // Who did not come is the last to have a seat again; who has just come goes on waiting.
        bool hasJustCome = job.seats[seat].yieldsIn == job.state.attempt + 1;
        _dislodge(job, id, seat, hasJustCome ? job.seats[seat].waitedSince : uint40(block.timestamp));
        _seat(job, id, seat, entry);
    }

    function withdrawStake(Job storage job, JobId id, mapping(address token => uint256) storage owed, address to)
        external
    {
        uint128 stake = job.waiting[msg.sender].stake;
        if (stake != 0) {
            delete job.waiting[msg.sender];
            emit IJobMarket.WaitEnded(id, msg.sender, to, stake);
        } else {
            uint256 seat = job.seatOf(msg.sender);
            stake = job.unstake(seat);
            emit IJobMarket.StakeWithdrawn(id, msg.sender, seat, to, stake);
        }
        job.ledger.returnStake(stake);
        Tokens.release(owed, job.terms.token, to, stake);
    }

    /// @dev Whether the terms let a new trainer in.
    function _requireAllowed(
        Job storage job,
        mapping(address owner => mapping(address trainer => TrainerRecord)) storage records,
        bytes32[] calldata proof
    ) private view {
        if (job.waiting[msg.sender].stake != 0) revert IJobMarket.AlreadyWaiting(msg.sender);
        EntryTerms storage entry = job.terms.entry;
        bytes32 root = entry.allowRoot;
        if (root != 0) {
            // Hashed twice, so that no node of the tree passes for a leaf.
            bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(msg.sender))));
            if (!MerkleProof.verifyCalldata(proof, root, leaf)) revert IJobMarket.NotAllowed(msg.sender);
        }
        uint256 rounds = records[entry.patron][msg.sender].paidRounds;
        if (rounds < entry.paidRounds) revert IJobMarket.RecordTooShort(rounds, entry.paidRounds);
    }

    function _takeEntry(Job storage job) private returns (Waiting memory entry) {
        entry = job.waiting[msg.sender];
        if (entry.stake == 0) revert IJobMarket.NotWaiting(msg.sender);
        delete job.waiting[msg.sender];
    }

    function _dislodge(Job storage job, JobId id, uint256 seat, uint40 since) private {
        (address former, uint128 stake) = job.dislodge(seat, since);
        emit IJobMarket.SeatLost(id, former, seat, stake);
    }

    function _seat(Job storage job, JobId id, uint256 seat, Waiting memory entry) private {
        job.give(seat, msg.sender, entry, _firstAttempt(job));
        emit IJobMarket.SeatTaken(id, msg.sender, seat, entry.stake);
    }

    /// @dev The first attempt that somebody who sits down now has the time for.
    function _firstAttempt(Job storage job) private view returns (uint256) {
        Phase phase = job.phase();
        bool inTime = _isBeforeCommit(phase) || (phase == Phase.Commit && !job.isLatterHalf());
        return inTime ? job.state.attempt : job.state.attempt + 1;
    }

    function _isBeforeCommit(Phase phase) private pure returns (bool) {
        return phase == Phase.AwaitingAggregator || phase == Phase.Enrolment;
    }

    function bond(
        Job storage job,
        JobId id,
        mapping(address token => uint256) storage owed,
        uint256 amount,
        bytes32 sealingKey
    ) external {
        Phase phase = job.phase();
        bool over = phase == Phase.Closed || phase == Phase.Finished;
        if (over) revert IJobMarket.WrongPhase(phase, Phase.AwaitingAggregator);
        job.requireBondable(msg.sender);
        if (!SealingKeys.isUsable(sealingKey)) revert IJobMarket.UnusableKey(sealingKey);

        uint128 received = Tokens.deposit(owed, job.terms.token, amount, job.terms.aggregatorBond);
        job.ledger.addBond(received);
        job.join(msg.sender, received);
        emit IJobMarket.AggregatorBonded(id, msg.sender, received, sealingKey);
        if (phase == Phase.AwaitingAggregator) Attempts.start(job, id);
    }

    function withdrawBond(Job storage job, JobId id, mapping(address token => uint256) storage owed, address to)
        external
    {
        if (job.bonds[msg.sender] == 0) revert IJobMarket.NotBonded(msg.sender);
        bool inUse = !job.state.closed && (msg.sender == job.active() || msg.sender == _lastToSettle(job));
        if (inUse) revert IJobMarket.BondInUse(msg.sender);

        uint128 amount = job.unbond(msg.sender);
        job.ledger.returnBond(amount);
        emit IJobMarket.BondWithdrawn(id, msg.sender, to, amount);
        Tokens.release(owed, job.terms.token, to, amount);
    }

    /// @dev Whoever made the settlement that can still be undone, zero where none can.
    function _lastToSettle(Job storage job) private view returns (address) {
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp >= job.lastVestsAt()) return address(0);
        return job.bonder(job.endings[job.state.attempt - 1].aggregator);
    }
}
