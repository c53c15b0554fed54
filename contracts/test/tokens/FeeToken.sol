// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC20Token} from "./ERC20Token.sol";

/// @notice One percent of every transfer goes to nobody: less arrives than was sent.
contract FeeToken is ERC20Token {
    function _update(address from, address to, uint256 amount) internal override {
        bool moved = from != address(0) && to != address(0);
        uint256 fee = moved ? amount / 100 : 0;
        super._update(from, to, amount - fee);
        if (fee != 0) super._update(from, address(0), fee);
    }
}

/// @notice One percent comes on top: the sender loses more than was sent.
contract SurchargeToken is ERC20Token {
    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from != address(0) && to != address(0)) super._update(from, address(0), amount / 100);
    }
}
