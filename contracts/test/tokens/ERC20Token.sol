// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice A token without surprises.
contract ERC20Token is ERC20 {
    constructor() ERC20("Token", "TOK") {}

    function mint(address account, uint256 amount) external {
        _mint(account, amount);
    }
}
