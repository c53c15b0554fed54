// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Evidence, SeatState} from "../src/interfaces/ConsensusTypes.sol";
import {PanelRecord, Task} from "../src/libraries/Tasks.sol";
import {Verdict, Verdicts} from "../src/libraries/Verdicts.sol";
import {Pool} from "../src/libraries/VerifierPools.sol";

/// @notice A panel, as tests/vectors/consensus.json has it.
struct SharedPanel {
    uint256 seats;
    uint256 samples;
    uint256 tolerance;
    uint256 slack;
    uint8[] states;
    bytes32[][] digests;
    uint16[] canarySamples;
    bytes32[] canaryDigests;
}

/// @notice Puts one panel into storage as if its seats had revealed, and decides it by the contract's own code.
contract ConsensusDecider {
    using Verdicts for Task;

    uint8 private constant GIVEN = 1;
    uint8 private constant VOID = 2;

    Task private _task;
    Pool private _pool;

    function verdictOf(SharedPanel calldata given) external returns (Verdict memory) {
        return this.decide(this.put(given));
    }

    function put(SharedPanel calldata given) external returns (Evidence memory evidence) {
        _task.terms.samples = uint16(given.samples);
        _pool.terms.toleranceBits = uint16(given.tolerance);
        _pool.terms.slackPermille = uint16(given.slack);
        PanelRecord storage panel = _task.panels[0];
        panel.size = uint8(given.seats);
        for (uint256 i = 0; i < given.seats; ++i) {
            panel.seats[i].state = SeatState.Committed;
            if (given.states[i] == VOID) panel.seats[i].state = SeatState.Void;
            if (given.states[i] != GIVEN) continue;
            panel.seats[i].state = SeatState.Revealed;
            panel.seats[i].digestsHash = keccak256(abi.encodePacked(given.digests[i]));
        }
        evidence.digests = given.digests;
        if (given.canarySamples.length == 0) return evidence;
        (evidence.canarySamples, evidence.canaryDigests) = (given.canarySamples, given.canaryDigests);
        _task.canariesOpen = true;
        _task.terms.canaries = keccak256(abi.encode(given.canarySamples, given.canaryDigests, bytes32(0)));
    }

    function decide(Evidence calldata evidence) external view returns (Verdict memory) {
        return _task.decide(_pool, evidence);
    }
}
