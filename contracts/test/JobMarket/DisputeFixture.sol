// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Dispute, Fact, JobId, JobState, JobTerms, Ledger, Settlement, Undo} from "../../src/interfaces/JobTypes.sol";
import {SeatMask} from "../../src/libraries/SeatMask.sol";
import {Packed} from "../Packed.sol";
import {Log, LogVm} from "./EventLedger.sol";
import {ExamFixture} from "./ExamFixture.sol";
import {MarketFixture} from "./MarketFixture.sol";

/// @notice The market's default job with five attestors, of whom three are a quorum.
abstract contract DisputeFixture is ExamFixture {
    using Packed for bytes;
    using SeatMask for uint64;

    uint256 internal constant ATTESTORS = 5;
    uint8 internal constant QUORUM = 3;
    uint32 internal constant ANSWERS = 500;
    uint128 internal constant DISPUTE_BOND = 0.3 ether;
    uint128 internal constant EXAM_DEPOSIT = 1.5 ether; // the least where a false exam can be shown
    LogVm private constant LOGS = LogVm(address(vm));

    uint256[ATTESTORS] internal keys; // of the attestors, by account
    uint256 internal settled; // the attempt that was settled last
    mapping(uint256 attempt => bytes) internal pays;
    JobState internal stateBefore; // that settlement
    Ledger internal ledgerBefore;
    bytes private _lifetimeBefore;

    function setUp() public virtual override {
        for (uint256 i = 0; i < ATTESTORS; ++i) {
            uint256 key = uint256(keccak256(abi.encode("attestor", i)));
            uint256 place = i;
            for (; place > 0 && vm.addr(keys[place - 1]) > vm.addr(key); --place) {
                keys[place] = keys[place - 1];
            }
            keys[place] = key;
        }
        super.setUp();
    }

    /// @dev Without an exam.
    function _terms() internal view virtual override returns (JobTerms memory terms) {
        terms = MarketFixture._terms();
        _addAttestors(terms);
    }

    function _examTerms() internal view returns (JobTerms memory terms) {
        terms = ExamFixture._terms();
        terms.exam.deposit = EXAM_DEPOSIT;
        _addAttestors(terms);
    }

    function _addAttestors(JobTerms memory terms) internal view {
        terms.disputes.quorum = QUORUM;
        terms.disputes.answerPeriod = ANSWERS;
        terms.disputes.bond = DISPUTE_BOND;
        terms.disputes.attestors = _attestors();
    }

    function _attestors() internal view returns (address[] memory attestors) {
        attestors = new address[](ATTESTORS);
        for (uint256 i = 0; i < ATTESTORS; ++i) {
            attestors[i] = vm.addr(keys[i]);
        }
    }

    // ------------------------------------------------------------------ rounds

    /// @dev One whole round, in which all get the same score. Without its exam, where there is one.
    function _play(uint256 rows) internal {
        _toSettle(rows, rows);
        _settleNoted(_excluding(0));
    }

    /// @dev One whole round, in which the first seats revealed and these are excluded.
    function _playExcluding(uint256 revealed, uint64 excluded) internal {
        _toSettle(revealed, revealed);
        _settleNoted(_excluding(excluded));
    }

    /// @dev One whole round of an exam that counts.
    function _sit(uint256 rows) internal {
        _toExamined(rows);
        _settleNoted(_excluding(0));
    }

    /// @dev A settlement of the running attempt that excludes these, and gives the same score to all others.
    function _excluding(uint64 excluded) internal returns (Settlement memory settlement) {
        uint64 included = market.stateOf(job).revealed & ~excluded;
        bytes memory lifetime = _packLifetime();
        uint64[] memory scores = new uint64[](included.count());
        for (uint256 i = 0; i < scores.length; ++i) {
            scores[i] = ONE;
        }
        (, bytes32 opened) = market.examOf(job, _attempt());
        settlement = included == 0 ? _emptySettlement() : _settlement(_decision(scores), opened != 0);
        if (included != 0) settlement.model = keccak256(abi.encode("model", _attempt()));
        settlement.lifetime = lifetime;
        settlement.excluded = excluded;
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            if (excluded.has(seat)) settlement.reasons = bytes.concat(settlement.reasons, hex"01");
            if (included.has(seat)) lifetimeScores[seat] += ONE;
        }
    }

    /// @dev Settles, and notes how the job stood before, and what was paid.
    function _settleNoted(Settlement memory settlement) internal {
        (stateBefore, ledgerBefore) = (market.stateOf(job), market.ledgerOf(job));
        (settled, _lifetimeBefore) = (stateBefore.attempt, settlement.lifetime);
        _prove(market, job, settlement);
        LOGS.recordLogs();
        _handIn(settlement);
        Log[] memory logs = LOGS.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != IJobMarket.RoundSettled.selector) continue;
            (,,,,,, pays[settled],,) =
                abi.decode(logs[i].data, (address, bytes32, uint256, bool, bytes, bytes, bytes, uint256, uint256));
        }
    }

    /// @dev Publishes the exam as soon as the last settlement cannot be undone any more.
    function _publishVested() internal {
        vm.warp(market.outcomeOf(job, settled).vestsAt);
        _publishExam();
    }

    // ------------------------------------------------------------------ disputes

    function _undoData() internal view returns (bytes memory) {
        Undo memory undo = undos[job][settled];
        return abi.encode(undo);
    }

    /// @dev Of what was settled last.
    function _dispute(address by, Fact fact) internal {
        _disputeOf(by, settled, fact, pays[settled], _undoData(), DISPUTE_BOND);
    }

    function _disputeExam(address by, uint256 attempt) internal {
        _disputeOf(by, attempt, Fact.Exam, "", "", DISPUTE_BOND);
    }

    function _disputeOf(address by, uint256 attempt, Fact fact, bytes memory paid, bytes memory undo, uint256 amount)
        internal
    {
        uint256 value = _fund(by, market.termsOf(job).token, amount);
        market.dispute{value: value}(job, attempt, fact, paid, undo, amount);
    }

    function _refuseDispute(address by, Fact fact, bytes memory expected) internal {
        _refuseDisputeOf(by, settled, fact, pays[settled], _undoData(), expected);
    }

    function _refuseExam(address by, uint256 attempt, bytes memory expected) internal {
        _refuseDisputeOf(by, attempt, Fact.Exam, "", "", expected);
    }

    function _refuseDisputeOf(
        address by,
        uint256 attempt,
        Fact fact,
        bytes memory paid,
        bytes memory undo,
        bytes memory expected
    ) internal {
        uint256 value = _fund(by, market.termsOf(job).token, DISPUTE_BOND);
        vm.expectRevert(expected);
        market.dispute{value: value}(job, attempt, fact, paid, undo, DISPUTE_BOND);
    }

    // ------------------------------------------------------------------ answers

    /// @dev By so many attestors, from this one on.
    function _answer(bool holds, uint256 first, uint256 count) internal {
        bytes[] memory signatures = _signatures(_digest(holds), first, count);
        vm.prank(stranger);
        market.answer(job, holds, signatures);
    }

    function _digest(bool holds) internal view returns (bytes32) {
        Dispute memory dispute = market.disputeOf(job);
        return market.answerDigest(job, dispute.round, dispute.attempt, dispute.fact, dispute.seat, holds);
    }

    function _signatures(bytes32 digest, uint256 first, uint256 count)
        internal
        view
        returns (bytes[] memory signatures)
    {
        signatures = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            signatures[i] = _sign(keys[first + i], digest);
        }
    }

    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    /// @dev A quorum says that the fact does not hold. The prover's books go back, too.
    function _undo() internal {
        _answer(false, 0, QUORUM);
        _noteUndone(JobId.unwrap(job), market.termsOf(job).chunks);
        delete undos[job][settled];
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            // forge-lint: disable-next-line(unsafe-typecast)
            lifetimeScores[seat] = uint64(_lifetimeBefore.entryAt(seat, 8));
        }
    }

    function _disputeAndUndo(address by, Fact fact) internal {
        _dispute(by, fact);
        _undo();
    }

    function _claim(uint256 seat, uint256 attempt) internal {
        bytes32 undoHash = _undoHash(attempt);
        vm.prank(_trainer(seat));
        market.claim(job, attempt, pays[attempt], undoHash, _trainer(seat));
    }

    // ------------------------------------------------------------------ what is expected

    /// @dev The job stands as before the settlement, but for the broken bond, and the bond of a dispute that was won.
    /// @param attempts by how many the number has moved on
    /// @param startsAt of the next one, zero where none begins
    function _assertUndone(uint256 attempts, uint256 startsAt) internal view {
        JobState memory state = stateBefore;
        // forge-lint: disable-next-line(unsafe-typecast)
        (state.attempt, state.attemptStart) = (state.attempt + uint32(attempts), uint40(startsAt));
        (state.committed, state.revealed, state.revealChain) = (0, 0, 0);
        vm.assertEq(abi.encode(market.stateOf(job)), abi.encode(state), "state");
        Ledger memory ledger = ledgerBefore;
        uint128 compensation = uint128(stateBefore.revealed.count()) * COMPENSATION;
        ledger.bonds -= BOND;
        ledger.credits += compensation;
        ledger.burned += BOND - compensation;
        ledger.deposited += DISPUTE_BOND;
        ledger.disputes += DISPUTE_BOND;
        vm.assertEq(abi.encode(market.ledgerOf(job)), abi.encode(ledger), "ledger");
        vm.assertEq(market.owed(address(0)), address(market).balance, "owed");
        _assertConserved();
    }
}
