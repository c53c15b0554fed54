"""Keys: Ethereum keystore files, never a key on a command line."""

from __future__ import annotations

from pathlib import Path

import click
from web3 import Web3

from fedmarket.commands.options import FILE, ask_password, password_file_option
from market.chain import keystore
from market.protocol.errors import InvalidKeystore


@click.group()
def keys() -> None:
    """Make and read keystore files."""


@keys.command()
@click.argument("file", type=FILE)
@click.option("--light", is_flag=True, help="Fast to open, cheap to guess: refused on all but development chains.")
@password_file_option
def new(file: Path, light: bool, password_file: Path | None) -> None:
    """Make a new key and write it to FILE, encrypted."""
    if file.exists():
        raise InvalidKeystore(f"keystore {file} exists already: keys are never overwritten")
    password = keystore.read_password(password_file, lambda: ask_password(file, confirm=True))
    account = keystore.create(file, password, "scrypt-light" if light else "scrypt")
    click.echo(account.address)


@keys.command()
@click.argument("file", type=FILE)
@password_file_option
def show(file: Path, password_file: Path | None) -> None:
    """Show the address of the key in FILE."""
    address = keystore.address_in(file)
    if address is None:
        password = keystore.read_password(password_file, lambda: ask_password(file))
        address = str(keystore.load(file, password).address)
    click.echo(Web3.to_checksum_address(address))
