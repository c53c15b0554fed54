"""Auditing a task: recompute it from a chain node, and trust nobody."""

from __future__ import annotations

import json

import click
from rich.text import Text

from fedmarket.commands.options import console, network_options
from fedmarket.commands.verify_words import task_argument
from fedmarket.connection import Network, NetworkOptions
from market.protocol.errors import AuditMismatch
from market.protocol.identifiers import TaskId
from market.task_audit import MISMATCH, OK, UNPROVEN, TaskCheck, audit_task

STYLES = {OK: "green", UNPROVEN: "yellow", MISMATCH: "bold red"}


@click.command()
@task_argument
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
@network_options
def audit(task_number: int, as_json: bool, options: NetworkOptions) -> None:
    """Recompute TASK from the chain's events alone (anyone).

    One verdict a line: terms, draws, seats, seals, decisions, and money to the last wei. ok: recomputed, and equal.
    unproven: the chain does not have all that would prove it. mismatch: not what the chain says; the exit status is 1
    then.

    What the outputs are is not looked at: `fedmarket verifier run` generates them.
    """
    network = Network.connect(options)
    screen = console()

    def show(check: TaskCheck) -> None:
        if not as_json:
            screen.print(_line(check), soft_wrap=True)

    with screen.status("auditing"):
        report = audit_task(network.consensus, TaskId(task_number), show)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    if report.first_mismatch is not None:
        first = report.first_mismatch
        raise AuditMismatch(f"audit of task {task_number}: mismatch in {first.name}, {first.subject}: {first.detail}")


def _line(check: TaskCheck) -> Text:
    verdict = (f"{check.verdict:<9} ", STYLES[check.verdict])
    return Text.assemble(verdict, f"{check.name:<10} ", (f"{check.subject:<13} ", "bold"), (check.detail, "dim"))
