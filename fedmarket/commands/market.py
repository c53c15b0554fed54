"""`fedmarket market`: the service that shows the market over HTTP. It holds no keys and no funds."""

from __future__ import annotations

import click

from fedmarket.commands.market_run import run


@click.group()
def market() -> None:
    """Serve the market over HTTP."""


market.add_command(run)
