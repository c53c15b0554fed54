// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {OutputConsensus} from "../../src/OutputConsensus.sol";
import {
    ConsensusLedger,
    Panel,
    PoolId,
    SeatState,
    TaskId,
    TaskOutcome,
    TaskPhase,
    TaskState,
    TaskTerms,
    Verifier
} from "../../src/interfaces/ConsensusTypes.sol";
import {Base, FuzzSelector} from "../Base.sol";
import {ConsensusActors} from "./ConsensusActors.sol";

contract ConsensusInvariantTest is Base {
    OutputConsensus private consensus;
    ConsensusActors private actors;
    uint256 private accepted;
    uint256 private void;
    uint256 private refunded;
    uint256 private appeals;
    uint256 private overruled;
    uint256 private secondDraws;
    uint256 private workersPaid;
    mapping(uint256 pool => mapping(address account => uint256)) private _held; // by seats, recounted

    function setUp() public {
        vm.warp(1_700_000_000);
        vm.roll(20_000_000);
        consensus = new OutputConsensus();
        actors = new ConsensusActors(consensus);
        targetContract(address(actors));
        bytes4[] memory ends = new bytes4[](3);
        ends[0] = ConsensusActors.end.selector;
        ends[1] = ConsensusActors.leave.selector;
        ends[2] = ConsensusActors.settle.selector;
        excludeSelector(FuzzSelector({addr: address(actors), selectors: ends}));
    }

    /// @dev One campaign for all of them.
    /// forge-config: default.invariant.runs = 24
    /// forge-config: default.invariant.depth = 64
    /// forge-config: quick.invariant.runs = 8
    /// forge-config: quick.invariant.depth = 32
    function invariant_moneyUnitsAndSeatsAreAccountedFor() public {
        _assertEveryWeiIsAccountedFor();
        _assertLockedUnitsAreTheSeatsOfOpenTasks();
        _assertSeatsAreOfWhoMaySit();
    }

    function _assertEveryWeiIsAccountedFor() private view {
        ConsensusLedger memory ledger = consensus.ledger();
        uint256 held = uint256(ledger.burned) + ledger.stakes + ledger.escrowed + ledger.credits;
        vm.assertEq(ledger.deposited, ledger.withdrawn + held, "ledger");
        vm.assertEq(address(consensus).balance, held, "balance");
        vm.assertEq(ledger.stakes, _stakes(), "stakes");
        vm.assertEq(ledger.credits, _credits(), "credits");
        vm.assertEq(ledger.escrowed, _escrowed(), "escrowed");
    }

    function _assertLockedUnitsAreTheSeatsOfOpenTasks() private {
        uint256 state = vm.snapshotState();
        for (uint256 i = 0; i < actors.tasks(); ++i) {
            _countSeats(TaskId.wrap(i));
        }
        for (uint256 pool = 0; pool < actors.pools(); ++pool) {
            uint256 members = 0;
            for (uint256 i = 0; i < actors.actors(); ++i) {
                address account = actors.actorAt(i);
                Verifier memory found = consensus.verifier(PoolId.wrap(pool), account);
                vm.assertEq(found.locked, _held[pool][account], "locked");
                vm.assertLe(found.locked, found.units, "no unit is both free and locked");
                if (found.units != 0) ++members;
            }
            (, uint256 counted) = consensus.pool(PoolId.wrap(pool));
            vm.assertEq(counted, members, "members");
        }
        vm.assertTrue(vm.revertToState(state));
    }

    /// @dev Nobody barred sits, and nobody twice.
    function _assertSeatsAreOfWhoMaySit() private view {
        for (uint256 i = 0; i < actors.tasks(); ++i) {
            (TaskTerms memory terms, TaskState memory state) = consensus.task(TaskId.wrap(i));
            uint256 sat = 0;
            for (uint256 index = 0; index <= state.panel; ++index) {
                if (index == 1 && state.panel == 2 && state.standing == 0) continue;
                Panel memory panel = consensus.panel(TaskId.wrap(i), index);
                uint256 here = 0;
                for (uint256 seat = 0; seat < panel.seats.length; ++seat) {
                    address account = panel.seats[seat].verifier;
                    vm.assertTrue(account != state.owner && account != terms.worker, "a party sits");
                    if (index == 2) vm.assertTrue(account != state.appellant, "the appellant sits");
                    // forge-lint: disable-next-line(incorrect-shift)
                    uint256 bit = 1 << (uint160(account) - 0x8000);
                    vm.assertEq((sat | here) & bit, 0, "sits twice");
                    here |= bit;
                }
                if (panel.seats.length == panel.size) sat |= here;
            }
        }
    }

    /// @dev From anywhere anybody brings every task to its end; then everybody takes all, and what was burned is left.
    function afterInvariant() public {
        for (uint256 i = 0; i < actors.tasks(); ++i) {
            actors.end(TaskId.wrap(i));
        }
        _assertEveryWeiIsAccountedFor();
        vm.assertEq(consensus.ledger().escrowed, 0, "escrowed");
        actors.leave();
        vm.assertEq(consensus.ledger().stakes, 0, "stakes left");
        vm.assertEq(consensus.ledger().credits, 0, "credits left");
        vm.assertEq(address(consensus).balance, consensus.ledger().burned, "only burned remains");
    }

    /// @dev The actors reach everything that the invariants are about.
    function test_actors_reachEveryEnd() public {
        for (uint256 i = 0; i < 40; ++i) {
            uint256 choice = uint256(keccak256(abi.encode(i)));
            actors.openTask(choice >> 8, choice >> 16, choice >> 24);
            for (uint256 pushes = 0; pushes < 3; ++pushes) {
                actors.push(actors.tasks() - 1, choice >> pushes);
            }
            if (actors.tasks() == 6) _nextSeason();
        }
        _nextSeason();
        vm.assertGe(accepted, 3, "accepted");
        vm.assertGe(void, 1, "void");
        vm.assertGe(refunded, 1, "refunded");
        vm.assertGe(appeals, 1, "appeals");
        vm.assertGe(overruled, 1, "overruled");
        vm.assertGe(secondDraws, 1, "second draws");
        vm.assertGe(workersPaid, 1, "workers paid");
    }

    function _nextSeason() private {
        afterInvariant();
        accepted += actors.finished(TaskOutcome.Accepted);
        void += actors.finished(TaskOutcome.Void);
        refunded += actors.finished(TaskOutcome.NoMajority);
        appeals += actors.appeals();
        overruled += actors.overruled();
        secondDraws += actors.secondDraws();
        workersPaid += actors.workersPaid();
        consensus = new OutputConsensus();
        actors = new ConsensusActors(consensus);
    }

    // ------------------------------------------------------------------ recounted

    function _stakes() private view returns (uint256 total) {
        for (uint256 pool = 0; pool < actors.pools(); ++pool) {
            for (uint256 i = 0; i < actors.actors(); ++i) {
                total += consensus.verifier(PoolId.wrap(pool), actors.actorAt(i)).units * uint256(3 ether);
            }
        }
    }

    function _credits() private view returns (uint256 total) {
        for (uint256 i = 0; i < actors.actors(); ++i) {
            total += consensus.credits(actors.actorAt(i));
        }
    }

    function _escrowed() private view returns (uint256 total) {
        for (uint256 i = 0; i < actors.tasks(); ++i) {
            (TaskTerms memory terms, TaskState memory state) = consensus.task(TaskId.wrap(i));
            if (state.phase == TaskPhase.Finished) continue;
            total += uint256(terms.verifiers) * terms.share + terms.workerReward + state.bond;
        }
    }

    function _countSeats(TaskId id) private {
        (TaskTerms memory terms, TaskState memory state) = consensus.task(id);
        if (state.phase == TaskPhase.Finished) return;
        for (uint256 index = 0; index <= state.panel; ++index) {
            if (index == 1 && state.panel == 2 && state.standing == 0) continue;
            Panel memory panel = consensus.panel(id, index);
            if (panel.outcome == TaskOutcome.NoMajority) continue;
            for (uint256 i = 0; i < panel.seats.length; ++i) {
                bool isHeld = panel.outcome == TaskOutcome.Undecided || panel.seats[i].state >= SeatState.Revealed;
                if (isHeld) ++_held[PoolId.unwrap(terms.pool)][panel.seats[i].verifier];
            }
        }
    }
}
