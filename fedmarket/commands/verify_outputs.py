"""Fetching what a task brought: the accepted outputs, held against the digests that the panel agreed on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from fedmarket.commands.options import FILE, network_options
from fedmarket.commands.verify_words import task_argument
from fedmarket.connection import Network, NetworkOptions
from market.chain.consensus_events import OutputsRevealed
from market.chain.consensus_records import NONE_32
from market.protocol.errors import AuditMismatch, FedmarketError, InvalidInput, InvalidOutputs, StorageError
from market.protocol.identifiers import PoolId, TaskId
from market.service_documents import service_of
from market.storage import Cid
from market.storage.cid import CHUNK_BYTES
from market.storage.durable_file import write_file

if TYPE_CHECKING:
    from trainer_client.generation import Outputs


@click.command()
@task_argument
@click.argument("file", metavar="FILE", type=FILE)
@network_options
def outputs(task_number: int, file: Path, options: NetworkOptions) -> None:
    """Fetch what TASK's panel accepted into FILE, once its digests are seen to be those that were revealed.

    FILE.npz gets arrays, FILE.txt a text a line where outputs are texts; any other name the content as it is stored,
    which `fedmarket verify open --canary-outputs` and `--worker-outputs` take.
    """
    from trainer_client.verifier.digesting import digests_of

    network, task = Network.connect(options), TaskId(task_number)
    consensus = network.consensus
    state = consensus.state(task)
    if state.outputs == NONE_32:
        raise InvalidInput(f"task {task} has no accepted outputs: `fedmarket verify show {task}` tells where it is")
    content, found = _fetched(network, state.outputs)
    service = service_of(network.store, consensus.pool(PoolId(consensus.terms(task).pool)))
    revealed = [event for event in consensus.events(task) if isinstance(event, OutputsRevealed)]
    told = {tuple(event.digests) for event in revealed if event.outputs == state.outputs}
    if digests_of(service, found) not in told:
        raise AuditMismatch(f"task {task}: the outputs in storage have other digests than those that were revealed")
    _write(found, content, file)
    click.echo(f"{len(found)} samples: {', '.join(found.arrays())}, with the digests that were accepted, in {file}")


def _fetched(network: Network, digest: bytes) -> tuple[bytes, Outputs]:
    """The content under a digest, and what it is: the chain does not say whether it is one block or many.

    Raises:
        StorageError: it is not to be had.
        InvalidOutputs: it is none.
    """
    from trainer_client.generation import Outputs
    from trainer_client.verifier.services import MAX_OUTPUTS_BYTES

    problem: FedmarketError | None = None
    for size_bytes in (0, CHUNK_BYTES + 1):
        try:
            content = network.store.read(Cid.from_digest(digest, size_bytes), MAX_OUTPUTS_BYTES)
            return content, Outputs.parse(content)
        except (StorageError, InvalidOutputs) as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _write(found: Outputs, content: bytes, file: Path) -> None:
    if file.suffix == ".txt":
        if found.tokens is None:
            raise InvalidInput(f"{file}: the outputs are {', '.join(found.arrays())}, expected texts: name a file .npz")
        content = "".join(f"{text!r}\n" for text in found.texts).encode()  # whatever is in a text, it is one line
    elif file.suffix == ".npz":
        stream = io.BytesIO()
        np.savez(stream, **found.arrays())  # type: ignore[arg-type]
        content = stream.getvalue()
    write_file(file, [content])
