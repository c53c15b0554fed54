"""A job with sealed models by everybody's own commands; and that no secret of it lies about afterwards."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount

from fedmarket.devnet import Devnet
from market.chain import keystore
from market.chain.events import JobOpened
from market.chain.job_market import JobMarket
from market.content_key import ContentKey
from market.protocol import integer_model
from market.protocol.identifiers import JobId
from market.protocol.job_spec import MAX_SPEC_BYTES, JobDocument
from market.protocol.rounds import Phase
from market.sealed_model import ModelSeal
from market.storage import Cid, EmbeddedStore
from tests.integration.terminal import (
    JOB,
    PASSWORD,
    SPEC,
    TRAINERS,
    Terminal,
    ended,
    refuses,
    wait_until,
)

D = 15
EVERYBODY = ("owner", "aggregator", *TRAINERS)


@pytest.fixture
def posted(terminal: Terminal) -> Terminal:
    """A posted job with sealed models."""
    (terminal.folder / "job.yaml").write_text(SPEC + "models: sealed\n")
    told = terminal.told(
        "job", "post", terminal.folder / "job.yaml", "--warm-start", terminal.folder / "owner.npz", who="owner"
    )
    assert "sealed to those who take part" in told
    assert f"next: fedmarket owner run {JOB}" in told
    return terminal


def account(terminal: Terminal, who: str) -> LocalAccount:
    return keystore.load(terminal.folder / f"{who}.json", PASSWORD)


def document(terminal: Terminal, market: JobMarket, number: int = JOB) -> JobDocument:
    """A job's, as storage has it."""
    [opened] = [event for event in market.events(JobId(number), kinds=[JobOpened]) if isinstance(event, JobOpened)]
    cid = Cid.from_digest(opened.spec, 0)
    return JobDocument.from_bytes(EmbeddedStore(terminal.folder / "store").read(cid, MAX_SPEC_BYTES))


def content_key(terminal: Terminal, market: JobMarket) -> ContentKey:
    """The job's, made as its owner makes it."""
    sealing = document(terminal, market).sealing
    assert sealing is not None
    salt = bytes.fromhex(sealing.key_salt)
    return ContentKey.of_owner(account(terminal, "owner"), market.chain.chain_id, market.address, salt)


def test_mistakes_are_told_in_one_line(posted: Terminal, devnet: Devnet) -> None:
    file = posted.folder / "model.i64"
    for arguments in (("job", "model", JOB, file), ("model", "verify", JOB)):
        refuses(posted.run(*arguments), 1, "sealed to those who take part: name an account with their key", "nobody")
        refuses(posted.run(*arguments, who="trainer-0"), 1, "has not been given their key", "a stranger")
    assert not file.exists()
    assert ", sealed to those who take part" in posted.told("job", "show", JOB)
    assert json.loads(posted.told("job", "show", JOB, "--json"))["models_sealed"] is True
    refuses(posted.run("job", "grant", JOB, who="trainer-0"), 1, "has not been given their key", "no owner")
    stranger = posted.address("trainer-0")
    refuses(
        posted.run("job", "grant", JOB, "--to", stranger, who="owner"), 2, f"{stranger} has not announced", "unasked"
    )
    assert "was given it already" in posted.told("job", "grant", JOB, who="owner")
    assert "is what the chain committed to" in posted.told("model", "verify", JOB, who="owner")
    assert posted.told("job", "model", JOB, file, who="owner") == f"wrote 15 integers to {file}\n"
    assert "is what the chain committed to" in posted.told("model", "verify", JOB, file)


def test_an_open_job_has_no_key_to_hand_out(terminal: Terminal) -> None:
    terminal.told(
        "job", "post", terminal.folder / "job.yaml", "--warm-start", terminal.folder / "owner.npz", who="owner"
    )
    refuses(terminal.run("job", "grant", JOB, who="owner"), 2, "are open to everybody", "grant")
    refuses(terminal.run("owner", "run", JOB, who="owner"), 2, "has no exam: there is nothing to set", "run")


def test_the_same_posting_opens_one_sealed_job_and_again_another_with_another_key(
    posted: Terminal, deployed: JobMarket
) -> None:
    post = ("job", "post", posted.folder / "job.yaml", "--warm-start", posted.folder / "owner.npz")
    assert f"Job {JOB} was posted already" in posted.told(*post, who="owner")
    assert "Job 1 is open" in posted.told(*post, "--again", who="owner")
    assert "Job 2 is open" in posted.told(*post, "--again", who="owner")
    documents = [document(posted, deployed, number) for number in range(3)]
    assert len({it.sealing for it in documents}) == len({it.initial_model for it in documents}) == 3


