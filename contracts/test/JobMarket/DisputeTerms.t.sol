// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {JobTerms} from "../../src/interfaces/JobTypes.sol";
import {DisputeFixture} from "./DisputeFixture.sol";

/// @notice What a job may say about its disputes.
contract DisputeTermsTest is DisputeFixture {
    function test_openJob_keepsItsAttestors() public view {
        JobTerms memory terms = market.termsOf(job);
        vm.assertEq(abi.encode(terms), abi.encode(_terms()));
        vm.assertEq(terms.disputes.attestors.length, ATTESTORS);
    }

    function test_openJob_withoutAttestorsNothingElseIsSaid() public {
        JobTerms memory terms = _terms();
        terms.disputes.attestors = new address[](0);
        _refuse(terms, "disputes.quorum", QUORUM);
        terms.disputes.quorum = 0;
        _refuse(terms, "disputes.answerPeriod", ANSWERS);
        terms.disputes.answerPeriod = 0;
        _refuse(terms, "disputes.bond", DISPUTE_BOND);
        terms.disputes.bond = 0;
        _open(terms);
    }

    function test_openJob_aQuorumIsMoreThanHalf() public {
        JobTerms memory terms = _terms();
        terms.disputes.quorum = 0;
        _refuse(terms, "disputes.quorum", 0);
        terms.disputes.quorum = 2;
        _refuse(terms, "disputes.quorum", 2);
        terms.disputes.quorum = 6;
        _refuse(terms, "disputes.quorum", 6);
        terms.disputes.quorum = 5;
        _open(terms);
        terms.disputes.attestors = _accounts(4);
        terms.disputes.quorum = 2;
        _refuse(terms, "disputes.quorum", 2);
        terms.disputes.quorum = 3;
        _open(terms);
    }

    function test_openJob_oneAttestorIsItsOwnQuorum() public {
        JobTerms memory terms = _terms();
        terms.disputes.attestors = _accounts(1);
        terms.disputes.quorum = 1;
        _open(terms);
    }

    function test_openJob_atMost16Attestors() public {
        JobTerms memory terms = _terms();
        terms.disputes.attestors = _accounts(17);
        terms.disputes.quorum = 9;
        _refuse(terms, "disputes.attestors", 17);
        terms.disputes.attestors = _accounts(16);
        _open(terms);
    }

    function test_openJob_attestorsAscend() public {
        JobTerms memory terms = _terms();
        terms.disputes.attestors[2] = terms.disputes.attestors[1]; // twice the same
        _refuse(terms, "disputes.attestors", uint160(terms.disputes.attestors[1]));
        terms = _terms();
        address[] memory list = terms.disputes.attestors;
        (list[0], list[1]) = (list[1], list[0]);
        _refuse(terms, "disputes.attestors", uint160(list[1]));
    }

    function test_openJob_noAttestorIsNobody() public {
        JobTerms memory terms = _terms();
        terms.disputes.attestors[0] = address(0);
        _refuse(terms, "disputes.attestors", 0);
    }

    function test_openJob_theOwnerAttestsNothing() public {
        JobTerms memory terms = _terms();
        terms.disputes.attestors[0] = owner; // below all others
        vm.prank(owner);
        _refuse(terms, "disputes.attestors", uint160(owner));
    }

    function test_openJob_answersTakeLongerThanConfirmations() public {
        JobTerms memory terms = _terms();
        terms.disputes.answerPeriod = terms.confirmationPeriod;
        _refuse(terms, "disputes.answerPeriod", terms.confirmationPeriod);
        terms.disputes.answerPeriod = 90 days + 1;
        _refuse(terms, "disputes.answerPeriod", 90 days + 1);
        terms.disputes.answerPeriod = terms.confirmationPeriod + 1;
        _open(terms);
    }

    function test_openJob_aDisputeCostsSomething() public {
        JobTerms memory terms = _terms();
        terms.disputes.bond = 0;
        _refuse(terms, "disputes.bond", 0);
    }

    function _accounts(uint256 count) private pure returns (address[] memory accounts) {
        accounts = new address[](count);
        for (uint256 i = 0; i < count; ++i) {
            // forge-lint: disable-next-line(unsafe-typecast)
            accounts[i] = address(uint160(0x9000 + i));
        }
    }

    function _refuse(JobTerms memory terms, string memory term, uint256 value) private {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InvalidTerm.selector, term, value));
        market.openJob(terms, SPEC, MODEL, initialCommitment, srs, 0);
    }
}
