// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {JobId} from "../interfaces/JobTypes.sol";
import {Job} from "./Jobs.sol";
import {PackedArray} from "./PackedArray.sol";
import {SeatMask} from "./SeatMask.sol";

/// @notice Every seat's record of the job's exams. The chain keeps their hash, settlements bring them along.
library SeatRecords {
    using PackedArray for bytes;
    using SeatMask for uint64;

    /// @notice The hash of records that are all zero.
    function noneHash(uint256 seats) internal pure returns (bytes32) {
        return keccak256(new bytes(seats * PackedArray.RECORD_BYTES));
    }

    /// @notice The records of the seats of `mask`, in ascending order. Refuses other records than those whose hash is kept.
    function select(Job storage job, bytes calldata records, uint64 mask) internal view returns (bytes memory rows) {
        _requireMatch(job, records);
        bytes memory all = records;
        rows = new bytes(mask.count() * PackedArray.RECORD_BYTES);
        unchecked {
            uint256 row = 0;
            for (uint256 seat = 0; mask != 0; (++seat, mask >>= 1)) {
                if (mask & 1 != 0) rows.setRecord(row++, all.recordAt(seat));
            }
        }
    }

    /// @notice Puts new records in the place of those of the seats of `mask`, which they are given for in ascending order.
    /// @param records as `select` took them
    function extend(Job storage job, JobId id, bytes calldata records, uint64 mask, bytes memory rows) internal {
        bytes memory all = records;
        unchecked {
            uint256 row = 0;
            for (uint256 seat = 0; mask != 0; (++seat, mask >>= 1)) {
                if (mask & 1 != 0) all.setRecord(seat, rows.recordAt(row++));
            }
        }
        job.state.recordsHash = keccak256(all);
        emit IJobMarket.ExamTaken(id, job.state.attempt, rows);
    }

    /// @notice Takes a seat's record off it.
    function clearRecord(Job storage job, bytes calldata records, uint256 seat) internal {
        _requireMatch(job, records);
        bytes memory all = records;
        all.setRecord(seat, 0);
        job.state.recordsHash = keccak256(all);
    }

    function _requireMatch(Job storage job, bytes calldata records) private view {
        bytes32 expected = job.state.recordsHash;
        bytes32 hash = keccak256(records);
        if (hash != expected) revert IJobMarket.RecordsMismatch(hash, expected);
    }
}