@pytest.mark.timeout(420)  # five processes, most of which load PyTorch
def test_a_sealed_job_is_played_by_commands_and_no_secret_of_it_lies_about(
    posted: Terminal, devnet: Devnet, deployed: JobMarket
) -> None:
    aggregator, told = posted.address("aggregator"), list[str]()
    processes = {"owner": posted.start("owner", "run", JOB, "--to", aggregator, who="owner")}
    processes["aggregator"] = posted.start("aggregator", "run", JOB, who="aggregator")
    wait_until(lambda: bool(deployed.aggregators(JOB)), "the bond")
    for who in TRAINERS:
        told.append(posted.told("trainer", "enrol", JOB, who=who))
        assert "this account has asked for their key" in told[-1]
    processes |= {who: posted.train(who) for who in TRAINERS}
    for moment, is_reached in (
        ("start_s", lambda: deployed.state(JOB).committed == 0b111),
        ("commit_end_s", lambda: deployed.state(JOB).revealed == 0b111),
        ("exam_end_s", lambda: deployed.phase(JOB) is Phase.FINISHED),
    ):
        schedule = deployed.terms(JOB).schedule(deployed.state(JOB).attempt_start_s)
        devnet.advance_to(getattr(schedule, moment))
        wait_until(is_reached, f"what comes after {moment}")
    outputs = []
    for process in processes.values():
        status, output, errors = ended(process)
        assert status == 0, errors
        outputs += [output, errors]
    out = posted.folder / "fetched.i64"
    for who in EVERYBODY:
        told.append(posted.told("model", "verify", JOB, who=who))
    told.append(posted.told("job", "model", JOB, out, who="owner"))
    reader = ("--keystore", posted.folder / "trainer-0.json", "--password-file", posted.folder / "password")
    told.append(posted.told("audit", JOB, *reader))
    assert _verdicts(told[-1], "model") == {"ok"}
    told.append(posted.told("audit", JOB))
    assert _verdicts(told[-1], "model") == {"unproven"}
    assert "sealed" in told[-1]
    key = content_key(posted, deployed)
    out.unlink()
    _check_nothing_lies_about(posted, deployed, key, "\n".join([*outputs, *told]))


def _verdicts(audit: str, subject: str) -> set[str]:
    """What an audit says of the checks of one name."""
    return {line.split()[0] for line in audit.splitlines() if line.split()[1] == subject}


def _check_nothing_lies_about(terminal: Terminal, market: JobMarket, key: ContentKey, told: str) -> None:
    secrets = {"the content key": key._secret}
    for who in EVERYBODY:
        holder = account(terminal, who)
        secrets[f"the key of {who}"] = bytes(holder.key)
        secrets[f"the sealing key of {who}"] = _sealing_secret(holder, market)
    for name, secret in secrets.items():
        for form in _forms(secret):
            assert not list(_holding(terminal.folder, form)), name
            assert form.decode("latin-1") not in told, name
    found = {path for model in _models(terminal, market, key) for path in _holding(terminal.folder, model[:64])}
    assert found
    assert all("cache" in path.parts and path.stat().st_mode & 0o777 == 0o600 for path in found)


def _sealing_secret(holder: LocalAccount, market: JobMarket) -> bytes:
    info = encode(
        ["string", "uint256", "address", "uint256"],
        ["fedmarket/sealing-key/1", market.chain.chain_id, market.address, JOB],
    )
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(bytes(holder.key))


def _models(terminal: Terminal, market: JobMarket, key: ContentKey) -> Iterator[bytes]:
    posted = document(terminal, market)
    seal = ModelSeal(key, market.chain.chain_id, market.address, posted.parameters)
    store = EmbeddedStore(terminal.folder / "store")
    for cid in {posted.initial_model, str(Cid.from_digest(market.state(JOB).model, 0))}:
        data = b"".join(seal.open(store.open(Cid.parse(cid))))
        integer_model.parse(data, D)
        yield data


def _forms(secret: bytes) -> list[bytes]:
    """A secret as it could be written down."""
    escaped = repr(secret)[2:-1].encode()
    return [secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret)[:42], escaped]


def _holding(folder: Path, data: bytes) -> Iterator[Path]:
    """The files that hold some bytes."""
    return (path for path in folder.rglob("*") if path.is_file() and data in path.read_bytes())
