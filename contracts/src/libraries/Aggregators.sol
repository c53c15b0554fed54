// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Job} from "./Jobs.sol";

/// @notice The queue of bonded aggregators: the first is active, the others succeed it in order.
library Aggregators {
    uint256 internal constant MAX_QUEUE = 8;

    /// @notice The active aggregator, zero where nobody is bonded.
    function active(Job storage job) internal view returns (address) {
        return job.aggregators.length == 0 ? address(0) : job.aggregators[0];
    }

    function requireActive(Job storage job, address account) internal view {
        address aggregator = active(job);
        if (account != aggregator) revert IJobMarket.NotAggregator(account, aggregator);
    }

    function requireBondable(Job storage job, address account) internal view {
        if (account == job.state.owner) revert IJobMarket.OwnerCannotAggregate(account);
        if (job.bonds[account] != 0) revert IJobMarket.AlreadyBonded(account);
        if (job.aggregators.length >= MAX_QUEUE) revert IJobMarket.AggregatorQueueFull(MAX_QUEUE);
    }

    function join(Job storage job, address account, uint128 amount) internal {
        job.aggregators.push(account);
        job.bonds[account] = amount;
    }

    /// @notice Takes an aggregator out of the queue; the order of the others stays.
    function unbond(Job storage job, address account) internal returns (uint128 amount) {
        amount = job.bonds[account];
        delete job.bonds[account];
        address[] storage queue = job.aggregators;
        uint256 last = queue.length - 1;
        bool found = false;
        for (uint256 i = 0; i < last; ++i) {
            if (queue[i] == account) found = true;
            if (found) queue[i] = queue[i + 1];
        }
        queue.pop();
    }
}
