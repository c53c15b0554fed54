// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice Fails in every way in which a contract can, and counts what succeeded.
contract Faults {
    error WrongPhase(uint8 phase, uint8 expected);
    error NobodyKnowsThis(uint256 value);
    error SafeERC20FailedOperation(address token);

    uint256 public count;

    function increment() external payable {
        ++count;
    }

    function incrementBefore(uint256 deadline) external {
        require(block.timestamp < deadline, "too late");
        ++count;
    }

    function customError() external view {
        if (count < type(uint256).max) revert WrongPhase(2, 5);
    }

    function tokenError() external view {
        if (count < type(uint256).max) revert SafeERC20FailedOperation(address(0x1234));
    }

    function unknownError() external view {
        if (count < type(uint256).max) revert NobodyKnowsThis(7);
    }

    function message() external view {
        require(count == type(uint256).max, "not today");
    }

    function panic(uint256 divisor) external view returns (uint256) {
        return count / divisor;
    }

    function empty() external view {
        if (count < type(uint256).max) revert();
    }
}
