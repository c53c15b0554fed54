// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Panel, TaskPhase, TaskTerms} from "../../src/interfaces/ConsensusTypes.sol";
import {IOutputConsensus} from "../../src/interfaces/IOutputConsensus.sol";
import {ConsensusFixture} from "./ConsensusFixture.sol";

contract SeatingTest is ConsensusFixture {
    // ------------------------------------------------------------------ the draw

    function test_drawSeats_takesTheHashOfTheBlockThatWasFixed() public {
        bytes32 hash = keccak256("a block");
        uint256 number = _panel().drawBlock;
        vm.assertEq(number, BLOCK + 1 + DELAY);
        vm.roll(number + 256);
        vm.setBlockhash(number, hash);
        vm.expectEmit();
        emit IOutputConsensus.SeatsDrawn(task, 0, hash, block.timestamp + SEAT);
        consensus.drawSeats(task);
        vm.assertEq(_panel().seed, hash);
        vm.assertEq(_panel().commitUntil, block.timestamp + SEAT + COMMIT);
        vm.assertEq(_panel().revealUntil, block.timestamp + SEAT + COMMIT + REVEAL);
        _assertPhase(TaskPhase.Seating);
    }

    function test_drawSeats_fixesAnotherBlockIfThatIsOutOfReach() public {
        vm.roll(_panel().drawBlock + 257);
        vm.expectEmit();
        emit IOutputConsensus.DrawFixed(task, 0, block.number + DELAY);
        consensus.drawSeats(task);
        _assertPhase(TaskPhase.Drawing);
        vm.assertEq(_panel().askedAt, BLOCK + 1, "stakes put down since have no part");
    }

    function test_drawSeats_failsBeforeTheBlock() public {
        uint256 number = _panel().drawBlock;
        vm.roll(number);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.DrawTooEarly.selector, number, number));
        consensus.drawSeats(task);
    }

    function test_drawSeats_failsIfDrawn() public {
        _draw();
        vm.expectRevert(
            abi.encodeWithSelector(IOutputConsensus.WrongTaskPhase.selector, TaskPhase.Seating, TaskPhase.Drawing)
        );
        consensus.drawSeats(task);
    }

    // ------------------------------------------------------------------ seats

    function test_takeSeat_locksAUnit() public {
        _draw();
        uint256 number = consensus.numberOf(task, 0, _verifier(0));
        vm.assertEq(number, uint256(keccak256(abi.encode(_panel().seed, _verifier(0), uint256(0)))));
        vm.expectEmit();
        emit IOutputConsensus.SeatTaken(task, 0, _verifier(0), number, address(0));
        vm.prank(_verifier(0));
        consensus.takeSeat(task);
        _assertUnits(_verifier(0), 1, 1);
        vm.assertEq(_seatAt(0), _verifier(0));
    }

    /// @dev In whatever order they come, the three lowest sit.
    function testFuzz_takeSeat_theLowestNumbersSit(bytes32 hash, uint256 order) public {
        vm.assume(hash != 0);
        vm.roll(_panel().drawBlock + 1);
        vm.setBlockhash(_panel().drawBlock, hash);
        consensus.drawSeats(task);
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            vm.prank(_verifier((i + order % VERIFIERS) % VERIFIERS));
            try consensus.takeSeat(task) {} catch {}
        }
        Panel memory panel = _panel();
        uint256 locked = 0;
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            (, uint256 held) = _units(_verifier(i));
            locked += held;
            vm.assertEq(held, _isSeated(panel, _verifier(i)) ? 1 : 0, "locked is seated");
            uint256 lower = 0;
            for (uint256 j = 0; j < VERIFIERS; ++j) {
                if (consensus.numberOf(task, 0, _verifier(j)) < consensus.numberOf(task, 0, _verifier(i))) ++lower;
            }
            vm.assertEq(_isSeated(panel, _verifier(i)), lower < 3, "the lowest sit");
        }
        vm.assertEq(locked, 3);
    }

    function test_takeSeat_displacesTheHighest() public {
        _draw();
        uint256[4] memory sorted = _fourSorted();
        for (uint256 i = 1; i < 4; ++i) {
            vm.prank(_verifier(sorted[i]));
            consensus.takeSeat(task);
        }
        address displaced = _verifier(sorted[3]);
        uint256 number = consensus.numberOf(task, 0, _verifier(sorted[0]));
        vm.expectEmit();
        emit IOutputConsensus.SeatTaken(task, 0, _verifier(sorted[0]), number, displaced);
        vm.prank(_verifier(sorted[0]));
        consensus.takeSeat(task);
        _assertUnits(displaced, 1, 0);
        vm.assertEq(_seatAt(2), _verifier(sorted[0]));

        // It has nothing to do with the task any more, may leave, and does not come back.
        uint256 own = consensus.numberOf(task, 0, displaced);
        uint256 highest = consensus.numberOf(task, 0, _verifier(sorted[2]));
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.NumberTooHigh.selector, own, highest));
        vm.prank(displaced);
        consensus.takeSeat(task);
        vm.prank(displaced);
        consensus.unstake(pool, 1);
        vm.warp(_panel().seatUntil);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.NotSeated.selector, displaced));
        vm.prank(displaced);
        consensus.commitOutputs(task, SALT);
    }

    function test_takeSeat_numberIsTheLowestOfAllTickets() public {
        _stake(stranger, 3);
        vm.roll(BLOCK + 2);
        task = _open(_terms());
        _draw();
        uint256 lowest = type(uint256).max;
        for (uint256 ticket = 0; ticket < 3; ++ticket) {
            uint256 number = uint256(keccak256(abi.encode(_panel().seed, stranger, ticket)));
            if (number < lowest) lowest = number;
        }
        vm.assertEq(consensus.numberOf(task, 0, stranger), lowest);
    }

    function test_takeSeat_failsForTheOwnerAndTheWorker() public {
        _stake(owner, 1);
        _stake(worker, 1);
        vm.roll(BLOCK + 2);
        task = _open(_workerTerms());
        _draw();
        _refuses(owner, abi.encodeWithSelector(IOutputConsensus.Barred.selector, owner));
        _refuses(worker, abi.encodeWithSelector(IOutputConsensus.Barred.selector, worker));
    }

    function test_takeSeat_failsTwice() public {
        _draw();
        vm.prank(_verifier(0));
        consensus.takeSeat(task);
        _refuses(_verifier(0), abi.encodeWithSelector(IOutputConsensus.AlreadySeated.selector, _verifier(0)));
    }

    /// @dev Whoever stakes once the panel is asked for, be it in the same block, knows more than it should.
    function test_takeSeat_failsIfStakedTooLate() public {
        _stake(stranger, 1);
        vm.roll(BLOCK + 1 + DELAY + 1);
        consensus.drawSeats(task);
        _refuses(stranger, abi.encodeWithSelector(IOutputConsensus.StakedTooLate.selector, BLOCK + 1, BLOCK + 1));
    }

    function test_takeSeat_failsIfStakeWasToppedUpTooLate() public {
        _stake(_verifier(0), 1);
        _draw();
        _refuses(_verifier(0), abi.encodeWithSelector(IOutputConsensus.StakedTooLate.selector, BLOCK + 1, BLOCK + 1));
    }

    /// @dev Nor if the block that decides was fixed anew meanwhile.
    function test_takeSeat_failsIfStakedBeforeTheBlockWasFixedAnew() public {
        vm.roll(BLOCK + 10);
        _stake(stranger, 64);
        vm.roll(_panel().drawBlock + 300);
        consensus.drawSeats(task);
        _draw();
        _refuses(stranger, abi.encodeWithSelector(IOutputConsensus.StakedTooLate.selector, BLOCK + 10, BLOCK + 1));
    }

    function test_takeSeat_failsWithoutStake() public {
        _draw();
        _refuses(stranger, abi.encodeWithSelector(IOutputConsensus.StakedTooLate.selector, 0, BLOCK + 1));
    }

    function test_takeSeat_failsWithoutAFreeUnit() public {
        _draw();
        vm.prank(_verifier(0));
        consensus.takeSeat(task);
        task = _open(_terms());
        _draw();
        _refuses(_verifier(0), abi.encodeWithSelector(IOutputConsensus.UnitsLocked.selector, 1, 0));
    }

    function test_takeSeat_endsWithItsPeriod() public {
        _draw();
        uint256 end = _panel().seatUntil;
        vm.warp(end - 1);
        vm.prank(_verifier(0));
        consensus.takeSeat(task);
        vm.warp(end);
        _refuses(
            _verifier(1),
            abi.encodeWithSelector(IOutputConsensus.WrongTaskPhase.selector, TaskPhase.Settle, TaskPhase.Seating)
        );
    }

    /// @dev The shortest period, the draw and three seats in one block: whoever has lower numbers has some blocks yet.
    function test_takeSeat_cannotBeOverWithTheBlockOfTheDraw() public {
        uint32 least = 60;
        TaskTerms memory terms = _terms();
        terms.seatPeriod = least - 1;
        uint256 value = 3 * SHARE;
        vm.deal(owner, value);
        vm.expectRevert(abi.encodeWithSelector(IOutputConsensus.InvalidTerm.selector, "seatPeriod", least - 1));
        vm.prank(owner);
        consensus.openTask{value: value}(terms);
        terms.seatPeriod = least;
        task = _open(terms);
        _draw();
        vm.warp(block.timestamp + 4 * 12);
        vm.prank(_verifier(0));
        consensus.takeSeat(task);
    }

    function test_takeSeat_failsBeforeTheDraw() public {
        _refuses(
            _verifier(1),
            abi.encodeWithSelector(IOutputConsensus.WrongTaskPhase.selector, TaskPhase.Drawing, TaskPhase.Seating)
        );
    }

    /// @dev Who stakes twice as much sits about twice as often: a ticket a unit.
    function test_takeSeat_chancesGoByUnits() public {
        _stake(stranger, 64);
        vm.roll(BLOCK + 2);
        uint256 lowest = 0;
        for (uint256 draws = 0; draws < 20; ++draws) {
            task = _open(_terms());
            _draw();
            uint256 lower = 0;
            for (uint256 i = 0; i < VERIFIERS; ++i) {
                if (consensus.numberOf(task, 0, _verifier(i)) < consensus.numberOf(task, 0, stranger)) ++lower;
            }
            if (lower < 3) ++lowest;
        }
        vm.assertGe(lowest, 15); // of 84 tickets it has 64
    }

    function _refuses(address account, bytes memory error) private {
        vm.expectRevert(error);
        vm.prank(account);
        consensus.takeSeat(task);
    }

    /// @dev Verifiers 0 to 3 by their numbers.
    function _fourSorted() private view returns (uint256[4] memory sorted) {
        sorted = [uint256(0), 1, 2, 3];
        for (uint256 i = 1; i < 4; ++i) {
            for (uint256 j = i; j > 0 && _number(sorted[j]) < _number(sorted[j - 1]); --j) {
                (sorted[j], sorted[j - 1]) = (sorted[j - 1], sorted[j]);
            }
        }
    }

    function _number(uint256 i) private view returns (uint256) {
        return consensus.numberOf(task, 0, _verifier(i));
    }
}
