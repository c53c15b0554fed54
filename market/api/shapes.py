"""What the write side takes and answers, as JSON: shared by the API and its Python client."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ADDRESS = r"^0x[0-9a-fA-F]{40}$"
CID = r"^b[a-z2-7]{58}$"


class Shape(BaseModel):
    """Of all of them: nothing is changed once it is read."""

    model_config = ConfigDict(frozen=True)


class Measured(Shape):
    """What was measured of a model on samples that it was not trained on."""

    accuracy: Annotated[float | None, Field(ge=0, le=1, description="Null where answers are not right or wrong.")]
    loss: Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]
    samples: Annotated[int, Field(ge=1, le=(1 << 31) - 1)]


class FieldProblem(Shape):
    """One field that is wrong, and how."""

    field: str
    detail: str


class Problem(Shape):
    """A refusal (RFC 9457)."""

    type: Annotated[str, Field(description="What kind of problem, as a URN that stays.")]
    title: str
    status: int
    detail: str
    instance: Annotated[str, Field(description="The path that was asked for.")]
    request_id: Annotated[str, Field(description="Under which the service's log has it.")]
    errors: list[FieldProblem] = []


class NonceRequest(Shape):
    """Which account wants to sign in."""

    address: Annotated[str, Field(pattern=ADDRESS, examples=["0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"])]


class SignInOffer(Shape):
    """What to sign."""

    nonce: Annotated[str, Field(description="Good once, and until `expires_s`.")]
    message: Annotated[str, Field(description="The text that the wallet signs (EIP-4361, EIP-191).")]
    expires_s: int


class SignInRequest(Shape):
    """What was signed."""

    message: Annotated[str, Field(max_length=4_096)]
    signature: Annotated[
        str,
        Field(pattern=r"^0x([0-9a-fA-F]{2}){1,4096}$", description="Of the account, or of its contract (EIP-1271)."),
    ]


class SignedIn(Shape):
    """A session: send its token as `Authorization: Bearer TOKEN`."""

    token: str
    account: str
    expires_s: int


class AccountState(Shape):
    """Who is signed in, and how much of its quota is used."""

    account: str
    session_expires_s: int
    uploaded_bytes: Annotated[int, Field(description="Of contents that no job names yet.")]
    quota_bytes: int
    upload_limit_bytes: int


class HeldContent(Shape):
    """Content that the service holds."""

    cid: str
    size_bytes: int


class PostingRequest(Shape):
    """A job whose contents are uploaded."""

    spec_cid: Annotated[str, Field(pattern=CID, description="Of the job's document (format fedmarket/job/1).")]
    initial_model_cid: Annotated[str, Field(pattern=CID, description="Of M_0, int64 little-endian.")]
    initial_commitment: Annotated[
        str, Field(pattern=r"^0x([0-9a-fA-F]{128}){1,64}$", description="C(M_0), without blinders: 64 bytes a chunk.")
    ]
    srs_id: Annotated[
        str, Field(pattern=r"^0x[0-9a-fA-F]{64}$", description="The powers of tau that it is made under.")
    ]
    owner: Annotated[str, Field(pattern=ADDRESS, description="The account that signed in, whose job it will be.")]


class UnsignedTransaction(Shape):
    """What the owner's wallet is to sign and send."""

    to: str
    data: str
    value_wei: str
    chain_id: int
    gas: Annotated[
        int | None, Field(description="Estimate and margin; null where it can be told after the approval only.")
    ]
    max_fee_per_gas_wei: str
    max_priority_fee_per_gas_wei: str


class PreparedPosting(Shape):
    """A job that can be opened."""

    posted_s: Annotated[int, Field(description="The block timestamp that its periods are counted from.")]
    token: Annotated[str, Field(description="What it is paid in; the zero address for the native coin.")]
    deposit_wei: Annotated[str, Field(description="Every round's reward and fee, and the exams' deposits.")]
    approval: Annotated[
        UnsignedTransaction | None, Field(description="To send first, where the contract may not take the token yet.")
    ]
    transaction: UnsignedTransaction
    model_checked: Annotated[
        bool,
        Field(
            description="Whether every entry of the model was seen to be in range: not where the spec seals the job's "
            "models, which this service cannot read."
        ),
    ]


class SpecReport(Shape):
    """All that is wrong with a spec."""

    valid: bool
    errors: list[FieldProblem]
    deposit_wei: Annotated[str | None, Field(description="What posting it would lock; null where it is not valid.")]
