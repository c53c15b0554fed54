// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IRoundRules, NO_FALLBACK, Rule, RuleKind, RuleTerms, Scoring, Weighting} from "../interfaces/IRoundRules.sol";

/// @notice Refuses terms under which a rule cannot work.
/// @dev docs/rules.md, section 7, in the order of its table.
library TermChecks {
    uint256 internal constant ONE = 1 << 16;
    uint256 internal constant MIN_ACCEPTED = 3;

    uint256 private constant MAX_DIMENSION = 1 << 30;
    uint256 private constant MAX_SERVER_RATE = 4 * ONE;
    uint256 private constant MAX_FAULTS = 30; // 2f + 3 <= 64

    /// @notice Reverts with the first term that is out of range.
    /// @return needsExam whether a rule or the scoring asks for an exam
    function check(RuleTerms calldata terms, uint256 minimum) internal pure returns (bool needsExam) {
        _require(minimum >= MIN_ACCEPTED, "minimum", minimum);
        _require(_isWithin(terms.dimension, 1, MAX_DIMENSION), "dimension", terms.dimension);
        _require(_isWithin(terms.capQ16, 1, ONE), "capQ16", terms.capQ16);
        _require(_isWithin(terms.serverRateQ16, 1, MAX_SERVER_RATE), "serverRateQ16", terms.serverRateQ16);
        _require(_isWithin(terms.stepFactorQ16, 1, ONE), "stepFactorQ16", terms.stepFactorQ16);
        _require(terms.stepThresholdQ16 <= ONE, "stepThresholdQ16", terms.stepThresholdQ16);
        needsExam = _checkSequence(terms);
        for (uint256 stage = 0; stage < 3; ++stage) {
            _checkRule(terms.rules[stage], minimum);
        }
        if (terms.fallbackFaults != NO_FALLBACK) {
            _require(terms.fallbackFaults <= MAX_FAULTS, "fallbackFaults", terms.fallbackFaults);
        }
    }

    /// @notice Reverts unless the step is above zero and at most one.
    function checkStep(uint256 stepQ16) internal pure {
        _require(_isWithin(stepQ16, 1, ONE), "stepQ16", stepQ16);
    }

    /// @dev What holds of the rules together, and of what they go with.
    function _checkSequence(RuleTerms calldata terms) private pure returns (bool needsExam) {
        uint256 exams = 0;
        for (uint256 stage = 0; stage < 3; ++stage) {
            if (terms.rules[stage].kind == RuleKind.Exam) ++exams;
        }
        _require(exams <= 1, "exam", exams);
        _require(terms.weighting != Weighting.Rule, "weighting", uint256(terms.weighting));
        for (uint256 stage = 0; stage < 3; ++stage) {
            _require(terms.rules[stage].kind <= RuleKind.Exam, "rules", uint256(terms.rules[stage].kind));
        }
        return exams != 0 || terms.scoring == Scoring.Exam || terms.scoring == Scoring.Shapley;
    }

    function _checkRule(Rule calldata rule, uint256 minimum) private pure {
        uint256 a = rule.a;
        if (rule.kind == RuleKind.NormBound) {
            _require(a > 0, "norm_bound", a);
        } else if (rule.kind == RuleKind.MultiKrum) {
            _require(_hasKrumQuorum(a, minimum), "multi_krum", a);
        } else if (rule.kind == RuleKind.ThreeSigma) {
            // Among m values none lies more than √(m - 1) standard deviations from their mean.
            _require(a > 0 && (a * a) >> 16 < minimum - 1, "three_sigma", a);
        }
    }

    function _hasKrumQuorum(uint256 faults, uint256 minimum) private pure returns (bool) {
        return minimum >= 2 * faults + 3;
    }

    function _isWithin(uint256 value, uint256 least, uint256 most) private pure returns (bool) {
        return value >= least && value <= most;
    }

    function _require(bool holds, string memory term, uint256 value) private pure {
        if (!holds) revert IRoundRules.InvalidRuleTerms(term, value);
    }
}
