"""What is the service's own and not the chain's: it is lost with the database, and nothing of value with it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from market.db.base import Base, address, digest

TOKEN = 64
CID = 128


class NonceRow(Base):
    """A sign-in that was begun: its nonce is good once, and until it expires."""

    __tablename__ = "nonces"

    nonce: Mapped[str] = mapped_column(String(TOKEN), primary_key=True)
    expires_s: Mapped[int] = mapped_column(BigInteger, index=True)


class SessionRow(Base):
    """An account that signed in. Only the token's hash is kept."""

    __tablename__ = "sessions"

    token_hash: Mapped[bytes] = mapped_column(digest(), primary_key=True)
    account: Mapped[str] = mapped_column(address(), index=True)
    expires_s: Mapped[int] = mapped_column(BigInteger, index=True)


class UploadRow(Base):
    """Content that an account uploaded: what its quota is counted from."""

    __tablename__ = "uploads"

    account: Mapped[str] = mapped_column(address(), primary_key=True)
    cid: Mapped[str] = mapped_column(String(CID), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    uploaded_s: Mapped[int] = mapped_column(BigInteger)


class DocumentRow(Base):
    """A job's document as storage has it, once it was held against the job's terms; fetched again where it is missing.

    Not one a spec: anybody may open a job of other terms with somebody else's document.
    """

    __tablename__ = "documents"

    job: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    spec: Mapped[bytes] = mapped_column(digest(), primary_key=True)
    name: Mapped[str] = mapped_column(String(256))
    architecture: Mapped[str] = mapped_column(String(64))
    body: Mapped[str] = mapped_column(Text)  # the document's JSON


class EvaluationRow(Base):
    """What an owner measured of a model of its job. Nobody proves it: it is told as the owner's word."""

    __tablename__ = "evaluations"

    job: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    content: Mapped[bytes] = mapped_column(digest(), primary_key=True)  # the model's
    account: Mapped[str] = mapped_column(address(), primary_key=True)
    accuracy: Mapped[float | None] = mapped_column(Double)  # none: the model's answers are not right or wrong
    loss: Mapped[float] = mapped_column(Double)
    samples: Mapped[int] = mapped_column(Integer)
    measured_s: Mapped[int] = mapped_column(BigInteger)


class OrphanRow(Base):
    """A block with events that a reorganisation took away: whoever was told of it is told so when it comes back."""

    __tablename__ = "orphans"

    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    block_number: Mapped[int] = mapped_column(BigInteger)
    block_hash: Mapped[bytes] = mapped_column(digest(), index=True)
    kept_block: Mapped[int] = mapped_column(BigInteger)  # the last block that stayed

    __table_args__ = (Index(None, "ordinal", "kept_block"),)


SERVICE_TABLES: tuple[type[Base], ...] = (NonceRow, SessionRow, UploadRow, DocumentRow, EvaluationRow, OrphanRow)
"""What no chain has. A reindex leaves it, but for documents, which are read again, and another chain's orphans."""
