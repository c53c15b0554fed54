"""An attestor as people run it: every job that names it, in one process that serves what it keeps."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from fedmarket.devnet import Devnet
from market.chain import keystore
from market.chain.deployment import Deployment
from market.chain.job_market import JobMarket
from market.protocol.identifiers import JobId
from market.storage import Cid
from tests.integration.marketplace import ON_ANVIL
from tests.integration.terminal import COIN, PASSWORD, SPEC, Terminal, ended, refuses, wait_until

pytestmark = ON_ANVIL


@pytest.fixture
def court(terminal: Terminal, devnet: Devnet) -> Terminal:
    """A folder with an attestor and a job's spec that names it."""
    attestor = keystore.create(terminal.folder / "attestor.json", PASSWORD, "scrypt-light")
    devnet.fund(attestor.address, COIN)
    named = f'disputes: {{attestors: ["{attestor.address}"], answer_s: 600, bond: 0.5 ether}}\n'
    (terminal.folder / "job.yaml").write_text(SPEC + named)
    (terminal.folder / "other.yaml").write_text(SPEC)
    (terminal.folder / "later.yaml").write_text((SPEC + named).replace("three blobs", "three later blobs"))
    return terminal


def post(court: Terminal, spec: str = "job.yaml") -> None:
    start = ("--warm-start", court.folder / "owner.npz")
    court.told("job", "post", court.folder / spec, *start, who="owner")


@pytest.mark.timeout(300)
def test_every_job_that_names_the_account_is_followed_and_those_that_open_later_too(
    court: Terminal, deployed: JobMarket, deployment: Deployment
) -> None:
    directory, account = deployment.directory_on(deployed.chain), court.address("attestor")

    def endpoint(job: int) -> str:
        announced = directory.announcements(JobId(job), [account]).get(account)
        return announced.endpoint if announced else ""

    post(court)
    post(court, "other.yaml")
    running = court.start("attestor", "run", "--serve", "127.0.0.1:0", who="attestor")
    wait_until(lambda: bool(endpoint(0)), "the first announcement")
    post(court, "later.yaml")
    wait_until(lambda: bool(endpoint(2)), "the announcement of the job that opened since")
    # On the chain first, and told a moment later.
    there = "job 2: announced its key and that it serves at http://127.0.0.1:"
    wait_until(lambda: there in running.said(), "the word of that announcement")
    assert endpoint(0) == endpoint(2)
    assert endpoint(1) == ""
    assert httpx.get(f"{endpoint(0)}/receipts/0/0", trust_env=False).status_code == 404
    running.send_signal(signal.SIGTERM)
    status, output, errors = ended(running)
    assert status == 128 + signal.SIGTERM
    assert errors == "stopped; run the same command again to go on\n"
    assert f"attesting in every job that names {account}" in output

    # What is known is not said again; without --serve nothing is served, and that is said.
    again = court.start("attestor", "run", 0, 2, who="attestor")
    wait_until(lambda: endpoint(0) == "" and endpoint(2) == "", "the announcements without an endpoint")
    again.send_signal(signal.SIGTERM)
    assert ended(again)[0] == 128 + signal.SIGTERM


def test_what_cannot_be_served_or_followed_is_refused_in_a_line(court: Terminal) -> None:
    post(court, "other.yaml")
    for arguments, words in (
        (("run", 0), "is no attestor of job 0: its terms name nobody"),
        (("run", 0, "--public-url", "https://example.org"), "name --serve HOST:PORT as well"),
        (("run", 0, "--serve", "0.0.0.0:0"), "say with --public-url what they do reach"),
        (("run", 0, "--serve", "somewhere"), "no place to listen at: expected HOST:PORT"),
        (("run", 0, "--serve", "127.0.0.1:0", "--public-url", "ftp://example.org"), "no address of a server"),
        (("run", 0, "--serve", "192.0.2.1:8081"), "cannot listen on 192.0.2.1 port 8081"),
    ):
        refuses(court.run("attestor", *arguments, who="attestor"), 2, words, str(arguments))
    assert not list(Path(court.folder, "work", "attestor").rglob("holdings"))


@pytest.mark.timeout(300)
def test_a_trainer_serves_its_own_store_where_it_announced(
    court: Terminal, deployed: JobMarket, deployment: Deployment
) -> None:
    post(court)
    court.told("trainer", "enrol", 0, who="trainer-0")
    data, account = court.folder / "trainer-0.npz", court.address("trainer-0")
    directory = deployment.directory_on(deployed.chain)
    running = court.start(
        "trainer", "run", 0, "--data", data, "--device", "cpu", "--serve", "127.0.0.1:0", who="trainer-0"
    )
    wait_until(lambda: account in directory.announcements(JobId(0)), "the announcement")
    url = directory.announcements(JobId(0))[account].endpoint
    model = deployed.state(JobId(0)).model
    cid = Cid.from_digest(model, 0)
    assert httpx.get(f"{url}/ipfs/{cid}?format=raw", trust_env=False).status_code == 200
    running.send_signal(signal.SIGTERM)
    status, output, _ = ended(running)
    assert status == 128 + signal.SIGTERM
    assert f"serving blocks at {url}" in output
