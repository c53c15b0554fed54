// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket, JobId, Ledger, Phase} from "../interfaces/IJobMarket.sol";
import {Aggregators} from "./Aggregators.sol";
import {Attempts} from "./Attempts.sol";
import {Escrow} from "./Escrow.sol";
import {Job} from "./Jobs.sol";
import {Rounds} from "./Rounds.sol";
import {Seats} from "./Seats.sol";
import {Tokens} from "./Tokens.sol";

/// @notice How trainers and aggregators come and go, and what they put down and take back.
/// @dev Linked, not inlined, as `Attempts` is. `owed` is what the marketplace owes in each token.
library Members {
    using Aggregators for Job;
    using Escrow for Ledger;
    using Rounds for Job;
    using Seats for Job;

    function enrol(
        Job storage job,
        JobId id,
        mapping(address token => uint256) storage owed,
        uint256 amount,
        bytes32[] calldata proof
    ) external {
        if (job.state.closed) revert IJobMarket.WrongPhase(Phase.Closed, Phase.Enrolment);
        job.requireEnrollable(msg.sender, proof);

        uint128 received = Tokens.deposit(owed, job.terms.token, amount, job.terms.trainerStake);
        job.ledger.addStake(received);
        uint256 seat = job.enrol(msg.sender, received);
        emit IJobMarket.TrainerEnrolled(id, msg.sender, seat, received);
    }

    function withdrawStake(Job storage job, JobId id, mapping(address token => uint256) storage owed, address to)
        external
    {
        uint256 seat = job.seatOf(msg.sender);

        uint128 stake = job.unstake(seat);
        job.ledger.returnStake(stake);
        emit IJobMarket.StakeWithdrawn(id, msg.sender, seat, to, stake);
        Tokens.release(owed, job.terms.token, to, stake);
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
        if (sealingKey == 0) revert IJobMarket.EmptyKey();

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
        if (msg.sender == job.active() && !job.state.closed) revert IJobMarket.BondInUse(msg.sender);

        uint128 amount = job.unbond(msg.sender);
        job.ledger.returnBond(amount);
        emit IJobMarket.BondWithdrawn(id, msg.sender, to, amount);
        Tokens.release(owed, job.terms.token, to, amount);
    }
}
