// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IGramVerifier} from "../interfaces/IGramVerifier.sol";
import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {IRoundRules} from "../interfaces/IRoundRules.sol";
import {JobId, JobTerms, Ledger} from "../interfaces/JobTypes.sol";
import {Escrow} from "./Escrow.sol";
import {Job} from "./Jobs.sol";
import {Lifetimes} from "./Lifetimes.sol";
import {Provenance} from "./Provenance.sol";
import {Rounds} from "./Rounds.sol";
import {SeatRecords} from "./SeatRecords.sol";
import {Terms} from "./Terms.sol";
import {Tokens} from "./Tokens.sol";

/// @notice What a job is opened with.
struct Opening {
    bytes32 specDigest;
    bytes32 initialModel;
    bytes32 srsId;
    uint256 amount; // to be deposited
}

/// @notice How a job is opened: its terms checked, its first state, its deposit.
/// @dev Linked, not inlined, as `Attempts` is.
library Openings {
    using Escrow for Ledger;
    using Provenance for Job;
    using SafeCast for uint256;
    using Terms for JobTerms;

    /// @param job where nothing is kept yet
    /// @param owed what the marketplace owes in each token
    function open(
        Job storage job,
        JobId id,
        IRoundRules rules,
        IGramVerifier verifier,
        mapping(address token => uint256) storage owed,
        JobTerms calldata unverifiedTerms,
        Opening calldata opening,
        bytes calldata initialCommitment
    ) external {
        job.terms = unverifiedTerms; // first, so that the one copy of their code reads them from storage
        JobTerms memory terms = job.terms;
        terms.check(rules.check(terms.rules, terms.minimumCommits, terms.mostRows()));
        _check(opening, verifier);
        _begin(job, terms, opening.initialModel, initialCommitment);
        uint128 received = _fund(job, terms, owed, opening.amount);
        emit IJobMarket.JobOpened(
            id, msg.sender, opening.specDigest, opening.initialModel, initialCommitment, opening.srsId, received, terms
        );
    }

    function _check(Opening calldata opening, IGramVerifier verifier) private view {
        if (opening.specDigest == 0) revert IJobMarket.InvalidTerm("specDigest", 0);
        if (opening.initialModel == 0) revert IJobMarket.EmptyModel();
        bytes32 expected = verifier.srsId();
        if (opening.srsId != expected) revert IJobMarket.WrongSrs(opening.srsId, expected);
    }

    function _begin(Job storage job, JobTerms memory terms, bytes32 model, bytes calldata commitment) private {
        job.state.owner = msg.sender;
        job.state.model = model;
        job.state.stepQ16 = Rounds.FULL_STEP;
        job.state.hasExam = terms.exam.root != 0;
        job.state.lifetimeHash = Lifetimes.noneHash(terms.seats);
        if (terms.exam.root != 0) job.state.recordsHash = SeatRecords.noneHash(terms.seats);
        job.begin(commitment);
    }

    function _fund(
        Job storage job,
        JobTerms memory terms,
        mapping(address token => uint256) storage owed,
        uint256 amount
    ) private returns (uint128 received) {
        (uint256 budget, uint256 exams) = (terms.budget(), terms.examDeposits());
        received = Tokens.deposit(owed, terms.token, amount, budget + exams);
        job.ledger.open(received, budget.toUint128(), exams.toUint128());
    }
}
