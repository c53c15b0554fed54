// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {JobMarket} from "../../src/JobMarket.sol";
import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Fact, JobId, JobTerms, Phase, Settlement} from "../../src/interfaces/JobTypes.sol";
import {TrapdoorProver} from "../GramVerifier/TrapdoorProver.sol";
import {ProgrammedRules} from "./ProgrammedRules.sol";
import {Filed, ReceiptFixture} from "./ReceiptFixture.sol";

/// @notice What attestors' receipts cover, and which are refused.
contract FileReceiptsTest is ReceiptFixture {
    uint256 private constant FORGER = 0xf0;

    // ------------------------------------------------------------------ what is covered

    function test_fileReceipts_aQuorumCovers() public {
        _revealed(5);
        vm.expectEmit(address(market));
        emit IJobMarket.ReceiptsFiled(job, 0, 0x15, 7);
        _file(_receipts(0x15, 0, QUORUM));
        vm.assertEq(_covered(), 0x15);
        _assertConserved();
    }

    function test_fileReceipts_aSeatIsCoveredByAQuorumOfItsOwn() public {
        _revealed(5);
        Filed memory filed = _empty(5);
        _put(filed, 0, 7, keys[0]);
        _put(filed, 1, 6, keys[1]);
        _put(filed, 2, 2, keys[2]);
        _put(filed, 3, 4, keys[3]);
        _put(filed, 4, 8, keys[4]); // of nothing that others hold
        vm.expectEmit(address(market));
        emit IJobMarket.ReceiptsFiled(job, 0, 6, 0xf);
        _file(filed);
        vm.assertEq(_covered(), 6);
    }

    function test_fileReceipts_coverageAddsUpOverCalls() public {
        _revealed(5);
        _file(_receipts(1, 0, QUORUM));
        vm.expectEmit(address(market));
        emit IJobMarket.ReceiptsFiled(job, 0, 6, 0x1c); // who was not covered before
        _file(_receipts(7, 2, QUORUM));
        vm.assertEq(_covered(), 7);
    }

    function test_fileReceipts_inTheLastSecondBeforeTheAggregatorsTime() public {
        _revealed(5);
        vm.warp(_start() + COMMIT + REVEAL - 1);
        _file(_receipts(1, 0, QUORUM));
        vm.assertEq(_covered(), 1);
    }

    function test_fileReceipts_inTheExamPhase() public {
        _startWith(_examTerms());
        _toExam(3);
        _file(_receipts(7, 0, QUORUM));
        vm.assertEq(_covered(), 7);
    }

    function test_fileReceipts_coverageIsItsAttemptsAlone() public {
        _revealed(5);
        _file(_receipts(0x1f, 0, QUORUM));
        _warpToOverdue();
        market.expireRound(job, 0);
        vm.assertEq(_covered(), 0);
        vm.assertEq(market.coveredSeats(job, 0), 0x1f);
        _toSettle(5, 5);
        _settleNoted(_excluding(2));
        vm.assertEq(market.stateOf(job).round, 1);
    }

    function test_fileReceipts_untilTheSettlePhaseAsADisputePutItOff() public {
        _play(5);
        uint40 before = _end();
        _dispute(_trainer(0), Fact.Model);
        vm.warp(block.timestamp + ANSWERS);
        market.thaw(job);
        uint40 frozen = _end() - before;
        vm.assertEq(frozen, ANSWERS);
        _revealed(5);
        Filed memory filed = _receipts(1, 0, QUORUM);
        Filed memory early = _receipts(1, 0, QUORUM);
        early.heldUntil[1] = before;
        early.signatures[1] = _sign(keys[1], _receiptDigest(1, before));
        _refuseReceipts(early, abi.encodeWithSelector(IJobMarket.ReceiptExpired.selector, before, _end()));
        _file(filed);
        vm.assertEq(_covered(), 1);
    }

    function testFuzz_fileReceipts_coverWhoAQuorumHoldsAndNobodyElse(uint64[5] memory held, uint8 rows) public {
        uint64 known = _firstSeats(bound(rows, 3, 5));
        _revealed(bound(rows, 3, 5));
        Filed memory filed = _empty(ATTESTORS);
        uint64 expected = 0;
        for (uint256 i = 0; i < ATTESTORS; ++i) {
            held[i] = held[i] & known == 0 ? known : held[i] & known;
            _put(filed, i, held[i], keys[i]);
        }
        for (uint64 bit = 1; bit < 32; bit <<= 1) {
            uint256 count = 0;
            for (uint256 i = 0; i < ATTESTORS; ++i) {
                if (held[i] & bit != 0) ++count;
            }
            if (count >= QUORUM) expected |= bit;
        }
        if (expected == 0) {
            _refuseReceipts(filed, _nothingCovered(ATTESTORS));
        } else {
            _file(filed);
        }
        vm.assertEq(_covered(), expected);
        vm.assertEq(_covered() & ~market.stateOf(job).revealed, 0);
    }

    function test_receiptDigest_isEip712() public view {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("fedmarket"),
                keccak256("1"),
                block.chainid,
                address(market)
            )
        );
        bytes32 kind =
            keccak256("Receipt(uint256 job,uint256 round,uint256 attempt,uint64 seats,bytes32 seals,uint40 heldUntil)");
        bytes32 seals = "seals";
        bytes32 message = keccak256(abi.encode(kind, job, 1, 2, 5, seals, 9));
        vm.assertEq(
            market.receiptDigest(job, 1, 2, 5, seals, 9), keccak256(abi.encodePacked(hex"1901", domain, message))
        );
    }

    // ------------------------------------------------------------------ which settlements are refused

    function test_settleRound_failsIfACoveredSeatIsExcludedAsUnavailable() public {
        _revealed(5);
        _file(_receipts(4, 0, QUORUM));
        _warpToSettle();
        Settlement memory settlement = _excluding(6);
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.UpdateIsHeld.selector, 2));
        settlement.reasons = hex"0301";
        _refuse(settlement, abi.encodeWithSelector(IJobMarket.UpdateIsHeld.selector, 2));
    }

    function test_settleRound_ofWhoIsNotCoveredMayStillSayThatItIsUnavailable() public {
        _revealed(5);
        _file(_receipts(4, 0, QUORUM));
        _warpToSettle();
        _settleNoted(_excluding(2));
        vm.assertEq(market.stateOf(job).round, 1);
    }

    function test_settleRound_ofWhoIsCoveredMaySayThatItsBytesAreWrongWhichCanBeDisputed() public {
        for (uint8 reason = 2; reason <= 3; ++reason) {
            _revealed(5);
            _file(_receipts(0x1f, 0, QUORUM));
            _warpToSettle();
            Settlement memory settlement = _excluding(4);
            settlement.reasons = abi.encodePacked(reason);
            _settleNoted(settlement);
            _disputeAndUndo(_trainer(2), Fact.Exclusion);
            if (reason == 2) _bond(aggregator); // the first one's bond is broken
        }
    }

    // ------------------------------------------------------------------ which receipts are refused

    function test_fileReceipts_failsIfForged() public {
        _revealed(5);
        Filed memory filed = _receipts(1, 0, QUORUM);
        filed.signatures[1] = _sign(FORGER, _receiptDigest(1, _end()));
        _refuseReceipts(filed, abi.encodeWithSelector(IJobMarket.NotAttestor.selector, vm.addr(FORGER)));
    }

    function test_fileReceipts_failsIfASignatureIsNone() public {
        _revealed(5);
        Filed memory filed = _receipts(1, 0, QUORUM);
        filed.signatures[2] = hex"01";
        _refuseReceipts(filed, abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureLength.selector, 1));
    }

    function test_fileReceipts_failsIfExpired() public {
        _revealed(5);
        Filed memory filed = _receipts(1, 0, QUORUM);
        uint40 early = _end() - 1;
        filed.heldUntil[0] = early;
        filed.signatures[0] = _sign(keys[0], _receiptDigest(1, early));
        _refuseReceipts(filed, abi.encodeWithSelector(IJobMarket.ReceiptExpired.selector, early, _end()));
    }

    function test_fileReceipts_failsIfLongerHeldThanSigned() public {
        _revealed(5);
        Filed memory filed = _receipts(1, 0, QUORUM);
        filed.signatures[0] = _sign(keys[0], _receiptDigest(1, _end() - 1));
        _refuseReceipts(filed, _notSignedBy(filed, 0));
    }

    function test_fileReceipts_failsOfAnotherJob() public {
        _revealed(5);
        _refuseDigest(market.receiptDigest(JobId.wrap(1), 0, 0, 1, _seals(1), _end()));
    }

    function test_fileReceipts_failsOfAnotherRound() public {
        _revealed(5);
        _refuseDigest(market.receiptDigest(job, 1, 0, 1, _seals(1), _end()));
    }

    function test_fileReceipts_failsOfAnotherAttempt() public {
        _revealed(5);
        _refuseDigest(market.receiptDigest(job, 0, 1, 1, _seals(1), _end()));
    }

    function test_fileReceipts_failsOfOtherBytes() public {
        _revealed(5);
        _refuseDigest(market.receiptDigest(job, 0, 0, 1, _seals(2), _end()));
    }

    function test_fileReceipts_failsOfOtherSeats() public {
        _revealed(5);
        _refuseDigest(market.receiptDigest(job, 0, 0, 3, _seals(1), _end()));
    }

    function test_fileReceipts_failsOnAnotherChain() public {
        _revealed(5);
        uint256 here = block.chainid;
        vm.chainId(here + 1);
        bytes32 digest = _receiptDigest(1, _end());
        vm.chainId(here);
        _refuseDigest(digest);
    }

    function test_fileReceipts_failsAtAnotherContract() public {
        _revealed(5);
        JobMarket other = new JobMarket(new ProgrammedRules(), TrapdoorProver.newVerifier());
        _refuseDigest(other.receiptDigest(job, 0, 0, 1, _seals(1), _end()));
    }

    function test_fileReceipts_failsOfAnAttemptThatIsOver() public {
        _revealed(5);
        Filed memory filed = _receipts(1, 0, QUORUM);
        _warpToOverdue();
        market.expireRound(job, 0);
        _revealed(5);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongAttempt.selector, 0, 1));
        market.fileReceipts(job, 0, filed.seats, filed.heldUntil, filed.signatures);
        for (uint256 i = 0; i < QUORUM; ++i) {
            filed.heldUntil[i] = _end();
        }
        _refuseReceipts(filed, _notSignedBy(filed, 0));
    }

    function test_fileReceipts_failsIfAnAttestorIsCountedTwice() public {
        _revealed(5);
        Filed memory filed = _receipts(1, 0, QUORUM);
        _put(filed, 2, 1, keys[0]);
        _refuseReceipts(filed, abi.encodeWithSelector(IJobMarket.CountedTwice.selector, vm.addr(keys[0])));
        _put(filed, 2, 3, keys[0]); // for other seats too
        _refuseReceipts(filed, abi.encodeWithSelector(IJobMarket.CountedTwice.selector, vm.addr(keys[0])));
    }

    function test_fileReceipts_failsIfTooFewWhicheverOtherCallsHad() public {
        _revealed(5);
        _refuseReceipts(_receipts(1, 0, 2), _nothingCovered(2));
        _refuseReceipts(_receipts(1, 2, 2), _nothingCovered(2));
        _refuseReceipts(_receipts(1, 0, 2), _nothingCovered(2));
        vm.assertEq(_covered(), 0);
    }

    function test_fileReceipts_failsIfNothingMoreIsCovered() public {
        _revealed(5);
        _file(_receipts(3, 0, QUORUM));
        _refuseReceipts(_receipts(3, 0, QUORUM), _nothingCovered(QUORUM));
        _refuseReceipts(_receipts(2, 2, QUORUM), _nothingCovered(QUORUM));
    }

    function test_fileReceipts_failsIfASeatHasNotRevealed() public {
        _warpToCommit();
        _commitFirst(5);
        _warpToReveal();
        _revealFirst(3);
        _refuseReceipts(_receipts(0xd, 0, QUORUM), abi.encodeWithSelector(IJobMarket.NotRevealed.selector, 8));
        _refuseReceipts(_receipts(1 << 63, 0, QUORUM), abi.encodeWithSelector(IJobMarket.NotRevealed.selector, 1 << 63));
    }

    function test_fileReceipts_failsIfEmpty() public {
        _revealed(5);
        _refuseReceipts(_empty(0), _nothingCovered(0));
        Filed memory filed = _receipts(1, 0, QUORUM);
        filed.seats[1] = 0;
        _refuseReceipts(filed, abi.encodeWithSelector(IJobMarket.NothingHeld.selector));
    }

    function test_fileReceipts_failsIfArraysDiffer() public {
        _revealed(5);
        Filed memory filed = _receipts(1, 0, QUORUM);
        filed.heldUntil = new uint40[](2);
        _refuseReceipts(filed, abi.encodeWithSelector(IJobMarket.ReceiptsLength.selector, 2, 3));
        filed = _receipts(1, 0, QUORUM);
        filed.signatures = new bytes[](4);
        _refuseReceipts(filed, abi.encodeWithSelector(IJobMarket.ReceiptsLength.selector, 4, 3));
    }

    function test_fileReceipts_failsOutsideOfItsPhases() public {
        _refuseReceipts(_empty(0), _wrongPhase(Phase.Enrolment));
        _warpToCommit();
        _commitFirst(5);
        _refuseReceipts(_empty(0), _wrongPhase(Phase.Commit));
        _warpToReveal();
        _revealFirst(5);
        Filed memory filed = _receipts(1, 0, QUORUM);
        _warpToSettle();
        _refuseReceipts(filed, _wrongPhase(Phase.Settle));
        _warpToOverdue();
        _refuseReceipts(filed, _wrongPhase(Phase.Overdue));
    }

    function test_fileReceipts_failsWhileAFactIsDisputed() public {
        _play(5);
        _dispute(_trainer(0), Fact.Model);
        _refuseReceipts(_empty(0), _wrongPhase(Phase.Disputed));
    }

    function test_fileReceipts_failsWithoutAttestors() public {
        JobTerms memory terms = _terms();
        delete terms.disputes;
        _startWith(terms);
        _revealed(3);
        _refuseReceipts(_receipts(1, 0, QUORUM), abi.encodeWithSelector(IJobMarket.NoAttestors.selector, job));
    }

    function test_fileReceipts_failsForAnUnknownJob() public {
        job = JobId.wrap(9);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.UnknownJob.selector, job));
        market.fileReceipts(job, 0, new uint64[](0), new uint40[](0), new bytes[](0));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.UnknownJob.selector, job));
        market.coveredSeats(job, 0);
    }

    // ------------------------------------------------------------------ what is expected

    /// @dev A quorum of receipts for seat 0, of which the first is of something else.
    function _refuseDigest(bytes32 digest) private {
        Filed memory filed = _receipts(1, 0, QUORUM);
        filed.signatures[0] = _sign(keys[0], digest);
        _refuseReceipts(filed, _notSignedBy(filed, 0));
    }

    /// @dev Whoever it is that signed what was filed, it is no attestor.
    function _notSignedBy(Filed memory filed, uint256 place) private view returns (bytes memory) {
        bytes32 digest = _receiptDigest(filed.seats[place], filed.heldUntil[place]);
        return abi.encodeWithSelector(IJobMarket.NotAttestor.selector, ECDSA.recover(digest, filed.signatures[place]));
    }

    function _nothingCovered(uint256 receipts) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobMarket.NothingCovered.selector, receipts, QUORUM);
    }

    function _wrongPhase(Phase phase) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobMarket.WrongPhase.selector, phase, Phase.Reveal);
    }
}
