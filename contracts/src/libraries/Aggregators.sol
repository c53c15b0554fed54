// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Bonded, Job} from "./Jobs.sol";

/// @notice The queue of bonded aggregators: the first is active, the others succeed it in order.
library Aggregators {
    using SafeCast for uint256;

    uint256 internal constant MAX_QUEUE = 8;

    /// @notice The active aggregator, zero where nobody is bonded.
    function active(Job storage job) internal view returns (address) {
        return job.queue[0].account;
    }

    function requireActive(Job storage job, address account) internal view {
        address aggregator = active(job);
        if (account != aggregator) revert IJobMarket.NotAggregator(account, aggregator);
    }

    function requireBondable(Job storage job, address account) internal view {
        // Nor its examiner, who knows the exam before anybody reveals.
        bool isOwners = account == job.state.owner || account == job.terms.exam.examiner;
        if (isOwners) revert IJobMarket.OwnerCannotAggregate(account);
        if (job.bonds[account] != 0) revert IJobMarket.AlreadyBonded(account);
        if (job.queue[MAX_QUEUE - 1].account != address(0)) revert IJobMarket.AggregatorQueueFull(MAX_QUEUE);
    }

    function join(Job storage job, address account, uint128 amount) internal {
        uint256 last = 0;
        while (job.queue[last].account != address(0)) ++last;
        job.bonders.push(account);
        job.queue[last] = Bonded({account: account, number: job.bonders.length.toUint24()});
        job.bonds[account] = amount;
    }

    /// @notice Takes an aggregator out of the queue; the order of the others stays.
    function unbond(Job storage job, address account) internal returns (uint128 amount) {
        amount = job.bonds[account];
        delete job.bonds[account];
        uint256 place = 0;
        while (job.queue[place].account != account) ++place;
        for (; place < MAX_QUEUE - 1 && job.queue[place].account != address(0); ++place) {
            job.queue[place] = job.queue[place + 1];
        }
        delete job.queue[place];
    }

    /// @notice Puts the active aggregator behind all others.
    function rotate(Job storage job) internal {
        Bonded memory first = job.queue[0];
        uint256 last = 0;
        for (; last < MAX_QUEUE - 1 && job.queue[last + 1].account != address(0); ++last) {
            job.queue[last] = job.queue[last + 1];
        }
        job.queue[last] = first;
    }

    /// @notice The bonded aggregators, the active one first.
    function list(Job storage job) internal view returns (address[] memory accounts) {
        uint256 count = 0;
        while (count < MAX_QUEUE && job.queue[count].account != address(0)) ++count;
        accounts = new address[](count);
        for (uint256 i = 0; i < count; ++i) {
            accounts[i] = job.queue[i].account;
        }
    }

    /// @notice The account of a number, zero for zero.
    function bonder(Job storage job, uint256 number) internal view returns (address) {
        return number == 0 ? address(0) : job.bonders[number - 1];
    }
}
