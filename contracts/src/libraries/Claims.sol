// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {JobId, Ledger, TrainerRecord} from "../interfaces/JobTypes.sol";
import {Aggregators} from "./Aggregators.sol";
import {Escrow} from "./Escrow.sol";
import {Ending, Job} from "./Jobs.sol";
import {Outcomes} from "./Outcomes.sol";
import {PackedArray} from "./PackedArray.sol";
import {SeatMask} from "./SeatMask.sol";
import {Seats} from "./Seats.sol";
import {Terms} from "./Terms.sol";
import {Tokens} from "./Tokens.sol";

/// @notice How what an ended attempt credited is paid: trainers' pay, and aggregators' fees.
/// @dev Linked, not inlined, as `Attempts` is.
library Claims {
    using Aggregators for Job;
    using Escrow for Ledger;
    using PackedArray for bytes;
    using SeatMask for uint64;
    using Seats for Job;

    /// @notice Pays the caller's credit.
    /// @param owed what the marketplace owes in each token
    /// @param records what every owner's trainers were paid for
    function claim(
        Job storage job,
        JobId id,
        mapping(address token => uint256) storage owed,
        mapping(address owner => mapping(address trainer => TrainerRecord)) storage records,
        uint256 attempt,
        bytes calldata pays,
        bytes32 undoHash,
        address to
    ) external {
        (uint256 seat, uint128 amount) = _take(job, attempt, pays, undoHash);
        // Of a round, not of a broken bond or the close.
        if (undoHash != 0 && Terms.counts(job.terms, amount)) _extend(records[job.state.owner][msg.sender]);
        emit IJobMarket.Claimed(id, attempt, msg.sender, seat, to, amount);
        Tokens.release(owed, job.terms.token, to, amount);
    }

    function _take(Job storage job, uint256 attempt, bytes calldata pays, bytes32 undoHash)
        private
        returns (uint256 seat, uint128 amount)
    {
        seat = job.seatIn(msg.sender, attempt);
        Ending storage ending = job.endings[attempt];
        bytes24 hash = Outcomes.hashOf(pays, undoHash);
        if (hash != ending.payHash) revert IJobMarket.PayMismatch(hash, ending.payHash);
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp < ending.vestsAt) revert IJobMarket.NotVested(block.timestamp, ending.vestsAt);
        if (ending.claimed.has(seat)) revert IJobMarket.AlreadyClaimed(attempt, seat);

        ending.claimed |= SeatMask.only(seat);
        amount = pays.payAt(seat);
        job.ledger.pay(amount);
    }

    function _extend(TrainerRecord storage record) private {
        if (record.paidRounds == 0) record.firstAt = uint40(block.timestamp);
        record.paidRounds += 1;
        record.lastAt = uint40(block.timestamp);
    }

    /// @notice Pays the caller's fee.
    /// @param owed what the marketplace owes in each token
    function claimFee(
        Job storage job,
        JobId id,
        mapping(address token => uint256) storage owed,
        uint256 attempt,
        address to
    ) external {
        Ending storage ending = job.endings[attempt];
        address aggregator = job.bonder(ending.aggregator);
        if (aggregator == address(0) || msg.sender != aggregator) {
            revert IJobMarket.NotAggregator(msg.sender, aggregator);
        }
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp < ending.vestsAt) revert IJobMarket.NotVested(block.timestamp, ending.vestsAt);
        if (ending.feeGone) revert IJobMarket.NoFeeDue(attempt);

        ending.feeGone = true;
        uint128 amount = job.terms.aggregatorFee;
        job.ledger.pay(amount);
        emit IJobMarket.FeeClaimed(id, attempt, msg.sender, to, amount);
        Tokens.release(owed, job.terms.token, to, amount);
    }
}
