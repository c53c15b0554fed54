// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {OutputConsensus} from "../../src/OutputConsensus.sol";
import {PoolId} from "../../src/interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../../src/interfaces/IOutputConsensus.sol";
import {ConsensusFixture} from "./ConsensusFixture.sol";

/// @notice Calls again when coins arrive.
contract GreedyVerifier {
    OutputConsensus private immutable CONSENSUS;
    PoolId private immutable POOL;
    bytes private again;
    bool public entered;
    bool public succeeded;
    bytes public result;

    constructor(OutputConsensus consensus_, PoolId pool_) {
        (CONSENSUS, POOL) = (consensus_, pool_);
    }

    receive() external payable {
        if (again.length == 0) return;
        entered = true;
        (succeeded, result) = address(CONSENSUS).call(again);
    }

    function join(uint16 units) external payable {
        CONSENSUS.stake{value: msg.value}(POOL, units);
    }

    function leave(uint16 units) external {
        CONSENSUS.unstake(POOL, units);
    }

    function withdraw(bytes calldata again_) external {
        again = again_;
        CONSENSUS.withdraw(address(this));
    }
}

contract WithdrawCreditsTest is ConsensusFixture {
    GreedyVerifier private greedy;

    function setUp() public override {
        super.setUp();
        greedy = new GreedyVerifier(consensus, pool);
        vm.deal(address(this), 3 * UNIT);
        greedy.join{value: 3 * UNIT}(3);
    }

    function test_withdraw_sendsAll() public {
        vm.prank(_verifier(0));
        consensus.unstake(pool, 1);
        vm.expectEmit();
        emit IOutputConsensus.Withdrawn(_verifier(0), stranger, UNIT);
        vm.prank(_verifier(0));
        consensus.withdraw(stranger);
        vm.assertEq(stranger.balance, UNIT);
        vm.assertEq(consensus.credits(_verifier(0)), 0);
        vm.assertEq(consensus.ledger().withdrawn, UNIT);
        _assertConserved();
    }

    function test_withdraw_failsIfNothingIsCredited() public {
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.NothingToWithdraw.selector, stranger));
        vm.prank(stranger);
        consensus.withdraw(stranger);
    }

    function test_withdraw_failsToNobody() public {
        vm.expectRevert(IOutputConsensus.ZeroAddress.selector);
        consensus.withdraw(address(0));
    }

    function test_withdraw_failsIfRefused() public {
        vm.prank(_verifier(0));
        consensus.unstake(pool, 1);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.TransferFailed.selector, address(consensus), UNIT));
        vm.prank(_verifier(0));
        consensus.withdraw(address(consensus));
        vm.assertEq(consensus.credits(_verifier(0)), UNIT);
    }

    function test_withdraw_cannotBeReentered() public {
        greedy.leave(1);
        greedy.withdraw(abi.encodeCall(consensus.withdraw, (address(greedy))));
        vm.assertTrue(greedy.entered());
        vm.assertFalse(greedy.succeeded());
        vm.assertEq(greedy.result(), abi.encodeWithSelector(ReentrancyGuard.ReentrancyGuardReentrantCall.selector));
        vm.assertEq(address(greedy).balance, UNIT);
        _assertConserved();
    }

    /// @dev Other calls are as good in between as after: everything is booked before the coins leave.
    function test_withdraw_gainsNothingByAnotherCall() public {
        greedy.leave(1);
        greedy.withdraw(abi.encodeCall(consensus.unstake, (pool, 2)));
        vm.assertTrue(greedy.succeeded());
        vm.assertEq(address(greedy).balance, UNIT);
        vm.assertEq(consensus.credits(address(greedy)), 2 * UNIT);
        _assertConserved();
    }

    function test_consensus_takesNoCoinsOutsideDeposits() public {
        vm.deal(stranger, 1);
        vm.prank(stranger);
        (bool sent,) = address(consensus).call{value: 1}("");
        vm.assertFalse(sent);
    }
}
