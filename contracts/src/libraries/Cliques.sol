// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Bits} from "./Bits.sol";
import {SeatMask} from "./SeatMask.sol";

/// @notice A graph of at most 15 vertices, of which sets are bit masks.
/// @dev A vertex's distances are 32 bits each in two words: those to vertices 0 to 7, and to the others. Rows are added as
/// words: what a lane holds is at most 14 distances of at most 2^16.
struct Graph {
    uint256 order;
    uint256[] neighbours; // of a vertex, without itself
    uint256[] low;
    uint256[] high;
}

/// @notice What a search has so far: a clique, or the best one.
struct Branch {
    uint256 clique;
    uint256 size;
    uint256 total; // sum of distances over its pairs
    uint256 candidates; // neighbours of all its members that are still to be tried
    uint256 low; // a vertex's distances to all its members, as in the graph
    uint256 high;
}

/// @notice Finds the largest set of vertices of which every two are neighbours.
/// @dev Branch and bound (Carraghan and Pardalos, An exact algorithm for the maximum clique problem, 1990): a branch that
/// cannot have as many as the best, or only at a greater total, is left; and pivots (Bron and Kerbosch, Finding all cliques of
/// an undirected graph, 1973). Seven pairs that are not neighbours, and one vertex, have 128 cliques of eight.
library Cliques {
    uint256 private constant LANES = 8;
    uint256 private constant LANE_BITS = 32;
    uint256 private constant LANE_MASK = 0xffffffff;

    function empty(uint256 order) internal pure returns (Graph memory) {
        return
            Graph({
                order: order, neighbours: new uint256[](order), low: new uint256[](order), high: new uint256[](order)
            });
    }

    /// @notice Makes two vertices neighbours.
    function join(Graph memory graph, uint256 i, uint256 j) internal pure {
        graph.neighbours[i] |= Bits.only(j);
        graph.neighbours[j] |= Bits.only(i);
    }

    /// @notice Says how far two vertices are from each other, once.
    function setDistance(Graph memory graph, uint256 i, uint256 j, uint256 distance) internal pure {
        _setLane(graph, i, j, distance);
        _setLane(graph, j, i, distance);
    }

    /// @notice The largest clique of at least `minimum` vertices, zero where there is none. Of equally large ones that with
    /// the least sum of distances over its pairs, then the lowest mask.
    function largest(Graph memory graph, uint256 minimum) internal pure returns (uint256) {
        Branch memory best;
        best.size = minimum - 1;
        Branch memory root;
        root.candidates = Bits.only(graph.order) - 1;
        _grow(graph, best, root);
        return best.clique;
    }

    /// @notice The member with the least sum of distances to the others, of equals the lowest.
    function medoid(Graph memory graph, uint256 clique) internal pure returns (uint256 found) {
        (uint256 low, uint256 high) = (0, 0);
        for (uint256 vertex = 0; vertex < graph.order; ++vertex) {
            if (!Bits.has(clique, vertex)) continue;
            low += graph.low[vertex];
            high += graph.high[vertex];
        }
        uint256 least = type(uint256).max;
        for (uint256 vertex = 0; vertex < graph.order; ++vertex) {
            if (!Bits.has(clique, vertex)) continue;
            uint256 total = _lane(low, high, vertex);
            if (total < least) (least, found) = (total, vertex);
        }
    }

    /// @dev Branches are the lowest candidate and those that are not its neighbours: a clique with none of them could have that
    /// candidate too, and is not the largest.
    function _grow(Graph memory graph, Branch memory best, Branch memory branch) private pure {
        unchecked {
            uint256 candidates = branch.candidates;
            uint256 vertex = 0;
            while (!Bits.has(candidates, vertex)) ++vertex;
            uint256 branches = candidates & ~graph.neighbours[vertex];
            for (; branches >> vertex != 0; ++vertex) {
                if (!Bits.has(branches, vertex)) continue;
                candidates ^= Bits.only(vertex);
                uint256 left = candidates & graph.neighbours[vertex];
                // forge-lint: disable-next-line(unsafe-typecast)
                uint256 reach = branch.size + 1 + SeatMask.count(uint64(left)); // 15 bits
                if (reach < best.size) continue;
                uint256 total = branch.total + _lane(branch.low, branch.high, vertex);
                if (reach == best.size && total > best.total) continue;
                Branch memory child = Branch({
                    clique: branch.clique | Bits.only(vertex),
                    size: branch.size + 1,
                    total: total,
                    candidates: left,
                    low: branch.low + graph.low[vertex],
                    high: branch.high + graph.high[vertex]
                });
                if (left == 0) _keepIfBetter(best, child);
                else _grow(graph, best, child);
            }
        }
    }

    function _keepIfBetter(Branch memory best, Branch memory found) private pure {
        if (found.size < best.size) return;
        if (found.size == best.size) {
            if (found.total > best.total) return;
            if (found.total == best.total && found.clique >= best.clique) return;
        }
        (best.clique, best.size, best.total) = (found.clique, found.size, found.total);
    }

    function _setLane(Graph memory graph, uint256 from, uint256 to, uint256 distance) private pure {
        uint256 lane = distance << (LANE_BITS * (to % LANES));
        if (to < LANES) graph.low[from] |= lane;
        else graph.high[from] |= lane;
    }

    function _lane(uint256 low, uint256 high, uint256 vertex) private pure returns (uint256) {
        uint256 word = vertex < LANES ? low : high;
        return (word >> (LANE_BITS * (vertex % LANES))) & LANE_MASK;
    }
}
