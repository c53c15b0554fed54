// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {
    ConsensusLedger,
    Evidence,
    Panel,
    PoolId,
    PoolTerms,
    Seat,
    SeatState,
    TaskId,
    TaskPhase,
    TaskState,
    TaskTerms,
    Verifier
} from "./interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "./interfaces/IOutputConsensus.sol";
import {Bits} from "./libraries/Bits.sol";
import {Draws} from "./libraries/Draws.sol";
import {Funds} from "./libraries/Funds.sol";
import {Panels} from "./libraries/Panels.sol";
import {TaskEndings} from "./libraries/TaskEndings.sol";
import {TaskOpenings} from "./libraries/TaskOpenings.sol";
import {PanelRecord, Task, Tasks} from "./libraries/Tasks.sol";
import {Pool, VerifierPools} from "./libraries/VerifierPools.sol";

/// @title Consensus of verifiers on outputs. `IOutputConsensus` says what each function promises.
/// @dev One contract holds every pool and task. Only `withdraw` calls anybody, and last.
contract OutputConsensus is IOutputConsensus, ReentrancyGuard {
    using TaskEndings for Task;
    using Funds for ConsensusLedger;
    using Panels for PanelRecord;
    using Panels for Task;
    using SafeCast for uint256;
    using TaskOpenings for Task;
    using Tasks for Task;
    using VerifierPools for Pool;

    /// @inheritdoc IOutputConsensus
    uint256 public constant MAX_UNITS = Draws.MAX_TICKETS;
    /// @inheritdoc IOutputConsensus
    uint256 public poolCount;
    /// @inheritdoc IOutputConsensus
    uint256 public taskCount;
    /// @inheritdoc IOutputConsensus
    mapping(address account => uint256) public credits;

    ConsensusLedger private _ledger;
    mapping(PoolId id => Pool) private _pools;
    mapping(TaskId id => Task) private _tasks;

    // ------------------------------------------------------------------ pools

    /// @inheritdoc IOutputConsensus
    function openPool(PoolTerms calldata unverifiedTerms) external returns (PoolId id) {
        VerifierPools.check(unverifiedTerms);

        id = PoolId.wrap(poolCount++);
        _pools[id].terms = unverifiedTerms;
        emit PoolOpened(id, msg.sender, unverifiedTerms.service, unverifiedTerms);
    }

    /// @inheritdoc IOutputConsensus
    function stake(PoolId id, uint16 units) external payable {
        Pool storage pool_ = _pool(id);
        _requireValue(uint256(units) * pool_.terms.unit);

        pool_.add(msg.sender, units);
        _ledger.addStake(msg.value.toUint128());
        emit Staked(id, msg.sender, units);
    }

    /// @inheritdoc IOutputConsensus
    function unstake(PoolId id, uint16 units) external {
        Pool storage pool_ = _pool(id);
        pool_.remove(msg.sender, units);
        uint128 amount = units * pool_.terms.unit;
        _ledger.creditStake(amount);
        credits[msg.sender] += amount;
        emit Unstaked(id, msg.sender, units);
    }

    /// @inheritdoc IOutputConsensus
    function withdraw(address to) external nonReentrant {
        uint256 amount = credits[msg.sender];
        if (to == address(0)) revert ZeroAddress();
        if (amount == 0) revert NothingToWithdraw(msg.sender);

        credits[msg.sender] = 0;
        _ledger.pay(amount.toUint128());
        emit Withdrawn(msg.sender, to, amount);
        (bool sent,) = to.call{value: amount}("");
        if (!sent) revert TransferFailed(to, amount);
    }

    // ------------------------------------------------------------------ the owner and the worker

    /// @inheritdoc IOutputConsensus
    function openTask(TaskTerms calldata unverifiedTerms) external payable returns (TaskId id) {
        Pool storage pool_ = _pool(unverifiedTerms.pool);
        TaskOpenings.check(unverifiedTerms, pool_.terms);
        uint256 verifiers = unverifiedTerms.verifiers;
        _requireValue(verifiers * unverifiedTerms.share + unverifiedTerms.workerReward);

        id = TaskId.wrap(taskCount++);
        Task storage task_ = _tasks[id];
        (task_.terms, task_.owner) = (unverifiedTerms, msg.sender);
        _requireMembers(task_.eligible(pool_, 0), verifiers);
        _ledger.addEscrow(msg.value.toUint128());
        emit TaskOpened(id, unverifiedTerms.pool, msg.sender, unverifiedTerms);
        task_.ask(id, 0, unverifiedTerms.verifiers);
    }

    /// @inheritdoc IOutputConsensus
    function openCanaries(TaskId id, uint16[] calldata samples, bytes32[] calldata digests, bytes32 salt) external {
        Task storage task_ = _task(id);
        if (msg.sender != task_.owner) revert NotOwner(msg.sender, task_.owner);
        task_.requirePhase(TaskPhase.Reveal);

        task_.openCanaries(id, samples, digests, salt);
    }

    /// @inheritdoc IOutputConsensus
    function openClaim(TaskId id, bytes32[] calldata digests, bytes32 salt) external {
        Task storage task_ = _task(id);
        if (msg.sender != task_.owner && msg.sender != task_.terms.worker) revert NotParty(msg.sender);
        task_.requirePhase(TaskPhase.Reveal);

        task_.openClaim(id, digests, salt);
    }

    // ------------------------------------------------------------------ verifiers

    /// @inheritdoc IOutputConsensus
    function takeSeat(TaskId id) external {
        Task storage task_ = _task(id);
        task_.requirePhase(TaskPhase.Seating);

        task_.take(id, _pools[task_.terms.pool], msg.sender);
    }

    /// @inheritdoc IOutputConsensus
    function commitOutputs(TaskId id, bytes32 seal) external {
        Task storage task_ = _task(id);
        task_.requirePhase(TaskPhase.Commit);

        task_.commit(id, msg.sender, seal);
    }

    /// @inheritdoc IOutputConsensus
    function revealOutputs(TaskId id, bytes32[] calldata digests, bytes32 outputs, bytes32 salt) external {
        Task storage task_ = _task(id);
        task_.requirePhase(TaskPhase.Reveal);

        task_.reveal(id, msg.sender, digests, outputs, salt);
    }

    // ------------------------------------------------------------------ anyone

    /// @inheritdoc IOutputConsensus
    function drawSeats(TaskId id) external {
        Task storage task_ = _task(id);
        task_.requirePhase(TaskPhase.Drawing);

        task_.draw(id);
    }

    /// @inheritdoc IOutputConsensus
    function settle(TaskId id, Evidence calldata evidence) external {
        Task storage task_ = _task(id);
        task_.requirePhase(TaskPhase.Settle);

        task_.settle(id, _pools[task_.terms.pool], _ledger, credits, evidence);
    }

    /// @inheritdoc IOutputConsensus
    function appeal(TaskId id) external payable {
        Task storage task_ = _task(id);
        task_.requirePhase(TaskPhase.Appeal);
        _requireEntitled(task_);
        uint8 size = task_.appealSize();
        _requireValue(uint256(size) * task_.terms.share);
        _requireMembers(task_.eligible(_pools[task_.terms.pool], task_.panel + 1), size);

        task_.appellant = msg.sender;
        // forge-lint: disable-next-line(unsafe-typecast)
        _ledger.addEscrow(uint128(msg.value)); // the value that was asked for
        emit Appealed(id, msg.sender, msg.value);
        task_.ask(id, uint8(Tasks.APPEAL), size);
    }

    /// @inheritdoc IOutputConsensus
    function finish(TaskId id) external {
        Task storage task_ = _task(id);
        task_.requirePhase(TaskPhase.Finish);

        task_.finish(id, _pools[task_.terms.pool], _ledger, credits);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IOutputConsensus
    function pool(PoolId id) external view returns (PoolTerms memory terms, uint256 members) {
        Pool storage pool_ = _pool(id);
        return (pool_.terms, pool_.members);
    }

    /// @inheritdoc IOutputConsensus
    function verifier(PoolId id, address account) external view returns (Verifier memory) {
        return _pool(id).verifiers[account];
    }

    /// @inheritdoc IOutputConsensus
    function task(TaskId id) external view returns (TaskTerms memory terms, TaskState memory state) {
        Task storage task_ = _task(id);
        terms = task_.terms;
        state = TaskState({
            owner: task_.owner,
            phase: task_.phase(),
            panel: task_.panel,
            standing: task_.standing,
            outcome: task_.outcome,
            canariesOpen: task_.canariesOpen,
            workerAccepted: task_.workerAccepted,
            appealUntil: task_.appealUntil,
            appellant: task_.appellant,
            bond: task_.bond(),
            claimHash: task_.claimHash,
            outputs: task_.outputs
        });
    }

    /// @inheritdoc IOutputConsensus
    function panel(TaskId id, uint256 index) external view returns (Panel memory view_) {
        Task storage task_ = _task(id);
        PanelRecord storage record = task_.panels[index];
        if (record.size == 0) revert UnknownPanel(id, index);
        view_.size = record.size;
        (view_.askedAt, view_.drawBlock, view_.seed) = (record.askedAt, record.drawBlock, record.seed);
        if (record.seed != 0) {
            view_.seatUntil = record.seatUntil;
            view_.commitUntil = task_.commitUntil(record);
            view_.revealUntil = task_.revealUntil(record);
        }
        (view_.outcome, view_.medoid) = (record.outcome, record.medoid);
        (view_.clique, view_.paid, view_.spared) = (record.clique, record.paid, record.spared);
        view_.acceptedSamples = record.acceptedSamples;
        view_.seats = new Seat[](record.taken);
        for (uint256 i = 0; i < record.taken; ++i) {
            view_.seats[i] = record.seats[i];
        }
    }

    /// @inheritdoc IOutputConsensus
    function numberOf(TaskId id, uint256 index, address account) external view returns (uint256) {
        Task storage task_ = _task(id);
        return Panels.numberOf(task_.panels[index].seed, account, _pools[task_.terms.pool].verifiers[account].units);
    }

    /// @inheritdoc IOutputConsensus
    function ledger() external view returns (ConsensusLedger memory) {
        return _ledger;
    }

    // ------------------------------------------------------------------ what is asked of a caller

    function _pool(PoolId id) private view returns (Pool storage found) {
        found = _pools[id];
        if (!found.exists()) revert UnknownPool(id);
    }

    function _task(TaskId id) private view returns (Task storage found) {
        found = _tasks[id];
        if (found.owner == address(0)) revert UnknownTask(id);
    }

    function _requireValue(uint256 expected) private view {
        if (msg.value != expected) revert WrongValue(msg.value, expected);
    }

    function _requireMembers(uint256 members, uint256 needed) private pure {
        if (members < needed) revert PoolTooSmall(members, needed);
    }

    /// @dev Whoever the standing decision may wrong: the owner, the worker, or a seat that revealed and is not in the clique.
    function _requireEntitled(Task storage task_) private view {
        if (msg.sender == task_.owner || msg.sender == task_.terms.worker) return;
        PanelRecord storage standing = task_.panels[task_.standing];
        uint256 seatPlusOne = standing.seatNumbers[msg.sender];
        if (seatPlusOne == 0) revert NotEntitled(msg.sender);
        SeatState state = standing.seats[seatPlusOne - 1].state;
        bool hasRevealed = state == SeatState.Revealed || state == SeatState.Void;
        bool isInClique = Bits.has(standing.clique, seatPlusOne - 1);
        if (!hasRevealed || isInClique) revert NotEntitled(msg.sender);
    }
}
