"""A network in one command: chain, market, aggregator and trainers, and a look at what runs of it."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import requests
from rich.table import Table
from rich.text import Text

from fedmarket.commands.amounts import short
from fedmarket.commands.options import FILE, console
from fedmarket.network.folder import FEWEST_TRAINERS, NetworkFolder
from fedmarket.network.merged_log import MergedLog
from fedmarket.network.plan import ATTESTOR, CHAIN, MARKET, NetworkPlan, acting_names
from fedmarket.network.record import NetworkRecord, RoleRecord, is_alive, is_running, only_network
from fedmarket.network.roles import ALIVE, RoleState
from fedmarket.network.supervisor import Member, Supervisor
from market.protocol.errors import InvalidInput
from market.protocol.job_spec import load_spec

MOST_TRAINERS = 32
ANSWER_S = 3.0
PORT = click.IntRange(0, 65535)

_STYLES = {
    RoleState.RUNNING: "green",
    RoleState.STARTING: "yellow",
    RoleState.FAILED: "red",
    RoleState.NOT_STARTED: "red",
}


@click.command()
@click.option(
    *("--trainers", "trainers"),
    default=FEWEST_TRAINERS,
    show_default=True,
    type=click.IntRange(FEWEST_TRAINERS, MOST_TRAINERS),
    help="How many train.",
)
@click.option("--job", "job_file", type=FILE, metavar="SPEC.yaml", help="Post this one in place of the example.")
@click.option("--no-job", is_flag=True, help="Chain and market alone.")
@click.option("--data", type=FILE, metavar="DIR", help="With owner.npz, trainer-0.npz, …; the digits if left out.")
@click.option("--rpc-port", default=8545, show_default=True, type=PORT, help="Of the chain, on 127.0.0.1; 0: any.")
@click.option("--port", default=8000, show_default=True, type=PORT, help="Of the market, on 127.0.0.1; 0: any.")
@click.option("--timestamps", is_flag=True, help="Begin every line of the log with the time.")
def up(
    trainers: int,
    job_file: Path | None,
    no_job: bool,
    data: Path | None,
    rpc_port: int,
    port: int,
    timestamps: bool,
) -> int:
    """Run a whole network on this machine until Ctrl-C: chain, market, and everybody that a job takes.

    It posts the example job, with a seat for each trainer and phases short enough to watch. Everything is for
    development: keys are made under .fedmarket/network, and the chain is gone when it ends. The other commands find the
    network from the same folder: try `fedmarket job show 0`.
    """
    if no_job and (job_file is not None or data is not None):
        raise InvalidInput("--no-job posts nothing: leave --job and --data out")
    folder = NetworkFolder()
    with only_network(folder):
        rpc_port, port = _free_ports(("--rpc-port", rpc_port), ("--port", port))
        accounts = folder.prepare(acting_names(0 if no_job else trainers))
        plan = NetworkPlan(folder, rpc_port, port, accounts, trainers, data=data)
        if not no_job:
            spec = load_spec(job_file) if job_file else folder.write_example(trainers, accounts[ATTESTOR])
            plan = NetworkPlan(
                folder, rpc_port, port, accounts, trainers, spec_file=job_file or folder.job, spec=spec, data=data
            )
        return _supervise(plan, timestamps)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(as_json: bool) -> int:
    """Show what runs of this folder's network, and how it is; exit status 1 where nothing runs, or it is unwell."""
    folder = NetworkFolder()
    if not is_running(folder):
        click.echo('{"running": false}' if as_json else "no network runs here: `fedmarket dev up` starts one")
        return 1
    record = NetworkRecord.load(folder)
    health = {role.name: _health(record, role) for role in record.roles}
    if as_json:
        answers = {name: {"well": well, "says": says} for name, (well, says) in health.items()}
        click.echo(json.dumps({"running": True, **asdict(record), "health": answers}, indent=2))
    else:
        console().print(_table(record, health))
    return 0 if all(well for well, _ in health.values()) else 1


