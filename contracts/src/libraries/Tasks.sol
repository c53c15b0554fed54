// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Seat, TaskOutcome, TaskPhase, TaskTerms} from "../interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../interfaces/IOutputConsensus.sol";

/// @notice A panel as it is stored.
struct PanelRecord {
    uint64 askedAt;
    uint64 drawBlock;
    uint40 seatUntil;
    uint8 size;
    uint8 taken;
    uint8 committed;
    uint8 revealed;
    TaskOutcome outcome;
    bytes32 seed;
    uint16 clique;
    uint16 paid;
    uint16 spared;
    uint8 medoid;
    uint256 acceptedSamples;
    mapping(uint256 index => Seat) seats;
    mapping(address verifier => uint256 seatPlusOne) seatNumbers;
}

/// @notice All that is kept of one task.
struct Task {
    TaskTerms terms;
    address owner;
    uint40 appealUntil;
    uint8 panel;
    uint8 standing;
    TaskOutcome outcome;
    bool canariesOpen;
    bool workerAccepted;
    bool finished;
    address appellant;
    bytes32 claimHash;
    bytes32 outputs;
    mapping(uint256 index => PanelRecord) panels;
}

/// @notice A task's time, and what its terms come to.
library Tasks {
    uint256 internal constant APPEAL = 2; // the number of an appeal's panel

    function current(Task storage task) internal view returns (PanelRecord storage) {
        return task.panels[task.panel];
    }

    function phase(Task storage task) internal view returns (TaskPhase) {
        if (task.finished) return TaskPhase.Finished;
        PanelRecord storage panel = current(task);
        if (panel.outcome == TaskOutcome.Undecided) return _panelPhase(task, panel);
        if (task.panel == APPEAL) return TaskPhase.Finish;
        // forge-lint: disable-next-line(block-timestamp)
        return block.timestamp < task.appealUntil ? TaskPhase.Appeal : TaskPhase.Finish;
    }

    function requirePhase(Task storage task, TaskPhase expected) internal view {
        TaskPhase actual = phase(task);
        if (actual != expected) revert IOutputConsensus.WrongPhase(actual, expected);
    }

    function commitUntil(Task storage task, PanelRecord storage panel) internal view returns (uint40) {
        return panel.seatUntil + task.terms.commitPeriod;
    }

    function revealUntil(Task storage task, PanelRecord storage panel) internal view returns (uint40) {
        return commitUntil(task, panel) + task.terms.revealPeriod;
    }

    /// @notice How many seats an appeal takes.
    function appealSize(Task storage task) internal view returns (uint8) {
        return 2 * task.terms.verifiers + 1;
    }

    /// @notice What the appellant put down.
    function bond(Task storage task) internal view returns (uint128) {
        return task.appellant == address(0) ? 0 : appealSize(task) * task.terms.share;
    }

    /// @notice The reward, without the bond.
    function reward(Task storage task) internal view returns (uint128) {
        return task.terms.verifiers * task.terms.share + task.terms.workerReward;
    }

    /// @notice Whether an appeal has a majority.
    function isOverruled(Task storage task) internal view returns (bool) {
        TaskOutcome outcome = task.panels[APPEAL].outcome;
        return outcome == TaskOutcome.Accepted || outcome == TaskOutcome.Void;
    }

    function _panelPhase(Task storage task, PanelRecord storage panel) private view returns (TaskPhase) {
        if (panel.seed == 0) return TaskPhase.Drawing;
        uint256 time = block.timestamp;
        // forge-lint: disable-next-line(block-timestamp)
        if (time < panel.seatUntil) return TaskPhase.Seating;
        if (panel.taken < panel.size) return TaskPhase.Settle;
        // forge-lint: disable-next-line(block-timestamp)
        if (time < commitUntil(task, panel) && panel.committed < panel.size) return TaskPhase.Commit;
        bool isOpen = panel.revealed == panel.committed && _isAllOpen(task);
        // forge-lint: disable-next-line(block-timestamp)
        return time < revealUntil(task, panel) && !isOpen ? TaskPhase.Reveal : TaskPhase.Settle;
    }

    /// @dev Whether what was sealed at the opening is open.
    function _isAllOpen(Task storage task) private view returns (bool) {
        return (task.canariesOpen || task.terms.canaries == 0) && (task.claimHash != 0 || task.terms.claim == 0);
    }
}
