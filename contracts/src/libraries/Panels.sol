// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Seat, SeatState, TaskId, Verifier} from "../interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../interfaces/IOutputConsensus.sol";
import {Draws} from "./Draws.sol";
import {PanelRecord, Task, Tasks} from "./Tasks.sol";
import {Pool, VerifierPools} from "./VerifierPools.sol";

/// @notice Draws panels, and seats them.
/// @dev Nobody loops over a pool: whoever has a lower number than somebody who sits takes the seat of the highest.
library Panels {
    using Tasks for Task;
    using VerifierPools for Pool;

    /// @notice Asks for a panel. Only stakes put down before this block have a part in it.
    function ask(Task storage task, TaskId id, uint8 index, uint8 size) internal {
        task.panel = index;
        PanelRecord storage panel = task.panels[index];
        panel.size = size;
        // forge-lint: disable-next-line(unsafe-typecast)
        panel.askedAt = uint64(block.number);
        _fix(panel, id, index);
    }

    /// @notice Takes the hash of the block that decides. One that nobody came for in time is replaced by another.
    function draw(Task storage task, TaskId id) internal {
        PanelRecord storage panel = task.current();
        uint256 number = panel.drawBlock;
        if (block.number <= number) revert IOutputConsensus.DrawTooEarly(block.number, number);
        bytes32 seed = blockhash(number);
        if (seed == 0) {
            _fix(panel, id, task.panel);
            return;
        }
        panel.seed = seed;
        // forge-lint: disable-next-line(unsafe-typecast)
        panel.seatUntil = uint40(block.timestamp + task.terms.seatPeriod);
        emit IOutputConsensus.SeatsDrawn(id, task.panel, seed, panel.seatUntil);
    }

    function take(Task storage task, TaskId id, Pool storage pool, address account) internal {
        PanelRecord storage panel = task.current();
        _requireEligible(task, panel, pool, account);
        uint256 number = numberOf(panel.seed, account, pool.verifiers[account].units);
        (uint256 index, address displaced) = _seatFor(panel, number);
        if (displaced == address(0)) {
            ++panel.taken;
        } else {
            delete panel.seatNumbers[displaced];
            pool.unlock(displaced);
        }
        Seat storage seat = panel.seats[index];
        (seat.verifier, seat.number) = (account, number);
        panel.seatNumbers[account] = index + 1;
        pool.lock(account);
        emit IOutputConsensus.SeatTaken(id, task.panel, account, number, displaced);
    }

    function commit(Task storage task, TaskId id, address account, bytes32 seal) internal {
        PanelRecord storage panel = task.current();
        Seat storage seat = seatOf(panel, account);
        if (seat.state != SeatState.Taken) revert IOutputConsensus.AlreadyCommitted(account);
        if (seal == 0) revert IOutputConsensus.EmptySeal();
        ++panel.committed;
        (seat.state, seat.seal) = (SeatState.Committed, seal);
        emit IOutputConsensus.OutputsCommitted(id, task.panel, account, seal);
    }

    function reveal(
        Task storage task,
        TaskId id,
        address account,
        bytes32[] calldata digests,
        bytes32 outputs,
        bytes32 salt
    ) internal {
        PanelRecord storage panel = task.current();
        Seat storage seat = seatOf(panel, account);
        if (seat.state == SeatState.Taken) revert IOutputConsensus.NotCommitted(account);
        if (seat.state != SeatState.Committed) revert IOutputConsensus.AlreadyRevealed(account);
        _checkOutputs(digests, outputs, task.terms.samples);
        bytes32 digestsHash = keccak256(abi.encodePacked(digests));
        bytes32 seal = sealOf(id, task.panel, account, digestsHash, outputs, salt);
        if (seal != seat.seal) revert IOutputConsensus.WrongSeal(seal, seat.seal);

        ++panel.revealed;
        seat.state = digests.length == 0 ? SeatState.Void : SeatState.Revealed;
        (seat.digestsHash, seat.outputs) = (digestsHash, outputs);
        emit IOutputConsensus.OutputsRevealed(id, task.panel, account, outputs, digests);
    }

    /// @notice The lowest number of an account's tickets.
    function numberOf(bytes32 seed, address account, uint256 tickets) internal pure returns (uint256 lowest) {
        lowest = type(uint256).max;
        for (uint256 ticket = 0; ticket < tickets; ++ticket) {
            uint256 number = uint256(keccak256(abi.encode(seed, account, ticket)));
            if (number < lowest) lowest = number;
        }
    }

    function sealOf(TaskId id, uint256 panel, address account, bytes32 digestsHash, bytes32 outputs, bytes32 salt)
        internal
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(block.chainid, address(this), id, panel, account, digestsHash, outputs, salt));
    }

    function seatOf(PanelRecord storage panel, address account) internal view returns (Seat storage) {
        uint256 seatPlusOne = panel.seatNumbers[account];
        if (seatPlusOne == 0) revert IOutputConsensus.NotSeated(account);
        return panel.seats[seatPlusOne - 1];
    }

    /// @notice Whether all its seats were taken: one that starved has not sat, and bars nobody.
    function isFull(PanelRecord storage panel) internal view returns (bool) {
        return panel.taken == panel.size;
    }

    /// @notice How many members of a pool could sit in the task's next panel.
    function eligible(Task storage task, Pool storage pool, uint256 panels) internal view returns (uint256 members) {
        members = pool.members;
        (address owner, address worker) = (task.owner, task.terms.worker);
        if (pool.isMember(owner)) --members;
        if (worker != owner && pool.isMember(worker)) --members;
        for (uint256 index = 0; index < panels; ++index) {
            PanelRecord storage panel = task.panels[index];
            if (!isFull(panel)) continue;
            for (uint256 seat = 0; seat < panel.size; ++seat) {
                if (pool.isMember(panel.seats[seat].verifier)) --members;
            }
        }
    }

    function _fix(PanelRecord storage panel, TaskId id, uint256 index) private {
        // forge-lint: disable-next-line(unsafe-typecast)
        panel.drawBlock = uint64(block.number + Draws.DELAY);
        emit IOutputConsensus.DrawFixed(id, index, panel.drawBlock);
    }

    /// @dev An appellant is the owner, the worker or of an earlier panel.
    function _requireEligible(Task storage task, PanelRecord storage panel, Pool storage pool, address account)
        private
        view
    {
        bool isParty = account == task.owner || account == task.terms.worker;
        if (isParty || _satBefore(task, account)) revert IOutputConsensus.Barred(account);
        if (panel.seatNumbers[account] != 0) revert IOutputConsensus.AlreadySeated(account);
        Verifier memory verifier = pool.verifiers[account];
        bool isInTime = verifier.units != 0 && verifier.since < panel.askedAt;
        if (!isInTime) revert IOutputConsensus.StakedTooLate(verifier.since, panel.askedAt);
        if (verifier.units == verifier.locked) revert IOutputConsensus.UnitsLocked(1, 0);
    }

    function _satBefore(Task storage task, address account) private view returns (bool) {
        for (uint256 index = 0; index < task.panel; ++index) {
            PanelRecord storage panel = task.panels[index];
            if (panel.seatNumbers[account] != 0 && isFull(panel)) return true;
        }
        return false;
    }

    function _seatFor(PanelRecord storage panel, uint256 number)
        private
        view
        returns (uint256 index, address displaced)
    {
        uint256 taken = panel.taken;
        if (taken < panel.size) return (taken, address(0));
        uint256 highest = 0;
        for (uint256 i = 0; i < taken; ++i) {
            uint256 other = panel.seats[i].number;
            if (other > highest) (index, highest) = (i, other);
        }
        if (number >= highest) revert IOutputConsensus.NumberTooHigh(number, highest);
        displaced = panel.seats[index].verifier;
    }

    function _checkOutputs(bytes32[] calldata digests, bytes32 outputs, uint256 samples) private pure {
        uint256 count = digests.length;
        if (count != 0 && count != samples) revert IOutputConsensus.WrongDigestCount(count, samples);
        if ((count == 0) != (outputs == 0)) revert IOutputConsensus.WrongOutputs(outputs);
        for (uint256 i = 0; i < count; ++i) {
            if (digests[i] == 0) revert IOutputConsensus.ZeroDigest(i);
        }
    }
}
