// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {JobState} from "../../src/interfaces/JobTypes.sol";
import {SeatMask} from "../../src/libraries/SeatMask.sol";
import {DisputeFixture} from "./DisputeFixture.sol";

/// @notice Receipts as they are filed: an entry each in three arrays.
struct Filed {
    uint64[] seats;
    uint40[] heldUntil;
    bytes[] signatures;
}

/// @notice The market's job with five attestors, of whom three are a quorum, and what they sign of updates that they hold.
abstract contract ReceiptFixture is DisputeFixture {
    using SeatMask for uint64;

    /// @dev On to the reveal phase of the running attempt, where the first seats revealed.
    function _revealed(uint256 rows) internal {
        _warpToCommit();
        _commitFirst(rows);
        _warpToReveal();
        _revealFirst(rows);
    }

    /// @dev When the running attempt's settle phase ends.
    function _end() internal view returns (uint40) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint40(_start() + COMMIT + REVEAL + market.termsOf(job).exam.period + SETTLE);
    }

    /// @dev keccak256 of the seals of these seats, ascending.
    function _seals(uint64 seats) internal view returns (bytes32) {
        bytes memory packed;
        for (uint256 seat = 0; seat < 64; ++seat) {
            if (seats.has(seat)) packed = bytes.concat(packed, market.sealAt(job, seat));
        }
        return keccak256(packed);
    }

    function _receiptDigest(uint64 seats, uint40 heldUntil) internal view returns (bytes32) {
        JobState memory state = market.stateOf(job);
        return market.receiptDigest(job, state.round, state.attempt, seats, _seals(seats), heldUntil);
    }

    /// @dev The same receipt by so many attestors, from this one on.
    function _receipts(uint64 seats, uint256 first, uint256 count) internal view returns (Filed memory filed) {
        filed = _empty(count);
        for (uint256 i = 0; i < count; ++i) {
            _put(filed, i, seats, keys[first + i]);
        }
    }

    function _empty(uint256 count) internal pure returns (Filed memory) {
        return Filed({seats: new uint64[](count), heldUntil: new uint40[](count), signatures: new bytes[](count)});
    }

    /// @dev Puts one attestor's receipt at a place.
    function _put(Filed memory filed, uint256 place, uint64 seats, uint256 key) internal view {
        (filed.seats[place], filed.heldUntil[place]) = (seats, _end());
        filed.signatures[place] = _sign(key, _receiptDigest(seats, _end()));
    }

    function _file(Filed memory filed) internal {
        uint256 attempt = _attempt();
        vm.prank(stranger);
        market.fileReceipts(job, attempt, filed.seats, filed.heldUntil, filed.signatures);
    }

    function _refuseReceipts(Filed memory filed, bytes memory expected) internal {
        uint256 attempt = _attempt();
        vm.expectRevert(expected);
        market.fileReceipts(job, attempt, filed.seats, filed.heldUntil, filed.signatures);
    }

    function _covered() internal view returns (uint64) {
        return market.coveredSeats(job, _attempt());
    }
}
