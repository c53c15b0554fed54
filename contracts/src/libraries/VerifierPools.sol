// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {PoolTerms, Verifier} from "../interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../interfaces/IOutputConsensus.sol";
import {Draws} from "./Draws.sol";

/// @notice All that is kept of one pool.
struct Pool {
    PoolTerms terms;
    uint32 members; // accounts with a unit
    mapping(address account => Verifier) verifiers;
}

/// @notice Stakes in pools: units, of which each seat locks one.
library VerifierPools {
    uint256 private constant MAX_TOLERANCE = 127; // unrelated digests differ in 128 bits
    uint256 private constant MAX_SLACK_PERMILLE = 249;
    uint256 private constant MAX_SAMPLES = 256;

    function check(PoolTerms calldata terms) internal pure {
        _require(terms.service != 0, "service", 0);
        _require(terms.toleranceBits <= MAX_TOLERANCE, "toleranceBits", terms.toleranceBits);
        _require(terms.slackPermille <= MAX_SLACK_PERMILLE, "slackPermille", terms.slackPermille);
        _require(terms.maxSamples != 0 && terms.maxSamples <= MAX_SAMPLES, "maxSamples", terms.maxSamples);
        _require(terms.unit != 0, "unit", 0);
    }

    function exists(Pool storage pool) internal view returns (bool) {
        return pool.terms.unit != 0;
    }

    function isMember(Pool storage pool, address account) internal view returns (bool) {
        return pool.verifiers[account].units != 0;
    }

    function add(Pool storage pool, address account, uint16 units) internal {
        Verifier storage verifier = pool.verifiers[account];
        uint256 total = uint256(verifier.units) + units;
        if (units == 0) revert IOutputConsensus.NoUnits();
        if (total > Draws.MAX_TICKETS) revert IOutputConsensus.TooManyUnits(total, Draws.MAX_TICKETS);
        if (verifier.units == 0) ++pool.members;
        verifier.units += units;
        // forge-lint: disable-next-line(unsafe-typecast)
        verifier.since = uint64(block.number);
    }

    function remove(Pool storage pool, address account, uint16 units) internal {
        Verifier storage verifier = pool.verifiers[account];
        uint16 free = verifier.units - verifier.locked;
        if (units == 0) revert IOutputConsensus.NoUnits();
        if (units > free) revert IOutputConsensus.UnitsLocked(units, free);
        verifier.units -= units;
        if (verifier.units == 0) --pool.members;
    }

    function lock(Pool storage pool, address account) internal {
        ++pool.verifiers[account].locked;
    }

    function unlock(Pool storage pool, address account) internal {
        --pool.verifiers[account].locked;
    }

    /// @notice Takes the unit that a seat has locked.
    function forfeit(Pool storage pool, address account) internal {
        Verifier storage verifier = pool.verifiers[account];
        --verifier.locked;
        --verifier.units;
        if (verifier.units == 0) --pool.members;
    }

    function _require(bool holds, string memory term, uint256 value) private pure {
        if (!holds) revert IOutputConsensus.InvalidTerm(term, value);
    }
}
