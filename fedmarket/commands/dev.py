"""A development chain: Anvil on this machine, with a marketplace on it and money for whoever is named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3.types import RPCEndpoint

from fedmarket.commands.amounts import money
from fedmarket.commands.dev_network import status, up
from fedmarket.commands.interruption import leaving
from fedmarket.commands.options import Amount, deployment_option, network_options
from fedmarket.connection import NetworkOptions, address_of
from fedmarket.devnet import CHAIN_ID, DEVELOPMENT_POWERS_OF_TAU, Devnet, DevnetOptions
from market.chain.connection import Chain
from market.chain.contract import checked_address
from market.chain.deployment import Deployment, deploy
from market.chain.transactions import SendPolicy, TransactionSender
from market.protocol.errors import ChainError, InvalidInput

GIFT_WEI = 1_000 * 10**18
LOOK_AFTER_S = 5.0


@click.group()
def dev() -> None:
    """Run a network or a development chain of one's own."""


dev.add_command(up)
dev.add_command(status)


@dev.command()
@click.option("--port", default=8545, show_default=True, type=click.IntRange(0, 65535), help="On 127.0.0.1; 0: any.")
@click.option("--block-time", default=1, show_default=True, type=click.IntRange(1, 3600), help="Seconds a block.")
@click.option("--chain-id", default=CHAIN_ID, show_default=True, type=click.IntRange(min=1), help="Its number.")
@deployment_option
@click.option("--fund", multiple=True, metavar="FILE_OR_ADDRESS", help="Give 1000 ETH; may be repeated.")
def chain(port: int, block_time: int, chain_id: int, deployment: Path, fund: tuple[str, ...]) -> None:
    """Start a chain on this machine, put a marketplace on it, and run until Ctrl-C.

    Its coins are worth nothing, no key of its own is ever written down, and nothing of it outlives it.
    """
    addresses = [_address(text) for text in fund]
    options = DevnetOptions(chain_id=chain_id, block_time_s=block_time, port=port)
    with leaving(lambda: "the chain is stopped, and everything on it is gone", clean_status=0), Devnet(options) as net:
        for address in addresses:
            net.fund(address, GIFT_WEI)
            click.echo(f"funded {address} with {money(GIFT_WEI)}")
        market = _deploy(net)
        market.save(deployment)
        try:
            _announce(net, market, deployment)
            _look_after(net)
        finally:
            _forget(market, deployment)


@dev.command()
@click.argument("accounts", metavar="FILE_OR_ADDRESS...", nargs=-1, required=True)
@click.option("--amount", type=Amount(), default=GIFT_WEI, help="Such as '5 ether'; 1000 ether by default.")
@network_options
def fund(accounts: tuple[str, ...], amount: int, options: NetworkOptions) -> None:
    """Give coins of a running development chain to keystores or addresses."""
    addresses = [_address(text) for text in accounts]
    node = Chain.connect(options.rpc_url, options.chain_id)
    if not node.is_development_chain:
        raise InvalidInput(
            f"the node at {node.place} is no development chain (chain {node.chain_id}): it gives no coins"
        )
    for address in addresses:
        click.echo(f"{address} has {money(_give(node, address, amount))}")


@dev.command("deploy")
@click.option("--fund", multiple=True, metavar="FILE_OR_ADDRESS", help="Give 1000 ETH; may be repeated.")
@network_options
def deploy_there(fund: tuple[str, ...], options: NetworkOptions) -> None:
    """Put a marketplace on a development chain that runs already, once.

    Where the deployment file names one that is on the chain, nothing is done: it can be run at every start.
    """
    addresses = [_address(text) for text in fund]
    node = Chain.connect(options.rpc_url, options.chain_id)
    if not node.is_development_chain:
        raise InvalidInput(f"the node at {node.place} is no development chain (chain {node.chain_id}): deploy by hand")
    if _is_there(node, options.deployment):
        click.echo(f"the marketplace of {options.deployment} is on the chain already")
        return
    deployer = Account.create()
    for address in (deployer.address, *addresses):
        _give(node, address, GIFT_WEI)
    market = _deploy_on(node, deployer)
    market.save(options.deployment)
    click.echo(f"JobMarket {market.job_market}, written to {options.deployment}")


def _is_there(node: Chain, file: Path) -> bool:
    """Whether a deployment file names a marketplace of this very chain."""
    if not file.exists():
        return False
    try:
        Deployment.load(file).connect(node)
    except ChainError:
        return False  # of a chain that is gone: development chains start anew with the same number
    return True


def _give(node: Chain, address: str, amount_wei: int) -> int:
    """Add to a balance; returns what it is now."""
    method = "evm_setAccountBalance" if node.client.lower().startswith("ganache") else "anvil_setBalance"
    balance_wei = node.balance_wei(address) + amount_wei
    request = (RPCEndpoint(method), [address, hex(balance_wei)])
    node.read(lambda: node.web3.manager.request_blocking(*request))
    return balance_wei


def _address(file_or_address: str) -> str:
    """An address, written out or stated by a keystore."""
    path = Path(file_or_address)
    if file_or_address.startswith("0x") and not path.exists():
        return checked_address(file_or_address)
    return address_of(path)


def _deploy(net: Devnet) -> Deployment:
    """Deploy with a key that nobody has seen and nobody keeps, and with powers of tau whose secret everybody knows."""
    account = Account.create()
    net.fund(account.address, GIFT_WEI)
    with _mining_at_once(net):
        return _deploy_on(Chain.connect(net.url, net.chain_id), account)


def _deploy_on(node: Chain, account: LocalAccount) -> Deployment:
    with (
        TemporaryDirectory() as journal,
        TransactionSender(node, account, Path(journal), SendPolicy(poll_s=0.02)) as sender,
    ):
        return deploy(sender, DEVELOPMENT_POWERS_OF_TAU)


@contextmanager
def _mining_at_once(net: Devnet) -> Iterator[None]:
    """Nobody waits for the blocks of a chain that nobody knows yet; afterwards they come in their time."""
    net.set_mining(True)
    yield
    net.set_mining(False)
    net.request("evm_setIntervalMining", net.options.block_time_s)


def _announce(net: Devnet, market: Deployment, file: Path) -> None:
    click.echo(f"chain {net.chain_id} at {net.url}, a block every {net.options.block_time_s} s")
    click.echo(f"JobMarket {market.job_market}, written to {file}")
    click.echo("Ctrl-C stops it")


def _look_after(net: Devnet) -> None:
    """Stay for as long as the chain answers."""
    while True:
        net.timestamp()
        time.sleep(LOOK_AFTER_S)


def _forget(market: Deployment, file: Path) -> None:
    """Take the deployment file back, unless another chain has written its own there."""
    try:
        if Deployment.load(file) == market:
            file.unlink()
    except InvalidInput:
        return
