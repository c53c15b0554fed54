// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Bits} from "../../src/libraries/Bits.sol";
import {Cliques, Graph} from "../../src/libraries/Cliques.sol";
import {Hamming} from "../../src/libraries/Hamming.sol";
import {Base} from "../Base.sol";

contract CliquesTest is Base {
    uint256 private constant MAX_ORDER = 15;
    uint256 private constant MAX_SEARCH_GAS = 1_000_000;

    // ------------------------------------------------------------------ against all subsets

    function testFuzz_largest_isThatOfAllSubsets(uint256 seed, uint256 order, uint256 density, uint256 range)
        public
        pure
    {
        Graph memory graph = _random(seed, bound(order, 1, 10), bound(density, 0, 256), bound(range, 1, 4));
        uint256 minimum = graph.order / 2 + 1;
        uint256 expected = _amongSubsets(graph, minimum);
        vm.assertEq(Cliques.largest(graph, minimum), expected);
        if (expected != 0) vm.assertEq(Cliques.medoid(graph, expected), _medoidOf(graph, expected));
    }

    function testFuzz_largest_ofFifteenIsAMajorityOfNeighboursAndMaximal(uint256 seed, uint256 density) public pure {
        Graph memory graph = _random(seed, MAX_ORDER, bound(density, 128, 256), 3);
        uint256 found = Cliques.largest(graph, 8);
        if (found == 0) return;
        vm.assertGe(Hamming.count(found), 8);
        vm.assertTrue(_isClique(graph, found));
        for (uint256 i = 0; i < MAX_ORDER; ++i) {
            if (!Bits.has(found, i)) vm.assertFalse(_isClique(graph, found | Bits.only(i)), "not maximal");
        }
    }

    /// @dev A clique of eight or more is hidden in any graph: what is found is no smaller.
    function testFuzz_largest_ofFifteenFindsWhatIsHidden(uint256 seed, uint256 hidden) public pure {
        Graph memory graph = _random(seed, MAX_ORDER, 128, 3);
        hidden = bound(hidden, 0, Bits.only(MAX_ORDER) - 1);
        vm.assume(Hamming.count(hidden) >= 8);
        for (uint256 i = 0; i < MAX_ORDER; ++i) {
            if (Bits.has(hidden, i)) graph.neighbours[i] |= hidden ^ Bits.only(i);
        }
        vm.assertGe(Hamming.count(Cliques.largest(graph, 8)), Hamming.count(hidden));
    }

    function test_largest_isNoneBelowTheMinimum() public pure {
        Graph memory graph = _partite(3, 5); // cliques of three
        vm.assertEq(Cliques.largest(graph, 4), 0);
        vm.assertEq(Hamming.count(Cliques.largest(graph, 3)), 3);
    }

    // ------------------------------------------------------------------ gas

    /// @dev Seven pairs that are not neighbours and one vertex: 128 cliques of eight, all at the same distance.
    function test_largest_gasOfSevenPairs() public {
        uint256 gas = _gasOf(_partite(7, 2));
        vm.snapshotValue("OutputConsensus", "cliques_15_seven_pairs", gas);
        vm.assertLe(gas, MAX_SEARCH_GAS);
    }

    /// @dev Groups of one, two and three that are no neighbours within.
    function testFuzz_largest_gasOfGroups(uint256 seed, uint256 range) public view {
        vm.assertLe(_gasOf(_grouped(seed, bound(range, 1, 4))), MAX_SEARCH_GAS);
    }

    function testFuzz_largest_gasOfAnyGraph(uint256 seed, uint256 density, uint256 range) public view {
        Graph memory graph = _random(seed, MAX_ORDER, bound(density, 100, 256), bound(range, 1, 1000));
        vm.assertLe(_gasOf(graph), MAX_SEARCH_GAS);
    }

    function _gasOf(Graph memory graph) private view returns (uint256) {
        uint256 before = gasleft();
        Cliques.largest(graph, 8);
        return before - gasleft();
    }

    // ------------------------------------------------------------------ graphs

    /// @param density of 256 pairs how many are neighbours
    /// @param range of the distances: small ones tie
    function _random(uint256 seed, uint256 order, uint256 density, uint256 range)
        private
        pure
        returns (Graph memory graph)
    {
        graph = Cliques.empty(order);
        for (uint256 i = 0; i < order; ++i) {
            for (uint256 j = i + 1; j < order; ++j) {
                uint256 word = uint256(keccak256(abi.encode(seed, i, j)));
                if (word % 256 < density) _join(graph, i, j, (word >> 8) % range);
            }
        }
    }

    /// @dev Groups of the same size, and one vertex where fifteen leaves it; neighbours are those of different groups.
    function _partite(uint256 groups, uint256 size) private pure returns (Graph memory graph) {
        graph = Cliques.empty(MAX_ORDER);
        for (uint256 i = 0; i < MAX_ORDER; ++i) {
            for (uint256 j = i + 1; j < MAX_ORDER; ++j) {
                if (i / size != j / size || i / size >= groups) _join(graph, i, j, 1);
            }
        }
    }

    function _grouped(uint256 seed, uint256 range) private pure returns (Graph memory graph) {
        graph = Cliques.empty(MAX_ORDER);
        uint256[] memory groupOf = new uint256[](MAX_ORDER);
        uint256 group = 0;
        for (uint256 i = 0; i < MAX_ORDER; ++group) {
            uint256 size = 1 + uint256(keccak256(abi.encode(seed, group))) % 3;
            for (uint256 end = i + size; i < end && i < MAX_ORDER; ++i) {
                groupOf[i] = group;
            }
        }
        for (uint256 i = 0; i < MAX_ORDER; ++i) {
            for (uint256 j = i + 1; j < MAX_ORDER; ++j) {
                uint256 word = uint256(keccak256(abi.encode(seed, i, j)));
                if (groupOf[i] != groupOf[j]) _join(graph, i, j, word % range);
            }
        }
    }

    function _join(Graph memory graph, uint256 i, uint256 j, uint256 distance) private pure {
        Cliques.join(graph, i, j);
        Cliques.setDistance(graph, i, j, distance);
    }

    // ------------------------------------------------------------------ by brute force

    function _amongSubsets(Graph memory graph, uint256 minimum) private pure returns (uint256 best) {
        uint256 bestTotal = 0;
        for (uint256 mask = 1; mask < Bits.only(graph.order); ++mask) {
            uint256 size = Hamming.count(mask);
            if (size < minimum || size < Hamming.count(best) || !_isClique(graph, mask)) continue;
            uint256 total = _total(graph, mask);
            if (size == Hamming.count(best) && total >= bestTotal) continue; // ascending: the lowest comes first
            (best, bestTotal) = (mask, total);
        }
    }

    function _isClique(Graph memory graph, uint256 mask) private pure returns (bool) {
        for (uint256 i = 0; i < graph.order; ++i) {
            uint256 others = mask & ~Bits.only(i);
            if (Bits.has(mask, i) && graph.neighbours[i] & others != others) return false;
        }
        return true;
    }

    function _total(Graph memory graph, uint256 mask) private pure returns (uint256 total) {
        for (uint256 i = 0; i < graph.order; ++i) {
            for (uint256 j = i + 1; j < graph.order; ++j) {
                if (Bits.has(mask, i) && Bits.has(mask, j)) total += _distance(graph, i, j);
            }
        }
    }

    function _distance(Graph memory graph, uint256 i, uint256 j) private pure returns (uint256) {
        return ((j < 8 ? graph.low[i] : graph.high[i]) >> (32 * (j % 8))) & 0xffffffff;
    }

    function _medoidOf(Graph memory graph, uint256 mask) private pure returns (uint256 found) {
        uint256 least = type(uint256).max;
        for (uint256 i = 0; i < graph.order; ++i) {
            if (!Bits.has(mask, i)) continue;
            uint256 total = 0;
            for (uint256 j = 0; j < graph.order; ++j) {
                if (Bits.has(mask, j)) total += _distance(graph, i, j);
            }
            if (total < least) (least, found) = (total, i);
        }
    }
}
