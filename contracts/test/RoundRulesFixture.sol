// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {RoundRules} from "../src/RoundRules.sol";
import {Decision, NO_FALLBACK, Rule, RuleKind, RuleTerms} from "../src/interfaces/IRoundRules.sol";
import {Base} from "./Base.sol";
import {Packed} from "./Packed.sol";

/// @notice Rounds of small integer vectors: a common direction that the honest share, noise of their own, public rows.
abstract contract RoundRulesFixture is Base {
    using Packed for bytes;

    uint256 internal constant DIMENSION = 64;
    uint256 internal constant PUBLIC_ROWS = 5;
    uint256 internal constant ONE = 1 << 16;

    RoundRules internal rules = new RoundRules();

    /// @dev The vectors of a round.
    struct Vectors {
        int256[][] updates;
        int256[][] publicRows;
    }

    /// @dev Median cosine with z = 3, leave-one-out scores, crowding weights, nothing bounded.
    function medianTerms() internal pure returns (RuleTerms memory terms) {
        terms = noTerms();
        terms.rules[0].kind = RuleKind.MedianCosine;
    }

    function krumTerms(uint32 faults, uint32 keep) internal pure returns (RuleTerms memory terms) {
        terms = noTerms();
        terms.rules[0] = Rule({kind: RuleKind.MultiKrum, a: faults, b: keep});
    }

    /// @dev Accepts everybody.
    function noTerms() internal pure returns (RuleTerms memory terms) {
        // forge-lint: disable-next-line(unsafe-typecast)
        terms.dimension = uint32(DIMENSION);
        terms.significanceQ8 = 3 << 8;
        // forge-lint: disable-next-line(unsafe-typecast)
        (terms.capQ16, terms.serverRateQ16, terms.stepFactorQ16) = (uint32(ONE), uint32(ONE), uint32(ONE));
        terms.fallbackFaults = NO_FALLBACK;
    }

    /// @dev n honest updates that share a direction, and five independent public rows.
    function honestRound(uint256 n, uint256 seed) internal pure returns (Vectors memory round) {
        int256[] memory common = noise(seed, "common", 300);
        round.updates = new int256[][](n);
        for (uint256 i = 0; i < n; ++i) {
            round.updates[i] = plus(common, noise(seed + i, "own", 150), 1);
        }
        round.publicRows = new int256[][](PUBLIC_ROWS);
        for (uint256 k = 0; k < PUBLIC_ROWS; ++k) {
            round.publicRows[k] = noise(seed + k, "public", k < 3 ? int256(1 << 24) : int256(1 << 40));
        }
    }

    /// @dev Coordinates that are uniform between -size and size.
    function noise(uint256 seed, string memory domain, int256 size) internal pure returns (int256[] memory vector) {
        vector = new int256[](DIMENSION);
        for (uint256 at = 0; at < DIMENSION; ++at) {
            // forge-lint: disable-next-line(unsafe-typecast)
            vector[at] = int256(uint256(keccak256(abi.encode(domain, seed, at))) % uint256(2 * size + 1)) - size;
        }
    }

    /// @dev a + factor·b
    function plus(int256[] memory a, int256[] memory b, int256 factor) internal pure returns (int256[] memory sum) {
        sum = new int256[](a.length);
        for (uint256 at = 0; at < a.length; ++at) {
            sum[at] = a[at] + factor * b[at];
        }
    }

    function scaled(int256[] memory a, int256 numerator, int256 denominator)
        internal
        pure
        returns (int256[] memory result)
    {
        result = new int256[](a.length);
        for (uint256 at = 0; at < a.length; ++at) {
            result[at] = a[at] * numerator / denominator;
        }
    }

    function dot(int256[] memory a, int256[] memory b) internal pure returns (int256 product) {
        for (uint256 at = 0; at < a.length; ++at) {
            product += a[at] * b[at];
        }
    }

    /// @dev The contract's format.
    function pack(Vectors memory round) internal pure returns (bytes memory packed) {
        (int256[][] memory updates, int256[][] memory publicRows) = (round.updates, round.publicRows);
        uint256 n = updates.length;
        packed = new bytes(4 * n * (n + 1) + 16 * (PUBLIC_ROWS * n + PUBLIC_ROWS * (PUBLIC_ROWS + 1) / 2));
        uint256 at = 0;
        for (uint256 i = 0; i < n; ++i) {
            for (uint256 j = i; j < n; ++j) {
                at = put(packed, at, dot(updates[i], updates[j]), 8);
            }
        }
        for (uint256 i = 0; i < n; ++i) {
            for (uint256 k = 0; k < PUBLIC_ROWS; ++k) {
                at = put(packed, at, dot(updates[i], publicRows[k]), 16);
            }
        }
        for (uint256 k = 0; k < PUBLIC_ROWS; ++k) {
            for (uint256 x = k; x < PUBLIC_ROWS; ++x) {
                at = put(packed, at, dot(publicRows[k], publicRows[x]), 16);
            }
        }
    }

    /// @dev Writes the value big-endian and returns where the next one goes.
    function put(bytes memory packed, uint256 at, int256 value, uint256 width) internal pure returns (uint256) {
        for (uint256 place = 0; place < width; ++place) {
            // forge-lint: disable-next-line(unsafe-typecast)
            packed[at + place] = bytes1(uint8(uint256(value >> (8 * (width - 1 - place)))));
        }
        return at + width;
    }

    function decide(RuleTerms memory terms, Vectors memory round) internal view returns (Decision memory) {
        return rules.decide(terms, round.updates.length, false, 0, ONE, pack(round));
    }

    function weightOf(Decision memory decision, uint256 row) internal pure returns (uint256) {
        return decision.weights.entryAt(row, 4);
    }

    function scoreOf(Decision memory decision, uint256 row) internal pure returns (uint256) {
        return decision.scores.entryAt(row, 8);
    }

    function isAccepted(Decision memory decision, uint256 row) internal pure returns (bool) {
        return (decision.accepted >> row) & 1 == 1;
    }
}
