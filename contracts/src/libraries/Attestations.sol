// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Fact, JobId} from "../interfaces/JobTypes.sol";
import {SeatMask} from "./SeatMask.sol";

/// @notice What attestors sign, as EIP-712 typed data: answers to disputes, and receipts for updates that they hold.
library Attestations {
    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME = keccak256("fedmarket");
    bytes32 private constant VERSION = keccak256("1");
    bytes32 private constant ANSWER =
        keccak256("Answer(uint256 job,uint256 round,uint256 attempt,uint8 fact,uint256 seat,bool holds)");

    bytes32 private constant RECEIPT =
        keccak256("Receipt(uint256 job,uint256 round,uint256 attempt,uint64 seats,bytes32 seals,uint40 heldUntil)");

    /// @notice What is signed of an answer: `IJobMarket.answerDigest`.
    function digest(JobId id, uint256 round, uint256 attempt, Fact fact, uint256 seat, bool holds)
        internal
        view
        returns (bytes32)
    {
        return _typed(keccak256(abi.encode(ANSWER, id, round, attempt, fact, seat, holds)));
    }

    /// @notice What is signed of a receipt: `IJobMarket.receiptDigest`.
    function receiptDigest(JobId id, uint256 round, uint256 attempt, uint64 seats, bytes32 seals, uint40 heldUntil)
        internal
        view
        returns (bytes32)
    {
        return _typed(keccak256(abi.encode(RECEIPT, id, round, attempt, seats, seals, heldUntil)));
    }

    function _typed(bytes32 message) private view returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(DOMAIN, NAME, VERSION, block.chainid, address(this)));
        return MessageHashUtils.toTypedDataHash(domain, message);
    }

    /// @notice Which attestor signed. Reverts where none did.
    /// @return signer its account
    /// @return bit its place among the attestors
    function attestor(address[] storage attestors, bytes32 digest_, bytes calldata signature)
        internal
        view
        returns (address signer, uint64 bit)
    {
        signer = ECDSA.recover(digest_, signature);
        uint256 count = attestors.length;
        for (uint256 i = 0; i < count; ++i) {
            if (attestors[i] == signer) return (signer, SeatMask.only(i));
        }
        revert IJobMarket.NotAttestor(signer);
    }
}
