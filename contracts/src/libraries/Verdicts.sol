// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Evidence, SeatState, TaskOutcome} from "../interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../interfaces/IOutputConsensus.sol";
import {Bits} from "./Bits.sol";
import {Cliques, Graph} from "./Cliques.sol";
import {Hamming} from "./Hamming.sol";
import {PanelRecord, Task, Tasks} from "./Tasks.sol";
import {Pool} from "./VerifierPools.sol";

/// @notice When two batches agree.
struct Measure {
    uint256 samples;
    uint256 tolerance; // bits
    uint256 allowed; // samples beyond it
    uint256 strict; // samples, a bit each, that may not be: those with a canary that counts
}

/// @notice Seats of a panel by what they revealed.
struct Revealed {
    uint256 digests;
    uint256 voids;
}

/// @notice What a panel decides.
struct Verdict {
    TaskOutcome outcome;
    uint256 clique;
    uint256 spared;
    uint256 medoid;
    uint256 acceptedSamples;
    uint256 originalPaid; // of the standing panel, on appeal
    uint256 originalSpared;
    bool workerAccepted;
}

/// @notice Decides panels from what was revealed. market/protocol/consensus.py decides likewise, bit for bit.
library Verdicts {
    using Tasks for Task;

    uint256 private constant PERMILLE = 1000;

    /// @notice What a full panel decides by the evidence, which is checked against the hashes that were kept.
    function decide(Task storage task, Pool storage pool, Evidence calldata evidence)
        internal
        view
        returns (Verdict memory verdict)
    {
        PanelRecord storage panel = task.current();
        Revealed memory revealed = _check(panel, task.panel, evidence.digests);
        _checkOpened(task, evidence);
        Measure memory measure = _measure(task, pool, panel.size, revealed, evidence);
        _decide(verdict, measure, panel.size, revealed, evidence.digests);
        if (task.panel == Tasks.APPEAL) _rejudge(task, verdict, measure, evidence);
        if (task.claimHash != 0 && verdict.outcome == TaskOutcome.Accepted) {
            // Without canaries: the owner, who chose them and may know the worker's outputs, has the reward that it does not earn.
            (verdict.workerAccepted,,) = compare(measure, evidence.claimed, evidence.digests[verdict.medoid]);
        }
    }

    /// @notice Whether two batches agree.
    function agree(Measure memory measure, bytes32[] calldata a, bytes32[] calldata b) internal pure returns (bool) {
        (bool isNear, bool isStrict,) = compare(measure, a, b);
        return isNear && isStrict;
    }

    /// @return isNear whether no more samples than allowed are beyond tolerance
    /// @return isStrict whether none of those is that may not be
    /// @return bits how many differ over all samples, where it is near
    function compare(Measure memory measure, bytes32[] calldata a, bytes32[] calldata b)
        internal
        pure
        returns (bool isNear, bool isStrict, uint256 bits)
    {
        (uint256 samples, uint256 tolerance) = (measure.samples, measure.tolerance);
        uint256 beyond = 0;
        isStrict = true;
        unchecked {
            for (uint256 i = 0; i < samples; ++i) {
                uint256 difference = uint256(a[i] ^ b[i]);
                if (difference == 0) continue;
                uint256 distance = Hamming.count(difference);
                bits += distance;
                if (distance <= tolerance) continue;
                if (++beyond > measure.allowed) return (false, false, 0);
                if (Bits.has(measure.strict, i)) isStrict = false;
            }
        }
        return (true, isStrict, bits);
    }

    // ------------------------------------------------------------------ the evidence

    function _check(PanelRecord storage panel, uint256 index, bytes32[][] calldata batches)
        private
        view
        returns (Revealed memory revealed)
    {
        uint256 size = panel.size;
        if (batches.length != size) revert IOutputConsensus.WrongSeatCount(batches.length, size);
        for (uint256 seat = 0; seat < size; ++seat) {
            SeatState state = panel.seats[seat].state;
            bool hasDigests = state == SeatState.Revealed;
            bool isRight = hasDigests
                ? keccak256(abi.encodePacked(batches[seat])) == panel.seats[seat].digestsHash
                : batches[seat].length == 0;
            if (!isRight) revert IOutputConsensus.WrongDigests(index, seat);
            if (hasDigests) revealed.digests |= Bits.only(seat);
            else if (state == SeatState.Void) revealed.voids |= Bits.only(seat);
        }
    }

    function _checkOpened(Task storage task, Evidence calldata evidence) private view {
        if (task.canariesOpen) {
            bytes32 commitment =
                keccak256(abi.encode(evidence.canarySamples, evidence.canaryDigests, evidence.canarySalt));
            bytes32 expected = task.terms.canaries;
            if (commitment != expected) revert IOutputConsensus.WrongCommitment(commitment, expected);
        } else if (evidence.canarySamples.length != 0) {
            revert IOutputConsensus.InvalidCanary(evidence.canarySamples[0]);
        }
        bytes32 claimHash = task.claimHash;
        if (claimHash == 0) return;
        bytes32 given = keccak256(abi.encodePacked(evidence.claimed));
        if (given != claimHash) revert IOutputConsensus.WrongClaim(given, claimHash);
    }

    function _measure(
        Task storage task,
        Pool storage pool,
        uint256 size,
        Revealed memory revealed,
        Evidence calldata evidence
    ) private view returns (Measure memory measure) {
        measure.samples = task.terms.samples;
        measure.tolerance = pool.terms.toleranceBits;
        measure.allowed = measure.samples * pool.terms.slackPermille / PERMILLE; // rounded down
        for (uint256 i = 0; i < evidence.canarySamples.length; ++i) {
            uint256 sample = evidence.canarySamples[i];
            uint256 near = 0;
            for (uint256 seat = 0; seat < size; ++seat) {
                if (!Bits.has(revealed.digests, seat)) continue;
                uint256 distance = Hamming.distance(evidence.digests[seat][sample], evidence.canaryDigests[i]);
                if (distance <= measure.tolerance) ++near;
            }
            if (2 * near > size) measure.strict |= Bits.only(sample);
        }
    }

    // ------------------------------------------------------------------ the decision

    /// @dev Canaries find who guesses. They cannot undo a majority, nor cost a unit: every honest batch may use its slack at a
    /// sample of its own, and an owner with canaries there would have its reward back and all outputs, or others' units burned.
    /// Without a majority none counts.
    function _decide(
        Verdict memory verdict,
        Measure memory measure,
        uint256 size,
        Revealed memory revealed,
        bytes32[][] calldata batches
    ) private pure {
        (Graph memory graph, uint256[] memory near) = _graph(measure, size, revealed, batches);
        uint256 clique = Cliques.largest(graph, size / 2 + 1);
        if (clique == 0 && measure.strict != 0) {
            (measure.strict, graph.neighbours) = (0, near);
            clique = Cliques.largest(graph, size / 2 + 1);
        }
        if (clique == 0) {
            verdict.outcome = TaskOutcome.NoMajority;
            return;
        }
        verdict.clique = clique;
        verdict.medoid = Cliques.medoid(graph, clique);
        if (clique & revealed.voids != 0) {
            verdict.outcome = TaskOutcome.Void;
            verdict.spared = revealed.digests;
            return;
        }
        verdict.outcome = TaskOutcome.Accepted;
        verdict.spared = _nearTo(near, clique) & ~clique;
        verdict.acceptedSamples = _acceptedSamples(measure, size, verdict, batches);
    }

    /// @dev Seats that revealed are vertices; who revealed nothing has no neighbours, and no clique is of one seat.
    /// @return graph whose neighbours agree
    /// @return near whose neighbours would if no canary counted
    function _graph(Measure memory measure, uint256 size, Revealed memory revealed, bytes32[][] calldata batches)
        private
        pure
        returns (Graph memory graph, uint256[] memory near)
    {
        graph = Cliques.empty(size);
        near = new uint256[](size);
        for (uint256 i = 0; i < size; ++i) {
            if (Bits.has(revealed.voids, i)) graph.neighbours[i] = near[i] = revealed.voids ^ Bits.only(i);
            if (!Bits.has(revealed.digests, i)) continue;
            for (uint256 j = i + 1; j < size; ++j) {
                if (!Bits.has(revealed.digests, j)) continue;
                (bool isNear, bool isStrict, uint256 bits) = compare(measure, batches[i], batches[j]);
                if (!isNear) continue;
                near[i] |= Bits.only(j);
                near[j] |= Bits.only(i);
                Cliques.setDistance(graph, i, j, bits);
                if (isStrict) Cliques.join(graph, i, j);
            }
        }
    }

    /// @dev Whoever agrees with a member of the clique, or would if no canary counted.
    function _nearTo(uint256[] memory near, uint256 clique) private pure returns (uint256 spared) {
        for (uint256 i = 0; i < near.length; ++i) {
            if (Bits.has(clique, i)) spared |= near[i];
        }
    }

    function _acceptedSamples(
        Measure memory measure,
        uint256 size,
        Verdict memory verdict,
        bytes32[][] calldata batches
    ) private pure returns (uint256 accepted) {
        bytes32[] calldata medoid = batches[verdict.medoid];
        uint256[] memory near = new uint256[](measure.samples);
        for (uint256 seat = 0; seat < size; ++seat) {
            if (Bits.has(verdict.clique, seat)) _countNear(measure, near, batches[seat], medoid);
        }
        for (uint256 i = 0; i < near.length; ++i) {
            if (2 * near[i] > size) accepted |= Bits.only(i);
        }
    }

    function _countNear(
        Measure memory measure,
        uint256[] memory near,
        bytes32[] calldata batch,
        bytes32[] calldata medoid
    ) private pure {
        uint256 tolerance = measure.tolerance;
        unchecked {
            for (uint256 i = 0; i < near.length; ++i) {
                if (Hamming.distance(batch[i], medoid[i]) <= tolerance) ++near[i];
            }
        }
    }

    // ------------------------------------------------------------------ an appeal

    /// @dev Judges the standing panel's seats by the appeal's clique.
    function _rejudge(Task storage task, Verdict memory verdict, Measure memory measure, Evidence calldata evidence)
        private
        view
    {
        Revealed memory original = _check(task.panels[task.standing], task.standing, evidence.original);
        if (verdict.outcome == TaskOutcome.Void) {
            (verdict.originalPaid, verdict.originalSpared) = (original.voids, original.digests);
        }
        if (verdict.outcome != TaskOutcome.Accepted) return;
        for (uint256 seat = 0; seat < evidence.original.length; ++seat) {
            if (!Bits.has(original.digests, seat)) continue;
            bytes32[] calldata batch = evidence.original[seat];
            bool isPaid = agree(measure, batch, evidence.digests[verdict.medoid]);
            if (isPaid) verdict.originalPaid |= Bits.only(seat);
            else if (_isNear(measure, verdict, batch, evidence.digests)) verdict.originalSpared |= Bits.only(seat);
        }
    }

    function _isNear(
        Measure memory measure,
        Verdict memory verdict,
        bytes32[] calldata batch,
        bytes32[][] calldata batches
    ) private pure returns (bool isNear) {
        for (uint256 seat = 0; seat < batches.length && !isNear; ++seat) {
            if (Bits.has(verdict.clique, seat)) {
                (isNear,,) = compare(measure, batch, batches[seat]);
            }
        }
    }
}
