// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

// forge-lint: disable-start(mixed-case-function): halmos takes what begins with check_

import {Payouts, Shares} from "../../src/libraries/Payouts.sol";
import {Base} from "../Base.sol";

/// @notice How a round's reward is divided among three, whatever a product of an amount and a score divided by another
/// number is: the total is the pays', and by price no more is paid and returned than the reward. That a share by score
/// rounds down, so that a pot's total is within its pool, takes true division, which solvers do not finish: Payouts.t.sol
/// tries it, and `Escrow.settle` refuses any other.
contract PayoutsProof is Base {
    function check_pot_totalIsThePays(uint128 reward, uint128 carry, uint64 a, uint64 b, uint64 c) public pure {
        Shares memory shares = Payouts.pot(reward, carry, 3, 3, abi.encodePacked(a, b, c));
        unchecked {
            assert(shares.total == shares.pays[0] + shares.pays[1] + shares.pays[2]);
        }
        assert(shares.returned == 0);
    }

    function check_price_staysWithinTheReward(
        uint128 reward,
        uint128 price,
        uint64 target,
        uint64 a,
        uint64 b,
        uint64 c
    ) public pure {
        vm.assume(target != 0);
        Shares memory shares = Payouts.price(reward, price, target, 2, 3, abi.encodePacked(a, b, c));
        assert(shares.total == shares.pays[0] + shares.pays[1] + shares.pays[2]);
        assert(shares.total <= reward && shares.returned <= reward - shares.total);
    }
}
