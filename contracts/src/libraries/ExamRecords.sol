// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IRoundRules} from "../interfaces/IRoundRules.sol";
import {ExamRow, GramMatrix, Row} from "./Gram.sol";
import {PackedArray} from "./PackedArray.sol";
import {SquareRoot} from "./SquareRoot.sol";

/// @notice What a seat's exams come to: a running sum of its updates' cosines with r, of which each exam forgets an eighth
/// where it is to the seat's credit, and a thirty-second of a debt.
/// @dev docs/rules.md, section 3. Unchecked within the bounds of Gram.sol: |R_ir| < 2^84, norms are at most 2^46 and 2^62, T at
/// most 2^80, records are int32. A sum of marks of at most one stays between -32 and eight and a bit.
library ExamRecords {
    using PackedArray for bytes;

    int256 private constant ONE = 1 << 16;
    uint256 private constant CREDIT_SHIFT = 3; // an eighth
    uint256 private constant DEBT_SHIFT = 5; // a thirty-second
    // From √T in Q32 to Q16. By chance a record spreads up to 1/√(1 - (7/8)²), or twice, as wide as one mark.
    uint256 private constant LINE_SHIFT = 16;

    /// @notice Marks every update, adds the mark to its seat's record, and says whose record passes.
    /// @param before one int32 a row, or nothing where all are zero
    /// @param chanceQ64 T
    /// @return records one int32 a row, Q16; empty where no exam counts
    function extend(GramMatrix memory gram, bytes calldata before, uint256 chanceQ64)
        internal
        pure
        returns (bytes memory records)
    {
        unchecked {
            ExamRow memory exam = gram.exam;
            uint256 length = gram.rows.length * PackedArray.RECORD_BYTES;
            if (before.length != 0 && before.length != length) revert IRoundRules.RecordsLength(before.length, length);
            if (exam.norm == 0) return records;
            records = before.length == 0 ? new bytes(length) : before;
            // forge-lint: disable-next-line(unsafe-typecast)
            int256 line = int256(SquareRoot.floor(chanceQ64) >> LINE_SHIFT);
            if (!_isZero(records)) line *= 2;
            for (uint256 i = 0; i < gram.rows.length; ++i) {
                Row memory row = gram.rows[i];
                int256 product = exam.products[i];
                row.length = SquareRoot.floor(row.square << 32);
                int256 past = records.recordAt(i);
                int256 record = past - (past >> (past < 0 ? DEBT_SHIFT : CREDIT_SHIFT));
                record += _cosine(product, row.length * exam.norm);
                records.setRecord(i, record);
                if (record > line && !_isAgainst(product, row.bar, exam.residual)) {
                    exam.passing |= uint256(1) << i;
                }
            }
        }
    }

    /// @dev Whether nobody has a record. Newcomers are held to the same line as the others: else a stake that moves from seat to
    /// seat would be for ever new.
    function _isZero(bytes memory records) private pure returns (bool) {
        return keccak256(records) == keccak256(new bytes(records.length));
    }

    /// @dev Whether an update points away from r by more than chance.
    function _isAgainst(int256 product, uint256 bar, uint256 residual) private pure returns (bool) {
        unchecked {
            // forge-lint: disable-next-line(unsafe-typecast)
            return product < 0 && uint256(product * product) << 64 > bar * residual;
        }
    }

    /// @dev product / scale, Q16, between minus one and one, rounded towards zero; zero if the scale is.
    function _cosine(int256 product, uint256 scale) private pure returns (int256 cosine) {
        assembly ("memory-safe") {
            cosine := sdiv(shl(48, product), scale)
        }
        if (cosine > ONE) return ONE;
        if (cosine < -ONE) return -ONE;
    }
}
