// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {PoolId, PoolTerms, Verifier} from "../../src/interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../../src/interfaces/IOutputConsensus.sol";
import {ConsensusFixture} from "./ConsensusFixture.sol";

contract PoolsTest is ConsensusFixture {
    PoolId private constant UNKNOWN = PoolId.wrap(9);

    // ------------------------------------------------------------------ opening

    function test_openPool_keepsItsTerms() public {
        PoolTerms memory terms = _poolTerms();
        vm.expectEmit();
        emit IOutputConsensus.PoolOpened(PoolId.wrap(1), stranger, terms.service, terms);
        vm.prank(stranger);
        PoolId id = consensus.openPool(terms);
        (PoolTerms memory kept, uint256 members) = consensus.pool(id);
        vm.assertEq(keccak256(abi.encode(kept)), keccak256(abi.encode(terms)));
        vm.assertEq(members, 0);
        vm.assertEq(consensus.poolCount(), 2);
    }

    function test_openPool_failsIfATermIsOutOfRange() public {
        PoolTerms memory terms = _poolTerms();
        terms.service = 0;
        _refuses(terms, "service", 0);
        terms = _poolTerms();
        terms.toleranceBits = 128;
        _refuses(terms, "toleranceBits", 128);
        terms = _poolTerms();
        terms.slackPermille = 250;
        _refuses(terms, "slackPermille", 250);
        terms = _poolTerms();
        terms.maxSamples = 0;
        _refuses(terms, "maxSamples", 0);
        terms.maxSamples = 257;
        _refuses(terms, "maxSamples", 257);
        terms = _poolTerms();
        terms.unit = 0;
        _refuses(terms, "unit", 0);
    }

    function _refuses(PoolTerms memory terms, string memory term, uint256 value) private {
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.InvalidTerm.selector, term, value));
        consensus.openPool(terms);
    }

    // ------------------------------------------------------------------ staking

    function test_stake_addsUnits() public {
        vm.deal(stranger, 5 * UNIT);
        vm.expectEmit();
        emit IOutputConsensus.Staked(pool, stranger, 2);
        vm.prank(stranger);
        consensus.stake{value: 2 * UNIT}(pool, 2);
        (, uint256 members) = consensus.pool(pool);
        vm.assertEq(members, VERIFIERS + 1);
        vm.roll(BLOCK + 9);
        vm.prank(stranger);
        consensus.stake{value: 3 * UNIT}(pool, 3);
        Verifier memory found = consensus.verifier(pool, stranger);
        vm.assertEq(found.units, 5);
        vm.assertEq(found.since, BLOCK + 9);
        (, members) = consensus.pool(pool);
        vm.assertEq(members, VERIFIERS + 1);
        _assertConserved();
    }

    function test_stake_failsIfValueIsWrong() public {
        vm.deal(stranger, 5 * UNIT);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.WrongValue.selector, UNIT, 2 * UNIT));
        vm.prank(stranger);
        consensus.stake{value: UNIT}(pool, 2);
    }

    function test_stake_failsWithoutUnits() public {
        vm.expectRevert(IOutputConsensus.NoUnits.selector);
        consensus.stake(pool, 0);
    }

    function test_stake_failsAboveTheMostUnits() public {
        _stake(stranger, 64);
        vm.deal(stranger, UNIT);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.TooManyUnits.selector, 65, 64));
        vm.prank(stranger);
        consensus.stake{value: UNIT}(pool, 1);
    }

    function test_stake_failsIfUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.UnknownPool.selector, UNKNOWN));
        consensus.stake(UNKNOWN, 1);
    }

    // ------------------------------------------------------------------ leaving

    function test_unstake_credits() public {
        vm.expectEmit();
        emit IOutputConsensus.Unstaked(pool, _verifier(0), 1);
        vm.prank(_verifier(0));
        consensus.unstake(pool, 1);
        vm.assertEq(consensus.credits(_verifier(0)), UNIT);
        (, uint256 members) = consensus.pool(pool);
        vm.assertEq(members, VERIFIERS - 1);
        _assertConserved();
    }

    function test_unstake_failsIfLocked() public {
        _seat();
        address seated = _seatAt(0);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.UnitsLocked.selector, 1, 0));
        vm.prank(seated);
        consensus.unstake(pool, 1);
    }

    function test_unstake_takesOnlyWhatIsFree() public {
        _stake(stranger, 3);
        vm.roll(BLOCK + 2);
        task = _open(_terms());
        _draw();
        vm.prank(stranger);
        consensus.takeSeat(task);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.UnitsLocked.selector, 3, 2));
        vm.prank(stranger);
        consensus.unstake(pool, 3);
        vm.prank(stranger);
        consensus.unstake(pool, 2);
        _assertUnits(stranger, 1, 1);
    }

    function test_unstake_failsWithoutUnits() public {
        vm.expectRevert(IOutputConsensus.NoUnits.selector);
        consensus.unstake(pool, 0);
    }

    function test_unstake_failsIfUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.UnknownPool.selector, UNKNOWN));
        consensus.unstake(UNKNOWN, 1);
    }

    function test_views_failIfUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.UnknownPool.selector, UNKNOWN));
        consensus.pool(UNKNOWN);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.UnknownPool.selector, UNKNOWN));
        consensus.verifier(UNKNOWN, stranger);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.UnknownTask.selector, 9));
        consensus.task(_id(9));
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.UnknownPanel.selector, task, 1));
        consensus.panel(task, 1);
    }
}
