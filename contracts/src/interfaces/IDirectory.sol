// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {JobId} from "./JobTypes.sol";

/// @title Where a job's people say how they can be reached, and hand each other what only one may read.
/// @notice It keeps nothing and checks nobody: whoever reads its events believes the accounts that have a part in the job,
/// and of what one account announced the last. It knows no marketplace either: job numbers are those of the one that it is
/// named beside.
interface IDirectory {
    // ------------------------------------------------------------------ events

    /// @param sealingKey the X25519 public key to which whatever this account alone may read is sealed
    /// @param endpoint where its blocks and receipts are served, empty where nowhere
    event Announced(JobId indexed job, address indexed account, bytes32 sealingKey, string endpoint);
    /// @param topic what it is about, as the two agree
    /// @param sealed_ sealed to the key that `to` announced
    event Delivered(JobId indexed job, bytes32 indexed topic, address indexed to, address by, bytes sealed_);

    // ------------------------------------------------------------------ errors

    error EmptyKey();
    error EndpointTooLong(uint256 length, uint256 most);
    error DeliveriesLength(uint256 length, uint256 expected);
    error DeliveriesCount(uint256 count, uint256 most);
    error SealedLength(uint256 place, uint256 length, uint256 most);

    // ------------------------------------------------------------------ actions

    /// @notice Announces the caller's key and endpoint for a job, in place of those that it announced before.
    /// @param endpoint at most `MAX_ENDPOINT_BYTES`
    function announce(JobId job, bytes32 sealingKey, string calldata endpoint) external;

    /// @notice Hands each of these accounts its bytes.
    /// @param to from one account to `MAX_DELIVERIES`
    /// @param sealed_ one for each, of one byte to `MAX_SEALED_BYTES`
    function deliver(JobId job, bytes32 topic, address[] calldata to, bytes[] calldata sealed_) external;

    // ------------------------------------------------------------------ views

    function MAX_ENDPOINT_BYTES() external view returns (uint256);
    function MAX_DELIVERIES() external view returns (uint256);
    function MAX_SEALED_BYTES() external view returns (uint256);
}
