// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IRoundRules, NO_FALLBACK, Rule, RuleKind, RuleTerms, Scoring, Weighting} from "../interfaces/IRoundRules.sol";
import {Gram} from "./Gram.sol";
import {Mixing} from "./Mixing.sol";
import {Sharing} from "./Sharing.sol";

/// @notice Refuses terms under which a rule cannot work.
/// @dev docs/rules.md, section 7, in the order of its table.
library TermChecks {
    uint256 internal constant ONE = 1 << 16;
    uint256 internal constant MIN_ACCEPTED = 3;

    uint256 private constant STAGES = 3;
    uint256 private constant MAX_MEDIAN_STEPS = 32;
    uint256 private constant MAX_CLIPPING_STEPS = 8;
    uint256 private constant MAX_SETTLEMENT_GAS = 6_000_000;
    uint256 private constant MAX_DIMENSION = 1 << 30;
    uint256 private constant MAX_SERVER_RATE = 4 * ONE;
    uint256 private constant MAX_FAULTS = 30; // 2f + 3 <= 64

    /// @notice Reverts with the first term that is out of range.
    /// @return needsExam whether a rule or the scoring asks for an exam
    function check(RuleTerms calldata terms, uint256 minimum, uint256 seats) internal pure returns (bool needsExam) {
        _require(minimum >= MIN_ACCEPTED, "minimum", minimum);
        _require(seats <= Gram.MAX_ROWS, "seats", seats);
        _require(_isWithin(terms.dimension, 1, MAX_DIMENSION), "dimension", terms.dimension);
        _require(_isWithin(terms.capQ16, 1, ONE), "capQ16", terms.capQ16);
        _require(_isWithin(terms.serverRateQ16, 1, MAX_SERVER_RATE), "serverRateQ16", terms.serverRateQ16);
        _require(_isWithin(terms.stepFactorQ16, 1, ONE), "stepFactorQ16", terms.stepFactorQ16);
        _require(terms.stepThresholdQ16 <= ONE, "stepThresholdQ16", terms.stepThresholdQ16);
        needsExam = _checkSequence(terms);
        for (uint256 stage = 0; stage < STAGES; ++stage) {
            _checkRule(terms.rules[stage], minimum, seats);
        }
        if (terms.fallbackFaults != NO_FALLBACK) {
            _require(terms.fallbackFaults <= MAX_FAULTS, "fallbackFaults", terms.fallbackFaults);
        }
        uint256 gas = _settlementGas(terms, seats);
        _require(gas <= MAX_SETTLEMENT_GAS, "gas", gas);
    }

    /// @notice Reverts unless the step is above zero and at most one.
    function checkStep(uint256 stepQ16) internal pure {
        _require(_isWithin(stepQ16, 1, ONE), "stepQ16", stepQ16);
    }

    /// @dev What holds of the rules together, and of what they go with.
    function _checkSequence(RuleTerms calldata terms) private pure returns (bool needsExam) {
        uint256 exams = 0;
        bool byRule = false;
        for (uint256 stage = 0; stage < STAGES; ++stage) {
            RuleKind kind = terms.rules[stage].kind;
            if (kind == RuleKind.Exam) ++exams;
            byRule = byRule || Sharing.isShared(kind);
        }
        _require(exams <= 1, "exam", exams);
        for (uint256 stage = 0; stage < STAGES; ++stage) {
            _checkEnd(terms, stage);
        }
        _require((terms.weighting == Weighting.Rule) == byRule, "weighting", uint256(terms.weighting));
        return exams != 0 || terms.scoring == Scoring.Exam || terms.scoring == Scoring.Shapley;
    }

    /// @dev Rules that give shares end the sequence; mixing leaves that to the next one.
    function _checkEnd(RuleTerms calldata terms, uint256 stage) private pure {
        RuleKind kind = terms.rules[stage].kind;
        if (kind == RuleKind.NearestNeighbourMixing) {
            RuleKind next = stage + 1 < STAGES ? terms.rules[stage + 1].kind : RuleKind.None;
            bool decides = next == RuleKind.MultiKrum || next == RuleKind.GeometricMedian;
            _require(decides, "nearest_neighbour_mixing.next", uint256(next));
        }
        bool mixed = stage > 0 && terms.rules[stage - 1].kind == RuleKind.NearestNeighbourMixing;
        if (kind == RuleKind.GeometricMedian) _checkLast(terms, stage, "geometric_median.next");
        else if (kind == RuleKind.CentredClipping) _checkLast(terms, stage, "centred_clipping.next");
        else if (mixed) _checkLast(terms, stage, "multi_krum.next");
    }

    function _checkLast(RuleTerms calldata terms, uint256 stage, string memory term) private pure {
        for (uint256 later = stage + 1; later < STAGES; ++later) {
            RuleKind kind = terms.rules[later].kind;
            _require(kind == RuleKind.None, term, uint256(kind));
        }
    }

    function _checkRule(Rule calldata rule, uint256 minimum, uint256 seats) private pure {
        (RuleKind kind, uint256 a) = (rule.kind, rule.a);
        if (kind == RuleKind.NormBound) {
            _require(a > 0, "norm_bound", a);
            _require(rule.b < a, "norm_bound.least", rule.b);
        } else if (kind == RuleKind.MultiKrum) {
            _require(minimum >= 2 * a + 3, "multi_krum", a);
        } else if (kind == RuleKind.ThreeSigma) {
            // Among m values none lies more than √(m - 1) standard deviations from their mean.
            _require(a > 0 && (a * a) >> 16 < minimum - 1, "three_sigma", a);
        } else if (kind == RuleKind.NearestNeighbourMixing) {
            _require(minimum >= 2 * a + 1, "nearest_neighbour_mixing", a);
            _require(seats <= Mixing.MAX_ROWS, "nearest_neighbour_mixing.seats", seats);
        } else if (kind == RuleKind.GeometricMedian) {
            _require(_isWithin(a, 1, MAX_MEDIAN_STEPS), "geometric_median", a);
        } else if (kind == RuleKind.CentredClipping) {
            _require(a > 0, "centred_clipping", a);
            _require(_isWithin(rule.b, 1, MAX_CLIPPING_STEPS), "centred_clipping.steps", rule.b);
        }
    }

    /// @dev Estimates from above what it costs to settle a round in which every seat is taken. The factors are measured.
    function _settlementGas(RuleTerms calldata terms, uint256 seats) private pure returns (uint256 gas) {
        gas = 250_000 + 1200 * seats * seats;
        if (terms.scoring == Scoring.Shapley) gas += 70 * seats * seats;
        for (uint256 stage = 0; stage < STAGES; ++stage) {
            gas += _ruleGas(terms.rules[stage], seats);
        }
        if (terms.fallbackFaults != NO_FALLBACK) gas += _krumGas(terms.fallbackFaults, seats);
    }

    function _ruleGas(Rule calldata rule, uint256 seats) private pure returns (uint256) {
        RuleKind kind = rule.kind;
        if (kind == RuleKind.MultiKrum) return _krumGas(rule.a, seats);
        if (kind == RuleKind.ThreeSigma) return seats * (150 * seats + 1000);
        if (kind == RuleKind.NearestNeighbourMixing) return seats * 6000 * seats;
        if (kind == RuleKind.GeometricMedian) return seats * ((40 * seats + 1800) * rule.a + 2900);
        if (kind == RuleKind.CentredClipping) return seats * ((40 * seats + 1900) * rule.b + 1300);
        return 0;
    }

    function _krumGas(uint256 faults, uint256 seats) private pure returns (uint256) {
        return seats * (200 * seats + 2400 * (faults + 1));
    }

    function _isWithin(uint256 value, uint256 least, uint256 most) private pure returns (bool) {
        return value >= least && value <= most;
    }

    function _require(bool holds, string memory term, uint256 value) private pure {
        if (!holds) revert IRoundRules.InvalidRuleTerms(term, value);
    }
}
