// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Decision, IRoundRules, RuleTerms} from "../../src/interfaces/IRoundRules.sol";

/// @notice Rules that decide whatever the caller wrote in place of the matrix: for decisions that no real one makes.
contract ProgrammedRules is IRoundRules {
    function check(RuleTerms calldata terms, uint256) external pure {
        if (terms.dimension == 0) revert InvalidRuleTerms("dimension", 0);
    }

    function decide(RuleTerms calldata, uint256, uint256, uint256, bytes calldata gram)
        external
        pure
        returns (Decision memory)
    {
        return abi.decode(gram, (Decision));
    }
}
