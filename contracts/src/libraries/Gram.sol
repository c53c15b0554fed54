// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IRoundRules} from "../interfaces/IRoundRules.sol";
import {SquareRoot} from "./SquareRoot.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @notice An update's row of the matrix.
struct Row {
    uint256 company; // below bit 32 its likenesses, from there on who agrees with it: a pair adds to both at once
    uint256 square; // G_ii
    uint256 residual; // R_ii: the same once the public rows are projected out
    uint256 bar; // T·G_ii, Q64
    uint256 norm; // √R_ii, Q16
    // Inner products with the five orthonormal public directions, Q16: the row of the Cholesky factor. They are there twice,
    // two to a word, so that one multiplication of lanes by mirrored ones makes two products:
    // (a + b·2^128)·(d + c·2^128) = (a·c + b·d)·2^128 + a·d, as the machine drops what lies above bit 256.
    int256 lanes;
    int256 lanes2;
    int256 lanes3;
    int256 mirrored;
    int256 mirrored2;
    int256 mirrored3;
    uint256 length; // √G_ii, Q16; zero where nobody has asked for it yet
}

/// @notice The row r of the round's exam, once the public rows are projected out. All zero where no exam counts.
struct ExamRow {
    uint256 residual; // R_rr
    uint256 norm; // √R_rr, Q16
    uint256 passing; // bit i: row i passes, as `ExamRecords` finds
    bool accepts; // whether a rule kept the passing
    int256[] products; // R_ir
}

/// @notice The matrix of a round, checked, and what is left of it once the public rows are projected out.
struct GramMatrix {
    Row[] rows; // the updates
    // For i < j, row by row: R_ij·2^128 + (1 - partial cosine)·R_ij, Q16, which is what the two share and, below it, how much
    // of that is new. A multiple of a pair is that of both, and so is a sum of pairs, until it is split.
    int256[] pairs;
    uint256 audible; // bit i: R_ii is above zero
    uint256 products; // where the packed G_ij begin in the calldata: int64, row by row, diagonal included
    uint256 publicRows; // how many there are: int128 of every update with each of them follow, then theirs with each other
    ExamRow exam;
}

