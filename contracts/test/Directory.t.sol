// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Directory} from "../src/Directory.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {JobId} from "../src/interfaces/JobTypes.sol";
import {Base} from "./Base.sol";

/// @notice What the directory writes down, and what is too much for it.
contract DirectoryTest is Base {
    JobId private constant JOB = JobId.wrap(7);
    bytes32 private constant KEY = "key";
    bytes32 private constant TOPIC = "topic";
    address private constant ALICE = address(0xa);
    address private constant BOB = address(0xb);

    Directory private directory;

    function setUp() public {
        directory = new Directory();
    }

    // ------------------------------------------------------------------ announcements

    function test_announce_saysWhoWithWhatAndWhere() public {
        vm.expectEmit(address(directory));
        emit IDirectory.Announced(JOB, ALICE, KEY, "http://127.0.0.1:8080");
        vm.prank(ALICE);
        directory.announce(JOB, KEY, "http://127.0.0.1:8080");
    }

    function testFuzz_announce_takesAnythingWithinItsBounds(JobId job, address by, bytes32 key, string calldata where)
        public
    {
        uint256 length = bytes(where).length;
        if (key == 0) {
            vm.expectRevert(IDirectory.EmptyKey.selector);
        } else if (length > 200) {
            vm.expectRevert(abi.encodeWithSelector(IDirectory.EndpointTooLong.selector, length, 200));
        } else {
            vm.expectEmit(address(directory));
            emit IDirectory.Announced(job, by, key, where);
        }
        vm.prank(by);
        directory.announce(job, key, where);
    }

    function test_announce_failsIfTheEndpointIsTooLong() public {
        directory.announce(JOB, KEY, string(new bytes(200)));
        vm.expectRevert(abi.encodeWithSelector(IDirectory.EndpointTooLong.selector, 201, 200));
        directory.announce(JOB, KEY, string(new bytes(201)));
    }

    function test_announce_failsIfThereIsNoKey() public {
        vm.expectRevert(IDirectory.EmptyKey.selector);
        directory.announce(JOB, 0, "");
    }

    // ------------------------------------------------------------------ deliveries

    function test_deliver_handsEachItsOwn() public {
        (address[] memory to, bytes[] memory sealed_) = _deliveries(2, 1);
        (to[1], sealed_[1]) = (BOB, hex"bb");
        vm.expectEmit(address(directory));
        emit IDirectory.Delivered(JOB, TOPIC, to[0], ALICE, hex"00");
        vm.expectEmit(address(directory));
        emit IDirectory.Delivered(JOB, TOPIC, BOB, ALICE, hex"bb");
        vm.prank(ALICE);
        directory.deliver(JOB, TOPIC, to, sealed_);
    }

    function test_deliver_asMuchAsMayBe() public {
        (address[] memory to, bytes[] memory sealed_) = _deliveries(64, 256);
        directory.deliver(JOB, TOPIC, to, sealed_);
    }

    function test_deliver_failsIfToNobodyOrTooMany() public {
        _refuse(0, 1, abi.encodeWithSelector(IDirectory.DeliveriesCount.selector, 0, 64));
        _refuse(65, 1, abi.encodeWithSelector(IDirectory.DeliveriesCount.selector, 65, 64));
    }

    function test_deliver_failsIfTooLongOrEmpty() public {
        _refuse(3, 257, abi.encodeWithSelector(IDirectory.SealedLength.selector, 0, 257, 256));
        (address[] memory to, bytes[] memory sealed_) = _deliveries(3, 256);
        sealed_[2] = "";
        vm.expectRevert(abi.encodeWithSelector(IDirectory.SealedLength.selector, 2, 0, 256));
        directory.deliver(JOB, TOPIC, to, sealed_);
    }

    function test_deliver_failsIfArraysDiffer() public {
        (address[] memory to,) = _deliveries(3, 1);
        (, bytes[] memory sealed_) = _deliveries(2, 1);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.DeliveriesLength.selector, 2, 3));
        directory.deliver(JOB, TOPIC, to, sealed_);
    }

    function _refuse(uint256 count, uint256 length, bytes memory expected) private {
        (address[] memory to, bytes[] memory sealed_) = _deliveries(count, length);
        vm.expectRevert(expected);
        directory.deliver(JOB, TOPIC, to, sealed_);
    }

    function _deliveries(uint256 count, uint256 length)
        private
        pure
        returns (address[] memory to, bytes[] memory sealed_)
    {
        (to, sealed_) = (new address[](count), new bytes[](count));
        for (uint256 i = 0; i < count; ++i) {
            // forge-lint: disable-next-line(unsafe-typecast)
            (to[i], sealed_[i]) = (address(uint160(0x100 + i)), new bytes(length));
        }
    }
}
