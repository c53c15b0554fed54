// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {OutputConsensus} from "../../src/OutputConsensus.sol";
import {
    Evidence,
    Panel,
    PoolId,
    PoolTerms,
    Seat,
    SeatState,
    TaskId,
    TaskOutcome,
    TaskPhase,
    TaskState,
    TaskTerms,
    Verifier
} from "../../src/interfaces/ConsensusTypes.sol";
import {Base} from "../Base.sol";

/// @notice Everybody around two pools: they come and go, and push tasks on as they please, honestly or not.
contract ConsensusActors is Base {
    uint256 internal constant ACTORS = 26;
    uint256 internal constant POOLS = 2;
    uint256 internal constant MAX_TASKS = 6;
    uint16 internal constant SAMPLES = 4;
    uint128 internal constant UNIT = 3 ether;
    bytes32 internal constant SALT = keccak256("salt");

    // forge-lint: disable-next-line(screaming-snake-case-immutable)
    OutputConsensus public immutable consensus;
    uint256 public tasks;
    // What was reached.
    mapping(TaskOutcome outcome => uint256) public finished;
    uint256 public appeals;
    uint256 public overruled;
    uint256 public secondDraws;
    uint256 public workersPaid;
    mapping(uint256 task => mapping(uint256 panel => mapping(uint256 seat => bytes32[]))) private _digests;
    mapping(bytes32 claim => bytes32[]) private _claims;

    constructor(OutputConsensus consensus_) {
        consensus = consensus_;
        for (uint256 i = 0; i < POOLS; ++i) {
            consensus.openPool(
                PoolTerms({
                    service: keccak256("service"),
                    digestKind: 1,
                    toleranceBits: 10,
                    slackPermille: i == 0 ? 0 : 249,
                    maxSamples: 8,
                    unit: UNIT
                })
            );
        }
        for (uint256 i = 0; i < ACTORS; ++i) {
            stake(i, i, 2);
            stake(i, i + 1, 3);
        }
        vm.roll(block.number + 1);
    }

    // ------------------------------------------------------------------ coming and going

    function stake(uint256 actor, uint256 pool, uint256 units) public {
        address account = actorAt(actor);
        Verifier memory found = consensus.verifier(_pool(pool), account);
        // forge-lint: disable-next-line(unsafe-typecast)
        uint16 more = uint16(bound(units, 1, 5));
        if (found.units + more > 64) return;
        vm.deal(account, account.balance + more * UNIT);
        vm.prank(account);
        consensus.stake{value: more * UNIT}(_pool(pool), more);
    }

    function unstake(uint256 actor, uint256 pool, uint256 units) external {
        address account = actorAt(actor);
        Verifier memory found = consensus.verifier(_pool(pool), account);
        uint16 free = found.units - found.locked;
        if (free == 0) return;
        vm.prank(account);
        // forge-lint: disable-next-line(unsafe-typecast)
        consensus.unstake(_pool(pool), uint16(bound(units, 1, free)));
    }

    function withdraw(uint256 actor) public {
        address account = actorAt(actor);
        if (consensus.credits(account) == 0) return;
        vm.prank(account);
        consensus.withdraw(account);
    }

    function wait(uint256 seconds_, uint256 blocks) external {
        vm.warp(vm.getBlockTimestamp() + bound(seconds_, 1, 200));
        vm.roll(vm.getBlockNumber() + bound(blocks, 1, 300));
    }

    function openTask(uint256 actor, uint256 pool, uint256 choice) external {
        if (tasks == MAX_TASKS) return;
        TaskTerms memory terms;
        terms.pool = _pool(pool);
        terms.request = keccak256("request");
        terms.samples = SAMPLES;
        // forge-lint: disable-next-line(unsafe-typecast)
        terms.verifiers = uint8(3 + 2 * (choice % 3));
        terms.share = choice % 7 == 0 ? 3 : 1 ether;
        (terms.seatPeriod, terms.commitPeriod, terms.revealPeriod, terms.appealPeriod) = (60, 60, 60, 60);
        if (choice % 4 < 2) {
            (terms.worker, terms.workerReward) = (actorAt(choice >> 8), 0.3 ether);
            bytes32[] memory claimed = _batch(choice >> 16);
            terms.claim = keccak256(abi.encode(keccak256(abi.encodePacked(claimed)), SALT));
            _claims[terms.claim] = claimed;
        }
        if (choice % 5 < 3) terms.canaries = keccak256(abi.encode(_canarySamples(), _canaryDigests(), SALT));
        uint256 value = uint256(terms.verifiers) * terms.share + terms.workerReward;
        address owner = actorAt(actor);
        vm.deal(owner, owner.balance + value);
        vm.prank(owner);
        try consensus.openTask{value: value}(terms) {
            ++tasks;
        } catch {}
    }

    // ------------------------------------------------------------------ a task's steps

    /// @notice Does something that the task's phase allows, or lets the phase pass.
    function step(uint256 task, uint256 choice) public {
        if (tasks == 0) return;
        TaskId id = TaskId.wrap(task % tasks);
        (TaskTerms memory terms, TaskState memory state) = consensus.task(id);
        if (state.phase == TaskPhase.Drawing) _draw(id, state, choice);
        else if (state.phase == TaskPhase.Seating) _takeSeats(id, state, choice);
        else if (state.phase == TaskPhase.Commit) _commit(id, state, choice);
        else if (state.phase == TaskPhase.Reveal) _reveal(id, terms, state, choice);
        else if (state.phase == TaskPhase.Settle) settle(id);
        else if (state.phase == TaskPhase.Appeal) _appeal(id, terms, state, choice);
        else if (state.phase == TaskPhase.Finish) _finish(id);
    }

    /// @notice Takes a task several steps on.
    function push(uint256 task, uint256 choice) external {
        for (uint256 i = 0; i < 6; ++i) {
            step(task, uint256(keccak256(abi.encode(choice, i))));
        }
    }

    /// @notice Anybody goes on with a task, and waits where there is nothing to do for it.
    function end(TaskId id) external {
        for (uint256 calls = 0; calls < 60; ++calls) {
            (, TaskState memory state) = consensus.task(id);
            if (state.phase == TaskPhase.Finished) return;
            if (state.phase == TaskPhase.Drawing) _draw(id, state, 1);
            else if (state.phase == TaskPhase.Settle) settle(id);
            else if (state.phase == TaskPhase.Finish) _finish(id);
            else _pass(id, state);
        }
        revert("a task has no end");
    }

    /// @notice Everybody takes what it can.
    function leave() external {
        for (uint256 i = 0; i < ACTORS; ++i) {
            for (uint256 pool = 0; pool < POOLS; ++pool) {
                uint16 units = consensus.verifier(_pool(pool), actorAt(i)).units;
                vm.prank(actorAt(i));
                if (units != 0) consensus.unstake(_pool(pool), units);
            }
            vm.stopPrank();
            withdraw(i);
        }
    }

    function settle(TaskId id) public {
        (, TaskState memory before) = consensus.task(id);
        consensus.settle(id, evidenceOf(id));
        (, TaskState memory state) = consensus.task(id);
        if (state.panel > before.panel) ++secondDraws;
        if (state.phase == TaskPhase.Finished) ++finished[TaskOutcome.NoMajority];
        if (state.panel == 2 && consensus.panel(id, 2).outcome != TaskOutcome.NoMajority) ++overruled;
    }

    // ------------------------------------------------------------------ what is so

    function actorAt(uint256 actor) public pure returns (address) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return address(uint160(0x8000 + actor % ACTORS));
    }

    function actors() external pure returns (uint256) {
        return ACTORS;
    }

    function pools() external pure returns (uint256) {
        return POOLS;
    }

    function evidenceOf(TaskId id) public view returns (Evidence memory evidence) {
        (, TaskState memory state) = consensus.task(id);
        evidence.digests = _batches(id, state.panel);
        if (state.panel == 2) evidence.original = _batches(id, state.standing);
        if (state.canariesOpen) {
            (evidence.canarySamples, evidence.canaryDigests, evidence.canarySalt) =
            (_canarySamples(), _canaryDigests(), SALT);
        }
        if (state.claimHash != 0) evidence.claimed = _claimed(id);
    }

    // ------------------------------------------------------------------ helpers

    function _draw(TaskId id, TaskState memory state, uint256 choice) private {
        Panel memory panel = consensus.panel(id, state.panel);
        if (vm.getBlockNumber() <= panel.drawBlock) {
            vm.roll(panel.drawBlock + 1 + (choice % 16 == 0 ? 300 : 0));
        }
        consensus.drawSeats(id);
    }

    function _takeSeats(TaskId id, TaskState memory state, uint256 choice) private {
        if (choice % 5 == 0) {
            _pass(id, state);
            return;
        }
        for (uint256 i = 0; i < choice % ACTORS; ++i) {
            vm.prank(actorAt(i + (choice >> 8) % ACTORS));
            try consensus.takeSeat(id) {} catch {}
        }
    }

    function _commit(TaskId id, TaskState memory state, uint256 choice) private {
        Seat[] memory seats = consensus.panel(id, state.panel).seats;
        for (uint256 i = 0; i < seats.length; ++i) {
            uint256 kind = uint256(keccak256(abi.encode(choice, i)));
            bool isSilent = kind % 11 == 0;
            if (seats[i].state != SeatState.Taken || isSilent) continue;
            // Of every fifth task the request is broken, as most find.
            bool isVoid = TaskId.unwrap(id) % 5 == 4 && kind % 8 != 0;
            bytes32[] memory digests = _batch(isVoid ? 0 : kind >> 8);
            _digests[TaskId.unwrap(id)][state.panel][i] = digests;
            bytes32 seal = _seal(id, state.panel, seats[i].verifier, digests);
            vm.prank(seats[i].verifier);
            consensus.commitOutputs(id, seal);
        }
        if (choice % 3 == 0) _pass(id, state);
    }

    function _reveal(TaskId id, TaskTerms memory terms, TaskState memory state, uint256 choice) private {
        if (choice % 4 == 0) {
            _pass(id, state);
            return;
        }
        if (choice % 2 == 1) _openSealed(id, terms, state);
        Seat[] memory seats = consensus.panel(id, state.panel).seats;
        for (uint256 i = 0; i < seats.length; ++i) {
            bool isMute = uint256(keccak256(abi.encode(choice, i))) % 11 == 0;
            if (seats[i].state != SeatState.Committed || isMute) continue;
            bytes32[] memory digests = _digests[TaskId.unwrap(id)][state.panel][i];
            vm.prank(seats[i].verifier);
            try consensus.revealOutputs(id, digests, _outputsOf(digests), SALT) {} catch {}
        }
    }

    function _openSealed(TaskId id, TaskTerms memory terms, TaskState memory state) private {
        if (terms.canaries != 0 && !state.canariesOpen) {
            vm.prank(state.owner);
            consensus.openCanaries(id, _canarySamples(), _canaryDigests(), SALT);
        }
        if (terms.claim == 0 || state.claimHash != 0) return;
        bytes32[] memory claimed = _claimed(id);
        vm.prank(terms.worker);
        try consensus.openClaim(id, claimed, SALT) {} catch {} // a claim of nothing cannot be opened
    }

    function _appeal(TaskId id, TaskTerms memory terms, TaskState memory state, uint256 choice) private {
        if (choice % 4 == 0) {
            _pass(id, state);
            return;
        }
        uint256 bond = (2 * uint256(terms.verifiers) + 1) * terms.share;
        Seat[] memory seats = consensus.panel(id, state.standing).seats;
        address by = choice % 4 == 1 ? state.owner : seats[(choice >> 8) % seats.length].verifier;
        vm.deal(by, by.balance + bond);
        vm.prank(by);
        try consensus.appeal{value: bond}(id) {
            ++appeals;
        } catch {}
    }

    function _finish(TaskId id) private {
        consensus.finish(id);
        (, TaskState memory state) = consensus.task(id);
        ++finished[state.outcome];
        if (state.workerAccepted) ++workersPaid;
    }

    /// @dev Lets the phase pass, to its first moment after.
    function _pass(TaskId id, TaskState memory state) private {
        Panel memory panel = consensus.panel(id, state.panel);
        if (state.phase == TaskPhase.Seating) vm.warp(panel.seatUntil);
        if (state.phase == TaskPhase.Commit) vm.warp(panel.commitUntil);
        if (state.phase == TaskPhase.Reveal) vm.warp(panel.revealUntil);
        if (state.phase == TaskPhase.Appeal) vm.warp(state.appealUntil);
    }

    /// @dev Mostly near one of two centres, some in the middle between them, some of anything, some void.
    function _batch(uint256 kind) private pure returns (bytes32[] memory digests) {
        if (kind % 13 == 0) return digests;
        digests = new bytes32[](SAMPLES);
        for (uint256 i = 0; i < SAMPLES; ++i) {
            uint256 word = uint256(keccak256(abi.encode(kind, i)));
            bytes32 centre = keccak256(abi.encode("centre", i));
            uint256 far = kind % 13 < 9 ? 0 : kind % 13 == 9 ? 9 : 18; // bits to the first centre, of 18 to the other
            // forge-lint: disable-next-line(incorrect-shift)
            digests[i] = centre ^ bytes32((1 << far) - 1) ^ bytes32(1 << (20 + word % 200));
            if (kind % 13 == 12) digests[i] = bytes32(word);
        }
    }

    function _claimed(TaskId id) private view returns (bytes32[] memory) {
        (TaskTerms memory terms,) = consensus.task(id);
        return _claims[terms.claim];
    }

    function _batches(TaskId id, uint256 index) private view returns (bytes32[][] memory batches) {
        Panel memory panel = consensus.panel(id, index);
        batches = new bytes32[][](panel.size);
        for (uint256 i = 0; i < panel.seats.length; ++i) {
            if (panel.seats[i].state == SeatState.Revealed) batches[i] = _digests[TaskId.unwrap(id)][index][i];
        }
    }

    function _seal(TaskId id, uint256 panel, address account, bytes32[] memory digests) private view returns (bytes32) {
        bytes32 hash = keccak256(abi.encodePacked(digests));
        return
            keccak256(
                abi.encode(block.chainid, address(consensus), id, panel, account, hash, _outputsOf(digests), SALT)
            );
    }

    function _outputsOf(bytes32[] memory digests) private pure returns (bytes32) {
        return digests.length == 0 ? bytes32(0) : keccak256(abi.encode(digests));
    }

    function _canarySamples() private pure returns (uint16[] memory samples) {
        samples = new uint16[](1);
        samples[0] = 2;
    }

    function _canaryDigests() private pure returns (bytes32[] memory digests) {
        digests = new bytes32[](1);
        digests[0] = keccak256(abi.encode("centre", uint256(2)));
    }

    function _pool(uint256 pool) private pure returns (PoolId) {
        return PoolId.wrap(pool % POOLS);
    }
}