def _supervise(plan: NetworkPlan, timestamps: bool) -> int:
    roles = plan.roles()
    log = MergedLog(sys.stdout, [role.name for role in roles], timestamps=timestamps)

    def record(members: Sequence[Member]) -> None:
        _record(plan, members).save(plan.folder)

    def tell(name: str) -> None:
        if name == CHAIN:
            log.note(f"the chain is at {plan.rpc_url}")
        if name == MARKET:
            log.note(f"the page is at {plan.page_url} (Ctrl-C stops everything)")

    log.note(f"starting {len(roles)} roles; what they keep is in {plan.folder.own}")
    ended = Supervisor(roles, log, plan.environment(), changed=record, became_ready=tell).run()
    log.note("everything is stopped; the chain is gone")
    if log.is_closed:
        _forget_output()
    return ended


def _record(plan: NetworkPlan, members: Sequence[Member]) -> NetworkRecord:
    roles = tuple(RoleRecord(m.role.name, m.state, m.pid, m.status, m.role.account) for m in members)
    return NetworkRecord(os.getpid(), plan.rpc_url, plan.page_url, str(plan.folder.deployment), roles)


def _forget_output() -> None:
    """Nobody reads any more: what is left in the buffer goes nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _free_ports(*wanted: tuple[str, int]) -> list[int]:
    """Each port that was asked for, or a free one for zero; no two are the same.

    Raises:
        InvalidInput: one is in use.
    """
    ports = [port for _, port in wanted if port]
    if len(set(ports)) < len(ports):
        raise InvalidInput(f"{' and '.join(option for option, _ in wanted)} are both {ports[0]}: expected two ports")
    return [_free_port(option, port) for option, port in wanted]


def _free_port(option: str, port: int) -> int:
    with socket.socket() as probe:
        # As servers do: a connection that has just been closed does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if port else 0)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InvalidInput(
                f"port {port} of this machine is in use ({error.strerror}): end what listens there, or choose another "
                f"with {option}"
            ) from error
        return int(probe.getsockname()[1])


def _health(record: NetworkRecord, role: RoleRecord) -> tuple[bool, str]:
    """Whether a role is as it should be, and what it says."""
    if role.state not in ALIVE:
        return role.state in (RoleState.DONE, RoleState.WAITING), "" if role.status is None else f"status {role.status}"
    if role.pid is None or not is_alive(role.pid):
        return False, "no such process"
    if role.name == CHAIN:
        return _ask(_block, record.rpc_url)
    if role.name == MARKET:
        return _ask(_readiness, f"{record.page_url}/readyz")
    return True, ""


def _ask(question: Any, url: str) -> tuple[bool, str]:
    with requests.Session() as session:
        session.trust_env = False  # a proxy has no business on this machine
        try:
            return question(session, url)  # type: ignore[no-any-return]
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return False, f"{url} does not answer"


def _block(session: requests.Session, url: str) -> tuple[bool, str]:
    body: Any = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
    return True, f"block {int(session.post(url, json=body, timeout=ANSWER_S).json()['result'], 16):,} at {url}"


def _readiness(session: requests.Session, url: str) -> tuple[bool, str]:
    answer = session.get(url, timeout=ANSWER_S)
    if answer.ok:
        return True, f"ready at {url.removesuffix('/readyz')}"
    problem = answer.json()
    parts = [f"{error['field']}: {error['detail']}" for error in problem.get("errors", [])]
    return False, f"not ready: {'; '.join(parts) or problem['title']}"


def _table(record: NetworkRecord, health: dict[str, tuple[bool, str]]) -> Table:
    table = Table(title=f"network of process {record.pid}: {record.page_url}", title_justify="left", box=None)
    for heading in ("role", "state", "process", "account", "health"):
        table.add_column(heading, justify="right" if heading == "process" else "left", no_wrap=heading != "health")
    for role in record.roles:
        well, says = health[role.name]
        table.add_row(
            role.name,
            Text(role.state.value, _STYLES.get(role.state, "dim")),
            "" if role.pid is None else str(role.pid),
            short(role.account) if role.account else "",
            Text(says, "" if well else "red"),
        )
    return table
