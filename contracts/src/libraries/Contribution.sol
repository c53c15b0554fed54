// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {RuleTerms, Scoring, Weighting} from "../interfaces/IRoundRules.sol";
import {AcceptanceRules} from "./AcceptanceRules.sol";
import {BoundedHeap} from "./BoundedHeap.sol";
import {ExamRow, Gram, GramMatrix, Row} from "./Gram.sol";
import {PackedArray} from "./PackedArray.sol";
import {Shares} from "./Sharing.sol";
import {SquareRoot} from "./SquareRoot.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @notice An accepted update among the accepted. All zero for a row that is not: it then drops out of every sum.
struct Standing {
    int256 pull; // Q16: inner product of its residual with what the others say that it does not
    uint256 weight; // its integer weight in the average
    uint256 norm; // Q16
    uint256 residual; // its square once the public rows are projected out
    uint256 damping; // Q16: small updates earn and weigh little
    uint256 crowding; // Q16: how many times the same thing was said, itself included
}

/// @notice Weights and scores of the accepted updates.
/// @dev docs/rules.md, section 5. Arithmetic is unchecked where the bounds carry it: norms are at most 2^46, residual norms
/// 2^50, crowding 2^22, weights sum to at most 2^18, residuals are below 2^67, so a pull is below 2^102 and |V| < 2^103. Of an
/// exam: residual products are below 2^84, the norm at most 2^62, so |N_r| < 2^102, and a worth in Q32 is below 2^240.
library Contribution {
    using AcceptanceRules for uint256;
    using BoundedHeap for uint256[];
    using Gram for Row;
    using PackedArray for bytes;

    uint256 internal constant ONE = 1 << 16;

    /// @notice Weighs the accepted rows.
    /// @param shares their parts, where the job's rules gave any; they are the weights then
    /// @return standings one a row
    /// @return weighed false if nobody has any weight
    function weigh(
        RuleTerms calldata terms,
        GramMatrix memory gram,
        uint256 accepted,
        Shares memory shares,
        uint256 shift
    ) internal pure returns (Standing[] memory standings, bool weighed) {
        standings = _measure(gram, accepted);
        uint256 typical = _typicalNorm(standings, accepted, gram.exam.accepts);
        uint256 full = Math.max(typical, (uint256(terms.normFloor) << 16) >> shift);
        if (full == 0) return (standings, false);
        if (terms.weighting == Weighting.Crowding) {
            weighed = _weighByCrowding(standings, accepted, full, terms.serverRateQ16);
        } else {
            weighed = true;
            _weighEqually(standings, accepted, full, terms.serverRateQ16);
            if (shares.parts.length != 0) _weighByShares(standings, shares, terms.serverRateQ16);
        }
    }

    /// @notice Scores the weighed rows, Q32. Scorings that ask for an exam need one that counts.
    /// @param gram as `weigh` took it
    function score(RuleTerms calldata terms, GramMatrix memory gram, Standing[] memory standings, uint256 accepted)
        internal
        pure
        returns (bytes memory scores)
    {
        Scoring scoring = terms.scoring;
        uint256 cap = terms.capQ16;
        scores = new bytes(standings.length * PackedArray.SCORE_BYTES);
        uint256 length = 0;
        if (scoring >= Scoring.Exam) {
            if (scoring == Scoring.Shapley) return _scoreByShapley(scores, gram, standings, accepted);
            length = _pullByExam(standings, gram.exam);
        } else if (scoring != Scoring.Equal) {
            int256 square = _pull(standings, gram.pairs, accepted, scoring != Scoring.CosineToMean);
            // forge-lint: disable-next-line(unsafe-typecast)
            if (square > 0) length = SquareRoot.floor(uint256(square) << 32);
        }
        unchecked {
            for (uint256 i = 0; i < standings.length; ++i) {
                if (!accepted.has(i)) continue;
                Standing memory s = standings[i];
                uint256 c = scoring == Scoring.Equal ? ONE : _cosine(s.pull >> 16, length * s.norm);
                if (c > cap) c = cap;
                scores.setScore(i, c * c * s.damping / s.crowding); // at most 2^32
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
            Row[] memory rows = gram.rows;
            uint256 n = rows.length;
            standings = new Standing[](n);
            for (uint256 i = 0; i < n; ++i) {
                if (!accepted.has(i)) continue;
                Row memory row = rows[i];
                Standing memory s = standings[i];
                s.norm = row.length != 0 ? row.length : SquareRoot.floor(row.square << 32);
                uint256 residual = row.residual;
                s.residual = residual;
                s.crowding = ONE + row.likenesses();
            }
            uint256 rejected = ((uint256(1) << n) - 1) & ~accepted;
            for (uint256 i = 0; rejected >> i != 0; ++i) {
                if (rejected.has(i)) _discount(standings, gram.pairs, accepted, i);
            }
        }
    }

    /// @dev The value at place (m - 1) / 2 of the sorted is the smallest of the m - (m - 1) / 2 largest.
    /// @dev The lower median of the accepted's norms, which are mostly honest; the lower quartile of those that an exam let in,
    /// where a majority may be cheats.
    function _typicalNorm(Standing[] memory standings, uint256 accepted, bool byExam) private pure returns (uint256) {
        unchecked {
            uint256 m = accepted.count();
            uint256[] memory lowest = new uint256[]((m - 1) / (byExam ? 4 : 2) + 1);
            // Complements: the heap keeps the largest of what it is offered.
            for (uint256 i = 0; i < standings.length; ++i) {
                if (accepted.has(i)) lowest.offer(~standings[i].norm);
            }
            return ~lowest.smallest();
        }
    }

    /// @dev Crowding counts the accepted only: takes out again what they share with a row that is not.
    function _discount(Standing[] memory standings, int256[] memory pairs, uint256 accepted, uint256 rejected)
        private
        pure
    {
        unchecked {
            uint256 n = standings.length;
            for (uint256 i = 0; i < n; ++i) {
                if (!accepted.has(i)) continue;
                (uint256 low, uint256 high) = i < rejected ? (i, rejected) : (rejected, i);
                uint256 pair = low * (2 * n - low - 1) / 2 + high - low - 1; // row by row
                standings[i].crowding -= Gram.likeness(pairs[pair]);
            }
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

    /// @dev Sets h_i = min(1, ‖q_i‖ / τ) and returns b_i = min(1, 5/4·τ / ‖q_i‖), both rounded down; one of them is one.
    function _temper(Standing memory s, uint256 full) private pure returns (uint256 clipping) {
        unchecked {
            uint256 norm = s.norm;
            if (norm < full) {
                s.damping = (norm << 16) / full;
                return ONE;
            }
            s.damping = ONE;
            full += full >> 2;
            return norm <= full ? ONE : (full << 16) / norm;
        }
    }

    /// @dev w_i = rate·b_i·(h_i / k_i) / Σ h / k: whoever says the same thing shares one voice, and what clipping takes from
    /// large updates goes to nobody, so that the average is never longer than the norm they are clipped to. False if every share
    /// rounds to zero.
    function _weighByCrowding(Standing[] memory standings, uint256 accepted, uint256 full, uint256 rate)
        private
        pure
        returns (bool weighed)
    {
        unchecked {
            uint256 n = standings.length;
            uint256 total = 0;
            uint256 anything = 0;
            for (uint256 i = 0; i < n; ++i) {
                if (!accepted.has(i)) continue;
                Standing memory s = standings[i];
                uint256 clipping = _temper(s, full);
                uint256 share = (s.damping << 32) / s.crowding;
                total += share;
                share = (share * clipping) >> 16;
                s.weight = share;
                anything |= share;
            }
            weighed = anything != 0;
            if (!weighed) return false;
            for (uint256 i = 0; i < n; ++i) {
                Standing memory s = standings[i];
                s.weight = rate * s.weight / total;
            }
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

    /// @dev Whoever is not accepted has no part.
    function _weighByShares(Standing[] memory standings, Shares memory shares, uint256 rate) private pure {
        unchecked {
            for (uint256 i = 0; i < standings.length; ++i) {
                standings[i].weight = rate * shares.parts[i] / shares.whole;
            }
        }
    }

    /// @dev The exam alone pulls. Returns the length of what is left of r, Q16.
    function _pullByExam(Standing[] memory standings, ExamRow memory exam) private pure returns (uint256 length) {
        unchecked {
            for (uint256 i = 0; i < standings.length; ++i) {
                standings[i].pull = exam.products[i] << 16;
            }
            return exam.norm;
        }
    }

    /// @dev φ_i / V = w_i·(2·R_ir·V − (Rw)_i·N_r) / (N_r·V), Q32, at most one; zero where negative. All zero unless N_r and V
    /// are above zero.
    function _scoreByShapley(bytes memory scores, GramMatrix memory gram, Standing[] memory standings, uint256 accepted)
        private
        pure
        returns (bytes memory)
    {
        int256 square = _pull(standings, gram.pairs, accepted, false);
        int256 along = 0; // N_r
        int256[] memory asked = gram.exam.products;
        unchecked {
            for (uint256 i = 0; i < asked.length; ++i) {
                // forge-lint: disable-next-line(unsafe-typecast)
                along += int256(standings[i].weight) * asked[i];
            }
            if (along <= 0 || square <= 0) return scores;
            for (uint256 i = 0; i < asked.length; ++i) {
                Standing memory s = standings[i];
                // forge-lint: disable-next-line(unsafe-typecast)
                int256 worth = int256(s.weight) * (2 * asked[i] * square - (s.pull >> 16) * along);
                if (worth <= 0) continue;
                // forge-lint: disable-next-line(unsafe-typecast)
                uint256 share = (uint256(worth) << 32) / uint256(along * square);
                scores.setScore(i, Math.min(share, 1 << 32));
            }
            return scores;
        }
    }

    /// @dev Sets every accepted row's pull, and returns the square V = Σ_ij w_i·w_j·R_ij of everybody's weighted sum.
    /// @param discounted whether a pull is N_i = Σ_{j≠i} w_j·(1 − κ_ij)·R_ij, or all of the row's product with that sum: then
    /// every pair is new, and a row's own part counts
    function _pull(Standing[] memory standings, int256[] memory pairs, uint256 accepted, bool discounted)
        private
        pure
        returns (int256 square)
    {
        unchecked {
            uint256 n = standings.length;
            uint256 cursor = Gram.start(pairs);
            for (uint256 i = 0; i < n; ++i) {
                if (accepted.has(i)) {
                    Standing memory a = standings[i];
                    (int256 along, int256 fresh) = Gram.split(_addUp(standings, i, a, cursor));
                    // forge-lint: disable-next-line(unsafe-typecast)
                    along += int256(a.weight * a.residual);
                    // forge-lint: disable-next-line(unsafe-typecast)
                    square += int256(a.weight) * along;
                    a.pull = discounted ? fresh : along << 16;
                }
                cursor += 0x20 * (n - 1 - i);
            }
        }
    }

    /// @dev Σ_{j≠i} w_j times row i's pair with row j. Those with earlier rows are in its pull by then, and the later ones' pulls
    /// get theirs.
    /// @param a row i's standing
    /// @param cursor where row i's pairs with the later ones begin in memory
    function _addUp(Standing[] memory standings, uint256 i, Standing memory a, uint256 cursor)
        private
        pure
        returns (int256 sum)
    {
        (uint256 slot, uint256 end) = _slotsAfter(standings, i);
        uint256 weight = a.weight;
        sum = a.pull;
        assembly ("memory-safe") {
            let offset := sub(cursor, slot)
            for {} lt(slot, end) { slot := add(slot, 0x20) } {
                let b := mload(slot) // its pull, and behind it its weight
                let pair := mload(add(slot, offset))
                sum := add(sum, mul(mload(add(b, 0x20)), pair))
                mstore(b, add(mload(b), mul(weight, pair)))
            }
        }
    }

    /// @dev product / scale, Q16, at most one; zero if either is not above zero.
    function _cosine(int256 product, uint256 scale) private pure returns (uint256) {
        if (product <= 0 || scale == 0) return 0;
        unchecked {
            // forge-lint: disable-next-line(unsafe-typecast)
            uint256 cosine = (uint256(product) << 48) / scale;
            return cosine < ONE ? cosine : ONE;
        }
    }
}
