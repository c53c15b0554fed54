// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Constituent, PackedTriangle} from "./PackedTriangle.sol";
import {SquareRoot} from "./SquareRoot.sol";

/// @notice The last aggregate divided by the server's rate, and what the updates have of it.
struct Centre {
    int256 square;
    int256[] products; // one a row
}

/// @notice Clips every update to a radius around the last aggregate (Karimireddy et al. 2021), as shares of the rows.
/// @dev docs/rules.md, section 10. Unchecked: inner products, those with the centre included, are at most 2^60 in size and
/// shares, the centre's own included, sum to 2^32, so that products with the point are at most 2^92 and squares 2^127.
library CentredClipping {
    uint256 internal constant ONE = 1 << 32; // Q32
    int256 private constant CENTRE_LIMIT = 1 << 60; // what true rounds stay within

    /// @notice What a centre has in common with one row, from its aggregate's inner product: towards zero, and clamped.
    function divided(int256 product, uint256 divisor) internal pure returns (int256 value) {
        assembly ("memory-safe") {
            value := sdiv(product, divisor)
        }
        if (value > CENTRE_LIMIT) return CENTRE_LIMIT;
        if (value < -CENTRE_LIMIT) return -CENTRE_LIMIT;
    }

    /// @notice Takes so many steps from the centre. Sets the rows' parts, Q32; what they leave of one is the centre's own.
    /// @param position where the inner products lie in the calldata
    /// @param all every row with its square, and no part yet
    /// @param rows those that take part, at least one
    /// @param radiusQ32 in counts of this round, below 2^64
    function share(
        uint256 position,
        Constituent[] memory all,
        uint256 rows,
        Centre memory centre,
        uint256 radiusQ32,
        uint256 steps
    ) internal pure {
        uint256 m = 0;
        for (uint256 left = rows; left != 0; left &= left - 1) {
            ++m;
        }
        uint256 own = ONE;
        uint256[] memory gains = new uint256[](all.length);
        for (uint256 step = 0; step < steps; ++step) {
            int256 square = PackedTriangle.times(position, all);
            // forge-lint: disable-next-line(unsafe-typecast)
            square = _withCentre(all, centre, int256(own), square);
            uint256 kept = _clip(all, rows, square, radiusQ32, m, gains);
            own = _step(all, gains, kept);
        }
    }

    /// @dev Adds the centre's own part to the point, and returns the square of the whole.
    function _withCentre(Constituent[] memory all, Centre memory centre, int256 own, int256 square)
        private
        pure
        returns (int256)
    {
        unchecked {
            square += own * own * centre.square;
            for (uint256 i = 0; i < all.length; ++i) {
                Constituent memory row = all[i];
                int256 shared = own * centre.products[i];
                // forge-lint: disable-next-line(unsafe-typecast)
                square += 2 * int256(row.part) * shared;
                row.along += shared;
            }
            return square;
        }
    }

    /// @dev Every row gains its clipped m-th. Returns what is left of one, for what is there already.
    function _clip(
        Constituent[] memory all,
        uint256 rows,
        int256 pointSquare,
        uint256 radiusQ32,
        uint256 m,
        uint256[] memory gains
    ) private pure returns (uint256 kept) {
        unchecked {
            kept = ONE;
            for (uint256 i = 0; i < all.length; ++i) {
                if ((rows >> i) & 1 == 0) continue;
                Constituent memory row = all[i];
                // forge-lint: disable-next-line(unsafe-typecast)
                int256 square = int256(row.square << 64) - (row.along << 33) + pointSquare;
                // forge-lint: disable-next-line(unsafe-typecast)
                uint256 distance = square > 0 ? SquareRoot.floor(uint256(square)) : 0; // Q32
                uint256 gain = (distance <= radiusQ32 ? ONE : (radiusQ32 << 32) / distance) / m;
                gains[i] = gain;
                kept -= gain;
            }
        }
    }

    /// @dev Returns the centre's part.
    function _step(Constituent[] memory all, uint256[] memory gains, uint256 kept) private pure returns (uint256 own) {
        unchecked {
            own = ONE;
            for (uint256 i = 0; i < all.length; ++i) {
                Constituent memory row = all[i];
                uint256 part = ((row.part * kept) >> 32) + gains[i];
                row.part = part;
                own -= part;
            }
        }
    }
}
