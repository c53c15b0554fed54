// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    ConsensusLedger,
    Evidence,
    PenaltyReason,
    Seat,
    SeatState,
    TaskId,
    TaskOutcome
} from "../interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../interfaces/IOutputConsensus.sol";
import {Bits} from "./Bits.sol";
import {Funds} from "./Funds.sol";
import {Panels} from "./Panels.sol";
import {PanelRecord, Task, Tasks} from "./Tasks.sol";
import {Verdict, Verdicts} from "./Verdicts.sol";
import {Pool, VerifierPools} from "./VerifierPools.sol";

/// @notice Money that a task's end moves.
struct Account {
    uint128 price; // of a seat
    uint128 lost; // units
    uint128 credited;
}

/// @notice Settles panels and finishes tasks.
/// @dev Linked, not inlined: all of it does not fit into one contract.
library TaskEndings {
    using Funds for ConsensusLedger;
    using Panels for PanelRecord;
    using Panels for Task;
    using Tasks for Task;
    using Verdicts for Task;
    using VerifierPools for Pool;

    uint8 private constant SECOND_DRAW = 1;
    uint128 private constant VOID_DIVISOR = 4; // who finds that a request cannot be met had no samples to generate

    // ------------------------------------------------------------------ a panel's

    function settle(
        Task storage task,
        TaskId id,
        Pool storage pool,
        ConsensusLedger storage ledger,
        mapping(address account => uint256) storage credits,
        Evidence calldata evidence
    ) external {
        PanelRecord storage panel = task.current();
        Verdict memory verdict;
        if (panel.isFull()) {
            verdict = task.decide(pool, evidence);
            _penaliseSilent(task, id, pool, ledger, panel);
        } else {
            verdict.outcome = TaskOutcome.NoMajority;
        }
        _record(task, id, panel, verdict);
        if (verdict.outcome != TaskOutcome.NoMajority) {
            _adopt(task, id, panel, verdict);
            return;
        }
        _release(pool, panel);
        if (task.panel == Tasks.APPEAL) return;
        if (task.panel == 0) task.ask(id, SECOND_DRAW, task.terms.verifiers);
        else _refund(task, id, ledger, credits);
    }

    function _penaliseSilent(
        Task storage task,
        TaskId id,
        Pool storage pool,
        ConsensusLedger storage ledger,
        PanelRecord storage panel
    ) private {
        if (panel.revealed == panel.size) return;
        uint128 unit = pool.terms.unit;
        for (uint256 i = 0; i < panel.size; ++i) {
            Seat storage seat = panel.seats[i];
            if (_hasRevealed(seat)) continue;
            pool.forfeit(seat.verifier);
            ledger.burnStake(unit);
            emit IOutputConsensus.Penalised(id, task.panel, seat.verifier, unit, PenaltyReason.Silent);
        }
    }

    function _record(Task storage task, TaskId id, PanelRecord storage panel, Verdict memory verdict) private {
        bytes32 outputs = verdict.clique == 0 ? bytes32(0) : panel.seats[verdict.medoid].outputs;
        panel.outcome = verdict.outcome;
        // Sets of at most 15 seats.
        // forge-lint: disable-next-line(unsafe-typecast)
        (panel.clique, panel.spared, panel.medoid) =
        (uint16(verdict.clique), uint16(verdict.spared), uint8(verdict.medoid));
        panel.paid = panel.clique;
        panel.acceptedSamples = verdict.acceptedSamples;
        emit IOutputConsensus.Settled(
            id, task.panel, verdict.outcome, panel.clique, panel.spared, panel.medoid, outputs, verdict.acceptedSamples
        );
    }

    /// @dev A majority's decision becomes the task's.
    function _adopt(Task storage task, TaskId id, PanelRecord storage panel, Verdict memory verdict) private {
        task.outcome = verdict.outcome;
        task.workerAccepted = verdict.workerAccepted;
        task.outputs = panel.seats[verdict.medoid].outputs;
        if (task.panel != Tasks.APPEAL) {
            task.standing = task.panel;
            // forge-lint: disable-next-line(unsafe-typecast)
            task.appealUntil = uint40(block.timestamp + task.terms.appealPeriod);
            return;
        }
        PanelRecord storage original = task.panels[task.standing];
        // forge-lint: disable-next-line(unsafe-typecast)
        (original.paid, original.spared) = (uint16(verdict.originalPaid), uint16(verdict.originalSpared));
        emit IOutputConsensus.Rejudged(id, task.standing, original.paid, original.spared);
    }

    /// @dev Unlocks what is still locked of a panel that decided nothing.
    function _release(Pool storage pool, PanelRecord storage panel) private {
        bool hasSat = panel.isFull();
        for (uint256 i = 0; i < panel.taken; ++i) {
            Seat storage seat = panel.seats[i];
            if (!hasSat || _hasRevealed(seat)) pool.unlock(seat.verifier);
        }
    }

    function _refund(
        Task storage task,
        TaskId id,
        ConsensusLedger storage ledger,
        mapping(address account => uint256) storage credits
    ) private {
        (task.finished, task.outcome) = (true, TaskOutcome.NoMajority);
        uint128 reward = task.reward();
        uint128 burned = ledger.conclude(reward, 0, reward);
        _credit(credits, id, task.owner, reward);
        emit IOutputConsensus.Finished(id, TaskOutcome.NoMajority, 0, false, burned);
    }

    // ------------------------------------------------------------------ a task's

    function finish(
        Task storage task,
        TaskId id,
        Pool storage pool,
        ConsensusLedger storage ledger,
        mapping(address account => uint256) storage credits
    ) external {
        task.finished = true;
        uint128 share = task.terms.share;
        Account memory account;
        account.price = task.outcome == TaskOutcome.Void ? share / VOID_DIVISOR : share; // rounded down
        uint256 losers = _conclude(task, id, pool, credits, task.standing, account);
        if (task.isOverruled()) _conclude(task, id, pool, credits, Tasks.APPEAL, account);
        _creditAppellant(task, id, credits, account, losers * (pool.terms.unit + account.price));
        _creditParties(task, id, credits, account);

        uint128 burned = ledger.conclude(task.reward() + task.bond(), account.lost, account.credited);
        emit IOutputConsensus.Finished(id, task.outcome, task.outputs, task.workerAccepted, burned);
    }

    /// @dev Pays, unlocks and penalises the seats of a panel that revealed.
    /// @return losers how many are penalised that had been of its clique
    function _conclude(
        Task storage task,
        TaskId id,
        Pool storage pool,
        mapping(address account => uint256) storage credits,
        uint256 index,
        Account memory account
    ) private returns (uint256 losers) {
        PanelRecord storage panel = task.panels[index];
        (uint256 clique, uint256 paid, uint256 spared) = (panel.clique, panel.paid, panel.spared);
        uint256 size = panel.size;
        for (uint256 i = 0; i < size; ++i) {
            Seat storage seat = panel.seats[i];
            if (!_hasRevealed(seat)) continue;
            if (!Bits.has(paid | spared, i)) {
                _penalise(id, pool, index, seat.verifier, account);
                if (Bits.has(clique, i)) ++losers;
                continue;
            }
            pool.unlock(seat.verifier);
            if (Bits.has(paid, i)) _pay(credits, id, seat.verifier, account.price, account);
        }
    }

    function _penalise(TaskId id, Pool storage pool, uint256 index, address verifier, Account memory account) private {
        uint128 unit = pool.terms.unit;
        pool.forfeit(verifier);
        account.lost += unit;
        emit IOutputConsensus.Penalised(id, index, verifier, unit, PenaltyReason.Disagreed);
    }

    /// @param forfeits what those lose who were of the standing clique: unit and share
    function _creditAppellant(
        Task storage task,
        TaskId id,
        mapping(address account => uint256) storage credits,
        Account memory account,
        uint256 forfeits
    ) private {
        uint128 bond = task.bond();
        if (bond == 0) return;
        if (task.isOverruled()) {
            // Whoever the appeal excludes, it costs the appellant the same.
            uint128 cost = task.appealSize() * account.price;
            // forge-lint: disable-next-line(unsafe-typecast)
            bond = bond - cost + (forfeits < cost ? uint128(forfeits) : cost);
        }
        _pay(credits, id, task.appellant, bond, account);
    }

    function _creditParties(
        Task storage task,
        TaskId id,
        mapping(address account => uint256) storage credits,
        Account memory account
    ) private {
        uint128 workerReward = task.terms.workerReward;
        uint128 returned = task.terms.verifiers * (task.terms.share - account.price);
        if (task.workerAccepted) _pay(credits, id, task.terms.worker, workerReward, account);
        else returned += workerReward;
        _pay(credits, id, task.owner, returned, account);
    }

    function _pay(
        mapping(address account => uint256) storage credits,
        TaskId id,
        address to,
        uint128 amount,
        Account memory account
    ) private {
        if (amount == 0) return;
        account.credited += amount;
        _credit(credits, id, to, amount);
    }

    function _credit(mapping(address account => uint256) storage credits, TaskId id, address to, uint256 amount)
        private
    {
        credits[to] += amount;
        emit IOutputConsensus.Credited(to, id, amount);
    }

    function _hasRevealed(Seat storage seat) private view returns (bool) {
        SeatState state = seat.state;
        return state == SeatState.Revealed || state == SeatState.Void;
    }
}
