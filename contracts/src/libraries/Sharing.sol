// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Rule, RuleKind, RuleTerms} from "../interfaces/IRoundRules.sol";
import {Centre, CentredClipping} from "./CentredClipping.sol";
import {GeometricMedian} from "./GeometricMedian.sol";
import {Gram, GramMatrix} from "./Gram.sol";
import {Mixing, Mixture} from "./Mixing.sol";
import {Constituent} from "./PackedTriangle.sol";

/// @notice Parts of an average. No parts at all where no rule gave any.
struct Shares {
    uint256[] parts; // one a row
    uint256 whole; // what they are parts of, above zero
}

/// @notice Rules that say by themselves what part of the average each update is: the end of a sequence of rules.
/// @dev docs/rules.md, section 10. A set of rows is a word with bit i for row i.
library Sharing {
    /// @notice Whether the rule gives shares.
    function isShared(RuleKind kind) internal pure returns (bool) {
        return kind >= RuleKind.NearestNeighbourMixing; // the last kinds
    }

    /// @notice Applies the rules from this stage on to the rows that those before left.
    /// @return kept the rows that have a part of the average
    function share(RuleTerms calldata terms, uint256 stage, GramMatrix memory gram, uint256 rows, uint256 shift)
        internal
        pure
        returns (uint256 kept, Shares memory shares)
    {
        if (rows == 0) return (0, shares);
        Rule calldata rule = terms.rules[stage];
        Constituent[] memory all = _constituents(gram);
        if (rule.kind == RuleKind.GeometricMedian) {
            shares.whole = GeometricMedian.share(gram.products, new int256[][](0), all, rows, rule.a);
        } else if (rule.kind == RuleKind.CentredClipping) {
            uint256 radiusQ32 = (uint256(rule.a) << 32) >> shift; // the radius is in base counts
            CentredClipping.share(
                gram.products, all, rows, _lastAggregate(gram, terms.serverRateQ16), radiusQ32, rule.b
            );
            shares.whole = CentredClipping.ONE;
        } else {
            shares.whole = _mixed(gram.products, all, rows, rule.a, terms.rules[stage + 1]);
        }
        shares.parts = new uint256[](all.length);
        for (uint256 i = 0; i < all.length; ++i) {
            uint256 part = all[i].part;
            shares.parts[i] = part;
            if (part != 0) kept |= uint256(1) << i;
        }
    }

    /// @dev Mixes, applies the next rule to the sums, and gives every row the parts of the sums that it is in.
    function _mixed(uint256 position, Constituent[] memory all, uint256 rows, uint256 faults, Rule calldata next)
        private
        pure
        returns (uint256 whole)
    {
        uint256 m = Mixing.count(rows);
        if (all.length > Mixing.MAX_ROWS || m < 2 * faults + 1) return 1;
        Mixture memory mixture = Mixing.mix(position, all, rows, faults);
        if (next.kind == RuleKind.GeometricMedian) {
            whole = GeometricMedian.share(0, mixture.products, mixture.sums, rows, next.a);
        } else {
            whole = Mixing.multiKrum(mixture, rows, next.a, next.b);
        }
        whole *= m - faults;
        Mixing.unmix(mixture, all);
    }

    function _constituents(GramMatrix memory gram) private pure returns (Constituent[] memory all) {
        unchecked {
            all = new Constituent[](gram.rows.length);
            for (uint256 i = 0; i < all.length; ++i) {
                all[i].square = gram.rows[i].square;
            }
        }
    }

    /// @dev The first public row, divided by the server's rate.
    function _lastAggregate(GramMatrix memory gram, uint256 serverRateQ16) private pure returns (Centre memory centre) {
        unchecked {
            uint256 n = gram.rows.length;
            uint256 position = gram.products + 4 * n * (n + 1);
            centre.products = new int256[](n);
            for (uint256 i = 0; i < n; ++i) {
                centre.products[i] = CentredClipping.divided(Gram.int128At(position), serverRateQ16);
                position += 16 * gram.publicRows;
            }
            centre.square = CentredClipping.divided(Gram.int128At(position), serverRateQ16 * serverRateQ16);
        }
    }
}
