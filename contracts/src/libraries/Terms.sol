// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IJobMarket, JobTerms, PayMode} from "../interfaces/IJobMarket.sol";

/// @notice What a job's terms must satisfy, and what follows from them.
library Terms {
    uint256 internal constant MAX_SEATS = 64;
    uint256 internal constant MIN_COMMITS = 3;
    uint256 internal constant MAX_PERIOD = 90 days;
    uint256 internal constant MAX_DURATION = 5 * 365 days;
    uint256 internal constant MAX_SCALE_EXPONENT = 30;
    uint256 internal constant MAX_SHIFT = 8;
    uint256 internal constant MAX_CHUNKS = 64;
    uint256 internal constant MAX_POINTS = 1024; // of a round: every row's commitment
    uint256 internal constant OWN_ROWS = 6; // a round's rows beside the updates: the mask and the public ones

    /// @notice Reverts with the name and the value of the first term that is out of range. The rules' terms are not
    /// looked at here.
    function check(JobTerms memory terms) internal view {
        _checkSizes(terms);
        _checkTimes(terms);
        _checkMoney(terms);
    }

    /// @notice What all rounds together cost the owner.
    function budget(JobTerms memory terms) internal pure returns (uint256) {
        return terms.rounds * (uint256(terms.roundReward) + terms.aggregatorFee);
    }

    function attemptPeriod(JobTerms storage terms) internal view returns (uint256) {
        return uint256(terms.commitPeriod) + terms.revealPeriod + terms.settlePeriod;
    }

    function _checkSizes(JobTerms memory terms) private pure {
        _within("seats", terms.seats, 1, MAX_SEATS);
        _within("minimumCommits", terms.minimumCommits, MIN_COMMITS, terms.seats);
        _atLeast("rounds", terms.rounds, 1);
        _within("scaleExponent", terms.scaleExponent, 0, MAX_SCALE_EXPONENT);
        _within("initialShift", terms.initialShift, 0, MAX_SHIFT);
        _within("chunks", terms.chunks, 1, Math.min(MAX_CHUNKS, MAX_POINTS / (terms.seats + OWN_ROWS)));
    }

    function _checkTimes(JobTerms memory terms) private view {
        uint256 confirmation = terms.confirmationPeriod;
        _within("confirmationPeriod", confirmation, 1, MAX_PERIOD);
        _within("commitPeriod", terms.commitPeriod, confirmation + 1, MAX_PERIOD);
        _within("revealPeriod", terms.revealPeriod, confirmation + 1, MAX_PERIOD);
        _within("settlePeriod", terms.settlePeriod, confirmation + 1, MAX_PERIOD);
        _within("vestingPeriod", terms.vestingPeriod, 1, uint256(terms.commitPeriod) - 1);
        uint256 period = uint256(terms.commitPeriod) + terms.revealPeriod + terms.settlePeriod;
        _atLeast("enrolUntil", terms.enrolUntil, block.timestamp);
        _within("deadline", terms.deadline, terms.enrolUntil + period, block.timestamp + MAX_DURATION);
    }

    /// @dev A stake is no less than the most that one round can pay one trainer: in a pot twice the reward.
    function _checkMoney(JobTerms memory terms) private pure {
        uint256 reward = terms.roundReward;
        uint256 seats = terms.seats;
        _atLeast("roundReward", reward, 1);
        if (terms.payMode == PayMode.Pot) {
            _atLeast("trainerStake", terms.trainerStake, 2 * reward);
        } else {
            _within("price", terms.price, 1, reward / seats);
            _atLeast("scoreTarget", terms.scoreTarget, 1);
            _atLeast("trainerStake", terms.trainerStake, terms.price);
        }
        _atLeast("aggregatorBond", terms.aggregatorBond, reward);
        _atLeast("aggregatorBond", terms.aggregatorBond, seats * terms.compensation);
    }

    function _atLeast(string memory term, uint256 value, uint256 low) private pure {
        _within(term, value, low, type(uint256).max);
    }

    function _within(string memory term, uint256 value, uint256 low, uint256 high) private pure {
        if (value < low || value > high) revert IJobMarket.InvalidTerm(term, value);
    }
}
