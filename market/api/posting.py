"""Posting a job: what the owner uploaded is checked and pinned, and the owner's own wallet opens the job."""

from __future__ import annotations

from typing import Any

import anyio
import yaml
from anyio import to_thread
from eth_utils.address import to_checksum_address
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException

from market.api.content import uploads_of
from market.api.dependencies import JSON_BODY, AccountDep, ServiceDep
from market.api.openapi import problems
from market.api.service import Service
from market.api.shapes import FieldProblem, PostingRequest, PreparedPosting, SpecReport, UnsignedTransaction
from market.posting import CheckedOpening, Opening, Prepared, Unsigned, check_model, check_opening, prepare
from market.protocol.errors import FedmarketError, InvalidJobSpec, NotAllowed
from market.protocol.job_spec import parse_spec, spec_problems
from market.protocol.json_text import MAX_DEPTH, SURROGATE, parse_json
from market.storage import Cid

JSON = "application/json"
YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")

WAIT_S = 30.0
"""How long a posting waits for its turn to have its model read."""

RETRY_S = 15
"""After how long it may come again."""

MAX_NUMBER = 100
"""Characters of a number in YAML; an amount has 39 digits."""

SPEC_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": {"type": "object"}},
            YAML[0]: {"schema": {"type": "object"}, "example": {"name": "digits", "rounds": 8, "seats": 7}},
        },
    }
}

router = APIRouter(prefix="/api/v1", tags=["posting"])


@router.post(
    "/jobs", status_code=201, dependencies=[JSON_BODY], responses=problems(401, 403, 404, 415, 500, 502, 503, 507)
)
async def prepare_job(asked: PostingRequest, account: AccountDep, service: ServiceDep) -> PreparedPosting:
    """Check and pin a job's contents, and make the transaction that opens it. Nothing is sent: the owner signs."""
    owner = to_checksum_address(asked.owner)
    if owner != account:
        raise NotAllowed(f"owner is {owner}, but {account} is signed in")
    opening = Opening(
        Cid.parse(asked.spec_cid),
        Cid.parse(asked.initial_model_cid),
        bytes.fromhex(asked.initial_commitment[2:]),
        bytes.fromhex(asked.srs_id[2:]),
    )
    checked, prepared = await to_thread.run_sync(_checked, opening, owner, service)
    await _check_model(checked, service)
    await to_thread.run_sync(uploads_of(service).claim, account, checked.contents, service.now())
    terms = prepared.terms
    return PreparedPosting(
        posted_s=terms.enrol_until_s - checked.document.spec.periods.enrol_s,
        token=terms.token,
        deposit_wei=str(terms.deposit_wei),
        approval=None if prepared.approval is None else _unsigned(prepared.approval, service),
        transaction=_unsigned(prepared.opening, service),
        model_checked=checked.model_is_open,
    )


def _checked(opening: Opening, owner: str, service: Service) -> tuple[CheckedOpening, Prepared]:
    checked = check_opening(opening, service.store, service.deployment.srs_id)
    return checked, prepare(service.market, checked, owner)


async def _check_model(checked: CheckedOpening, service: Service) -> None:
    """Read the whole model, last of all and one at a time: whoever reads pages must not wait for it."""
    turn = object()
    try:
        with anyio.fail_after(WAIT_S):
            await service.model_turns.acquire_on_behalf_of(turn)
    except TimeoutError as error:
        raise HTTPException(503, "other models are being read", {"Retry-After": str(RETRY_S)}) from error
    try:
        await to_thread.run_sync(check_model, checked, service.store, limiter=service.model_threads)
    finally:
        service.model_turns.release_on_behalf_of(turn)


@router.post("/specs/check", openapi_extra=SPEC_BODY, responses=problems(415, 502, 503))
async def check_spec(request: Request, service: ServiceDep) -> SpecReport:
    """Say all that is wrong with a job's spec, in YAML or JSON. Takes no sign-in."""
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent not in (JSON, *YAML):
        raise HTTPException(415, f"expected Content-Type: {JSON} or {YAML[0]}", {"Accept": f"{JSON}, {YAML[0]}"})
    body = await request.body()
    return await to_thread.run_sync(_report, body, sent == JSON, service)


def _report(unverified_body: bytes, is_json: bool, service: Service) -> SpecReport:
    now_s = service.chain.timestamp()
    try:
        unverified_spec = parse_json(unverified_body) if is_json else _parse_yaml(unverified_body)
    except ValueError as error:
        raise InvalidJobSpec("the body", str(error)) from error
    if not isinstance(unverified_spec, dict):
        raise InvalidJobSpec("the body", "expected a mapping of fields")
    found = spec_problems(unverified_spec, now_s)
    if found:
        return SpecReport(valid=False, errors=[_field(error) for error in found], deposit_wei=None)
    terms = parse_spec(unverified_spec).draft_terms(now_s)
    return SpecReport(valid=True, errors=[], deposit_wei=str(terms.deposit_wei))


class _PlainLoader(yaml.SafeLoader):
    """Without aliases: a few lines of them unfold to more than fits any memory."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not taken here: write it out")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} levels deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(node, yaml.ScalarNode) and SURROGATE.search(node.value):
            raise yaml.YAMLError(f"half a character, in {node.value!r:.100}: no answer could say it")
        return node


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    """A whole number that can be written down again."""
    if len(node.value) > MAX_NUMBER:
        raise yaml.YAMLError(f"a number of {len(node.value)} characters, expected at most {MAX_NUMBER}")
    return int(loader.construct_yaml_int(node))


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _number)


def _parse_yaml(unverified_body: bytes) -> Any:
    """Parse YAML of a stranger.

    Raises:
        ValueError: it is none.
    """
    try:
        return yaml.load(unverified_body, _PlainLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"is not YAML: {where}{getattr(error, 'problem', None) or error}"[:300]) from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        # What the constructors of scalars raise where the text is none of what its tag says.
        raise ValueError("is not YAML that this service reads") from error


def _field(error: FedmarketError) -> FieldProblem:
    if isinstance(error, InvalidJobSpec):
        return FieldProblem(field=error.field[:200], detail=error.problem[:500])
    return FieldProblem(field="", detail=str(error)[:500])


def _unsigned(made: Unsigned, service: Service) -> UnsignedTransaction:
    return UnsignedTransaction(
        to=made.call.to or "",
        data="0x" + made.call.data.hex(),
        value_wei=str(made.call.value_wei),
        chain_id=service.deployment.chain_id,
        gas=made.gas,
        max_fee_per_gas_wei=str(made.fees.cap_wei),
        max_priority_fee_per_gas_wei=str(made.fees.tip_wei),
    )
