// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC20Token} from "./ERC20Token.sol";

/// @notice Reverts while it is told to.
contract RevertingToken is ERC20Token {
    bool public frozen;

    error Frozen();

    function freeze(bool frozen_) external {
        frozen = frozen_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (frozen) revert Frozen();
        super._update(from, to, amount);
    }
}

/// @notice Answers false and moves nothing, while it is told to.
contract FalseToken is ERC20Token {
    bool public refusing;

    function refuse(bool refusing_) external {
        refusing = refusing_;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        return !refusing && super.transfer(to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        return !refusing && super.transferFrom(from, to, amount);
    }
}

/// @notice Says a transfer succeeded, and moves nothing.
contract PretendingToken is ERC20Token {
    function transferFrom(address, address, uint256) public pure override returns (bool) {
        return true;
    }
}

/// @notice Reports every balance multiplied by `numerator` / 100.
contract LyingToken is ERC20Token {
    uint256 public numerator = 100;
    uint256 public numeratorAfterTransfer;

    function lie(uint256 now_, uint256 afterTransfer) external {
        numerator = now_;
        numeratorAfterTransfer = afterTransfer;
    }

    function balanceOf(address account) public view override returns (uint256) {
        return super.balanceOf(account) * numerator / 100;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from != address(0) && numeratorAfterTransfer != 0) numerator = numeratorAfterTransfer;
    }
}

/// @notice Its transfers return nothing where the standard asks for a boolean.
contract SilentToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address account => mapping(address spender => uint256)) public allowance;

    function mint(address account, uint256 amount) external {
        balanceOf[account] += amount;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount; // reverts below zero
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @notice Calls back before it moves anything, as tokens with hooks do.
contract CallbackToken is ERC20Token {
    address public target;
    bytes public data;
    bool public called;
    bool public succeeded;
    bytes public result;

    function callBack(address target_, bytes calldata data_) external {
        target = target_;
        data = data_;
        called = false;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (from != address(0) && target != address(0) && !called) {
            called = true;
            (succeeded, result) = target.call(data);
        }
        super._update(from, to, amount);
    }
}
