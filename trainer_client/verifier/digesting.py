"""From outputs to the digests that a service asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from market.protocol.errors import InvalidTerms
from market.protocol.generation import ServiceDocument
from trainer_client.digests import DIGESTS, DigestKind, Takes
from trainer_client.generation import Outputs

_TAKEN: Mapping[Takes, Callable[[Outputs], Any]] = {
    Takes.IMAGES: lambda outputs: outputs.images,
    Takes.VECTORS: lambda outputs: _rows(outputs.images if outputs.hidden is None else outputs.hidden),
    Takes.UPDATES: lambda outputs: outputs.counts,
    Takes.TEXT: lambda outputs: None if outputs.tokens is None else outputs.texts,
    Takes.TOKENS: lambda outputs: outputs.tokens,
    Takes.ACTIVATIONS: lambda outputs: outputs.hidden,
}


def kind_of(document: ServiceDocument) -> DigestKind:
    """The digests that a service's outputs get.

    Raises:
        InvalidTerms: this version knows none of that name, or not with these parameters.
    """
    kind = DIGESTS.get(document.digest.kind)
    if kind is None:
        raise InvalidTerms(
            f"the service's digests are of kind {document.digest.kind!r}, expected one of {', '.join(DIGESTS)}"
        )
    unknown = sorted(set(document.digest.parameters) - set(kind.parameters))
    if unknown:
        raise InvalidTerms(f"the service's digest {kind.name} has a parameter {unknown[0]!r} that is not known")
    return kind


def digests_of(document: ServiceDocument, outputs: Outputs) -> tuple[bytes, ...]:
    """One digest a sample, 32 bytes each.

    Raises:
        InvalidTerms: the service's digests are of another kind of outputs than it generates.
        InvalidData: nothing can be digested of a sample.
    """
    kind = kind_of(document)
    taken = _TAKEN[kind.takes](outputs)
    if taken is None:
        given = ", ".join(outputs.arrays())
        raise InvalidTerms(f"the service's digest {kind.name} takes {kind.takes}, its outputs are {given}")
    return tuple(row.tobytes() for row in kind.digest(taken, **document.digest.parameters))


def _rows(array: Any) -> Any:
    return None if array is None else array.reshape(len(array), -1)
