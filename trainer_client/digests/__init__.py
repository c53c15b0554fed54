"""256 bits of each output, of which few differ where outputs differ little: what verifiers agree by.

The kinds, by name; a pool names one by its number on the chain. A number is never given to another kind, and a kind's
digests never change: tests/vectors/digests.json holds some of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from market.protocol.errors import InvalidData
from trainer_client.digests.activations import TOP, activation_digests
from trainer_client.digests.bits import BITS, BYTES, Digests
from trainer_client.digests.exact import exact_digests
from trainer_client.digests.hamming import count_within, hamming, hamming_histogram, hamming_matrix
from trainer_client.digests.images import dct_digests, difference_digests, wavelet_digests
from trainer_client.digests.kind import DigestKind, Takes
from trainer_client.digests.minhash import SHINGLE, minhash_digests
from trainer_client.digests.search import nearest, pairs_within
from trainer_client.digests.simhash import simhash_digests
from trainer_client.digests.updates import update_digests

__all__ = [
    "BITS",
    "BYTES",
    "DIGESTS",
    "DigestKind",
    "Digests",
    "Takes",
    "count_within",
    "digest_kind",
    "digest_kind_of_code",
    "hamming",
    "hamming_histogram",
    "hamming_matrix",
    "nearest",
    "pairs_within",
]

_KINDS = (
    DigestKind("dct", 1, Takes.IMAGES, dct_digests),
    DigestKind("difference", 2, Takes.IMAGES, difference_digests),
    DigestKind("wavelet", 3, Takes.IMAGES, wavelet_digests),
    DigestKind("simhash", 4, Takes.VECTORS, simhash_digests, {"seed": 0, "centre": 0}),
    DigestKind("update_simhash", 5, Takes.UPDATES, update_digests, {"seed": 0}),
    DigestKind("minhash", 6, Takes.TEXT, minhash_digests, {"shingle": SHINGLE, "seed": 0}),
    DigestKind("exact", 7, Takes.TOKENS, exact_digests),
    DigestKind("activations", 8, Takes.ACTIVATIONS, activation_digests, {"top": TOP, "seed": 0}),
)

DIGESTS: Mapping[str, DigestKind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""Every kind, by its name."""


def digest_kind(name: str) -> DigestKind:
    """The kind of this name.

    Raises:
        InvalidData: there is none.
    """
    if name not in DIGESTS:
        raise InvalidData(f"there is no digest of the kind {name!r}, expected {', '.join(DIGESTS)}")
    return DIGESTS[name]


def digest_kind_of_code(code: int) -> DigestKind:
    """The kind of this number on the chain.

    Raises:
        InvalidData: there is none.
    """
    for kind in _KINDS:
        if kind.code == code:
            return kind
    numbers = ", ".join(f"{kind.code} ({kind.name})" for kind in _KINDS)
    raise InvalidData(f"there is no digest of the number {code}, expected {numbers}")
