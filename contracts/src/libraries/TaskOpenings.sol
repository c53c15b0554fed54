// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {PoolTerms, TaskId, TaskTerms} from "../interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../interfaces/IOutputConsensus.sol";
import {Task} from "./Tasks.sol";

/// @notice What a task is opened with: its terms, and the opening of what they seal.
library TaskOpenings {
    uint256 private constant MIN_VERIFIERS = 3;
    uint256 private constant MAX_VERIFIERS = 7; // and 15 on appeal
    uint256 private constant UNIT_SHARES = 3; // an overturned majority, unit and share, then pays the appeal
    // Five blocks of Ethereum. In one, whoever makes the call that begins a period could be alone in it: the owner with the draw
    // and the seats of its own, or with a settlement that nobody can appeal against.
    uint256 private constant MIN_PERIOD_S = 60;
    uint256 private constant MAX_PERIOD_S = 30 days;
    // Words of 32 bytes in an appeal's evidence. Nodes take no transaction above 128 KiB, nor above 2^24 gas, of which the worst
    // evidence of this length takes 13 million.
    uint256 private constant MAX_EVIDENCE_WORDS = 3072;
    uint256 private constant MAX_CANARIES = 16;

    function check(TaskTerms calldata terms, PoolTerms storage pool) internal view {
        uint256 verifiers = terms.verifiers;
        bool isPanel = verifiers >= MIN_VERIFIERS && verifiers <= MAX_VERIFIERS && verifiers % 2 == 1;
        _require(isPanel, "verifiers", verifiers);
        // An appeal's evidence holds 3k + 1 batches, the claim and less than one more of the rest.
        bool fits = (3 * verifiers + 3) * terms.samples <= MAX_EVIDENCE_WORDS;
        bool isBatch = terms.samples != 0 && terms.samples <= pool.maxSamples && fits;
        _require(isBatch, "samples", terms.samples);
        bool isCovered = terms.share != 0 && UNIT_SHARES * uint256(terms.share) <= pool.unit;
        _require(isCovered, "share", terms.share);
        _require(terms.request != 0, "request", 0);
        bool hasWorker = terms.worker != address(0);
        _require(hasWorker == (terms.claim != 0), "claim", uint256(terms.claim));
        _require(hasWorker || terms.workerReward == 0, "workerReward", terms.workerReward);
        _checkPeriod("seatPeriod", terms.seatPeriod);
        _checkPeriod("commitPeriod", terms.commitPeriod);
        _checkPeriod("revealPeriod", terms.revealPeriod);
        _checkPeriod("appealPeriod", terms.appealPeriod);
    }

    function openCanaries(
        Task storage task,
        TaskId id,
        uint16[] calldata samples,
        bytes32[] calldata digests,
        bytes32 salt
    ) internal {
        bytes32 expected = task.terms.canaries;
        if (expected == 0) revert IOutputConsensus.NothingSealed();
        if (task.canariesOpen) revert IOutputConsensus.AlreadyOpened();
        bytes32 commitment = keccak256(abi.encode(samples, digests, salt));
        if (commitment != expected) revert IOutputConsensus.WrongCommitment(commitment, expected);
        _checkCanaries(samples, digests, task.terms.samples);

        task.canariesOpen = true;
        emit IOutputConsensus.CanariesOpened(id, samples, digests, salt);
    }

    function openClaim(Task storage task, TaskId id, bytes32[] calldata digests, bytes32 salt) internal {
        bytes32 expected = task.terms.claim;
        if (expected == 0) revert IOutputConsensus.NothingSealed();
        if (task.claimHash != 0) revert IOutputConsensus.AlreadyOpened();
        uint256 samples = task.terms.samples;
        if (digests.length != samples) revert IOutputConsensus.WrongDigestCount(digests.length, samples);
        bytes32 claimHash = keccak256(abi.encodePacked(digests));
        bytes32 commitment = keccak256(abi.encode(claimHash, salt));
        if (commitment != expected) revert IOutputConsensus.WrongCommitment(commitment, expected);

        task.claimHash = claimHash;
        emit IOutputConsensus.ClaimOpened(id, digests);
    }

    function _checkCanaries(uint16[] calldata samples, bytes32[] calldata digests, uint256 batch) private pure {
        uint256 count = samples.length;
        if (count > MAX_CANARIES) revert IOutputConsensus.TooManyCanaries(count, MAX_CANARIES);
        if (digests.length != count) revert IOutputConsensus.WrongDigestCount(digests.length, count);
        for (uint256 i = 0; i < count; ++i) {
            bool isAscending = i == 0 || samples[i] > samples[i - 1];
            if (!isAscending || samples[i] >= batch) revert IOutputConsensus.InvalidCanary(samples[i]);
        }
    }

    function _checkPeriod(string memory term, uint256 period) private pure {
        _require(period >= MIN_PERIOD_S && period <= MAX_PERIOD_S, term, period);
    }

    function _require(bool holds, string memory term, uint256 value) private pure {
        if (!holds) revert IOutputConsensus.InvalidTerm(term, value);
    }
}
