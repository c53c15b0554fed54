"""Storage: whole jobs in one file (anyone)."""

from __future__ import annotations

import click

from fedmarket.commands.storage_archive import export_job, import_contents


@click.group(name="storage")
def group() -> None:
    """Carry whole jobs from store to store (anyone)."""


group.add_command(export_job)
group.add_command(import_contents)
