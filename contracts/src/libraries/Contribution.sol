// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {RuleTerms, Scoring, Weighting} from "../interfaces/IRoundRules.sol";
import {AcceptanceRules} from "./AcceptanceRules.sol";
import {BoundedHeap} from "./BoundedHeap.sol";
import {Gram, GramMatrix, Row} from "./Gram.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @notice An accepted update among the accepted. All zero for a row that is not: it then drops out of every sum.
struct Standing {
    uint256 norm; // Q16
    uint256 residual; // its square once the public rows are projected out
    uint256 residualNorm; // Q16
    uint256 damping; // Q16: small updates earn and weigh little
    uint256 crowding; // Q16: how many times the same thing was said, itself included
    uint256 weight; // its integer weight in the average
    int256 pull; // inner product of its residual with everybody's weighted sum
}

/// @notice Weights and scores of the accepted updates.
/// @dev docs/rules.md, section 5. Arithmetic is unchecked where the bounds carry it: norms are at most 2^46, residual norms
/// 2^50, crowding 2^22, weights sum to at most 2^18, residuals are below 2^67, so |S_i| < 2^85 and |V|, |E| < 2^105.
library Contribution {
    using AcceptanceRules for uint256;
    using BoundedHeap for uint256[];

    uint256 internal constant ONE = 1 << 16;

    /// @notice Weighs the accepted rows.
    /// @return standings one a row
    /// @return weighed false if nobody has any weight
    function weigh(RuleTerms calldata terms, GramMatrix memory gram, uint256 accepted, uint256 shift)
        internal
        pure
        returns (Standing[] memory standings, bool weighed)
    {
        standings = _measure(gram, accepted);
        uint256 full = Math.max(_lowerMedianNorm(standings, accepted), (uint256(terms.normFloor) << 16) >> shift);
        if (full == 0) return (standings, false);
        _crowd(standings, gram.residuals, accepted);
        if (terms.weighting == Weighting.Crowding) {
            weighed = _weighByCrowding(standings, accepted, full, terms.serverRateQ16);
        } else {
            weighed = true;
            _weighEqually(standings, accepted, full, terms.serverRateQ16);
        }
    }

    /// @notice Scores the weighed rows, Q32.
    function score(RuleTerms calldata terms, int256[] memory residuals, Standing[] memory standings, uint256 accepted)
        internal
        pure
        returns (uint64[] memory scores)
    {
        Scoring scoring = terms.scoring;
        uint256 cap = terms.capQ16;
        int256 square = scoring == Scoring.Equal ? int256(0) : _pull(standings, residuals, accepted);
        scores = new uint64[](standings.length);
        unchecked {
            for (uint256 i = 0; i < scores.length; ++i) {
                if (!accepted.has(i)) continue;
                Standing memory s = standings[i];
                uint256 c = ONE;
                if (scoring == Scoring.LeaveOneOutCosine) c = _leaveOneOutCosine(s, square);
                else if (scoring == Scoring.CosineToMean) c = _cosine(s.pull, square, s.norm);
                if (c > cap) c = cap;
                // forge-lint: disable-next-line(unsafe-typecast)
                scores[i] = uint64(c * c * s.damping / s.crowding); // at most 2^32
            }
        }
    }

    /// @notice Mean partial cosine over all ordered pairs of the accepted, Q16, negative ones as zero; rounded down.
    function meanLikeness(Standing[] memory standings, uint256 accepted) internal pure returns (uint256) {
        unchecked {
            uint256 m = accepted.count();
            uint256 total = 0;
            for (uint256 i = 0; i < standings.length; ++i) {
                if (accepted.has(i)) total += standings[i].crowding - ONE;
            }
            return total / (m * (m - 1));
        }
    }

    function _measure(GramMatrix memory gram, uint256 accepted) private pure returns (Standing[] memory standings) {
        unchecked {
            uint256 n = gram.rows.length;
            standings = new Standing[](n);
            for (uint256 i = 0; i < n; ++i) {
                if (!accepted.has(i)) continue;
                Row memory row = gram.rows[i];
                Standing memory s = standings[i];
                s.norm = Math.sqrt(row.square << 32);
                uint256 residual = row.residual;
                s.residual = residual;
                s.residualNorm = Math.sqrt(residual << 32);
                s.crowding = ONE;
            }
        }
    }

    /// @dev The value at place (m - 1) / 2 of the sorted is the smallest of the m - (m - 1) / 2 largest.
    function _lowerMedianNorm(Standing[] memory standings, uint256 accepted) private pure returns (uint256) {
        unchecked {
            uint256 m = accepted.count();
            uint256[] memory upperHalf = new uint256[](m - (m - 1) / 2);
            for (uint256 i = 0; i < standings.length; ++i) {
                if (accepted.has(i)) upperHalf.offer(standings[i].norm);
            }
            return upperHalf.smallest();
        }
    }

    /// @dev Adds every pair's partial cosine to both rows' crowding.
    function _crowd(Standing[] memory standings, int256[] memory residuals, uint256 accepted) private pure {
        unchecked {
            uint256 n = standings.length;
            uint256 cursor = Gram.start(residuals);
            for (uint256 i = 0; i < n; ++i) {
                if (accepted.has(i)) _crowdWithLater(standings, i, cursor);
                cursor += 0x20 * (n - 1 - i);
            }
        }
    }

    function _crowdWithLater(Standing[] memory standings, uint256 i, uint256 cursor) private pure {
        unchecked {
            Standing memory a = standings[i];
            Standing memory b = a;
            (uint256 norm, uint256 crowding) = (a.residualNorm, a.crowding);
            (uint256 slot, uint256 end) = _slotsAfter(standings, i);
            uint256 offset = cursor - slot;
            for (; slot < end; slot += 0x20) {
                int256 shared;
                assembly ("memory-safe") {
                    b := mload(slot)
                    shared := mload(add(slot, offset))
                }
                if (shared <= 0) continue;
                uint256 scale = norm * b.residualNorm;
                uint256 likeness;
                assembly ("memory-safe") {
                    likeness := div(shl(48, shared), scale) // zero where the scale is: j has no residual or is not accepted
                }
                if (likeness > ONE) likeness = ONE;
                crowding += likeness;
                b.crowding += likeness;
            }
            a.crowding = crowding;
        }
    }

    /// @dev Where the pointers to the standings after the i-th lie in memory. Those and the residuals of row i advance
    /// together, so that one number finds both.
    function _slotsAfter(Standing[] memory standings, uint256 i) private pure returns (uint256 slot, uint256 end) {
        assembly ("memory-safe") {
            slot := add(add(standings, 0x40), shl(5, i))
            end := add(add(standings, 0x20), shl(5, mload(standings)))
        }
    }

    /// @dev Sets h_i = min(1, ‖q_i‖ / τ) and returns b_i = min(1, τ / ‖q_i‖), both rounded down; one of them is one.
    function _temper(Standing memory s, uint256 full) private pure returns (uint256 clipping) {
        unchecked {
            uint256 norm = s.norm;
            if (norm < full) {
                s.damping = (norm << 16) / full;
                return ONE;
            }
            s.damping = ONE;
            return (full << 16) / norm;
        }
    }

    /// @dev w_i ∝ h_i·min(1, τ / ‖q_i‖) / k_i: large updates weigh no more than typical ones, and whoever says the same
    /// thing shares one voice. False if every share rounds to zero.
    function _weighByCrowding(Standing[] memory standings, uint256 accepted, uint256 full, uint256 rate)
        private
        pure
        returns (bool weighed)
    {
        unchecked {
            uint256 n = standings.length;
            uint256 total = 0;
            for (uint256 i = 0; i < n; ++i) {
                if (!accepted.has(i)) continue;
                Standing memory s = standings[i];
                uint256 clipping = _temper(s, full);
                uint256 share = ((s.damping * clipping) << 16) / s.crowding;
                s.weight = share;
                total += share;
            }
            if (total == 0) return false;
            for (uint256 i = 0; i < n; ++i) {
                Standing memory s = standings[i];
                s.weight = rate * s.weight / total;
            }
            return true;
        }
    }

    function _weighEqually(Standing[] memory standings, uint256 accepted, uint256 full, uint256 rate) private pure {
        uint256 weight = rate / accepted.count();
        for (uint256 i = 0; i < standings.length; ++i) {
            if (!accepted.has(i)) continue;
            _temper(standings[i], full);
            standings[i].weight = weight;
        }
    }

    /// @dev S_i = Σ_j w_j·R_ij for every accepted row, and the square V = Σ_i w_i·S_i of everybody's weighted sum.
    function _pull(Standing[] memory standings, int256[] memory residuals, uint256 accepted)
        private
        pure
        returns (int256 square)
    {
        unchecked {
            uint256 n = standings.length;
            uint256 cursor = Gram.start(residuals);
            for (uint256 i = 0; i < n; ++i) {
                if (accepted.has(i)) {
                    Standing memory a = standings[i];
                    // forge-lint: disable-next-line(unsafe-typecast)
                    a.pull += int256(a.weight * a.residual);
                    square += _pullWithLater(a, standings, i, cursor);
                }
                cursor += 0x20 * (n - 1 - i);
            }
        }
    }

    /// @dev Completes S_i, gives row i's part to the later ones, and returns w_i·S_i.
    function _pullWithLater(Standing memory a, Standing[] memory standings, uint256 i, uint256 cursor)
        private
        pure
        returns (int256)
    {
        unchecked {
            Standing memory b = a;
            // forge-lint: disable-next-line(unsafe-typecast)
            (int256 weight, int256 pull) = (int256(a.weight), a.pull);
            (uint256 slot, uint256 end) = _slotsAfter(standings, i);
            uint256 offset = cursor - slot;
            for (; slot < end; slot += 0x20) {
                int256 shared;
                assembly ("memory-safe") {
                    b := mload(slot)
                    shared := mload(add(slot, offset))
                }
                // forge-lint: disable-next-line(unsafe-typecast)
                pull += int256(b.weight) * shared;
                b.pull += weight * shared;
            }
            a.pull = pull;
            return weight * pull;
        }
    }

    /// @dev The cosine with the sum of all others: i's own part is taken out of both.
    function _leaveOneOutCosine(Standing memory s, int256 square) private pure returns (uint256) {
        unchecked {
            // forge-lint: disable-next-line(unsafe-typecast)
            (int256 weight, int256 own) = (int256(s.weight), int256(s.weight * s.residual));
            return _cosine(s.pull - own, square - 2 * weight * s.pull + weight * own, s.norm);
        }
    }

    /// @dev product / (norm·√square), Q16, at most one; zero if any of them is not above zero.
    function _cosine(int256 product, int256 square, uint256 norm) private pure returns (uint256) {
        if (product <= 0 || square <= 0 || norm == 0) return 0;
        unchecked {
            // forge-lint: disable-next-line(unsafe-typecast)
            uint256 cosine = (uint256(product) << 48) / (norm * Math.sqrt(uint256(square) << 32));
            return cosine < ONE ? cosine : ONE;
        }
    }
}
