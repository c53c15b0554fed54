// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IRoundRules} from "../interfaces/IRoundRules.sol";
import {SquareRoot} from "./SquareRoot.sol";

/// @notice An update's row of the matrix.
struct Row {
    uint256 square; // G_ii
    uint256 residual; // R_ii: the same once the public rows are projected out
    int256[5] along; // inner products with the orthonormal public directions, Q16: a row of the Cholesky factor
    uint256 bar; // T·G_ii, Q64
    uint256 agreeing; // bit j: with row j it shares more than chance, provided that both are audible
}

/// @notice The matrix of a round, checked, and what is left of it once the public rows are projected out.
struct GramMatrix {
    Row[] rows; // the updates
    int256[] residuals; // R_ij for i < j, row by row
    uint256 audible; // bit i: R_ii is above zero
    uint256 products; // where the packed G_ij begin in the calldata: int64, row by row, diagonal included
}

/// @notice Reads a packed Gram matrix, refuses what no vectors in range have, and projects the public rows out.
/// @dev docs/rules.md, sections 1 to 3. Arithmetic is unchecked, because these bounds hold for every matrix that passes the
/// checks, whether real vectors have it or not: squares of updates are at most 2^60 and of public rows 2^124; by
/// Cauchy-Schwarz |A_xk| <= 2^124; factors are clamped to 2^48 and 2^79, and a row that becomes a direction has
/// |L_km| <= 2^78; so numerators stay below 2^160, sums of squares below 2^161, and |R_ij| < 2^67. T is at most 2^80.
library Gram {
    /// @dev The public rows, factorised. A direction that is not there has the pivot zero.
    struct Directions {
        uint256[5] square; // P_kk
        int256[5][5] along; // the Cholesky factor, lower triangle, Q16; the pivots are its diagonal
    }

    uint256 internal constant MAX_ROWS = 64;
    uint256 internal constant PUBLIC_ROWS = 5;

    uint256 private constant UPDATE_SQUARE = 1 << 30; // largest square of a coordinate: updates,
    uint256 private constant AGGREGATE_SQUARE = 1 << 66; // aggregates,
    uint256 private constant MODEL_SQUARE = 1 << 94; // models
    uint256 private constant AGGREGATES = 3; // how many of the public rows are aggregates; the rest are models
    int256 private constant UPDATE_LIMIT = 1 << 48;
    int256 private constant PUBLIC_LIMIT = 1 << 79;
    uint256 private constant DEPENDENT_SHIFT = 24; // a public row of which no more than 2^-24 is new is skipped

    /// @notice Reads, checks, projects, and compares every pair of rows with chance.
    /// @param packed the packed matrix
    /// @param n number of updates
    /// @param dimension length of the vectors
    /// @param chanceQ64 T, the square of the cosine above which two rows share more than chance
    function unpack(bytes calldata packed, uint256 n, uint256 dimension, uint256 chanceQ64)
        internal
        pure
        returns (GramMatrix memory gram)
    {
        if (n > MAX_ROWS) revert IRoundRules.TooManyRows(n, MAX_ROWS);
        unchecked {
            uint256 triangle = 4 * n * (n + 1);
            uint256 expected = packedLength(n);
            if (packed.length != expected) revert IRoundRules.GramLength(packed.length, expected);

            uint256 products;
            assembly ("memory-safe") {
                products := packed.offset
            }
            uint256 mixed = products + triangle;
            gram.products = products;
            gram.rows = _readSquares(products, n, dimension, chanceQ64);
            gram.audible = _project(gram.rows, _factorise(mixed + 16 * PUBLIC_ROWS * n, n, dimension), mixed);
            gram.residuals = _compareAll(gram.rows, products);
        }
    }

    /// @notice How many bytes the packed matrix of n updates has.
    function packedLength(uint256 n) internal pure returns (uint256) {
        unchecked {
            // Of n entries that a caller brought along: nothing overflows.
            return 4 * n * (n + 1) + 16 * (PUBLIC_ROWS * n + PUBLIC_ROWS * (PUBLIC_ROWS + 1) / 2);
        }
    }

    /// @notice The integer that the calldata holds there in eight bytes.
    function int64At(uint256 position) internal pure returns (int256 value) {
        assembly ("memory-safe") {
            value := sar(192, calldataload(position))
        }
    }

    /// @notice Where the first entry lies in memory: loops over all pairs walk on from there, entry by entry.
    function start(int256[] memory entries) internal pure returns (uint256 cursor) {
        assembly ("memory-safe") {
            cursor := add(entries, 0x20)
        }
    }

    function _int128At(uint256 position) private pure returns (int256 value) {
        assembly ("memory-safe") {
            value := sar(128, calldataload(position))
        }
    }

    function _readSquares(uint256 position, uint256 n, uint256 dimension, uint256 chanceQ64)
        private
        pure
        returns (Row[] memory rows)
    {
        rows = new Row[](n);
        unchecked {
            uint256 largest = dimension * UPDATE_SQUARE;
            for (uint256 i = 0; i < n; ++i) {
                Row memory row = rows[i];
                uint256 square = _checkedSquare(int64At(position), largest, i);
                row.square = square;
                row.bar = chanceQ64 * square;
                position += 8 * (n - i);
            }
        }
    }

    function _checkedSquare(int256 value, uint256 largest, uint256 row) private pure returns (uint256) {
        // forge-lint: disable-next-line(unsafe-typecast)
        if (value < 0 || uint256(value) > largest) revert IRoundRules.GramDiagonal(row, value);
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint256(value);
    }

    /// @dev Cholesky factorisation of the public rows, row by row. A zero or dependent row gets the pivot zero, and with it
    /// zeros in its column.
    function _factorise(uint256 position, uint256 n, uint256 dimension)
        private
        pure
        returns (Directions memory directions)
    {
        _readPublicSquares(directions, position, n, dimension);
        _readPublicProducts(directions, position, n);
        unchecked {
            for (uint256 k = 0; k < PUBLIC_ROWS; ++k) {
                int256[5] memory along = directions.along[k];
                _solve(along, directions, PUBLIC_LIMIT);
                uint256 square = directions.square[k];
                // forge-lint: disable-next-line(unsafe-typecast)
                int256 left = int256(square) - (_dot(along, along) >> 32);
                // forge-lint: disable-next-line(unsafe-typecast)
                if (left > int256(square >> DEPENDENT_SHIFT)) along[k] = int256(SquareRoot.floor(uint256(left) << 32));
            }
        }
    }

    function _readPublicSquares(Directions memory directions, uint256 position, uint256 n, uint256 dimension)
        private
        pure
    {
        unchecked {
            for (uint256 k = 0; k < PUBLIC_ROWS; ++k) {
                uint256 largest = dimension * (k < AGGREGATES ? AGGREGATE_SQUARE : MODEL_SQUARE);
                directions.square[k] = _checkedSquare(_int128At(position), largest, n + k);
                position += 16 * (PUBLIC_ROWS - k);
            }
        }
    }

    /// @dev The packed upper triangle, into the lower one.
    function _readPublicProducts(Directions memory directions, uint256 position, uint256 n) private pure {
        unchecked {
            uint256[5] memory squares = directions.square;
            for (uint256 k = 0; k < PUBLIC_ROWS; ++k) {
                uint256 square = squares[k];
                position += 16;
                for (uint256 x = k + 1; x < PUBLIC_ROWS; ++x) {
                    int256 product = _int128At(position);
                    // forge-lint: disable-next-line(unsafe-typecast)
                    if (uint256(product * product) > square * squares[x]) {
                        revert IRoundRules.GramCauchySchwarz(n + k, n + x);
                    }
                    directions.along[x][k] = product;
                    position += 16;
                }
            }
        }
    }

    /// @dev Reads and checks every update's inner products with the public rows, and takes the public part out of it.
    function _project(Row[] memory rows, Directions memory directions, uint256 position)
        private
        pure
        returns (uint256 audible)
    {
        unchecked {
            uint256 n = rows.length;
            for (uint256 i = 0; i < n; ++i) {
                Row memory row = rows[i];
                int256[5] memory along = row.along;
                _readMixed(row, directions.square, position, i, n);
                position += 16 * PUBLIC_ROWS;
                _solve(along, directions, UPDATE_LIMIT);
                // forge-lint: disable-next-line(unsafe-typecast)
                int256 left = int256(row.square) - (_dot(along, along) >> 32);
                // forge-lint: disable-next-line(unsafe-typecast)
                if (left > 0) (row.residual, audible) = (uint256(left), audible | uint256(1) << i);
            }
        }
    }

    /// @dev Reads one update's inner products with the public rows.
    function _readMixed(Row memory row, uint256[5] memory publicSquares, uint256 position, uint256 i, uint256 n)
        private
        pure
    {
        unchecked {
            (int256[5] memory along, uint256 square, uint256 bound) = (row.along, row.square, 0);
            int256 product;
            for (uint256 at = 0; at < 0x20 * PUBLIC_ROWS; at += 0x20) {
                assembly ("memory-safe") {
                    product := sar(128, calldataload(add(position, shr(1, at))))
                    bound := mul(square, mload(add(publicSquares, at)))
                    mstore(add(along, at), product)
                }
                // forge-lint: disable-next-line(unsafe-typecast)
                if (uint256(product * product) > bound) revert IRoundRules.GramCauchySchwarz(i, n + at / 0x20);
            }
        }
    }

    /// @dev Forward substitution in place: inner products with the public rows become those with the directions, Q16.
    /// A direction that is not there, or not yet, has the pivot zero and takes nothing.
    function _solve(int256[5] memory x, Directions memory directions, int256 limit) private pure {
        unchecked {
            int256[5][5] memory factor = directions.along;
            int256[5] memory d = factor[0];
            int256 x0 = _quotient(x[0] << 32, d[0], limit);
            d = factor[1];
            int256 x1 = _quotient((x[1] << 32) - x0 * d[0], d[1], limit);
            d = factor[2];
            int256 x2 = _quotient((x[2] << 32) - x0 * d[0] - x1 * d[1], d[2], limit);
            d = factor[3];
            int256 x3 = _quotient((x[3] << 32) - x0 * d[0] - x1 * d[1] - x2 * d[2], d[3], limit);
            d = factor[4];
            x[4] = _quotient((x[4] << 32) - x0 * d[0] - x1 * d[1] - x2 * d[2] - x3 * d[3], d[4], limit);
            (x[0], x[1], x[2], x[3]) = (x0, x1, x2, x3);
        }
    }

    /// @dev Rounds towards zero; zero where the pivot is; clamped.
    function _quotient(int256 numerator, int256 pivot, int256 limit) private pure returns (int256 value) {
        assembly ("memory-safe") {
            value := sdiv(numerator, pivot)
        }
        unchecked {
            // One comparison for both sides: what is below -limit becomes a very large unsigned number.
            // forge-lint: disable-next-line(unsafe-typecast)
            if (uint256(value + limit) > uint256(2 * limit)) return value < 0 ? -limit : limit;
        }
    }

    /// @dev The one pass over all pairs of updates.
    function _compareAll(Row[] memory rows, uint256 position) private pure returns (int256[] memory residuals) {
        unchecked {
            uint256 n = rows.length;
            residuals = new int256[](n * (n - 1) / 2);
            uint256 cursor = start(residuals);
            for (uint256 i = 0; i < n; ++i) {
                position += 8;
                _compareWithLater(rows, i, position, cursor);
                uint256 later = n - 1 - i;
                position += 8 * later;
                cursor += 0x20 * later;
            }
        }
    }

    /// @dev Of every pair: checks it, projects it, and asks each of the two whether it shares more than chance with the
    /// other. Squared residuals are below 2^134, so 2^198 in Q64; a bar times a residual is below 2^207.
    function _compareWithLater(Row[] memory rows, uint256 i, uint256 position, uint256 cursor) private pure {
        unchecked {
            Row memory a = rows[i];
            Row memory b = a; // a pointer that the loop moves; without a value it would be a fresh struct
            (uint256 square, uint256 bar, uint256 residual) = (a.square, a.bar, a.residual);
            (uint256 n, uint256 agreeing) = (rows.length, a.agreeing);
            for (uint256 j = i + 1; j < n; ++j) {
                int256 shared;
                assembly ("memory-safe") {
                    b := mload(add(add(rows, 0x20), shl(5, j)))
                    shared := sar(192, calldataload(position))
                }
                // forge-lint: disable-next-line(unsafe-typecast)
                if (uint256(shared * shared) > square * b.square) revert IRoundRules.GramCauchySchwarz(i, j);
                shared -= _dot(a.along, b.along) >> 32;
                assembly ("memory-safe") {
                    mstore(cursor, shared)
                }
                position += 8;
                cursor += 0x20;
                if (shared <= 0) continue;
                // forge-lint: disable-next-line(unsafe-typecast)
                uint256 evidence = uint256(shared * shared) << 64;
                if (evidence > bar * b.residual) agreeing |= uint256(1) << j;
                if (evidence > b.bar * residual) b.agreeing |= uint256(1) << i;
            }
            a.agreeing = agreeing;
        }
    }

    function _dot(int256[5] memory a, int256[5] memory b) private pure returns (int256 product) {
        assembly ("memory-safe") {
            product := add(
                add(
                    add(mul(mload(a), mload(b)), mul(mload(add(a, 0x20)), mload(add(b, 0x20)))),
                    add(mul(mload(add(a, 0x40)), mload(add(b, 0x40))), mul(mload(add(a, 0x60)), mload(add(b, 0x60))))
                ),
                mul(mload(add(a, 0x80)), mload(add(b, 0x80)))
            )
        }
    }
}
