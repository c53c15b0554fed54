// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJobMarket} from "../../src/interfaces/IJobMarket.sol";
import {JobTerms} from "../../src/interfaces/JobTypes.sol";
import {SeatFixture} from "./SeatFixture.sol";

/// @notice Seats that are drawn by stake.
contract DrawSeatsTest is SeatFixture {
    uint32 private constant DRAW = 300;
    uint40 private constant WINDOW = FIRST_COMMIT - DRAW;
    uint256 private constant DELAY = 128;
    uint256 private constant HEIGHT = 1000;
    bytes32 private constant SEED = keccak256("a block's hash");
    address[] private everybody; // with a stake before the window

    function _terms() internal view override returns (JobTerms memory terms) {
        terms = super._terms();
        terms.entry.drawPeriod = DRAW;
    }

    function setUp() public override {
        super.setUp();
        vm.roll(HEIGHT);
    }

    // ------------------------------------------------------------------ the draw

    function test_drawSeats_fixesABlockToComeAndThenTakesItsHash() public {
        vm.warp(WINDOW);
        vm.expectEmit(address(market));
        emit IJobMarket.DrawFixed(job, HEIGHT + DELAY);
        vm.prank(stranger);
        market.drawSeats(job);
        _assertDraw(HEIGHT + DELAY, 0);
        vm.roll(HEIGHT + DELAY + 1);
        vm.setBlockhash(HEIGHT + DELAY, SEED);
        vm.expectEmit(address(market));
        emit IJobMarket.SeatsDrawn(job, SEED);
        market.drawSeats(job);
        _assertDraw(HEIGHT + DELAY, SEED);
    }

    function test_drawSeats_once() public {
        _draw(SEED);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyDrawn.selector, job));
        market.drawSeats(job);
        vm.roll(block.number + 1000);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyDrawn.selector, job));
        market.drawSeats(job);
        _assertDraw(HEIGHT + DELAY, SEED);
    }

    function test_drawSeats_failsBeforeTheBlockIsThere() public {
        vm.warp(WINDOW);
        market.drawSeats(job);
        for (uint256 number = HEIGHT; number <= HEIGHT + DELAY; number += DELAY / 4) {
            vm.roll(number);
            vm.expectRevert(abi.encodeWithSelector(IJobMarket.DrawTooEarly.selector, number, HEIGHT + DELAY));
            market.drawSeats(job);
        }
    }

    /// @dev Nor ever again, but where it was forgotten: cohorts are drawn by the same hash.
    function test_drawSeats_notBeforeItsPeriod() public {
        vm.warp(WINDOW - 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoDraw.selector, job));
        market.drawSeats(job);
        vm.warp(WINDOW);
        market.drawSeats(job);
        _assertDraw(HEIGHT + DELAY, 0);
    }

    function test_drawSeats_failsInAJobThatDrawsNone() public {
        JobTerms memory terms = _terms();
        terms.entry.drawPeriod = 0;
        job = _open(terms);
        vm.warp(FIRST_COMMIT - 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoDraw.selector, job));
        market.drawSeats(job);
    }

    /// @dev Whoever dislikes a hash waits in vain: for as long as it can be had anybody may take it.
    function test_drawSeats_anotherBlockOnlyWhenTheHashIsOutOfReach() public {
        vm.warp(WINDOW);
        market.drawSeats(job);
        uint256 fresh = vm.snapshotState();
        vm.roll(HEIGHT + DELAY + 256);
        bytes32 hash = blockhash(HEIGHT + DELAY);
        vm.assertNotEq(hash, 0);
        market.drawSeats(job);
        _assertDraw(HEIGHT + DELAY, hash);
        vm.revertToState(fresh);
        vm.roll(HEIGHT + DELAY + 257);
        vm.expectEmit(address(market));
        emit IJobMarket.DrawFixed(job, HEIGHT + 2 * DELAY + 257);
        market.drawSeats(job);
        _assertDraw(HEIGHT + 2 * DELAY + 257, 0);
    }

    // ------------------------------------------------------------------ its seats

    /// @dev Who draws better takes the seat of who drew worst, whose stake waits, never to draw again.
    function test_takeSeat_ofWhoDrewWorst() public {
        _fill();
        for (uint256 i = 0; i < 4; ++i) {
            _enrolWith(_waiter(i), STAKE + i);
        }
        _draw(SEED);
        (address best, uint256 stake) = _lowestWaiter(4);
        uint256 worst = _highestSeat();
        address former = market.trainerAt(job, worst);
        vm.expectEmit(address(market));
        emit IJobMarket.SeatLost(job, former, worst, STAKE);
        vm.expectEmit(address(market));
        emit IJobMarket.SeatTaken(job, best, worst, stake);
        _take(best);
        _assertSits(best, worst);
        _assertWaits(former, STAKE);
        _refuseSeat(former, abi.encodeWithSelector(IJobMarket.SeatsFull.selector, SEATS));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotTrainer.selector, former));
        vm.prank(former);
        market.claim(job, 0, "", 0, former);
        _withdraw(former, stranger);
        vm.assertEq(stranger.balance, STAKE);
        _assertConserved();
    }

    /// @dev Against a model: whatever the stakes and the order in which they come, the lowest numbers sit.
    function testFuzz_takeSeat_theLowestNumbersSit(bytes32 seed, uint256 random) public {
        JobTerms memory terms = _terms();
        job = _open(terms);
        for (uint256 i = 0; i < 14; ++i) {
            uint256 word = uint256(keccak256(abi.encode(random, i)));
            uint256 stake = STAKE * (word % 5 == 0 ? 60 + word % 8 : 1 + word % 3) + (word >> 128) % STAKE;
            _enrolWith(_waiter(i), stake);
            everybody.push(_waiter(i));
        }
        _draw(seed == 0 ? SEED : seed);
        for (uint256 i = 0; i < 42; ++i) {
            vm.prank(_waiter((i * 5 + random % 14) % 14)); // everybody three times
            try market.takeSeat(job) {} catch {}
        }
        address[] memory sorted = _sorted(everybody, seed == 0 ? SEED : seed);
        for (uint256 i = 0; i < 14; ++i) {
            (bool taken,) = market.seatOf(job, sorted[i]);
            vm.assertEq(taken, i < SEATS, "sits");
            vm.assertEq(market.waitingOf(job, sorted[i]).stake == 0, i < SEATS, "waits");
        }
        _assertConserved();
    }

    /// @dev Ten tickets are as good as ten trainers: against thirty with one each they win the lowest number once in four. Of
    /// 400 draws 100, give or take four standard deviations of 8.7.
    function test_takeSeat_aTicketForEachStake() public pure {
        uint256 won = 0;
        for (uint256 draw = 0; draw < 400; ++draw) {
            bytes32 seed = keccak256(abi.encode("draw", draw));
            uint256 lowest = _numberOf(seed, address(0x1), 10);
            uint256 others = type(uint256).max;
            for (uint160 i = 2; i < 32; ++i) {
                uint256 number = _numberOf(seed, address(i), 1);
                if (number < others) others = number;
            }
            if (lowest < others) ++won;
        }
        vm.assertApproxEqAbs(won, 100, 35);
    }

    function test_takeSeat_failsBeforeTheDraw() public {
        _fill();
        _enrolWith(_waiter(0), 64 * STAKE);
        bytes memory full = abi.encodeWithSelector(IJobMarket.SeatsFull.selector, SEATS);
        _refuseSeat(_waiter(0), full);
        vm.warp(WINDOW);
        _refuseSeat(_waiter(0), full);
        market.drawSeats(job);
        _refuseSeat(_waiter(0), full);
    }

    /// @dev Then whoever sits prepares its first update.
    function test_takeSeat_ofWhoDrewWorstFailsOnceEnrolmentEnds() public {
        _fill();
        for (uint256 i = 0; i < 4; ++i) {
            _enrol(_waiter(i));
        }
        _draw(SEED);
        (address best,) = _lowestWaiter(4);
        vm.warp(FIRST_COMMIT);
        _refuseSeat(best, abi.encodeWithSelector(IJobMarket.SeatsFull.selector, SEATS));
        vm.warp(FIRST_COMMIT - 1);
        _take(best);
    }

    /// @dev Seats that are free go first.
    function test_takeSeat_drawnTakesAFreeSeatBeforeAnothers() public {
        _fill();
        _enrol(_waiter(0));
        _draw(SEED);
        _withdraw(_trainer(3), stranger);
        _take(_waiter(0));
        _assertSits(_waiter(0), 3);
    }

    // ------------------------------------------------------------------ who comes too late

    /// @dev Whoever knows the hash finds an address that beats everybody with it, and comes too late for that.
    function test_takeSeat_anAddressGroundOnceTheHashIsKnownDrawsNothing() public {
        _fill();
        _draw(SEED);
        uint256 best = type(uint256).max;
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            uint256 number = _numberOf(SEED, _trainer(seat), 1);
            if (number < best) best = number;
        }
        uint256 i = 0;
        while (_numberOf(SEED, _waiter(i), 1) >= best) ++i;
        _enrol(_waiter(i));
        _refuseSeat(_waiter(i), abi.encodeWithSelector(IJobMarket.SeatsFull.selector, SEATS));
        _assertWaits(_waiter(i), STAKE);
    }

    /// @dev The last second before the window counts, its first does not.
    function test_enrol_drawsUntilTheWindowBegins() public {
        _fill();
        vm.warp(WINDOW - 1);
        _enrolWith(_waiter(0), 64 * STAKE);
        vm.warp(WINDOW);
        _enrolWith(_waiter(1), 64 * STAKE);
        _draw(SEED);
        _refuseSeat(_waiter(1), abi.encodeWithSelector(IJobMarket.SeatsFull.selector, SEATS));
        _take(_waiter(0));
    }

    /// @dev Who waits cannot come again with another stake or address and keep its chance.
    function test_withdrawStake_andBackInTheWindowIsLate() public {
        _fill();
        _enrolWith(_waiter(0), 64 * STAKE);
        vm.warp(WINDOW);
        _withdraw(_waiter(0), _waiter(0));
        _enrolWith(_waiter(0), 64 * STAKE);
        _draw(SEED);
        _refuseSeat(_waiter(0), abi.encodeWithSelector(IJobMarket.SeatsFull.selector, SEATS));
    }

    /// @dev Nor can who sits: it goes first, with the best of numbers and more at stake than before.
    function test_withdrawStake_andBackOnASeatInTheWindowGoesFirst() public {
        _fill();
        uint256 last = _worstWaiter(20);
        _enrol(_waiter(last));
        uint256 seat = _lowestSeat();
        vm.warp(WINDOW);
        _withdraw(_trainer(seat), _trainer(seat));
        _enrolWith(_trainer(seat), 64 * STAKE);
        _assertSits(_trainer(seat), seat);
        _draw(SEED);
        _take(_waiter(last)); // who would have drawn worst of all
        _assertSits(_waiter(last), seat);
        _assertWaits(_trainer(seat), 64 * STAKE);
        _assertConserved();
    }

    /// @dev A seat given up in the window goes to who asks first, but only until somebody comes who drew.
    function test_takeSeat_whoCameLateMakesRoom() public {
        _fill();
        _enrol(_waiter(0));
        vm.warp(WINDOW);
        _withdraw(_trainer(2), stranger);
        _enrolWith(_waiter(1), 64 * STAKE);
        _assertSits(_waiter(1), 2);
        _draw(SEED);
        _take(_waiter(0));
        _assertSits(_waiter(0), 2);
        _assertWaits(_waiter(1), 64 * STAKE);
    }

    // ------------------------------------------------------------------ flooding

    /// @dev Eight identities sit and two hundred wait, each with one stake; who has a hundred times as much draws against
    /// all of them, and nobody has to loop over them.
    function test_takeSeat_againstAFlood() public {
        _fill();
        for (uint256 i = 1; i <= 200; ++i) {
            _enrolWith(_waiter(i), STAKE);
            everybody.push(_waiter(i));
        }
        for (uint256 seat = 0; seat < SEATS; ++seat) {
            stakes[_trainer(seat)] = STAKE;
            everybody.push(_trainer(seat));
        }
        _enrolWith(_waiter(0), 100 * STAKE);
        everybody.push(_waiter(0));
        bytes32 seed = keccak256("a hash with which it wins");
        _draw(seed);
        address[] memory sorted = _sorted(everybody, seed);
        for (uint256 i = 0; i < everybody.length; ++i) {
            vm.prank(everybody[i]);
            try market.takeSeat(job) {} catch {}
        }
        bool honest = false;
        for (uint256 i = 0; i < SEATS; ++i) {
            (bool taken,) = market.seatOf(job, sorted[i]);
            vm.assertTrue(taken, "one of the lowest");
            if (sorted[i] == _waiter(0)) honest = true;
        }
        vm.assertTrue(honest);
        vm.assertEq(market.ledgerOf(job).stakes, 308 * STAKE);
        _assertConserved();
    }

    /// @dev The dearest seat there is: of sixty-four, each with sixty-four tickets.
    function test_takeSeat_costsAtMostFourMillion() public {
        JobTerms memory terms = _terms();
        terms.seats = 64;
        job = _open(terms);
        for (uint256 i = 0; i < 64; ++i) {
            _enrolWith(_waiter(i), 64 * STAKE);
        }
        uint256 best = 64;
        while (_numberOf(SEED, _waiter(best), 64) > type(uint256).max / 1000) ++best;
        _enrolWith(_waiter(best), 64 * STAKE);
        _draw(SEED);
        vm.prank(_waiter(best));
        uint256 gas = gasleft();
        market.takeSeat(job);
        gas -= gasleft();
        vm.snapshotValue("JobMarket", "takeSeat_drawn_of_64", gas);
        vm.assertLe(gas, 4_000_000);
        _assertConserved();
    }

    // ------------------------------------------------------------------ terms

    function test_openJob_aDrawLeavesTimeToEnrol() public {
        JobTerms memory terms = _terms();
        terms.entry.drawPeriod = terms.confirmationPeriod;
        _refuse(terms, "entry.drawPeriod", terms.confirmationPeriod);
        terms.entry.drawPeriod = 90 days + 1;
        _refuse(terms, "entry.drawPeriod", 90 days + 1);
        terms.entry.drawPeriod = 1000; // as long as there is until enrolment ends
        _refuse(terms, "enrolUntil", terms.enrolUntil);
        terms.entry.drawPeriod = 999;
        _open(terms);
        terms.entry.drawPeriod = terms.confirmationPeriod + 1;
        _open(terms);
    }

    // ------------------------------------------------------------------ parts

    function _refuse(JobTerms memory terms, string memory term, uint256 value) private {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.InvalidTerm.selector, term, value));
        market.openJob(terms, SPEC, MODEL, initialCommitment, srs, 0);
    }

    function _draw(bytes32 seed) private {
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp < WINDOW) vm.warp(WINDOW);
        vm.roll(HEIGHT);
        market.drawSeats(job);
        vm.roll(HEIGHT + DELAY + 1);
        vm.setBlockhash(HEIGHT + DELAY, seed);
        market.drawSeats(job);
    }

    function _assertDraw(uint256 number, bytes32 seed) private view {
        (uint256 fixed_, bytes32 drawn) = market.drawOf(job);
        vm.assertEq(fixed_, number);
        vm.assertEq(drawn, seed);
    }

    /// @dev The rule, written again.
    function _numberOf(bytes32 seed, address trainer, uint256 tickets) private pure returns (uint256 lowest) {
        lowest = type(uint256).max;
        for (uint256 ticket = 0; ticket < (tickets > 64 ? 64 : tickets); ++ticket) {
            uint256 number = uint256(keccak256(abi.encode(seed, trainer, ticket)));
            lowest = number < lowest ? number : lowest;
        }
    }

    function _sorted(address[] memory accounts, bytes32 seed) private view returns (address[] memory) {
        uint256[] memory numbers = new uint256[](accounts.length);
        for (uint256 i = 0; i < accounts.length; ++i) {
            (address account, uint256 place) = (accounts[i], i);
            uint256 number = _numberOf(seed, account, stakes[account] / STAKE);
            for (; place > 0 && numbers[place - 1] > number; --place) {
                (numbers[place], accounts[place]) = (numbers[place - 1], accounts[place - 1]);
            }
            (numbers[place], accounts[place]) = (number, account);
        }
        return accounts;
    }

    function _lowestWaiter(uint256 count) private view returns (address best, uint256 stake) {
        uint256 lowest = type(uint256).max;
        for (uint256 i = 0; i < count; ++i) {
            uint256 number = _numberOf(SEED, _waiter(i), 1);
            if (number < lowest) (lowest, best) = (number, _waiter(i));
        }
        stake = market.waitingOf(job, best).stake;
        vm.assertLt(lowest, _numberOf(SEED, market.trainerAt(job, _highestSeat()), 1), "the seed is of use");
    }

    function _worstWaiter(uint256 count) private pure returns (uint256 worst) {
        for (uint256 i = 1; i < count; ++i) {
            if (_numberOf(SEED, _waiter(i), 1) > _numberOf(SEED, _waiter(worst), 1)) worst = i;
        }
    }

    function _lowestSeat() private pure returns (uint256 best) {
        for (uint256 seat = 1; seat < SEATS; ++seat) {
            if (_numberOf(SEED, _trainer(seat), 1) < _numberOf(SEED, _trainer(best), 1)) best = seat;
        }
    }

    function _highestSeat() private pure returns (uint256 worst) {
        for (uint256 seat = 1; seat < SEATS; ++seat) {
            if (_numberOf(SEED, _trainer(seat), 1) > _numberOf(SEED, _trainer(worst), 1)) worst = seat;
        }
    }
}
