"""`fedmarket market run`: the service, in the foreground, until it is told to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fedmarket.commands.interruption import leaving
from fedmarket.commands.options import FILE


def _both(setting: str, option: str) -> list[str]:
    """The variable of the service alone, and that of all commands; the first that is set is taken."""
    return [f"FEDMARKET_MARKET_{setting.upper()}", f"FEDMARKET_{option.upper()}"]


@click.command()
@click.option("--rpc", metavar="URL", envvar=_both("rpc_url", "rpc"), help="Address of a node.")
@click.option(
    "--deployment",
    type=FILE,
    metavar="FILE",
    envvar=_both("deployment", "deployment"),
    help="The file that names the contracts.",
)
@click.option("--store", type=FILE, metavar="DIR", envvar=_both("store", "store"), help="Folder of the content store.")
@click.option("--database", metavar="URL", help="sqlite:///PATH or postgresql://…")
@click.option("--host", metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on; 0 takes any that is free.")
def run(
    rpc: str | None,
    deployment: Path | None,
    store: Path | None,
    database: str | None,
    host: str | None,
    port: int | None,
) -> None:
    """Serve the API and the page, and follow the chain, until Ctrl-C or SIGTERM.

    Everything can be said in variables FEDMARKET_MARKET_…, which the README lists; options go before them.
    """
    # Imported here: `--help` should not wait for a web framework.
    from market.server import configure_logging, prepare_server
    from market.settings import load_settings

    options: dict[str, Any] = {"rpc_url": rpc, "deployment": deployment, "store": store, "database_url": database}
    settings = load_settings(**options, host=host, port=port)
    configure_logging(settings.log_json)
    server, listening = prepare_server(settings, lambda address: click.echo(f"market: {address}"))
    with listening, leaving(lambda: "market: stopped", clean_status=0):
        server.run([listening])
