// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {JobMarket} from "../../src/JobMarket.sol";
import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {Dispute, Fact, JobId, JobState, Ledger, Phase, Verdict} from "../../src/interfaces/JobTypes.sol";
import {FuzzSelector} from "../Base.sol";
import {TrapdoorProver} from "../GramVerifier/TrapdoorProver.sol";
import {CampaignTally} from "./CampaignTally.sol";
import {LeavingActors} from "./LeavingActors.sol";
import {ProgrammedRules} from "./ProgrammedRules.sol";

contract InvariantTest is CampaignTally {
    JobMarket private market;
    LeavingActors private actors;

    LeavingActors[] private seasons;

    function setUp() public {
        _begin();
        targetContract(address(actors));
        bytes4[] memory ends = new bytes4[](3);
        ends[0] = LeavingActors.closeAtDeadline.selector;
        ends[1] = LeavingActors.closeStepByStep.selector;
        ends[2] = LeavingActors.takeEverything.selector;
        excludeSelector(FuzzSelector({addr: address(actors), selectors: ends}));
    }

    function _begin() private {
        vm.warp(1_700_000_000);
        market = new JobMarket(new ProgrammedRules(), TrapdoorProver.newVerifier());
        actors = new LeavingActors(market);
    }

    /// @dev One campaign for all of them.
    function invariant_moneyIsAccountedFor() public {
        _assertConserved();
        _assertCovered();
        _assertRebuiltFromEvents();
        _assertCreditsAreUnclaimedEntries();
        _assertEverybodyHasOnePlace();
        vm.assertEq(actors.violation(), "");
        _assertCoverageIsOfWhatWasRevealed();
        _assertThawable();
    }

    /// @notice Wherever a run ends there is a way out, for every job and all its money.
    function afterInvariant() public {
        _tally(actors);
        uint256 end = vm.snapshotState();
        actors.closeAtDeadline();
        _assertEverybodyCanLeave();
        vm.revertToState(end);
        actors.closeStepByStep();
        _assertEverybodyCanLeave();
    }

    /// @dev The actors reach everything that the invariants are about.
    function test_actors_reachEveryEnd() public {
        for (uint256 season = 0; season < 9; ++season) {
            _begin();
            for (uint256 step = 0; step < 80; ++step) {
                _step(uint256(keccak256(abi.encode(2, season, step))), step);
            }
            invariant_moneyIsAccountedFor();
            afterInvariant();
            seasons.push(actors);
        }
        _assertReached(IJobMarket.RoundSettled.selector, 5);
        _assertReached(IJobMarket.AttemptExpired.selector, 3);
        _assertReached(IJobMarket.RoundSkipped.selector, 5);
        _assertReached(IJobMarket.JobClosed.selector, 4);
        _assertReached(IJobMarket.ExamOpened.selector, 4);
        _assertReached(IJobMarket.ExamMissed.selector, 1);
        _assertReached(IJobMarket.ExamExcluded.selector, 1);
        _assertReached(IJobMarket.ExamPublished.selector, 1);
        _assertReached(IJobMarket.ExamUnpublished.selector, 1);
        _assertReached(IJobMarket.StakesForfeited.selector, 2);
        _assertReached(IJobMarket.Claimed.selector, 10);
        _assertReached(IJobMarket.FeeClaimed.selector, 2);
        _assertReached(IJobMarket.Refunded.selector, 2);
        _assertReached(IJobMarket.DisputeOpened.selector, 12);
        _assertReached(IJobMarket.AttemptUndone.selector, 4);
        _assertReached(IJobMarket.DisputeBondWithdrawn.selector, 2);
        _assertReached(IJobMarket.ReceiptsFiled.selector, 10);
        _assertReached(IJobMarket.TrainerWaits.selector, 20);
        _assertReached(IJobMarket.DrawFixed.selector, 8);
        _assertReached(IJobMarket.SeatsDrawn.selector, 4);
        _assertReached(IJobMarket.SeatTaken.selector, 10);
        _assertReached(IJobMarket.SeatLost.selector, 6);
        _assertReached(IJobMarket.WaitEnded.selector, 4);
        _assertSeatsChanged();
        _assertResolved(Fact.Model, Verdict.Unanswered, 1);
        _assertResolved(Fact.Model, Verdict.Holds, 1);
        _assertResolved(Fact.Model, Verdict.Fails, 2);
        _assertResolved(Fact.Exclusion, Verdict.Holds, 1);
        _assertResolved(Fact.Exclusion, Verdict.Fails, 1);
        _assertResolved(Fact.Exam, Verdict.Holds, 1);
        _assertResolved(Fact.Exam, Verdict.Fails, 1);
    }

    function _step(uint256 seed, uint256 step) private {
        try actors.advance(seed) {} catch {}
        try actors.train(seed >> 8, seed >> 16, step, seed >> 24) {} catch {}
        try actors.train(seed >> 32, seed >> 40, 0, 0) {} catch {}
        try actors.aggregate(seed >> 8, seed >> 16, step, seed >> 24) {} catch {}
        try actors.seek(seed >> 48, seed >> 56, step, seed >> 64) {} catch {}
        try actors.conclude(seed >> 8, step, seed >> 24) {} catch {}
        try actors.examine(seed >> 8, step / 8) {} catch {}
        try actors.dispute(seed >> 8, seed >> 16, step, seed >> 24) {} catch {}
    }

    /// @dev deposited = paid + refunded + burned + locked, for every job.
    function _assertConserved() private view {
        for (uint256 job = 0; job < actors.JOBS(); ++job) {
            Ledger memory l = market.ledgerOf(JobId.wrap(job));
            vm.assertEq(uint256(l.deposited), uint256(l.paid) + l.refunded + l.burned + _locked(l));
        }
    }

    /// @dev The contract has at least what all jobs lock and burned, in every token.
    function _assertCovered() private view {
        for (uint256 job = 0; job < actors.JOBS(); ++job) {
            address token = actors.tokens(job);
            Ledger memory l = market.ledgerOf(JobId.wrap(job));
            vm.assertEq(market.owed(token), _locked(l) + l.burned);
            uint256 balance = token == address(0) ? address(market).balance : IERC20(token).balanceOf(address(market));
            vm.assertGe(balance, market.owed(token));
        }
    }

    /// @dev Events carry everything: a ledger rebuilt from them alone is the contract's.
    function _assertRebuiltFromEvents() private view {
        for (uint256 job = 0; job < actors.JOBS(); ++job) {
            vm.assertEq(
                abi.encode(actors.ledgerOf(job)), abi.encode(market.ledgerOf(JobId.wrap(job))), "ledger from events"
            );
        }
    }

    function _assertCreditsAreUnclaimedEntries() private view {
        for (uint256 job = 0; job < actors.JOBS(); ++job) {
            vm.assertEq(market.ledgerOf(JobId.wrap(job)).credits, actors.unclaimed(job));
        }
    }

    /// @dev Every stake is on a seat or waits, nobody has two places, and whoever sits knows where.
    function _assertEverybodyHasOnePlace() private view {
        address[] memory trainers = actors.trainers();
        for (uint256 job = 0; job < actors.JOBS(); ++job) {
            JobId id = JobId.wrap(job);
            vm.assertEq(market.ledgerOf(id).stakes, actors.stakesOf(job, trainers), "stakes");
            uint256 seated = 0;
            for (uint256 i = 0; i < trainers.length; ++i) {
                (bool taken, uint256 seat) = market.seatOf(id, trainers[i]);
                if (!taken) continue;
                ++seated;
                vm.assertEq(market.trainerAt(id, seat), trainers[i], "seat");
                vm.assertEq(market.waitingOf(id, trainers[i]).stake, 0, "sits and waits");
            }
            vm.assertEq(market.stateOf(id).seatsTaken, seated, "seats");
        }
    }

    /// @dev What events say is covered is what is kept, and the running attempt's are among those that revealed in it.
    function _assertCoverageIsOfWhatWasRevealed() private view {
        for (uint256 job = 0; job < actors.JOBS(); ++job) {
            JobId id = JobId.wrap(job);
            JobState memory state = market.stateOf(id);
            uint64 covered = market.coveredSeats(id, state.attempt);
            vm.assertEq(covered, actors.coveredIn(job, state.attempt), "covered");
            vm.assertEq(covered & ~state.revealed, 0, "covered, not revealed");
        }
    }

    /// @dev Whoever disputed what, the job goes on when its time is over.
    function _assertThawable() private {
        for (uint256 job = 0; job < actors.JOBS(); ++job) {
            JobId id = JobId.wrap(job);
            if (market.phaseOf(id) != Phase.Disputed) continue;
            Dispute memory dispute = market.disputeOf(id);
            uint256 snapshot = vm.snapshotState();
            vm.warp(uint256(dispute.openedAt) + market.termsOf(id).disputes.answerPeriod);
            market.thaw(id);
            vm.assertTrue(market.phaseOf(id) != Phase.Disputed, "thawed");
            vm.revertToState(snapshot);
        }
    }

    /// @dev In every way in which they can, and rounds earned their aggregators nothing.
    function _assertSeatsChanged() private view {
        (uint256 drawn, uint256 idle, uint256 fees) = (0, 0, 0);
        for (uint256 season = 0; season < seasons.length; ++season) {
            drawn += seasons[season].seatsDrawn();
            idle += seasons[season].idleSeatsTaken();
            fees += seasons[season].feesNotDue();
        }
        vm.assertGe(drawn, 2, "drawn");
        vm.assertGe(idle, 4, "idle");
        vm.assertGe(fees, 2, "fees");
    }

    function _assertResolved(Fact fact, Verdict verdict, uint256 times) private view {
        uint256 sum = 0;
        for (uint256 season = 0; season < seasons.length; ++season) {
            sum += seasons[season].timesResolved(fact, verdict);
        }
        vm.assertGe(
            sum, times, string.concat("fact ", vm.toString(uint256(fact)), " verdict ", vm.toString(uint256(verdict)))
        );
    }

    /// @dev Of what was deposited nothing is left but what was burned.
    function _assertEverybodyCanLeave() private {
        invariant_moneyIsAccountedFor();
        actors.takeEverything();
        invariant_moneyIsAccountedFor();
        for (uint256 job = 0; job < actors.JOBS(); ++job) {
            Ledger memory l = market.ledgerOf(JobId.wrap(job));
            vm.assertEq(_locked(l), 0, "locked for ever");
            vm.assertEq(market.owed(actors.tokens(job)), l.burned);
        }
    }

    function _assertReached(bytes32 signature, uint256 times) private view {
        uint256 sum = 0;
        for (uint256 season = 0; season < seasons.length; ++season) {
            sum += seasons[season].timesSeen(signature);
        }
        vm.assertGe(sum, times);
    }

    function _locked(Ledger memory l) private pure returns (uint256) {
        return uint256(l.budget) + l.carry + l.credits + l.stakes + l.bonds + l.refundable + l.exams + l.disputes;
    }
}
