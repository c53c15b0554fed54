"""Digests of outputs that somebody has already: a worker's, or those that canaries are taken from."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from market.protocol.errors import InvalidInput, InvalidOutputs
from market.protocol.generation import ServiceDocument


def known_digests(path: Path, service: ServiceDocument) -> tuple[bytes, ...]:
    """The digests that a service's verifiers would make of outputs in a file, one a sample.

    Raises:
        InvalidInput: the file cannot be read, or holds no outputs of this service.
    """
    # Imported here: what reads outputs also generates them, and takes seconds to load.
    from trainer_client.generation import Outputs
    from trainer_client.verifier.digesting import digests_of

    try:
        return digests_of(service, Outputs.read(path))
    except InvalidOutputs as error:
        raise InvalidInput(f"{path}: {error}") from error


def known_canaries(path: Path, samples: Collection[int], service: ServiceDocument) -> dict[int, bytes]:
    """The digests of some samples of outputs in a file, by sample.

    Raises:
        InvalidInput: as `known_digests`; or there is no such sample, or none is named.
    """
    if not samples:
        raise InvalidInput(f"{path}: which samples are canaries? Name each with --canary-sample")
    digests = known_digests(path, service)
    beyond = [sample for sample in samples if sample >= len(digests)]
    if beyond:
        raise InvalidInput(f"{path}: a canary of sample {beyond[0]}, but there are {len(digests)} outputs")
    return {sample: digests[sample] for sample in samples}
