// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Bits} from "./Bits.sol";
import {SeatMask} from "./SeatMask.sol";

/// @notice A graph of at most 15 vertices, of which sets are bit masks.
struct Graph {
    uint256 order;
    uint256[] neighbours; // of a vertex, without itself
    uint256[] distances; // of two neighbours, at order * i + j
}

/// @notice The best clique that a search has found so far.
struct Best {
    uint256 size;
    uint256 total;
    uint256 mask;
}

/// @notice Finds the largest set of vertices of which every two are neighbours.
/// @dev Branch and bound (Carraghan and Pardalos, An exact algorithm for the maximum clique problem, 1990): a branch that
/// cannot reach the size of the best, or only at a greater total, is left. Of 15 vertices a majority has at most 128 cliques
/// of the largest size (seven pairs that are not neighbours, and one vertex).
library Cliques {
    /// @notice The largest clique of at least `minimum` vertices, zero where there is none. Of equally large ones that with
    /// the least sum of distances over its pairs, then the lowest mask.
    function largest(Graph memory graph, uint256 minimum) internal pure returns (uint256 mask) {
        Best memory best = Best({size: minimum - 1, total: 0, mask: 0});
        _grow(graph, best, 0, 0, 0, Bits.only(graph.order) - 1);
        return best.mask;
    }

    /// @notice The member with the least sum of distances to the others, of equals the lowest.
    function medoid(Graph memory graph, uint256 mask) internal pure returns (uint256 found) {
        uint256 least = type(uint256).max;
        for (uint256 vertex = 0; vertex < graph.order; ++vertex) {
            if (!Bits.has(mask, vertex)) continue;
            uint256 total = totalDistance(graph, vertex, mask);
            if (total < least) (least, found) = (total, vertex);
        }
    }

    /// @notice The sum of distances from a vertex to those of a set, itself left out.
    function totalDistance(Graph memory graph, uint256 vertex, uint256 mask) internal pure returns (uint256 total) {
        unchecked {
            uint256 place = graph.order * vertex;
            for (; mask != 0; mask >>= 1) {
                if (mask & 1 != 0) total += graph.distances[place];
                ++place;
            }
        }
    }

    /// @param clique what the branch has, of `size` vertices and with `total` as their sum of distances
    /// @param candidates neighbours of all of them that are still to be tried
    function _grow(
        Graph memory graph,
        Best memory best,
        uint256 clique,
        uint256 size,
        uint256 total,
        uint256 candidates
    ) private pure {
        unchecked {
            if (candidates == 0) {
                _keepIfBetter(best, clique, size, total);
                return;
            }
            // forge-lint: disable-next-line(unsafe-typecast)
            uint256 reach = size + SeatMask.count(uint64(candidates)); // 15 bits
            for (uint256 vertex = 0; candidates >> vertex != 0; ++vertex) {
                if (!Bits.has(candidates, vertex)) continue;
                if (reach < best.size || (reach == best.size && total > best.total)) return;
                candidates ^= Bits.only(vertex);
                --reach;
                _grow(
                    graph,
                    best,
                    clique | Bits.only(vertex),
                    size + 1,
                    total + totalDistance(graph, vertex, clique),
                    candidates & graph.neighbours[vertex]
                );
            }
        }
    }

    function _keepIfBetter(Best memory best, uint256 clique, uint256 size, uint256 total) private pure {
        if (size < best.size) return;
        if (size == best.size) {
            if (total > best.total) return;
            if (total == best.total && clique >= best.mask) return;
        }
        (best.size, best.total, best.mask) = (size, total, clique);
    }
}
