"""What the write side takes and answers, as JSON: shared by the API and its Python client."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ADDRESS = r"^0x[0-9a-fA-F]{40}$"


class Shape(BaseModel):
    """Of all of them: nothing is changed once it is read."""

    model_config = ConfigDict(frozen=True)


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
