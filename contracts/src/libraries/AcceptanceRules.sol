// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {NO_FALLBACK, Rule, RuleKind, RuleTerms} from "../interfaces/IRoundRules.sol";
import {BoundedHeap} from "./BoundedHeap.sol";
import {Gram, GramMatrix, Row} from "./Gram.sol";
import {Shares, Sharing} from "./Sharing.sol";
import {SquareRoot} from "./SquareRoot.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @notice The acceptance rules: which updates are in the average. A set of rows is a word with bit i for row i.
/// @dev docs/rules.md, section 4. Arithmetic is unchecked where the bounds of Gram.sol carry it: G_ii <= 2^60,
/// |G_ij| <= 2^60, |R_ij| < 2^67, at most 64 rows.
library AcceptanceRules {
    using BoundedHeap for uint256[];
    using Gram for Row;

    /// @dev A row under `multiKrum`.
    struct Neighbourhood {
        uint256 square; // G_ii
        uint256 total; // sum of its squared distances
        uint256[] farthest; // the f + 1 largest of them
    }

    /// @notice Applies the job's sequence of rules and, where it keeps nobody, the fallback.
    /// @return accepted the rows kept
    /// @return paid false if only the fallback kept them
    /// @return shares their parts of the average, where the last rules of the sequence say so
    function accept(RuleTerms calldata terms, GramMatrix memory gram, uint256 shift)
        internal
        pure
        returns (uint256 accepted, bool paid, Shares memory shares)
    {
        uint256 everybody = (uint256(1) << gram.rows.length) - 1;
        accepted = everybody;
        paid = true;
        for (uint256 stage = 0; stage < 3; ++stage) {
            Rule calldata rule = terms.rules[stage];
            RuleKind kind = rule.kind;
            if (kind == RuleKind.None) continue;
            if (Sharing.isShared(kind)) {
                (accepted, shares) = Sharing.share(terms, stage, gram, accepted, shift);
                break; // what follows a mixing is part of it, and nothing follows the others
            }
            if (kind == RuleKind.NormBound) {
                accepted = normBound(gram, accepted, rule.b, rule.a, shift);
            } else if (kind == RuleKind.Exam && gram.exam.norm != 0) {
                accepted &= gram.exam.passing;
                gram.exam.accepts = true;
            } else if (kind == RuleKind.MedianCosine || kind == RuleKind.Exam) {
                accepted = medianCosine(gram, accepted);
                if (kind == RuleKind.Exam) paid = false; // whoever can have the exam dropped must not gain by it
            } else if (kind == RuleKind.MultiKrum) {
                accepted = multiKrum(gram, accepted, rule.a, rule.b);
            } else if (kind == RuleKind.ThreeSigma) {
                accepted = threeSigma(gram, accepted, rule.a);
            }
        }
        if (accepted != 0 || terms.fallbackFaults == NO_FALLBACK) return (accepted, paid, shares);
        shares.parts = new uint256[](0);
        return (multiKrum(gram, everybody, terms.fallbackFaults, 0), false, shares);
    }

    /// @notice T, Q64: the square of the cosine above which two rows share more than chance; rounded up.
    function chance(RuleTerms calldata terms) internal pure returns (uint256) {
        uint256 z = terms.significanceQ8;
        uint256 floor = terms.floorQ16;
        return Math.max(Math.ceilDiv((z * z) << 48, terms.dimension), (floor * floor) << 32);
    }

    /// @notice Keeps rows of norm from `least` to `most` base counts.
    function normBound(GramMatrix memory gram, uint256 rows, uint256 least, uint256 most, uint256 shift)
        internal
        pure
        returns (uint256 kept)
    {
        // b² <= G_ii·2^(2e) <= a² in integers, the left rounded up; two shifts, so that no e is too large.
        uint256 smallest = least == 0 ? 0 : (((least * least - 1) >> shift) >> shift) + 1;
        uint256 largest = ((most * most) >> shift) >> shift;
        for (uint256 i = 0; i < gram.rows.length; ++i) {
            uint256 square = gram.rows[i].square;
            if (has(rows, i) && smallest <= square && square <= largest) kept |= uint256(1) << i;
        }
    }

    /// @notice Keeps rows whose median semi-partial cosine with the others is more than chance: a count, not a sort.
    function medianCosine(GramMatrix memory gram, uint256 rows) internal pure returns (uint256 kept) {
        unchecked {
            uint256 half = count(rows) / 2; // of the others, rounded up
            if (half == 0) return 0;
            uint256 audible = rows & gram.audible;
            Row[] memory all = gram.rows;
            for (uint256 i = 0; i < all.length; ++i) {
                if (has(audible, i) && count(all[i].agreeing() & audible) >= half) kept |= uint256(1) << i;
            }
        }
    }

    /// @notice Keeps the rows whose nearest others are nearest (Blanchard et al. 2017); ties go to the lower row.
    /// @param faults f; with fewer than 2f + 3 rows nobody is kept
    /// @param keep how many; 0, or more than all but f, for all but f
    function multiKrum(GramMatrix memory gram, uint256 rows, uint256 faults, uint256 keep)
        internal
        pure
        returns (uint256 kept)
    {
        unchecked {
            uint256 m = count(rows);
            if (m < 2 * faults + 3) return 0;
            if (keep == 0 || keep > m - faults) keep = m - faults;
            uint256[] memory ranks = _krumRanks(gram, rows, faults);
            uint256[] memory last = new uint256[](m - keep + 1);
            for (uint256 i = 0; i < ranks.length; ++i) {
                if (has(rows, i)) last.offer(ranks[i]);
            }
            uint256 largest = last.smallest(); // the keep-th smallest rank
            for (uint256 i = 0; i < ranks.length; ++i) {
                if (has(rows, i) && ranks[i] <= largest) kept |= uint256(1) << i;
            }
        }
    }

    /// @dev The score, then the row: no two are equal. A row's m - f - 2 smallest of m - 1 distances are all but the
    /// f + 1 largest.
    function _krumRanks(GramMatrix memory gram, uint256 rows, uint256 faults)
        private
        pure
        returns (uint256[] memory ranks)
    {
        unchecked {
            Row[] memory all = gram.rows;
            uint256 n = all.length;
            Neighbourhood[] memory around = new Neighbourhood[](n);
            for (uint256 i = 0; i < n; ++i) {
                Neighbourhood memory a = around[i];
                a.square = all[i].square;
                if (has(rows, i)) a.farthest = new uint256[](faults + 1);
            }
            _offerDistances(gram.products, rows, around);
            ranks = new uint256[](n);
            for (uint256 i = 0; i < n; ++i) {
                if (has(rows, i)) ranks[i] = ((around[i].total - around[i].farthest.sum()) << 8) | i;
            }
        }
    }

    /// @dev Squared distances are never negative: G_ij <= √(G_ii·G_jj) <= (G_ii + G_jj) / 2.
    function _offerDistances(uint256 position, uint256 rows, Neighbourhood[] memory around) private pure {
        unchecked {
            for (uint256 i = 0; i < around.length; ++i) {
                position += 8;
                if (has(rows, i)) _offerToLater(position, rows, around, i);
                position += 8 * (around.length - 1 - i);
            }
        }
    }

    function _offerToLater(uint256 position, uint256 rows, Neighbourhood[] memory around, uint256 i) private pure {
        unchecked {
            Neighbourhood memory a = around[i];
            Neighbourhood memory b = a; // a pointer that the loop moves
            for (uint256 j = i + 1; j < around.length; ++j) {
                int256 product;
                assembly ("memory-safe") {
                    b := mload(add(add(around, 0x20), shl(5, j)))
                    product := sar(192, calldataload(position))
                }
                position += 8;
                if (!has(rows, j)) continue;
                // forge-lint: disable-next-line(unsafe-typecast)
                uint256 distance = a.square + b.square - uint256(2 * product);
                a.total += distance;
                b.total += distance;
                a.farthest.offer(distance);
                b.farthest.offer(distance);
            }
        }
    }

    /// @notice Drops rows whose distance to the mean is more than k standard deviations above the average distance.
    /// @dev Distances are m times as long, so that the mean stays an integer: t <= 2^37, and every sum stays below 2^160.
    function threeSigma(GramMatrix memory gram, uint256 rows, uint256 kQ8) internal pure returns (uint256 kept) {
        unchecked {
            uint256 m = count(rows);
            uint256[] memory distances = _distancesToMean(gram, rows, m);
            uint256 total = 0;
            uint256 squares = 0;
            for (uint256 i = 0; i < distances.length; ++i) {
                total += distances[i]; // zero for rows that are out
                squares += distances[i] * distances[i];
            }
            uint256 limit = kQ8 * kQ8 * (m * squares - total * total);
            for (uint256 i = 0; i < distances.length; ++i) {
                if (!has(rows, i)) continue;
                uint256 scaled = m * distances[i];
                if (scaled <= total || ((scaled - total) * (scaled - total)) << 16 <= limit) kept |= uint256(1) << i;
            }
        }
    }

    /// @dev t_i = m·‖q_i - mean‖, rounded down.
    function _distancesToMean(GramMatrix memory gram, uint256 rows, uint256 m)
        private
        pure
        returns (uint256[] memory distances)
    {
        unchecked {
            int256[] memory withSum = _productsWithSum(gram, rows);
            int256 sumSquare = 0;
            for (uint256 i = 0; i < withSum.length; ++i) {
                sumSquare += withSum[i];
            }
            distances = new uint256[](withSum.length);
            for (uint256 i = 0; i < withSum.length; ++i) {
                if (!has(rows, i)) continue;
                // forge-lint: disable-next-line(unsafe-typecast)
                int256 square = int256(m * m * gram.rows[i].square) - 2 * int256(m) * withSum[i] + sumSquare;
                // forge-lint: disable-next-line(unsafe-typecast)
                if (square > 0) distances[i] = SquareRoot.floor(uint256(square));
            }
        }
    }

    /// @dev Σ_{j in rows} G_ij for every i in rows, zero for the others.
    function _productsWithSum(GramMatrix memory gram, uint256 rows) private pure returns (int256[] memory sums) {
        unchecked {
            uint256 n = gram.rows.length;
            uint256 position = gram.products;
            sums = new int256[](n);
            for (uint256 i = 0; i < n; ++i) {
                if (!has(rows, i)) {
                    position += 8 * (n - i);
                    continue;
                }
                sums[i] += Gram.int64At(position);
                position += 8;
                for (uint256 j = i + 1; j < n; ++j) {
                    if (has(rows, j)) {
                        int256 product = Gram.int64At(position);
                        sums[i] += product;
                        sums[j] += product;
                    }
                    position += 8;
                }
            }
        }
    }

    /// @notice Whether the row is in the set.
    function has(uint256 rows, uint256 row) internal pure returns (bool) {
        return (rows >> row) & 1 != 0;
    }

    /// @notice How many rows are in the set. Every field of 1, 2, 4, … bits counts its own, then neighbours are added.
    function count(uint256 rows) internal pure returns (uint256) {
        unchecked {
            rows -= (rows >> 1) & 0x5555555555555555;
            rows = (rows & 0x3333333333333333) + ((rows >> 2) & 0x3333333333333333);
            rows = (rows + (rows >> 4)) & 0x0f0f0f0f0f0f0f0f;
            return ((rows * 0x0101010101010101) >> 56) & 0xff;
        }
    }
}
