"""The exam in a job's spec, and what its document shows of it before the close."""

from __future__ import annotations

from typing import Annotated

from eth_utils.address import is_address, to_checksum_address
from pydantic import AfterValidator, Field

from market.protocol.exam import MAX_SECRET_SLICES, ExamSlice, check_slice
from market.protocol.spec_fields import Amount, Hex32, Seconds, Section
from market.protocol.terms import NATIVE, ExamTerms

OWNER = "owner"
"""The examiner of a job that names nobody else; in the contract the zero address stands for it."""


def _examiner_address(text: str) -> str:
    if text == OWNER:
        return NATIVE
    if not is_address(text):
        raise ValueError(f"expected {OWNER!r} or an account's address, got {text!r}")
    return to_checksum_address(text)


Examiner = Annotated[str, AfterValidator(_examiner_address)]


class ExamSection(Section):
    """What the owner examines updates with: slices of its own samples, one an attempt, all fixed before the start."""

    samples: Annotated[int, Field(ge=1, le=1 << 20)] = 64
    """Of a secret slice."""
    public_samples: Annotated[int, Field(ge=1, le=1 << 20)] = 100
    """Of slice 0, which everybody may see, and which the first model is trained on."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 40
    """Of full-batch gradient descent on a slice: r is how far they lead. 1 for the plain negative gradient."""
    rate: Annotated[float, Field(gt=0, le=100)] | None = None
    """Of each step; none is the job's learning rate."""
    spares: Annotated[int, Field(ge=0, le=MAX_SECRET_SLICES)] = 2
    """Secret slices beyond one a round, for attempts that expire; one without a slice has no exam."""
    period_s: Seconds
    """How long the exam can be opened once the reveals are over."""
    deposit: Amount
    """What a missing opening costs the owner, who locks one a round."""
    examiner: Examiner = NATIVE
    """The account that sets the exam beside the owner's."""

    def to_terms(self, rounds: int, root: bytes) -> ExamTerms:
        """The exam as the contract holds it."""
        return ExamTerms(
            root=root,
            examiner=self.examiner,
            period_s=self.period_s,
            slices=rounds + self.spares,
            deposit_wei=self.deposit,
        )


class PublicSlice(Section):
    """Slice 0, open from the start: CID of its bytes, salt, and the siblings from its leaf up to the root."""

    samples: str
    salt: Hex32
    path: Annotated[tuple[Hex32, ...], Field(max_length=32)]

    @property
    def opened(self) -> ExamSlice:
        """As the tree holds it.

        Raises:
            InvalidExam: the CID is none.
        """
        return ExamSlice(self.samples, bytes.fromhex(self.salt))


class ExamDocument(Section):
    """What everybody may know of an exam before its close: the root, and the slice that shows what it is like."""

    root: Hex32
    public: PublicSlice

    @property
    def root_bytes(self) -> bytes:
        """The root, 32 bytes."""
        return bytes.fromhex(self.root)

    def check(self, slices: int) -> None:
        """See that the public slice is under the root of so many slices.

        Raises:
            InvalidExam: it is not.
        """
        path = [bytes.fromhex(sibling) for sibling in self.public.path]
        check_slice(self.root_bytes, slices, 0, self.public.opened, path)
