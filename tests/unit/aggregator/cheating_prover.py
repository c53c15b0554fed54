"""A prover who cheats as well as it can: it argues for any statement about any rows, and looks at nothing.

The plain reference prover does that; it is slow, and enough for a few dozen coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

import zk.reference
from zk.commitment import Layout
from zk.gram_proof import CommittedRow, MaskRow
from zk.reference import NaiveRow, NaiveSrs
from zk.srs import INSECURE_TAU, Srs
from zk.transcript import GramProof, Statement


def prove_anything(statement: Statement, rows: Sequence[CommittedRow], mask: MaskRow) -> GramProof:
    """An argument for a statement, true or not, under the insecure SRS. Arguments as `zk.gram_proof.prove` has them."""
    layout = Layout(statement.dimension, statement.chunks)
    nothing = np.zeros(statement.dimension, dtype=np.int16)
    naive = [NaiveRow(row.values.tolist(), row.blinders.values) for row in rows]
    own = NaiveRow(nothing.tolist(), mask.blinders.values)
    return zk.reference.prove(_known(layout.slots), statement, naive, own)


def prove_with_false_blinders(
    patch: pytest.MonkeyPatch, srs: Srs, statement: Statement, rows: Sequence[CommittedRow], false: bytes
) -> GramProof:
    """A proof that holds, of a true statement, with a ρ that opens nothing bound into it."""
    absorb = zk.reference.absorb_sums
    mask = MaskRow.fresh(srs, Layout(statement.dimension, statement.chunks))
    with patch.context() as patched:
        patched.setattr(zk.reference, "absorb_sums", lambda seed, sums, blinders: absorb(seed, sums, false))
        proof = prove_anything(statement, rows, mask)
    return GramProof(proof.mask, proof.sums, false, proof.argument)


@cache
def _known(length: int) -> NaiveSrs:
    return NaiveSrs.known(INSECURE_TAU, length)