/// @notice Reads a packed Gram matrix, refuses what no vectors in range have, and projects the public rows out.
/// @dev docs/rules.md, sections 1 to 3. Arithmetic is unchecked, because these bounds hold for every matrix that passes the
/// checks, whether real vectors have it or not: squares of updates are at most 2^60 and of public rows 2^124; by
/// Cauchy-Schwarz |A_xk| <= 2^124; factors are clamped to 2^48 and 2^79, and a row that becomes a direction has
/// |L_km| <= 2^78; so numerators stay below 2^160, sums of squares below 2^161, and |R_ij| < 2^67. T is at most 2^80.
/// Of r: its square is at most 2^92 and factors are clamped to 2^64, so |A_ir| <= 2^76 and |R_ir| < 2^84; its square in Q64 is
/// below 2^232, and so is at most T·G_ii·R_rr.
library Gram {
    /// @dev The public rows, factorised. A direction that is not there has the pivot zero.
    struct Directions {
        uint256[6] square; // P_kk, the last of r
        int256[5][6] along; // the Cholesky factor, lower triangle, Q16; the pivots are its diagonal, r has none
    }

    // Where the fields of a `Row` lie in memory: `company` first.
    uint256 private constant SQUARE = 0x20;
    uint256 private constant RESIDUAL = 0x40;
    uint256 private constant BAR = 0x60;
    uint256 private constant NORM = 0x80;
    uint256 private constant LANES = 0xa0;
    uint256 private constant LANES_2 = 0xc0;
    uint256 private constant LANES_3 = 0xe0;
    uint256 private constant MIRRORED = 0x100;
    uint256 private constant MIRRORED_2 = 0x120;
    uint256 private constant MIRRORED_3 = 0x140;
    uint256 private constant ONE = 0x10000; // Q16
    uint256 private constant HALF = 0x80000000000000000000000000000000; // 2^127
    uint256 private constant ALL_NEW = 0x100000000000000000000000000010000; // 2^128 + ONE: makes a pair of a residual
    uint256 private constant LIKENESSES = 0xffffffff; // of a row's company: they sum to less than 2^22
    uint256 private constant FIRST_AGREEING = 0x100000000; // the first row's bit there
    uint256 private constant AGREEING_SHIFT = 32;

    uint256 internal constant MAX_ROWS = 64;
    uint256 internal constant PUBLIC_ROWS = 5;

    uint256 private constant EXAM = 5; // r among the public rows
    uint256 private constant UPDATE_SQUARE = 1 << 30; // largest square of a coordinate: updates,
    uint256 private constant AGGREGATE_SQUARE = 1 << 66; // aggregates,
    uint256 private constant MODEL_SQUARE = 1 << 94; // models,
    uint256 private constant EXAM_SQUARE = 1 << 62; // r
    uint256 private constant AGGREGATES = 3; // how many of the public rows are aggregates; two models follow
    int256 private constant UPDATE_LIMIT = 1 << 48;
    int256 private constant PUBLIC_LIMIT = 1 << 79;
    int256 private constant EXAM_LIMIT = 1 << 64;
    uint256 private constant DEPENDENT_SHIFT = 24; // a public row of which no more than 2^-24 is new is skipped, r too

    /// @notice Reads, checks, projects, and compares every pair of rows with chance.
    /// @param packed the packed matrix
    /// @param n number of updates
    /// @param examined whether r is the sixth public row
    /// @param dimension length of the vectors
    /// @param chanceQ64 T, the square of the cosine above which two rows share more than chance
    function unpack(bytes calldata packed, uint256 n, bool examined, uint256 dimension, uint256 chanceQ64)
        internal
        pure
        returns (GramMatrix memory gram)
    {
        if (n > MAX_ROWS) revert IRoundRules.TooManyRows(n, MAX_ROWS);
        unchecked {
            uint256 publicRows = examined ? PUBLIC_ROWS + 1 : PUBLIC_ROWS;
            uint256 expected = packedLength(n, publicRows);
            if (packed.length != expected) revert IRoundRules.GramLength(packed.length, expected);

            uint256 products;
            assembly ("memory-safe") {
                products := packed.offset
            }
            (gram.products, gram.publicRows) = (products, publicRows);
            gram.rows = _readSquares(products, n, dimension, chanceQ64);
            uint256 mixed = products + 4 * n * (n + 1);
            Directions memory directions = _factorise(mixed + 16 * publicRows * n, n, publicRows, dimension);
            if (examined) _prepare(gram.exam, directions, n);
            gram.audible = _project(gram, directions, mixed, 16 * publicRows);
            _compareAll(gram);
        }
    }

    /// @notice How many bytes the packed matrix of n updates has, with so many public rows.
    function packedLength(uint256 n, uint256 publicRows) internal pure returns (uint256) {
        unchecked {
            // Of n entries that a caller brought along: nothing overflows.
            return 4 * n * (n + 1) + 16 * publicRows * n + 8 * publicRows * (publicRows + 1);
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

    /// @notice The two parts of a pair, or of a sum of multiples of pairs, of which the lower is below 2^127 in size.
    function split(int256 pair) internal pure returns (int256 whole, int256 fresh) {
        assembly ("memory-safe") {
            fresh := signextend(15, pair)
            whole := sar(128, sub(pair, fresh))
        }
    }

    /// @notice The partial cosine of a pair, Q16, a negative one as zero.
    function likeness(int256 pair) internal pure returns (uint256 value) {
        (int256 whole, int256 fresh) = split(pair);
        assembly ("memory-safe") {
            value := sdiv(sub(shl(16, whole), fresh), whole) // exact; zero where nothing is shared
        }
    }

    /// @notice The sum of a row's partial cosines with all others, Q16, negative ones as zero.
    function likenesses(Row memory row) internal pure returns (uint256) {
        return row.company & LIKENESSES;
    }

    /// @notice Bit j: with row j it shares more than chance, provided that both are audible.
    function agreeing(Row memory row) internal pure returns (uint256) {
        return row.company >> AGREEING_SHIFT;
    }

    /// @notice The integer that the calldata holds there in sixteen bytes.
    function int128At(uint256 position) internal pure returns (int256 value) {
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

    function _checkedSquare(int256 value, uint256 largest, uint256 row) private pure returns (uint256 square) {
        // forge-lint: disable-next-line(unsafe-typecast)
        square = uint256(value); // very large where the value is negative
        if (square > largest) revert IRoundRules.GramDiagonal(row, value);
    }

    /// @dev Cholesky factorisation of the public rows, row by row. A zero or dependent row gets the pivot zero, and with it
    /// zeros in its column. Of r only the products are read.
    function _factorise(uint256 position, uint256 n, uint256 publicRows, uint256 dimension)
        private
        pure
        returns (Directions memory directions)
    {
        _readPublicSquares(directions, position, n, publicRows, dimension);
        _readPublicProducts(directions, position, n, publicRows);
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

    /// @dev r is no direction: it is taken apart along those that there are, and asks what is left.
    function _prepare(ExamRow memory exam, Directions memory directions, uint256 n) private pure {
        unchecked {
            exam.products = new int256[](n);
            int256[5] memory along = directions.along[EXAM];
            _solve(along, directions, EXAM_LIMIT);
            uint256 square = directions.square[EXAM];
            // forge-lint: disable-next-line(unsafe-typecast)
            int256 left = int256(square) - (_dot(along, along) >> 32);
            // forge-lint: disable-next-line(unsafe-typecast)
            if (left <= int256(square >> DEPENDENT_SHIFT)) return;
            // forge-lint: disable-next-line(unsafe-typecast)
            (exam.residual, exam.norm) = (uint256(left), SquareRoot.floor(uint256(left) << 32));
        }
    }

    function _readPublicSquares(
        Directions memory directions,
        uint256 position,
        uint256 n,
        uint256 publicRows,
        uint256 dimension
    ) private pure {
        unchecked {
            for (uint256 k = 0; k < publicRows; ++k) {
                uint256 square = k < AGGREGATES ? AGGREGATE_SQUARE : k < EXAM ? MODEL_SQUARE : EXAM_SQUARE;
                directions.square[k] = _checkedSquare(int128At(position), dimension * square, n + k);
                position += 16 * (publicRows - k);
            }
        }
    }

    /// @dev The packed upper triangle, into the lower one.
    function _readPublicProducts(Directions memory directions, uint256 position, uint256 n, uint256 publicRows)
        private
        pure
    {
        unchecked {
            uint256[6] memory squares = directions.square;
            for (uint256 k = 0; k < PUBLIC_ROWS; ++k) {
                uint256 square = squares[k];
                position += 16;
                for (uint256 x = k + 1; x < publicRows; ++x) {
                    int256 product = int128At(position);
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
    /// @param stride bytes that an update has of them: more than five where r is one
    function _project(GramMatrix memory gram, Directions memory directions, uint256 position, uint256 stride)
        private
        pure
        returns (uint256 audible)
    {
        unchecked {
            Row[] memory rows = gram.rows;
            uint256 n = rows.length;
            uint256[6] memory squares = directions.square;
            int256[5] memory along; // of one row after the other
            for (uint256 i = 0; i < n; ++i) {
                Row memory row = rows[i];
                _readMixed(along, row.square, squares, position, i, n);
                _solve(along, directions, UPDATE_LIMIT);
                // forge-lint: disable-next-line(unsafe-typecast)
                int256 left = int256(row.square) - (_keep(along, row) >> 32);
                if (stride != 16 * PUBLIC_ROWS) _examine(gram, directions, along, position + 16 * EXAM, i);
                position += stride;
                if (left <= 0) continue;
                // forge-lint: disable-next-line(unsafe-typecast)
                uint256 residual = uint256(left);
                (row.residual, row.norm) = (residual, SquareRoot.floor(residual << 32));
                audible |= uint256(1) << i;
            }
        }
    }

    /// @dev Reads and checks one update's inner product with r, and takes the public part out of it.
    function _examine(
        GramMatrix memory gram,
        Directions memory directions,
        int256[5] memory along,
        uint256 position,
        uint256 i
    ) private pure {
        unchecked {
            int256 product = int128At(position);
            Row memory row = gram.rows[i];
            // forge-lint: disable-next-line(unsafe-typecast)
            if (uint256(product * product) > row.square * directions.square[EXAM]) {
                revert IRoundRules.GramCauchySchwarz(i, gram.rows.length + EXAM);
            }
            ExamRow memory exam = gram.exam;
            product -= _dot(along, directions.along[EXAM]) >> 32;
            exam.products[i] = product;
        }
    }

    /// @dev Returns the square of what it keeps.
    function _keep(int256[5] memory along, Row memory row) private pure returns (int256 square) {
        unchecked {
            (int256 a, int256 b) = (along[0], along[1]);
            (row.lanes, row.mirrored) = (a + (b << 128), b + (a << 128));
            square = a * a + b * b;
            (a, b) = (along[2], along[3]);
            (row.lanes2, row.mirrored2) = (a + (b << 128), b + (a << 128));
            square += a * a + b * b;
            a = along[4];
            (row.lanes3, row.mirrored3) = (a << 128, a);
            square += a * a;
        }
    }

    /// @dev Reads one update's inner products with the public rows: two in a word of calldata.
    function _readMixed(
        int256[5] memory along,
        uint256 square,
        uint256[6] memory publicSquares,
        uint256 position,
        uint256 i,
        uint256 n
    ) private pure {
        uint256 refused = 0; // bit k: with public row k it violates the inequality
        assembly ("memory-safe") {
            let pair := calldataload(position)
            let product := sar(128, pair)
            mstore(along, product)
            refused := gt(mul(product, product), mul(square, mload(publicSquares)))
            product := signextend(15, pair)
            mstore(add(along, 0x20), product)
            refused := or(refused, shl(1, gt(mul(product, product), mul(square, mload(add(publicSquares, 0x20))))))
            pair := calldataload(add(position, 0x20))
            product := sar(128, pair)
            mstore(add(along, 0x40), product)
            refused := or(refused, shl(2, gt(mul(product, product), mul(square, mload(add(publicSquares, 0x40))))))
            product := signextend(15, pair)
            mstore(add(along, 0x60), product)
            refused := or(refused, shl(3, gt(mul(product, product), mul(square, mload(add(publicSquares, 0x60))))))
            product := sar(128, calldataload(add(position, 0x40)))
            mstore(add(along, 0x80), product)
            refused := or(refused, shl(4, gt(mul(product, product), mul(square, mload(add(publicSquares, 0x80))))))
        }
        if (refused != 0) revert IRoundRules.GramCauchySchwarz(i, n + Math.log2(refused & (~refused + 1)));
    }

    /// @dev Forward substitution in place: inner products with the public rows become those with the directions, Q16. Each is
    /// rounded towards zero and clamped. A direction that is not there, or not yet, has the pivot zero and takes nothing.
    function _solve(int256[5] memory x, Directions memory directions, int256 limit) private pure {
        int256[5][6] memory factor = directions.along;
        assembly ("memory-safe") {
            // One comparison for both sides: what is below -limit becomes a very large unsigned number.
            let span := add(limit, limit)
            let d := mload(factor)
            let x0 := sdiv(shl(32, mload(x)), mload(d))
            if gt(add(x0, limit), span) { x0 := mul(limit, or(1, sar(255, x0))) }

            d := mload(add(factor, 0x20))
            let x1 := sub(shl(32, mload(add(x, 0x20))), mul(x0, mload(d)))
            x1 := sdiv(x1, mload(add(d, 0x20)))
            if gt(add(x1, limit), span) { x1 := mul(limit, or(1, sar(255, x1))) }

            d := mload(add(factor, 0x40))
            let x2 := sub(shl(32, mload(add(x, 0x40))), add(mul(x0, mload(d)), mul(x1, mload(add(d, 0x20)))))
            x2 := sdiv(x2, mload(add(d, 0x40)))
            if gt(add(x2, limit), span) { x2 := mul(limit, or(1, sar(255, x2))) }

            d := mload(add(factor, 0x60))
            let x3 := sub(shl(32, mload(add(x, 0x60))), add(mul(x0, mload(d)), mul(x1, mload(add(d, 0x20)))))
            x3 := sdiv(sub(x3, mul(x2, mload(add(d, 0x40)))), mload(add(d, 0x60)))
            if gt(add(x3, limit), span) { x3 := mul(limit, or(1, sar(255, x3))) }

            d := mload(add(factor, 0x80))
            let x4 := sub(shl(32, mload(add(x, 0x80))), add(mul(x0, mload(d)), mul(x1, mload(add(d, 0x20)))))
            x4 := sub(x4, add(mul(x2, mload(add(d, 0x40))), mul(x3, mload(add(d, 0x60)))))
            x4 := sdiv(x4, mload(add(d, 0x80)))
            if gt(add(x4, limit), span) { x4 := mul(limit, or(1, sar(255, x4))) }

            mstore(x, x0)
            mstore(add(x, 0x20), x1)
            mstore(add(x, 0x40), x2)
            mstore(add(x, 0x60), x3)
            mstore(add(x, 0x80), x4)
        }
    }

    /// @dev The one pass over all pairs of updates: fills in what they share, and what rows have of each other.
    function _compareAll(GramMatrix memory gram) private pure {
        unchecked {
            Row[] memory rows = gram.rows;
            uint256 n = rows.length;
            int256[] memory pairs = new int256[](n * (n - 1) / 2);
            gram.pairs = pairs;
            uint256 cursor = start(pairs);
            uint256 position = gram.products;
            (uint256 slot, uint256 end) = _slots(rows);
            for (uint256 own = FIRST_AGREEING; slot < end; own <<= 1) {
                uint256 refused = _compareWithLater(end, position, cursor - slot - 0x20, slot, own);
                if (refused != 0) {
                    revert IRoundRules.GramCauchySchwarz(n - (end - slot) / 0x20, n - (end - refused) / 0x20);
                }
                position += (end - slot) / 4;
                slot += 0x20;
                cursor += end - slot;
            }
        }
    }

    /// @dev Where the pointers to the rows lie in memory.
    function _slots(Row[] memory rows) private pure returns (uint256 slot, uint256 end) {
        assembly ("memory-safe") {
            slot := add(rows, 0x20)
            end := add(slot, shl(5, mload(rows)))
        }
    }

    /// @dev Of the row at this slot with every later one: checks the pair, projects it, asks how alike the two are, and asks
    /// each of them whether it shares more than chance with the other. Squared residuals are below 2^134, so 2^198 in Q64; a
    /// bar times a residual is below 2^207. A third of a decision's gas goes here: it is written in the machine's words. What
    /// the row has lies on the stack, which can hold no more, and in the scratch space; an answer is a bit, not a jump.
    /// @param position where the row's own square lies in the calldata
    /// @param offset from a later row's slot to its pair with this one in memory
    /// @param own this row's bit in the company of others
    /// @return refused the slot of the row with which this one violates Cauchy-Schwarz, zero where there is none
    function _compareWithLater(uint256 end, uint256 position, uint256 offset, uint256 slot, uint256 own)
        private
        pure
        returns (uint256 refused)
    {
        assembly ("memory-safe") {
            let a := mload(slot)
            mstore(0x00, mload(add(a, LANES)))
            mstore(0x20, mload(add(a, LANES_2)))
            let lanes3 := mload(add(a, LANES_3))
            let square := mload(add(a, SQUARE))
            let residual := mload(add(a, RESIDUAL))
            let bar := mload(add(a, BAR))
            let norm := mload(add(a, NORM))
            let company := mload(a)
            let bit := own
            for { slot := add(slot, 0x20) } lt(slot, end) { slot := add(slot, 0x20) } {
                let b := mload(slot)
                position := add(position, 8)
                bit := shl(1, bit)
                let shared := sar(192, calldataload(position))
                if gt(mul(shared, shared), mul(square, mload(add(b, SQUARE)))) {
                    refused := slot
                    break
                }
                // The five products, added up above bit 128; below it a remainder, less than half of that in size.
                {
                    let along := add(mul(mload(0x00), mload(add(b, MIRRORED))), HALF)
                    along := add(mul(mload(0x20), mload(add(b, MIRRORED_2))), along)
                    shared := sub(shared, sar(160, add(mul(lanes3, mload(add(b, MIRRORED_3))), along)))
                }
                let novelty := ALL_NEW
                if sgt(shared, 0) {
                    // Zero where a norm is: an update that is all public has nothing to share.
                    let alike := div(shl(48, shared), mul(norm, mload(add(b, NORM))))
                    if gt(alike, ONE) { alike := ONE }
                    novelty := sub(novelty, alike)
                    let evidence := shl(64, mul(shared, shared))
                    company := add(company, add(alike, mul(bit, gt(evidence, mul(bar, mload(add(b, RESIDUAL)))))))
                    mstore(b, add(mload(b), add(alike, mul(own, gt(evidence, mul(mload(add(b, BAR)), residual))))))
                }
                mstore(add(slot, offset), mul(shared, novelty))
            }
            mstore(a, company)
        }
    }

    function _dot(int256[5] memory a, int256[5] memory b) private pure returns (int256 product) {
        unchecked {
            return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3] + a[4] * b[4];
        }
    }
}
