// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {ExclusionReason, Fact, JobTerms, Ledger, Verdict} from "../../src/interfaces/JobTypes.sol";
import {Base} from "../Base.sol";

/// @notice One recorded log, in the form in which forge hands it over.
struct Log {
    bytes32[] topics;
    bytes data;
    address emitter;
}

/// @notice What a settlement did that an undone one gives back.
struct Reversible {
    uint128 pays;
    uint128 fee; // zero where none is due
    uint128 returned;
    uint128 missed; // the deposit for its exam
}

/// @notice What an attempt's fee is due for.
struct Work {
    uint256 revealed; // how many updates
    uint256 excluded; // how many of them were left out
    bool examExcluded;
}

/// @notice A dispute that is open, or the last.
struct Contest {
    address by;
    uint128 bond;
    Fact fact;
}

/// @notice The cheat codes that record logs.
// forge-lint: disable-next-line(interface-naming)
interface LogVm {
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory logs);
}

/// @notice Rebuilds every job's ledger from events alone, as an indexer would.
abstract contract EventLedger is Base {
    /// @notice Something that must never happen; empty while nothing did.
    string public violation;

    mapping(uint256 job => Ledger) internal rebuilt;
    mapping(uint256 job => mapping(uint256 attempt => bytes)) internal paysOf;
    mapping(uint256 job => mapping(uint256 attempt => uint256)) internal feeOf;
    mapping(uint256 job => mapping(uint256 attempt => uint256)) internal claimedMask;
    mapping(uint256 job => mapping(uint256 seat => uint128)) internal stakeOf;
    mapping(uint256 job => mapping(address trainer => uint128)) internal waitOf;
    mapping(uint256 job => mapping(uint256 seat => address)) internal tenantOf;
    mapping(uint256 job => mapping(uint256 attempt => mapping(uint256 seat => address))) private _revealedBy;
    mapping(uint256 job => mapping(uint256 attempt => Work)) private _work;
    mapping(uint256 job => mapping(uint256 attempt => uint64)) public coveredIn;
    uint256 public feesNotDue; // settlements that earned none
    mapping(uint256 job => JobTerms) internal termsOf;
    mapping(uint256 job => uint256) internal lastAttempt;
    mapping(bytes32 signature => uint256) internal seen;
    mapping(Fact fact => mapping(Verdict verdict => uint256)) public timesResolved;
    mapping(uint256 job => mapping(uint256 attempt => Reversible)) private _reversible;
    mapping(uint256 job => Contest) private _contests;
    mapping(uint256 job => mapping(address by => uint256)) private _won;

    function ledgerOf(uint256 job) external view returns (Ledger memory) {
        return rebuilt[job];
    }

    /// @notice What is at stake on seats, and of those who wait.
    function stakesOf(uint256 job, address[] calldata waiting) external view returns (uint256 sum) {
        for (uint256 seat = 0; seat < 64; ++seat) {
            sum += stakeOf[job][seat];
        }
        for (uint256 i = 0; i < waiting.length; ++i) {
            sum += waitOf[job][waiting[i]];
        }
    }

    function timesSeen(bytes32 signature) external view returns (uint256) {
        return seen[signature];
    }

    /// @notice What is credited to somebody and was not claimed, entry by entry.
    function unclaimed(uint256 job) external view returns (uint256 sum) {
        for (uint256 attempt = 0; attempt <= lastAttempt[job]; ++attempt) {
            bytes memory pays = paysOf[job][attempt];
            for (uint256 seat = 0; seat < pays.length / 16; ++seat) {
                if ((claimedMask[job][attempt] >> seat) & 1 == 0) sum += _entry(pays, seat);
            }
            sum += feeOf[job][attempt];
        }
    }

    function _absorb(Log[] memory logs) internal {
        for (uint256 i = 0; i < logs.length; ++i) {
            bytes32 signature = logs[i].topics[0];
            ++seen[signature];
            if (logs[i].topics.length < 2) continue;
            _absorbSeats(signature, uint256(logs[i].topics[1]), logs[i]);
            _absorbDeposits(signature, uint256(logs[i].topics[1]), logs[i]);
            _absorbOutcomes(signature, uint256(logs[i].topics[1]), logs[i]);
            _absorbPayments(signature, uint256(logs[i].topics[1]), logs[i]);
            _absorbDisputes(signature, uint256(logs[i].topics[1]), logs[i]);
        }
    }

    function _absorbDeposits(bytes32 signature, uint256 job, Log memory log) private {
        Ledger storage ledger = rebuilt[job];
        if (signature == IJobMarket.JobOpened.selector) {
            (,,, uint256 deposit, JobTerms memory terms) =
                abi.decode(log.data, (bytes32, bytes, bytes32, uint256, JobTerms));
            uint256 budget = terms.rounds * (uint256(terms.roundReward) + terms.aggregatorFee);
            uint256 exams = terms.rounds * uint256(terms.exam.deposit);
            ledger.deposited = _u128(deposit);
            ledger.budget = _u128(budget);
            ledger.exams = _u128(exams);
            ledger.refundable = _u128(deposit - budget - exams);
        } else if (signature == IJobMarket.TrainerEnrolled.selector) {
            (uint256 seat, uint256 stake) = abi.decode(log.data, (uint256, uint256));
            ledger.deposited += _u128(stake);
            ledger.stakes += _u128(stake);
            if (stakeOf[job][seat] != 0) violation = "a stake was put in place twice";
            stakeOf[job][seat] = _u128(stake);
            tenantOf[job][seat] = _accountOf(log);
        } else if (signature == IJobMarket.AggregatorBonded.selector) {
            (uint256 amount,) = abi.decode(log.data, (uint256, bytes32));
            uint128 bond = _u128(amount);
            ledger.deposited += bond;
            ledger.bonds += bond;
        }
    }

    /// @dev A stake moves from seats to those who wait, and back.
    function _absorbSeats(bytes32 signature, uint256 job, Log memory log) private {
        if (signature == IJobMarket.TrainerWaits.selector) {
            uint128 stake = _u128(abi.decode(log.data, (uint256)));
            rebuilt[job].deposited += stake;
            rebuilt[job].stakes += stake;
            _waits(job, _accountOf(log), stake);
        } else if (signature == IJobMarket.SeatLost.selector) {
            (uint256 seat, uint256 stake) = abi.decode(log.data, (uint256, uint256));
            if (tenantOf[job][seat] != _accountOf(log)) violation = "a seat was lost by another than had it";
            if (stakeOf[job][seat] != stake) violation = "another stake was lost with a seat than was in place";
            stakeOf[job][seat] = 0;
            _waits(job, _accountOf(log), _u128(stake));
        } else if (signature == IJobMarket.SeatTaken.selector) {
            (uint256 seat, uint256 stake) = abi.decode(log.data, (uint256, uint256));
            if (stakeOf[job][seat] != 0) violation = "a seat was taken with a stake in place";
            (stakeOf[job][seat], tenantOf[job][seat]) = (_u128(stake), _accountOf(log));
            _waitsNoMore(job, _accountOf(log), stake);
        } else if (signature == IJobMarket.WaitEnded.selector) {
            (, uint256 amount) = abi.decode(log.data, (address, uint256));
            rebuilt[job].stakes -= _u128(amount);
            rebuilt[job].refunded += _u128(amount);
            _waitsNoMore(job, _accountOf(log), amount);
        }
    }

    function _waits(uint256 job, address trainer, uint128 stake) private {
        if (waitOf[job][trainer] != 0) violation = "somebody waits twice";
        waitOf[job][trainer] = stake;
    }

    function _waitsNoMore(uint256 job, address trainer, uint256 stake) private {
        if (stake == 0 || waitOf[job][trainer] != stake) violation = "another stake waited";
        waitOf[job][trainer] = 0;
    }

    /// @dev The account that most events are about.
    function _accountOf(Log memory log) private pure returns (address) {
        return address(uint160(uint256(log.topics[2])));
    }

    function _absorbOutcomes(bytes32 signature, uint256 job, Log memory log) private {
        if (signature == IJobMarket.StakesForfeited.selector) _forfeited(job, log);
        else if (signature == IJobMarket.RoundSettled.selector) _settled(job, log);
        else if (signature == IJobMarket.RoundSkipped.selector) _skipped(job, log);
        else if (signature == IJobMarket.AttemptExpired.selector) _expired(job, log);
        else if (signature == IJobMarket.JobClosed.selector) _closed(job, log);
        else if (signature == IJobMarket.ExamMissed.selector) _missed(job, log);
        else if (signature == IJobMarket.ExamRefuted.selector) _lost(job, log);
        else if (signature == IJobMarket.ExamUnpublished.selector) _lost(job, log);
        else if (signature == IJobMarket.UpdateRevealed.selector) _revealed(job, log);
        else if (signature == IJobMarket.UpdateExcluded.selector) _excluded(job, log);
        else if (signature == IJobMarket.ReceiptsFiled.selector) _filed(job, log);
        else if (signature == IJobMarket.ExamExcluded.selector) _work[job][uint256(log.topics[2])].examExcluded = true;
    }

    function _revealed(uint256 job, Log memory log) private {
        (uint256 seat,,,) = abi.decode(log.data, (uint256, bytes32, bytes, bytes32));
        uint256 attempt = uint256(log.topics[2]);
        ++_work[job][attempt].revealed;
        _revealedBy[job][attempt][seat] = address(uint160(uint256(log.topics[3])));
    }

    function _excluded(uint256 job, Log memory log) private {
        uint256 attempt = uint256(log.topics[2]);
        ++_work[job][attempt].excluded;
        (uint256 seat, ExclusionReason reason) = abi.decode(log.data, (uint256, ExclusionReason));
        bool isCovered = (coveredIn[job][attempt] >> seat) & 1 != 0;
        if (isCovered && reason == ExclusionReason.Unavailable) violation = "what a quorum held was unavailable";
    }

    function _filed(uint256 job, Log memory log) private {
        uint256 attempt = uint256(log.topics[2]);
        (uint64 seats,) = abi.decode(log.data, (uint64, uint64));
        if (seats == 0 || seats & coveredIn[job][attempt] != 0) violation = "receipts covered nothing new";
        for (uint256 seat = 0; seat < 64; ++seat) {
            bool isRevealed = _revealedBy[job][attempt][seat] != address(0);
            if ((seats >> seat) & 1 != 0 && !isRevealed) violation = "a seat was covered that had not revealed";
        }
        coveredIn[job][attempt] |= seats;
    }

    function _missed(uint256 job, Log memory log) private {
        _lost(job, log);
        _reversible[job][uint256(log.topics[2])].missed = _u128(abi.decode(log.data, (uint256)));
    }

    /// @dev Deposits for exams go to nobody.
    function _lost(uint256 job, Log memory log) private {
        uint128 amount = _u128(abi.decode(log.data, (uint256)));
        rebuilt[job].exams -= amount;
        rebuilt[job].burned += amount;
    }

    function _forfeited(uint256 job, Log memory log) private {
        (uint256 seats, uint256 burned) = abi.decode(log.data, (uint256, uint256));
        uint256 sum = 0;
        for (uint256 seat = 0; seat < 64; ++seat) {
            if ((seats >> seat) & 1 == 0) continue;
            sum += stakeOf[job][seat];
            stakeOf[job][seat] = 0;
        }
        if (sum != burned) violation = "burned another amount than was at stake";
        rebuilt[job].stakes -= _u128(burned);
        rebuilt[job].burned += _u128(burned);
    }

    function _settled(uint256 job, Log memory log) private {
        (,,,,,, bytes memory pays, uint256 returned,) =
            abi.decode(log.data, (address, bytes32, uint256, bool, bytes, bytes, bytes, uint256, uint256));
        (uint128 reward, uint128 fee) = (termsOf[job].roundReward, termsOf[job].aggregatorFee);
        uint256 attempt = uint256(log.topics[3]);
        uint128 total = _record(job, attempt, pays);
        uint128 due = _earnsItsFee(_work[job][attempt]) ? fee : 0;
        if (due != fee) ++feesNotDue;
        feeOf[job][attempt] = due;
        (_reversible[job][attempt].pays, _reversible[job][attempt].fee) = (total, due);
        _reversible[job][attempt].returned = _u128(returned);
        Ledger storage ledger = rebuilt[job];
        ledger.budget -= reward + fee;
        ledger.credits += total + due;
        ledger.carry = ledger.carry + reward + fee - total - due - _u128(returned);
        ledger.refundable += _u128(returned);
    }

    /// @dev Who leaves an exam out, or everybody, decides nothing.
    function _earnsItsFee(Work memory work) private pure returns (bool) {
        return work.revealed > work.excluded && !work.examExcluded;
    }

    function _skipped(uint256 job, Log memory log) private {
        bool hadMinimum = abi.decode(log.data, (bool));
        (uint128 reward, uint128 fee) = (termsOf[job].roundReward, termsOf[job].aggregatorFee);
        Ledger storage ledger = rebuilt[job];
        ledger.budget -= reward + fee;
        ledger.refundable += fee + (hadMinimum ? 0 : reward);
        ledger.carry += hadMinimum ? reward : 0;
    }

    function _expired(uint256 job, Log memory log) private {
        (, uint256 burned, bytes memory pays,) = abi.decode(log.data, (address, uint256, bytes, uint256));
        uint128 total = _record(job, uint256(log.topics[3]), pays);
        Ledger storage ledger = rebuilt[job];
        ledger.bonds -= total + _u128(burned);
        ledger.credits += total;
        ledger.burned += _u128(burned);
    }

    function _closed(uint256 job, Log memory log) private {
        (uint256 refundable, uint256 burned, bytes memory pays) = abi.decode(log.data, (uint256, uint256, bytes));
        uint128 total = _record(job, uint256(log.topics[2]), pays);
        Ledger storage ledger = rebuilt[job];
        ledger.carry += ledger.budget + ledger.exams - _u128(refundable);
        (ledger.budget, ledger.exams) = (0, 0);
        ledger.refundable += _u128(refundable);
        ledger.carry -= total + _u128(burned);
        ledger.credits += total;
        ledger.burned += _u128(burned);
    }

    function _absorbDisputes(bytes32 signature, uint256 job, Log memory log) private {
        Ledger storage ledger = rebuilt[job];
        if (signature == IJobMarket.DisputeOpened.selector) {
            (, Fact fact,, uint256 bond,) = abi.decode(log.data, (uint256, Fact, uint256, uint256, uint256));
            _contests[job] = Contest({by: address(uint160(uint256(log.topics[3]))), bond: _u128(bond), fact: fact});
            ledger.deposited += _u128(bond);
            ledger.disputes += _u128(bond);
        } else if (signature == IJobMarket.DisputeResolved.selector) {
            _resolved(job, log);
        } else if (signature == IJobMarket.AttemptUndone.selector) {
            _undone(job, log);
        } else if (signature == IJobMarket.DisputeBondWithdrawn.selector) {
            (, uint256 amount) = abi.decode(log.data, (address, uint256));
            address by = address(uint160(uint256(log.topics[2])));
            if (_won[job][by] != amount) violation = "another bond was returned than was won";
            _won[job][by] = 0;
            ledger.disputes -= _u128(amount);
            ledger.refunded += _u128(amount);
        }
    }

    function _resolved(uint256 job, Log memory log) private {
        (Verdict verdict, uint256 burned,,,) = abi.decode(log.data, (Verdict, uint256, uint256, uint256, uint256));
        Contest memory contest = _contests[job];
        ++timesResolved[contest.fact][verdict];
        if (burned != (verdict == Verdict.Fails ? 0 : contest.bond)) violation = "burned another bond than was lost";
        if (verdict == Verdict.Fails) _won[job][contest.by] += contest.bond;
        rebuilt[job].disputes -= _u128(burned);
        rebuilt[job].burned += _u128(burned);
    }

    /// @dev What the settlement did, the other way round, and then as an attempt that expired.
    function _undone(uint256 job, Log memory log) private {
        uint256 attempt = uint256(log.topics[3]);
        Reversible memory settled = _reversible[job][attempt];
        bool paid = claimedMask[job][attempt] != 0 || feeOf[job][attempt] != settled.fee;
        if (paid) violation = "what was paid was undone";
        (uint128 reward, uint128 fee) = (termsOf[job].roundReward, termsOf[job].aggregatorFee);
        Ledger storage ledger = rebuilt[job];
        ledger.budget += reward + fee;
        ledger.credits -= settled.pays + settled.fee;
        ledger.carry = ledger.carry + settled.pays + settled.fee + settled.returned - reward - fee;
        ledger.refundable -= settled.returned;
        ledger.exams += settled.missed;
        ledger.burned -= settled.missed;
        delete feeOf[job][attempt];
        delete paysOf[job][attempt];
        delete _reversible[job][attempt];
        _expired(job, log);
    }

    function _absorbPayments(bytes32 signature, uint256 job, Log memory log) private {
        Ledger storage ledger = rebuilt[job];
        if (signature == IJobMarket.Claimed.selector) {
            _claimed(job, log);
        } else if (signature == IJobMarket.FeeClaimed.selector) {
            (, uint256 amount) = abi.decode(log.data, (address, uint256));
            uint256 attempt = uint256(log.topics[2]);
            if (feeOf[job][attempt] != amount) violation = "a fee was paid that was not due";
            feeOf[job][attempt] = 0;
            ledger.credits -= _u128(amount);
            ledger.paid += _u128(amount);
        } else if (signature == IJobMarket.StakeWithdrawn.selector) {
            (uint256 seat,, uint256 amount) = abi.decode(log.data, (uint256, address, uint256));
            if (stakeOf[job][seat] != amount) violation = "another stake was returned than was in place";
            stakeOf[job][seat] = 0;
            ledger.stakes -= _u128(amount);
            ledger.refunded += _u128(amount);
        } else if (signature == IJobMarket.BondWithdrawn.selector) {
            (, uint256 amount) = abi.decode(log.data, (address, uint256));
            ledger.bonds -= _u128(amount);
            ledger.refunded += _u128(amount);
        } else if (signature == IJobMarket.Refunded.selector) {
            (, uint256 amount) = abi.decode(log.data, (address, uint256));
            ledger.refundable -= _u128(amount);
            ledger.refunded += _u128(amount);
        }
    }

    function _claimed(uint256 job, Log memory log) private {
        (uint256 seat,, uint256 amount) = abi.decode(log.data, (uint256, address, uint256));
        uint256 attempt = uint256(log.topics[2]);
        if ((claimedMask[job][attempt] >> seat) & 1 != 0) violation = "a pay was claimed twice";
        if (_entry(paysOf[job][attempt], seat) != amount) violation = "another pay was claimed than was credited";
        if (address(uint160(uint256(log.topics[3]))) != _earner(job, attempt, seat)) {
            violation = "a pay was claimed by another than earned it";
        }
        claimedMask[job][attempt] |= uint256(1) << seat;
        rebuilt[job].credits -= _u128(amount);
        rebuilt[job].paid += _u128(amount);
    }

    /// @dev Whose it is what a seat has in an attempt: that of who revealed in it, and of the close of who had the seat last.
    function _earner(uint256 job, uint256 attempt, uint256 seat) internal view returns (address) {
        address trainer = _revealedBy[job][attempt][seat];
        return trainer == address(0) ? tenantOf[job][seat] : trainer;
    }

    function _record(uint256 job, uint256 attempt, bytes memory pays) private returns (uint128 total) {
        if (paysOf[job][attempt].length != 0) violation = "an attempt ended twice";
        paysOf[job][attempt] = pays;
        lastAttempt[job] = attempt;
        for (uint256 seat = 0; seat < pays.length / 16; ++seat) {
            total += _entry(pays, seat);
        }
    }

    /// @dev A word at once: the invariants read every entry after every call.
    function _entry(bytes memory pays, uint256 seat) internal pure returns (uint128 entry) {
        assembly ("memory-safe") {
            entry := shr(128, mload(add(add(pays, 0x20), mul(seat, 16))))
        }
    }

    function _u128(uint256 value) private pure returns (uint128) {
        vm.assertLe(value, type(uint128).max);
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint128(value);
    }
}
