"""What opens a seal: a vector under a commitment, and a salt."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from numpy.typing import NDArray

from fedmarket.bench.mechanism.board import Board
from market.protocol.identifiers import Digest
from market.protocol.seal import new_salt
from zk.commitment import Blinders, commit
from zk.gram_proof import CommittedRow


@dataclass
class Opening:
    """What opens one seal."""

    row: CommittedRow
    content: Digest
    salt: bytes


def committed(board: Board, values: NDArray[Any], blinders: Blinders) -> Opening:
    """A vector under a commitment, with a salt for its seal."""
    commitment = commit(board.srs, board.layout, values, blinders)
    content = Digest(sha256(values.tobytes() + blinders.to_bytes()).digest())
    return Opening(CommittedRow(values, blinders, commitment), content, new_salt())
