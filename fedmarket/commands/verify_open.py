"""Opening a task: publish what is asked for, seal what is known, lock the reward, and never twice by accident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import yaml

from fedmarket.commands.amounts import duration, money
from fedmarket.commands.job_tables import facts
from fedmarket.commands.options import FILE, Amount, actor_options, console
from fedmarket.commands.verify_pool import read_fields
from fedmarket.connection import Actor
from fedmarket.consensus_upkeep import intent
from fedmarket.intents import fresh_key, one_event
from fedmarket.known_outputs import known_canaries, known_digests
from fedmarket.sealed_answers import SealedAnswers, read_canaries, read_digests
from market.chain.consensus_events import TaskOpened
from market.chain.consensus_records import NONE_32, PoolTerms, TaskTerms
from market.chain.contract import checked_address
from market.protocol.consensus import MAX_CANARIES
from market.protocol.errors import InvalidInput
from market.protocol.generation import RequestDocument, ServiceDocument
from market.protocol.identifiers import Digest, PoolId, Wei
from market.protocol.seat_draw import DELAY_BLOCKS
from market.protocol.terms import NATIVE
from market.service_documents import document_cid, publish_document, service_of
from market.storage import content_cid

DOCUMENT_SUFFIXES = (".json", ".yaml", ".yml")
DEFAULT_PERIOD_S = 600

_period = click.IntRange(12, 30 * 24 * 3600)


def answers_of(actor: Actor) -> SealedAnswers:
    """What an account has sealed for tasks of this market."""
    chain_id, contract = actor.network.chain.chain_id, actor.network.consensus.address
    return SealedAnswers(actor.sender.account, chain_id, contract, actor.work)


@click.command()
@click.argument("answer_file", metavar="ANSWER", type=FILE)
@click.option("--pool", "pool_number", type=click.IntRange(min=0), help="ANSWER is outputs, for this pool's service.")
@actor_options
def seal(answer_file: Path, pool_number: int | None, actor: Actor) -> None:
    """Commit to a worker's answer, for a task that is to be opened; prints what its owner passes to --claim.

    ANSWER is a JSON list of digests, 64 hexadecimal digits each, one a sample; with --pool, a file of outputs. The
    digests are kept in the work folder until `fedmarket verify claim` shows them.
    """
    if pool_number is None:
        digests = read_digests(answer_file)
    else:
        pool = actor.network.consensus.pool(PoolId(pool_number))
        digests = known_digests(answer_file, service_of(actor.network.patient().store, pool))
    click.echo("0x" + answers_of(actor).seal_claim(digests).hex())


@click.command("open")
@click.argument("pool_number", metavar="POOL", type=click.IntRange(min=0))
@click.option("--prompts", required=True, type=FILE, metavar="FILE", help="One a line; or a request, JSON or YAML.")
@click.option("--share", required=True, type=Amount(), help="What each verifier earns that a majority agrees with.")
@click.option("--verifiers", "-k", default=3, show_default=True, help="3, 5 or 7.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, (1 << 64) - 1), help="Of the generation.")
@click.option("--decoding", multiple=True, metavar="NAME=VALUE", help="Such as steps=50; once for each.")
@click.option("--canaries", type=FILE, metavar="FILE", help="Answers known already: JSON, samples to digests.")
@click.option("--canary-outputs", type=FILE, metavar="FILE", help="Or the outputs that they are the digests of.")
@click.option("--canary-sample", type=click.IntRange(min=0), multiple=True, help="Of these outputs; once for each.")
@click.option("--worker", metavar="ADDRESS", help="Whose answer is checked.")
@click.option("--claim", metavar="HEX", help="What `fedmarket verify seal` printed for that worker.")
@click.option("--worker-reward", default=0, type=Amount(), help="What the worker earns if its answer is accepted.")
@click.option("--worker-outputs", metavar="CID", help="The worker's outputs, where verifiers only check them.")
@click.option("--seat-period", default=DEFAULT_PERIOD_S, show_default=True, type=_period, help="Seconds.")
@click.option("--commit-period", default=DEFAULT_PERIOD_S, show_default=True, type=_period, help="Seconds.")
@click.option("--reveal-period", default=DEFAULT_PERIOD_S, show_default=True, type=_period, help="Seconds.")
@click.option("--appeal-period", default=DEFAULT_PERIOD_S, show_default=True, type=_period, help="Seconds.")
@click.option("--again", is_flag=True, help="Open once more what this account has opened before.")
@actor_options
def open_task(pool_number: int, again: bool, actor: Actor, **asked: Any) -> None:
    """Ask POOL's verifiers for outputs, and lock their reward.

    Canaries are answers that the owner knows: sealed now, shown when everybody has committed, they find who guesses.
    They are kept in the work folder until then; a false one does no harm to anybody but its owner.

    Killed and started again, it opens the task once.
    """
    consensus, pool = actor.network.consensus, PoolId(pool_number)
    pool_terms = consensus.pool(pool)
    service = service_of(actor.network.patient().store, pool_terms)
    request = read_request(asked["prompts"], asked["decoding"], asked["worker_outputs"])
    service.check(request)
    canaries = _canaries(service, len(request.prompts), asked)
    terms = _terms(pool, pool_terms, request, asked)
    if canaries:
        terms = replace(terms, canaries=answers_of(actor).seal_canaries(canaries))
    _check_members(actor, pool, terms)
    digest = publish_document(actor.network.store, request, f"request to {service.name}")
    if digest != terms.request:
        raise InvalidInput(f"{asked['prompts']}: the store names the request {document_cid(digest)}")
    call = consensus.open_task(terms)
    key = fresh_key(actor.sender, intent(consensus, "open-task"), call, again)
    is_new = not actor.sender.knows(key)
    opened = one_event(consensus, actor.sender.send(key, call), TaskOpened)
    _tell(opened, is_new)


def read_request(path: Path, decoding: Sequence[str], worker_outputs: str | None) -> RequestDocument:
    """A request from a file: a prompt a line, or a list of prompts or a whole document in JSON or YAML.

    Args:
        path: the file.
        decoding: NAME=VALUE each, in the place of what a document says.
        worker_outputs: content id of a worker's outputs, likewise.

    Raises:
        InvalidInput: it cannot be read, or a field is wrong.
    """
    fields = _request_fields(path)
    if decoding:
        fields["decoding"] = {**_mapping(path, fields.get("decoding", {})), **dict(map(_setting, decoding))}
    if worker_outputs is not None:
        fields["worker_outputs"] = worker_outputs
    return RequestDocument.from_bytes(RequestDocument.parse(fields).to_bytes())  # as everybody will read it


def _request_fields(path: Path) -> dict[str, Any]:
    if path.suffix not in DOCUMENT_SUFFIXES:
        return {"prompts": _lines(path)}
    stated = read_fields(path)
    return {"prompts": stated} if isinstance(stated, list) else _mapping(path, stated)


def _mapping(path: Path, stated: Any) -> dict[str, Any]:
    if not isinstance(stated, dict):
        raise InvalidInput(f"{path}: expected a list of prompts, or a mapping that has one")
    return {str(name): value for name, value in stated.items()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is no text in UTF-8: expected a prompt a line") from error


def _setting(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise InvalidInput(f"--decoding {text!r}: expected NAME=VALUE, such as steps=50")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InvalidInput(f"--decoding {text!r}: the value is neither a number nor a word") from error


def _terms(pool: PoolId, pool_terms: PoolTerms, request: RequestDocument, asked: dict[str, Any]) -> TaskTerms:
    claim = _claim(asked["claim"])
    if (asked["worker"] is None) != (claim == NONE_32):
        raise InvalidInput(
            "--worker and --claim belong together: the worker's `fedmarket verify seal` prints the claim"
        )
    terms = TaskTerms(
        pool=pool,
        request=_digest_of(request),
        seed=asked["seed"],
        samples=len(request.prompts),
        verifiers=asked["verifiers"],
        share_wei=Wei(asked["share"]),
        worker=NATIVE if asked["worker"] is None else checked_address(asked["worker"]),
        worker_reward_wei=Wei(asked["worker_reward"]),
        claim=claim,
        canaries=NONE_32,
        seat_period_s=asked["seat_period"],
        commit_period_s=asked["commit_period"],
        reveal_period_s=asked["reveal_period"],
        appeal_period_s=asked["appeal_period"],
    )
    terms.check(pool_terms)
    return terms


def _canaries(service: ServiceDocument, samples: int, asked: dict[str, Any]) -> dict[int, bytes]:
    """The answers that are known, by sample; none where none are."""
    listed, outputs, named = asked["canaries"], asked["canary_outputs"], asked["canary_sample"]
    if listed is not None and outputs is not None:
        raise InvalidInput("--canaries and --canary-outputs: expected one of them, or neither")
    if outputs is None and named:
        raise InvalidInput("--canary-sample: of which outputs? Name them with --canary-outputs")
    if listed is None and outputs is None:
        return {}
    canaries = read_canaries(listed) if outputs is None else known_canaries(outputs, named, service)
    if len(canaries) > MAX_CANARIES:
        raise InvalidInput(f"{len(canaries)} canaries, expected at most {MAX_CANARIES}")
    if max(canaries) >= samples:
        path = outputs or listed
        raise InvalidInput(f"{path}: a canary of sample {max(canaries)}, but the request has {samples} samples")
    return canaries


def _claim(text: str | None) -> bytes:
    try:
        claim = NONE_32 if text is None else bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        claim = b""
    if len(claim) != 32 or (text is not None and not any(claim)):
        raise InvalidInput(f"--claim {text!r}: expected 64 hexadecimal digits, as `fedmarket verify seal` prints them")
    return claim


def _digest_of(request: RequestDocument) -> Digest:
    return Digest(content_cid(request.to_bytes()).digest)


def _check_members(actor: Actor, pool: PoolId, terms: TaskTerms) -> None:
    """See that there are verifiers enough; the owner and the worker may not sit."""
    consensus = actor.network.consensus
    parties = {actor.address, terms.worker} - {NATIVE}
    barred = sum(consensus.verifier(pool, account).units > 0 for account in parties)
    members = consensus.members(pool) - barred
    if members < terms.verifiers:
        besides = " beside this account and the worker" if barred else ""
        raise InvalidInput(
            f"pool {pool} has {members} verifiers{besides}, expected at least {terms.verifiers}, one for each seat"
        )


def _tell(opened: TaskOpened, is_new: bool) -> None:
    screen, terms = console(), opened.terms
    state = "is open" if is_new else "was opened already; --again opens another"
    screen.print(f"[bold]Task {opened.task}[/bold] {state}")
    rows = [
        ("request", str(document_cid(terms.request))),
        ("samples", f"{terms.samples}, seed {terms.seed}"),
        ("deposit", f"{money(terms.deposit_wei)}: {terms.verifiers} shares of {money(terms.share_wei)}"),
        ("draw", f"{DELAY_BLOCKS} blocks from now; seats are to be taken within {duration(terms.seat_period_s)} of it"),
        *([("canaries", "sealed: show them with `fedmarket verify canaries`")] if terms.canaries != NONE_32 else []),
        *([("worker", terms.worker)] if terms.has_worker else []),
    ]
    screen.print(facts(rows))
    screen.print(
        f"next: fedmarket verify show {opened.task}; verifiers that run draw the seats, settle and finish by themselves"
    )
