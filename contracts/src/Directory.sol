// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDirectory} from "./interfaces/IDirectory.sol";
import {JobId} from "./interfaces/JobTypes.sol";

/// @title Announcements and deliveries. `IDirectory` says what each function promises.
/// @dev Events only: there is nothing to take over, and nothing to fill.
contract Directory is IDirectory {
    /// @inheritdoc IDirectory
    uint256 public constant MAX_ENDPOINT_BYTES = 200;
    /// @inheritdoc IDirectory
    uint256 public constant MAX_DELIVERIES = 64;
    /// @inheritdoc IDirectory
    uint256 public constant MAX_SEALED_BYTES = 256;

    /// @inheritdoc IDirectory
    function announce(JobId job, bytes32 sealingKey, string calldata endpoint) external {
        if (sealingKey == 0) revert EmptyKey();
        uint256 length = bytes(endpoint).length;
        if (length > MAX_ENDPOINT_BYTES) revert EndpointTooLong(length, MAX_ENDPOINT_BYTES);

        emit Announced(job, msg.sender, sealingKey, endpoint);
    }

    /// @inheritdoc IDirectory
    function deliver(JobId job, bytes32 topic, address[] calldata to, bytes[] calldata sealed_) external {
        uint256 count = to.length;
        if (count == 0 || count > MAX_DELIVERIES) revert DeliveriesCount(count, MAX_DELIVERIES);
        if (sealed_.length != count) revert DeliveriesLength(sealed_.length, count);

        for (uint256 i = 0; i < count; ++i) {
            uint256 length = sealed_[i].length;
            if (length == 0 || length > MAX_SEALED_BYTES) revert SealedLength(i, length, MAX_SEALED_BYTES);
            emit Delivered(job, topic, to[i], msg.sender, sealed_[i]);
        }
    }
}
