// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

// forge-lint: disable-start(mixed-case-function): halmos takes what begins with check_

import {Ledger} from "../../src/interfaces/JobTypes.sol";
import {Escrow} from "../../src/libraries/Escrow.sol";
import {Base} from "../Base.sol";
import {Ledgers} from "./Ledgers.sol";

/// @notice Every move of money keeps deposited = paid + refunded + burned + locked and undoes no payment: for every ledger
/// and for all amounts with which it does not revert. `make prove` proves it with halmos.
contract EscrowProof is Base {
    using Escrow for Ledger;
    using Ledgers for Ledger;

    Ledger private ledger;

    modifier conserves(Ledger memory before) {
        ledger = before;
        _;
        Ledger memory moved = ledger;
        assert(moved.drift(before) == 0);
        assert(moved.isNotUndone(before));
    }

    // ------------------------------------------------------------------ in

    function check_open_conserves(uint128 received, uint128 budget, uint128 exams) public {
        ledger.open(received, budget, exams);
        Ledger memory none;
        Ledger memory opened = ledger;
        assert(opened.drift(none) == 0);
        assert(ledger.deposited == received && ledger.budget == budget && ledger.exams == exams);
    }

    function check_addStake_conserves(Ledger memory before, uint128 received) public conserves(before) {
        ledger.addStake(received);
        assert(ledger.deposited - before.deposited == received);
    }

    function check_addBond_conserves(Ledger memory before, uint128 received) public conserves(before) {
        ledger.addBond(received);
        assert(ledger.deposited - before.deposited == received);
    }

    function check_addDispute_conserves(Ledger memory before, uint128 received) public conserves(before) {
        ledger.addDispute(received);
        assert(ledger.deposited - before.deposited == received);
    }

    // ------------------------------------------------------------------ within

    /// @dev Four parts move: each by what it should, which sums to nothing, and no other.
    function check_settle_conserves(Ledger memory before, uint128 budget, uint128 credited, uint128 returned) public {
        ledger = before;
        ledger.settle(budget, credited, returned);
        unchecked {
            _assertMoved(
                before,
                uint256(before.budget) - budget,
                uint256(before.carry) + budget - credited - returned,
                uint256(before.credits) + credited,
                uint256(before.refundable) + returned
            );
        }
    }

    function check_unsettle_conserves(Ledger memory before, uint128 budget, uint128 credited, uint128 returned) public {
        ledger = before;
        ledger.unsettle(budget, credited, returned);
        unchecked {
            _assertMoved(
                before,
                uint256(before.budget) + budget,
                uint256(before.carry) + credited + returned - budget,
                uint256(before.credits) - credited,
                uint256(before.refundable) - returned
            );
        }
    }

    function check_skip_conserves(Ledger memory before, uint128 reward, uint128 fee, bool hadMinimum) public {
        ledger = before;
        ledger.skip(reward, fee, hadMinimum);
        unchecked {
            _assertMoved(
                before,
                uint256(before.budget) - reward - fee,
                uint256(before.carry) + (hadMinimum ? reward : 0),
                before.credits,
                uint256(before.refundable) + fee + (hadMinimum ? 0 : reward)
            );
        }
    }

    /// @dev These parts are these amounts, which come to what they did before, and the others are as they were. All at
    /// once, in 128 bits, is more than a solver does in minutes.
    function _assertMoved(Ledger memory before, uint256 budget, uint256 carry, uint256 credits, uint256 refundable)
        private
        view
    {
        Ledger memory moved = ledger;
        assert(moved.budget == budget);
        assert(moved.carry == carry);
        assert(moved.credits == credits);
        assert(moved.refundable == refundable);
        unchecked {
            uint256 sum = budget + carry + credits + refundable;
            assert(sum == uint256(before.budget) + before.carry + before.credits + before.refundable);
        }
        (moved.budget, moved.carry) = (before.budget, before.carry);
        (moved.credits, moved.refundable) = (before.credits, before.refundable);
        assert(moved.drift(before) == 0);
        assert(moved.isNotUndone(before));
    }

    function check_burnStakes_conserves(Ledger memory before, uint128 amount) public conserves(before) {
        ledger.burnStakes(amount);
        assert(ledger.burned - before.burned == amount);
    }

    function check_breakBond_conserves(Ledger memory before, uint128 amount, uint128 compensation)
        public
        conserves(before)
    {
        uint128 burned = ledger.breakBond(amount, compensation);
        assert(ledger.burned - before.burned == burned);
        assert(ledger.credits - before.credits == compensation);
    }

    function check_burnExams_conserves(Ledger memory before, uint128 amount) public conserves(before) {
        ledger.burnExams(amount);
        assert(ledger.burned - before.burned == amount);
        assert(before.exams - ledger.exams == amount);
    }

    /// @dev The one move that takes back what was burned: only what a settlement burned that is undone.
    function check_restoreExams_conserves(Ledger memory before, uint128 amount) public {
        ledger = before;
        ledger.restoreExams(amount);
        Ledger memory moved = ledger;
        assert(moved.drift(before) == 0);
        assert(before.burned - moved.burned == amount);
        assert(moved.exams - before.exams == amount);
        moved.burned = before.burned;
        assert(moved.isNotUndone(before));
    }

    function check_burnDispute_conserves(Ledger memory before, uint128 amount) public conserves(before) {
        ledger.burnDispute(amount);
        assert(ledger.burned - before.burned == amount);
    }

    function check_returnExams_conserves(Ledger memory before, uint128 amount) public conserves(before) {
        ledger.returnExams(amount);
        assert(Ledgers.lockedMore(ledger, before) == 0);
    }

    function check_release_conserves(Ledger memory before, uint128 carried) public conserves(before) {
        uint128 returned = ledger.release(carried);
        assert(ledger.budget == 0);
        assert(ledger.refundable - before.refundable == returned);
    }

    function check_distribute_conserves(Ledger memory before, uint128 pays) public conserves(before) {
        uint128 burned = ledger.distribute(pays);
        assert(ledger.carry == 0);
        assert(uint256(burned) + pays == before.carry);
    }

    // ------------------------------------------------------------------ out

    function check_pay_conserves(Ledger memory before, uint128 amount) public conserves(before) {
        ledger.pay(amount);
        assert(ledger.paid - before.paid == amount);
    }

    function check_returnStake_conserves(Ledger memory before, uint128 amount) public conserves(before) {
        ledger.returnStake(amount);
        assert(ledger.refunded - before.refunded == amount);
    }

    function check_returnBond_conserves(Ledger memory before, uint128 amount) public conserves(before) {
        ledger.returnBond(amount);
        assert(ledger.refunded - before.refunded == amount);
    }

    function check_returnDispute_conserves(Ledger memory before, uint128 amount) public conserves(before) {
        ledger.returnDispute(amount);
        assert(ledger.refunded - before.refunded == amount);
    }

    function check_refund_conserves(Ledger memory before) public conserves(before) {
        uint128 amount = ledger.refund();
        assert(amount == before.refundable && ledger.refundable == 0);
    }
}
