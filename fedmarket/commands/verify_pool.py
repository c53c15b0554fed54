"""Pools: a service, what counts there as the same output, and who has staked on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import yaml

from fedmarket.commands.amounts import money
from fedmarket.commands.job_tables import facts
from fedmarket.commands.options import FILE, Amount, actor_options, console, network_options
from fedmarket.connection import Actor, Network, NetworkOptions
from fedmarket.consensus_upkeep import intent
from fedmarket.intents import fresh_key, one_event
from market.chain.consensus_events import PoolOpened
from market.chain.consensus_records import PoolTerms
from market.protocol.errors import InvalidDocument, InvalidInput, StorageError
from market.protocol.generation import MAX_DOCUMENT_BYTES, ServiceDocument
from market.protocol.identifiers import PoolId, Wei
from market.service_documents import document_cid, publish_document, service_of


@click.group()
def pool() -> None:
    """Open pools of verifiers for services, and show them."""


@pool.command("open")
@click.argument("service_file", metavar="SERVICE", type=FILE)
@click.option("--unit", required=True, type=Amount(), help="What a ticket costs, and a seat locks: '0.1 ether'.")
@click.option("--again", is_flag=True, help="Open once more what this account has opened before.")
@actor_options
def open_pool(service_file: Path, unit: int, again: bool, actor: Actor) -> None:
    """Publish the service that SERVICE describes, in JSON or YAML, and open a pool for it.

    The document is put into storage; the pool has its digest. Its terms are for ever: another model or another
    tolerance is another pool.
    """
    # Imported here: it takes seconds to load.
    from trainer_client.verifier.digesting import kind_of

    service = read_service(service_file)
    kind = kind_of(service)
    digest = publish_document(actor.network.store, service, f"service {service.name}")
    tolerance = (service.tolerance_bits, service.slack_permille)
    terms = PoolTerms(digest, kind.code, *tolerance, service.limits.samples, Wei(unit))
    terms.check()
    consensus = actor.network.consensus
    call = consensus.open_pool(terms)
    key = fresh_key(actor.sender, intent(consensus, "open-pool"), call, again)
    is_new = not actor.sender.knows(key)
    receipt = actor.sender.send(key, call)
    opened = one_event(consensus, receipt, PoolOpened)
    state = "is open" if is_new else "was opened already; --again opens another"
    screen = console()
    screen.print(f"[bold]Pool {opened.pool}[/bold] {state}")
    screen.print(facts(_rows(terms, service)))
    screen.print(f"next: verifiers stake in it: fedmarket verifier stake {opened.pool} --units 1")


@pool.command()
@click.argument("pool_number", metavar="POOL", type=click.IntRange(min=0))
@click.option("--json", "as_json", is_flag=True, help="As JSON; amounts in wei.")
@network_options
def show(pool_number: int, as_json: bool, options: NetworkOptions) -> None:
    """Show POOL: its service, its tolerance, and how many have staked in it."""
    network = Network.connect(options)
    consensus, number = network.consensus, PoolId(pool_number)
    terms, members = consensus.pool(number), consensus.members(number)
    tasks = [opened.task for opened in consensus.tasks_of(number)]
    service, problem = _service(network, terms)
    if as_json:
        click.echo(json.dumps(_to_json(number, terms, members, tasks, service), indent=2))
        return
    screen = console()
    screen.print(f"[bold]Pool {number}[/bold]")
    unread = [("problem", problem)] if problem else []
    rows = [*_rows(terms, service), *unread, ("verifiers", str(members))]
    screen.print(facts([*rows, ("tasks", ", ".join(map(str, tasks)) or "none yet")]))


def read_service(path: Path) -> ServiceDocument:
    """A service's document from a file in JSON or YAML.

    Raises:
        InvalidInput: it cannot be read, or a field is wrong.
    """
    return ServiceDocument.from_bytes(ServiceDocument.parse(read_fields(path)).to_bytes())  # as everybody will read it


def read_fields(path: Path) -> Any:
    """What a file in JSON or YAML says; YAML has JSON in it.

    Raises:
        InvalidInput: it cannot be read, or is neither.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_DOCUMENT_BYTES + 1)
        if len(data) > MAX_DOCUMENT_BYTES:
            raise InvalidInput(
                f"{path} has more than {MAX_DOCUMENT_BYTES} bytes, which is all that a document can have"
            )
        return yaml.safe_load(data.decode("utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is neither JSON nor YAML: {str(error).splitlines()[0]}") from error


def _service(network: Network, terms: PoolTerms) -> tuple[ServiceDocument | None, str | None]:
    """A pool's document, or what keeps it from being read: anybody opens pools, for anything."""
    try:
        return service_of(network.store, terms), None
    except (InvalidDocument, StorageError) as error:
        return None, str(error)


def _rows(terms: PoolTerms, service: ServiceDocument | None) -> list[tuple[str, str]]:
    told = []
    if service is not None:
        told = [
            ("service", f"{service.name}: {service.generator} by {service.model.architecture}"),
            ("digest", service.digest.kind),
        ]
    slack = f", {terms.slack_permille / 10:g} % of the samples may be beyond" if terms.slack_permille else ""
    return [
        *told,
        ("document", str(document_cid(terms.service))),
        ("tolerance", f"{terms.tolerance_bits} of 256 bits a sample{slack}"),
        ("samples", f"at most {terms.max_samples} a task"),
        ("unit", f"{money(terms.unit_wei)} a ticket; a third of it is the most that a seat can earn"),
    ]


def _to_json(
    number: PoolId, terms: PoolTerms, members: int, tasks: list[Any], service: ServiceDocument | None
) -> dict[str, Any]:
    return {
        "pool": number,
        "document": str(document_cid(terms.service)),
        "service": None if service is None else service.model_dump(mode="json", exclude_none=True),
        "digest_kind": terms.digest_kind,
        "tolerance_bits": terms.tolerance_bits,
        "slack_permille": terms.slack_permille,
        "max_samples": terms.max_samples,
        "unit_wei": terms.unit_wei,
        "verifiers": members,
        "tasks": tasks,
    }
