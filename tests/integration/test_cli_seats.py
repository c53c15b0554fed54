"""The command line for who finds no seat: waiting, the draw, what is shown of it, and taking the stake back."""

from __future__ import annotations

import json

import pytest

from fedmarket.devnet import Devnet
from market.chain import keystore
from market.chain.job_market import JobMarket
from tests.integration.terminal import (
    COIN,
    JOB,
    PASSWORD,
    SPEC,
    TRAINERS,
    Terminal,
    ended,
    refuses,
    wait_until,
    write_blobs,
)

LATE = "trainer-3"


@pytest.fixture
def crowded(terminal: Terminal, devnet: Devnet) -> Terminal:
    """A job that draws its three seats, all of which are taken, and one trainer more."""
    made = keystore.create(terminal.folder / f"{LATE}.json", PASSWORD, "scrypt-light")
    devnet.fund(made.address, 1_000 * COIN)
    write_blobs(terminal.folder / f"{LATE}.npz", seed=9)
    (terminal.folder / "job.yaml").write_text(SPEC + "entry: {draw_s: 500}\n")
    terminal.told("job", "post", terminal.folder / "job.yaml", who="owner")
    for seat, who in enumerate(TRAINERS):
        told = terminal.told("trainer", "enrol", JOB, who=who)
        assert told.startswith(f"seat {seat} of job 0, stake 6 ETH; seats are drawn in ")
    return terminal


def test_who_finds_no_seat_waits_with_its_tickets_and_may_leave(crowded: Terminal, deployed: JobMarket) -> None:
    told = crowded.told("trainer", "enrol", JOB, "--stake", "18 ether", who=LATE)
    assert told.startswith("waiting with a stake of 18 ETH: all 3 seats are taken; the draw is in ")
    assert told.endswith(", with 3 tickets for this stake; next: fedmarket trainer run 0 --data PATH\n")
    assert "waits for a seat in job 0 already: all 3" in crowded.told("trainer", "enrol", JOB, who=LATE)
    status = crowded.told("trainer", "status", JOB, who=LATE)
    for words in ("18 ETH, waiting", "the draw is in", "with 3 tickets", "idle seats  -", "claimable   0 ETH"):
        assert words in status, words
    _shown(crowded)
    assert "stake: 18 ETH" in crowded.told("trainer", "claim", JOB, "--stake", who=LATE)
    assert deployed.waiting(JOB, crowded.address(LATE)).stake_wei == 0
    refuses(crowded.run("trainer", "claim", JOB, who=LATE), 2, "has no seat in job 0", "claim")
    refuses(crowded.run("trainer", "status", JOB, who=LATE), 2, "`fedmarket trainer enrol` takes one", "status")
    assert "waiting with a stake of 6 ETH" in crowded.told("trainer", "enrol", JOB, who=LATE)
    assert "stake: 6 ETH" in crowded.told("trainer", "claim", JOB, "--stake", who=LATE)


def _shown(terminal: Terminal) -> None:
    shown = terminal.told("job", "show", JOB)
    for words in ("Waiting for a seat", terminal.address(LATE), "if more enrol than there are", "a ticket in the draw"):
        assert words in shown, words
    story = json.loads(terminal.told("job", "show", JOB, "--json"))
    [waiting] = story["waiting"]
    assert (waiting["tickets"], waiting["stake_wei"], waiting["number"]) == (3, 18 * COIN, None)
    assert [line["idle"] for line in story["trainers"]] == [False] * 3


@pytest.mark.timeout(300)  # a process that loads PyTorch, and 128 blocks
def test_a_trainer_that_runs_has_the_seats_drawn_and_says_what_came_of_it(
    crowded: Terminal, devnet: Devnet, deployed: JobMarket
) -> None:
    crowded.told("trainer", "enrol", JOB, "--stake", "384 ether", who=LATE)
    process = crowded.train(LATE)
    devnet.advance_to(deployed.terms(JOB).draw_from_s)
    wait_until(lambda: deployed.draw(JOB).block > 0, "the draw to be asked for")
    wait_until(lambda: deployed.draw(JOB).is_decided, "the seats to be drawn")
    wait_until(lambda: deployed.seat(JOB, crowded.address(LATE)) is not None, "the seat that was drawn")
    process.terminate()
    _, output, errors = ended(process)
    assert "no seat yet of job 0" in output
    assert "being drawn, with 64 tickets for this stake" in output
    assert errors.startswith("stopped")
    [loser] = [who for who in TRAINERS if deployed.seat(JOB, crowded.address(who)) is None]
    status = crowded.told("trainer", "status", JOB, who=loser)
    assert "was lost in the draw: its stake waits for another" in status
    assert "by block " in crowded.told("job", "show", JOB)


def test_a_record_that_a_job_asks_for_is_looked_at_before_anything_is_sent(terminal: Terminal) -> None:
    owner = terminal.address("owner")
    (terminal.folder / "job.yaml").write_text(SPEC + f"entry: {{patron: '{owner}', paid_rounds: 2}}\n")
    terminal.told("job", "post", terminal.folder / "job.yaml", who="owner")
    assert f"2 rounds paid in jobs of {owner}" in terminal.told("job", "show", JOB)
    asked = f"job 0 asks for 2 rounds that were paid in jobs of {owner}; {terminal.address(TRAINERS[0])} has 0"
    refuses(terminal.run("trainer", "enrol", JOB, who=TRAINERS[0]), 2, asked, "record")
    shown = terminal.told("trainer", "record", terminal.address(TRAINERS[0]), "--owner", owner)
    assert "paid rounds  0" in shown
    refuses(terminal.run("trainer", "record", "0x12", "--owner", owner), 2, "'0x12' is no address", "address")
