// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {TaskOutcome, TaskTerms} from "../../src/interfaces/ConsensusTypes.sol";
import {ConsensusFixture, Play} from "./ConsensusFixture.sol";

/// @notice Digests that nobody generated. Other cheats are beside the action that refuses them.
contract ConsensusCheatsTest is ConsensusFixture {
    function testFuzz_randomDigestsLoseAUnit(uint256 seed) public {
        vm.assume(seed != 1);
        Play[] memory plays = _honest(3);
        plays[1].digests = _batch(seed);
        _decide(plays);
        _finish();
        vm.assertEq(_panel().clique, 5);
        _assertUnits(_seatAt(1), 0, 0);
        vm.assertEq(consensus.credits(_seatAt(1)), 0);
        _assertConserved();
    }

    /// @dev Half of a batch guessed is as bad as all of it.
    function test_partlyGuessedDigestsLoseAUnit() public {
        Play[] memory plays = _honest(3);
        plays[1].digests = _batch(2);
        for (uint256 i = 0; i < SAMPLES / 2; ++i) {
            plays[1].digests[i] = _batch(1)[i];
        }
        _decide(plays);
        _finish();
        _assertUnits(_seatAt(1), 0, 0);
    }

    /// @dev Between the honest and a liar, within tolerance of both: it earns one share as anybody, the liar earns none, and
    /// the honest have theirs.
    function test_digestInTheMiddleGainsNothing() public {
        _openFive();
        bytes32[] memory batch = _batch(1);
        Play[] memory plays = _plays(5, batch);
        plays[3].digests = _flipped(batch, 0, TOLERANCE);
        plays[4].digests = _flipped(batch, 0, 2 * TOLERANCE);
        _decide(plays);
        vm.assertEq(_panel().clique, 15);
        vm.assertEq(_panel().spared, 16);
        vm.assertEq(_panel().medoid, 0);
        _finish();
        for (uint256 i = 0; i < 4; ++i) {
            vm.assertEq(consensus.credits(_seatAt(i)), SHARE);
        }
        vm.assertEq(consensus.credits(_seatAt(4)), 0);
        vm.assertEq(consensus.ledger().burned, SHARE);
    }

    /// @dev Of three, between an honest one and a liar: closer to the liar it takes the majority with it, and still the honest
    /// one loses nothing that it has put down.
    function test_digestInTheMiddlePenalisesNobodyWhoIsHonest() public {
        bytes32[] memory batch = _batch(1);
        _decide(_three(batch, _flipped(batch, 0, TOLERANCE), _flipped(batch, 0, TOLERANCE + 5)));
        vm.assertEq(_panel().clique, 6);
        vm.assertEq(_panel().spared, 1);
        _finish();
        _assertUnits(_seatAt(0), 1, 0);
    }

    /// @dev Three honest of five agree with one another: whatever the two others reveal, no honest unit is lost, and who
    /// agrees with nobody of the clique loses its own.
    function testFuzz_honestMajorityIsNeverPenalised(uint256 seed, uint256 first, uint256 second) public {
        _openFive();
        bytes32[] memory batch = _batch(seed);
        Play[] memory plays = _plays(5, batch);
        for (uint256 i = 0; i < 3; ++i) {
            plays[i].digests = _flipped(batch, 30 * i, (seed >> (8 * i)) % 11); // at most 20 between two
        }
        plays[3].digests = _crafted(batch, first);
        plays[4].digests = _crafted(batch, second);
        _decide(plays);
        _assertOutcome(TaskOutcome.Accepted);
        uint256 kept = uint256(_panel().clique) | _panel().spared;
        vm.assertEq(kept & 7, 7, "an honest seat is penalised");
        _finish();
        for (uint256 i = 0; i < 5; ++i) {
            _assertUnits(_seatAt(i), (kept >> i) & 1, 0);
        }
        // Whoever is excluded, the owner has nothing of it, and nobody more than a share.
        vm.assertEq(consensus.credits(owner), 0);
        for (uint256 i = 0; i < 5; ++i) {
            vm.assertLe(consensus.credits(_seatAt(i)), SHARE);
        }
        _assertConserved();
    }

    function _crafted(bytes32[] memory batch, uint256 choice) private pure returns (bytes32[] memory) {
        return _flipped(batch, choice % 128, (choice >> 8) % 60);
    }

    function _openFive() private {
        TaskTerms memory terms = _terms();
        terms.verifiers = 5;
        task = _open(terms);
    }
}
