// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IJobMarket} from "../interfaces/IJobMarket.sol";

/// @notice Moves the chain's native coin (token zero) and ERC-20 tokens in and out.
library Tokens {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @notice Takes `amount` from the caller, of which at least `required` has to arrive.
    /// @param owed what the contract owes in each token
    function deposit(mapping(address token => uint256) storage owed, address token, uint256 amount, uint256 required)
        internal
        returns (uint128)
    {
        uint256 received = pull(token, amount, owed[token]);
        if (received < required) revert IJobMarket.InsufficientDeposit(received, required);
        owed[token] += received;
        return received.toUint128();
    }

    /// @notice Takes `amount` from the caller.
    /// @param owed what the contract owes in this token before
    /// @return received what arrived, by balance difference, and never more than was asked for
    function pull(address token, uint256 amount, uint256 owed) internal returns (uint256 received) {
        uint256 expected = token == address(0) ? amount : 0;
        if (msg.value != expected) revert IJobMarket.WrongValue(msg.value, expected);
        if (token == address(0)) return amount;

        uint256 balance = IERC20(token).balanceOf(address(this));
        if (balance < owed) revert IJobMarket.TokenShortfall(token, balance, owed);
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 balanceAfter = IERC20(token).balanceOf(address(this));
        received = balanceAfter < balance ? 0 : balanceAfter - balance;
        if (received > amount) received = amount;
    }

    /// @notice Sends what a ledger has let go, which comes last: it is already as if the money had left.
    function release(mapping(address token => uint256) storage owed, address token, address to, uint256 amount)
        internal
    {
        if (to == address(0)) revert IJobMarket.ZeroAddress();
        if (amount == 0) revert IJobMarket.NothingToPay();
        owed[token] -= amount;
        push(token, to, amount);
    }

    /// @notice Sends `amount`. Refuses a token that takes more from the contract than that: it would be another job's.
    function push(address token, address to, uint256 amount) internal {
        if (token == address(0)) {
            (bool sent,) = to.call{value: amount}("");
            if (!sent) revert IJobMarket.TransferFailed(to, amount);
            return;
        }
        uint256 balance = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransfer(to, amount);
        uint256 balanceAfter = IERC20(token).balanceOf(address(this));
        if (balanceAfter + amount < balance) revert IJobMarket.TransferFailed(to, amount);
    }
}
