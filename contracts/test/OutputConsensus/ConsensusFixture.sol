// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {OutputConsensus} from "../../src/OutputConsensus.sol";
import {
    ConsensusLedger,
    Evidence,
    Panel,
    PoolId,
    PoolTerms,
    Seat,
    TaskId,
    TaskOutcome,
    TaskPhase,
    TaskState,
    TaskTerms,
    Verifier
} from "../../src/interfaces/ConsensusTypes.sol";
import {Base} from "../Base.sol";

/// @notice What a seat does.
enum Act {
    Reveal,
    Void, // reveals that the request cannot be met
    Mute, // commits and does not reveal
    Silent // does not commit
}

struct Play {
    Act act;
    bytes32[] digests;
}

/// @notice A pool of twenty verifiers and a task of three, before its draw.
abstract contract ConsensusFixture is Base {
    uint256 internal constant NOW = 1_700_000_000;
    uint256 internal constant BLOCK = 20_000_000;
    uint256 internal constant DELAY = 128;
    uint32 internal constant SEAT = 100;
    uint32 internal constant COMMIT = 200;
    uint32 internal constant REVEAL = 300;
    uint32 internal constant APPEAL = 400;
    uint128 internal constant SHARE = 1 ether;
    uint128 internal constant UNIT = 3 ether;
    uint128 internal constant WORKER_REWARD = 0.5 ether;
    uint16 internal constant SAMPLES = 8;
    uint16 internal constant TOLERANCE = 20;
    uint256 internal constant VERIFIERS = 20;
    bytes32 internal constant SALT = keccak256("salt");

    OutputConsensus internal consensus;
    PoolId internal pool;
    TaskId internal task;
    uint256 internal verifiers;
    address internal owner = address(0x0a11ce);
    address internal worker = address(0x30c);
    address internal stranger = address(0x57a);
    Evidence internal opened; // canaries and claim
    mapping(TaskId id => mapping(uint256 panel => bytes32[][])) private _batches;

    function setUp() public virtual {
        vm.warp(NOW);
        vm.roll(BLOCK);
        consensus = new OutputConsensus();
        pool = consensus.openPool(_poolTerms());
        _stakeMany(VERIFIERS);
        vm.roll(BLOCK + 1);
        task = _open(_terms());
    }

    // ------------------------------------------------------------------ terms

    function _poolTerms() internal pure virtual returns (PoolTerms memory) {
        return PoolTerms({
            service: keccak256("service"),
            digestKind: 1,
            toleranceBits: TOLERANCE,
            slackPermille: 125, // one of eight samples
            maxSamples: 256,
            unit: UNIT
        });
    }

    function _terms() internal view virtual returns (TaskTerms memory terms) {
        terms.pool = pool;
        terms.request = keccak256("request");
        terms.seed = 7;
        terms.samples = SAMPLES;
        terms.verifiers = 3;
        terms.share = SHARE;
        terms.seatPeriod = SEAT;
        terms.commitPeriod = COMMIT;
        terms.revealPeriod = REVEAL;
        terms.appealPeriod = APPEAL;
    }

    /// @dev With a worker whose digests are those of `_batch(1)`.
    function _workerTerms() internal view returns (TaskTerms memory terms) {
        terms = _terms();
        terms.worker = worker;
        terms.workerReward = WORKER_REWARD;
        terms.claim = keccak256(abi.encode(keccak256(abi.encodePacked(_batch(1))), SALT));
    }

    // ------------------------------------------------------------------ actions

    function _verifier(uint256 i) internal pure returns (address) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return address(uint160(0x7000 + i));
    }

    function _stakeMany(uint256 count) internal {
        for (uint256 i = 0; i < count; ++i) {
            _stake(_verifier(verifiers++), 1);
        }
    }

    function _stake(address account, uint16 units) internal {
        vm.deal(account, account.balance + units * uint256(UNIT));
        vm.prank(account);
        consensus.stake{value: units * uint256(UNIT)}(pool, units);
    }

    function _open(TaskTerms memory terms) internal returns (TaskId id) {
        uint256 value = uint256(terms.verifiers) * terms.share + terms.workerReward;
        vm.deal(owner, owner.balance + value);
        vm.prank(owner);
        id = consensus.openTask{value: value}(terms);
    }

    function _draw() internal {
        vm.roll(_panel().drawBlock + 1);
        consensus.drawSeats(task);
    }

    /// @dev Draws, lets everybody try for a seat, and ends the phase.
    function _seat() internal {
        _draw();
        for (uint256 i = 0; i < verifiers; ++i) {
            vm.prank(_verifier(i));
            try consensus.takeSeat(task) {} catch {}
        }
        vm.warp(_panel().seatUntil);
    }

    function _commit(uint256 seat, bytes32[] memory digests) internal {
        address account = _seatAt(seat);
        bytes32 seal = _sealOf(account, digests);
        vm.prank(account);
        consensus.commitOutputs(task, seal);
    }

    function _reveal(uint256 seat, bytes32[] memory digests) internal {
        address account = _seatAt(seat);
        vm.prank(account);
        consensus.revealOutputs(task, digests, _outputsOf(digests), SALT);
        _note(seat, digests);
    }

    function _note(uint256 seat, bytes32[] memory digests) internal {
        _batches[task][_state().panel][seat] = digests;
    }

    /// @dev Everybody on the panel does its part, up to where it can be settled.
    function _play(Play[] memory plays) internal {
        _commitAll(plays);
        _revealAll(plays);
        vm.warp(_panel().revealUntil);
    }

    function _commitAll(Play[] memory plays) internal {
        delete _batches[task][_state().panel];
        for (uint256 seat = 0; seat < plays.length; ++seat) {
            _batches[task][_state().panel].push();
            if (plays[seat].act != Act.Silent) _commit(seat, plays[seat].digests);
        }
        vm.warp(_panel().commitUntil);
    }

    function _revealAll(Play[] memory plays) internal {
        for (uint256 seat = 0; seat < plays.length; ++seat) {
            if (plays[seat].act <= Act.Void) _reveal(seat, plays[seat].digests);
        }
    }

    function _settle() internal {
        consensus.settle(task, _evidence());
    }

    function _id(uint256 number) internal pure returns (TaskId) {
        return TaskId.wrap(number);
    }

    /// @dev From the draw to the decision.
    function _decide(Play[] memory plays) internal {
        _seat();
        _play(plays);
        _settle();
    }

    function _finish() internal {
        TaskState memory state = _state();
        if (state.phase == TaskPhase.Appeal) vm.warp(state.appealUntil);
        consensus.finish(task);
    }

    function _appeal(address by) internal {
        TaskTerms memory terms = _termsOf();
        uint256 bond = (2 * uint256(terms.verifiers) + 1) * terms.share;
        vm.deal(by, by.balance + bond);
        vm.prank(by);
        consensus.appeal{value: bond}(task);
    }

    function _openClaim() internal {
        vm.prank(worker);
        consensus.openClaim(task, _batch(1), SALT);
        opened.claimed = _batch(1);
    }

    // ------------------------------------------------------------------ what they reveal

    function _batch(uint256 seed) internal pure returns (bytes32[] memory) {
        return _batchOf(seed, SAMPLES);
    }

    function _batchOf(uint256 seed, uint256 samples) internal pure returns (bytes32[] memory digests) {
        digests = new bytes32[](samples);
        for (uint256 i = 0; i < samples; ++i) {
            digests[i] = keccak256(abi.encode(seed, i));
        }
    }

    /// @dev Flips `count` bits of each sample from bit `from` on.
    function _flipped(bytes32[] memory digests, uint256 from, uint256 count)
        internal
        pure
        returns (bytes32[] memory flipped)
    {
        flipped = new bytes32[](digests.length);
        for (uint256 i = 0; i < digests.length; ++i) {
            flipped[i] = _flip(digests[i], from, count);
        }
    }

    function _flip(bytes32 digest, uint256 from, uint256 count) internal pure returns (bytes32) {
        // forge-lint: disable-next-line(incorrect-shift)
        return digest ^ bytes32(((1 << count) - 1) << from);
    }

    function _plays(uint256 count, bytes32[] memory digests) internal pure returns (Play[] memory plays) {
        plays = new Play[](count);
        for (uint256 i = 0; i < count; ++i) {
            plays[i] = Play({act: Act.Reveal, digests: digests});
        }
    }

    function _honest(uint256 count) internal pure returns (Play[] memory) {
        return _plays(count, _batch(1));
    }

    /// @dev Three seats that reveal these.
    function _three(bytes32[] memory a, bytes32[] memory b, bytes32[] memory c)
        internal
        pure
        returns (Play[] memory plays)
    {
        plays = new Play[](3);
        plays[0] = Play({act: Act.Reveal, digests: a});
        plays[1] = Play({act: Act.Reveal, digests: b});
        plays[2] = Play({act: Act.Reveal, digests: c});
    }

    function _void() internal pure returns (Play memory) {
        return Play({act: Act.Void, digests: new bytes32[](0)});
    }

    function _evidence() internal view returns (Evidence memory evidence) {
        evidence = opened;
        TaskState memory state = _state();
        evidence.digests = _batches[task][state.panel];
        if (state.panel == 2) evidence.original = _batches[task][state.standing];
    }

    function _outputsOf(bytes32[] memory digests) internal pure returns (bytes32) {
        return digests.length == 0 ? bytes32(0) : keccak256(abi.encode("outputs", digests));
    }

    function _sealOf(address account, bytes32[] memory digests) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                block.chainid,
                address(consensus),
                task,
                uint256(_state().panel),
                account,
                keccak256(abi.encodePacked(digests)),
                _outputsOf(digests),
                SALT
            )
        );
    }

    // ------------------------------------------------------------------ what is so

    function _panel() internal view returns (Panel memory) {
        return consensus.panel(task, _state().panel);
    }

    function _state() internal view returns (TaskState memory state) {
        (, state) = consensus.task(task);
    }

    function _termsOf() internal view returns (TaskTerms memory terms) {
        (terms,) = consensus.task(task);
    }

    function _seatAt(uint256 seat) internal view returns (address) {
        return _panel().seats[seat].verifier;
    }

    function _units(address account) internal view returns (uint256 units, uint256 locked) {
        Verifier memory found = consensus.verifier(pool, account);
        return (found.units, found.locked);
    }

    function _assertUnits(address account, uint256 units, uint256 locked) internal view {
        (uint256 actualUnits, uint256 actualLocked) = _units(account);
        vm.assertEq(actualUnits, units, "units");
        vm.assertEq(actualLocked, locked, "locked");
    }

    function _assertPhase(TaskPhase phase) internal view {
        vm.assertEq(uint256(_state().phase), uint256(phase), "phase");
    }

    function _assertOutcome(TaskOutcome outcome) internal view {
        vm.assertEq(uint256(_state().outcome), uint256(outcome), "outcome");
    }

    function _assertConserved() internal view {
        ConsensusLedger memory ledger = consensus.ledger();
        uint256 held = uint256(ledger.burned) + ledger.stakes + ledger.escrowed + ledger.credits;
        vm.assertEq(ledger.deposited, ledger.withdrawn + held, "ledger");
        vm.assertEq(address(consensus).balance, held, "balance");
    }

    /// @dev The k lowest numbers of the pool, as verifiers, among those that may sit.
    function _isSeated(Panel memory panel, address account) internal pure returns (bool) {
        for (uint256 i = 0; i < panel.seats.length; ++i) {
            Seat memory seat = panel.seats[i];
            if (seat.verifier == account) return true;
        }
        return false;
    }
}
