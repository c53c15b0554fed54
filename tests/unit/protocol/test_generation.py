"""Documents of services and requests, as strangers write them; and the hashes that the chain has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from market.protocol.errors import BeyondLimits, InvalidData, InvalidDocument
from market.protocol.generation import (
    MAX_DOCUMENT_BYTES,
    JobModel,
    RequestDocument,
    ServiceDocument,
    canary_commitment,
    claim_commitment,
    digests_hash,
    seal_of,
)

SERVICE: dict[str, Any] = {
    "name": "digits",
    "model": {"architecture": "denoiser", "arguments": {"features": 64, "hidden": [96, 96]}, "parameters": {"job": 3}},
    "generator": "conditional_diffusion",
    "digest": {"kind": "dct", "side": 16},
    "tolerance_bits": 40,
    "slack_permille": 50,
    "limits": {"samples": 4, "tokens": 32, "prompt_characters": 5, "classes": 10},
    "decoding": {
        "default": {"steps": 50, "method": "greedy"},
        "allowed": {
            "steps": [25, 50],
            "max_tokens": {"least": 1, "most": 64},
            "temperature": {"least": 0.1, "most": 2},
        },
    },
}
A, B, SALT = b"\x01" * 32, b"\x02" * 32, b"\x05" * 32
CONTRACT, VERIFIER = "0x" + "11" * 20, "0x" + "22" * 20


def service(**changes: Any) -> ServiceDocument:
    return ServiceDocument.parse({**SERVICE, **changes})


def request(*prompts: Any, **decoding: Any) -> RequestDocument:
    return RequestDocument.parse({"prompts": list(prompts), "decoding": decoding})


def test_documents_are_the_same_after_being_written_and_read() -> None:
    asked = request(3, None, "text", steps=25, temperature=0.7)
    assert RequestDocument.from_bytes(asked.to_bytes()) == asked
    offered = service()
    assert ServiceDocument.from_bytes(offered.to_bytes()) == offered
    assert offered.model.parameters == JobModel(job=3)
    assert offered.digest.parameters == {"side": 16}


def test_the_same_document_has_the_same_bytes_whoever_writes_it() -> None:
    backwards = dict(reversed(SERVICE.items()))
    assert ServiceDocument.parse(backwards).to_bytes() == service().to_bytes()
    assert b" " not in request(1, steps=25).to_bytes()


def test_a_request_says_how_it_is_decoded_and_else_the_service_does() -> None:
    assert service().decoding_of(request(1)) == {"steps": 50, "method": "greedy"}
    assert service().decoding_of(request(1, steps=25, temperature=1)) == {
        "steps": 25, "method": "greedy", "temperature": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (request(*[1] * 5), "prompts"),
        (request("longer"), "prompts[0]"),
        (request(1, 10), "prompts[1]"),
        (request(1, steps=26), "decoding.steps"),
        (request(1, method="beam"), "decoding.method"),
        (request(1, beams=2), "decoding.beams"),
        (request(1, max_tokens=33), "decoding.max_tokens"),
        (request(1, max_tokens=65), "decoding.max_tokens"),
        (request(1, temperature=2.5), "decoding.temperature"),
        (request(1, temperature=0.01), "decoding.temperature"),
    ],
)
def test_a_request_beyond_what_the_service_does_is_told_apart_and_named(asked: RequestDocument, field: str) -> None:
    with pytest.raises(BeyondLimits) as refused:
        service().check(asked)
    assert refused.value.field == field


def test_a_request_must_have_as_many_prompts_as_its_task_has_samples() -> None:
    service().check(request(1, 2), samples=2)
    with pytest.raises(BeyondLimits, match="are 2, expected the task's 3"):
        service().check(request(1, 2), samples=3)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tolerance_bits": 128}, "tolerance_bits"),
        ({"tolerance_bits": True}, "tolerance_bits"),
        ({"tolerance_bits": "40"}, "tolerance_bits"),
        ({"slack_permille": 250}, "slack_permille"),
        ({"generator": "Diffusion!"}, "generator"),
        ({"limits": {"samples": 257}}, "limits.samples"),
        ({"limits": {"tokens": 1 << 21}}, "limits.tokens"),
        ({"digest": {"kind": "dct", "side": [1]}}, "digest.side"),
        ({"digest": {}}, "digest.kind"),
        ({"model": {"architecture": "denoiser"}}, "model.parameters"),
        ({"decoding": {"default": {"steps": 0}}}, "decoding.default"),
        ({"decoding": {"default": {"method": "guess"}}}, "decoding.default"),
        ({"decoding": {"allowed": {"steps": [10_001]}}}, "decoding"),
        ({"decoding": {"allowed": {"steps": {"least": 5, "most": 2}}}}, "decoding.allowed.steps"),
        ({"calibration": "../../etc"}, "calibration"),
        ({"format": "fedmarket/service/2"}, "format"),
        ({"surprise": 1}, "surprise"),
        ({"name": "\x1b[2J"}, "name"),
    ],
)
def test_a_field_of_a_service_that_is_wrong_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidDocument, match="service document: ") as refused:
        service(**changes)
    assert refused.value.field.startswith(field)


@pytest.mark.parametrize(
    "unverified_fields",
    [
        {"prompts": []},
        {"prompts": [1] * 257},
        {"prompts": [True]},
        {"prompts": [1.0]},
        {"prompts": [-1]},
        {"prompts": [1 << 60]},
        {"prompts": [{"a": 1}]},
        {"prompts": "text"},
        {"prompts": ["x" * 70_000]},
        {"prompts": [1], "decoding": {"temperature": 0}},
        {"prompts": [1], "decoding": {"steps": 2.0}},
        {"prompts": [1], "decoding": {f"name{n}": 1 for n in range(65)}},
        {"prompts": [1], "worker_outputs": "has spaces"},
        [],
        None,
        7,
    ],
)
def test_a_malformed_request_is_an_error_of_its_own(unverified_fields: object) -> None:
    with pytest.raises(InvalidDocument) as refused:
        RequestDocument.from_bytes(json.dumps(unverified_fields).encode())
    assert not isinstance(refused.value, BeyondLimits)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"prompts":[NaN]}', b'{"prompts":[1e999]}',
     b'{"prompts":["\\ud800"]}', b'{"prompts":[' + b"9" * 5_000 + b"]}", b" " * (MAX_DOCUMENT_BYTES + 1)],
)  # fmt: skip
def test_bytes_that_are_no_document_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidDocument):
        RequestDocument.from_bytes(data)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_parse_or_be_refused(data: bytes) -> None:
    for kind in (RequestDocument, ServiceDocument):
        try:
            kind.from_bytes(data)
        except InvalidDocument:
            continue


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(SERVICE)), json_values)
def test_any_value_in_any_field_parses_to_what_is_written_again_alike_or_is_refused(name: str, value: Any) -> None:
    try:
        parsed = ServiceDocument.from_bytes(json.dumps({**SERVICE, name: value}).encode())
    except InvalidDocument:
        return
    assert ServiceDocument.from_bytes(parsed.to_bytes()) == parsed


def test_a_document_longer_than_a_block_is_not_written() -> None:
    with pytest.raises(InvalidDocument, match="expected at most 262144"):
        request(*["x" * 60_000] * 5).to_bytes()


def test_the_hashes_are_those_of_the_chain() -> None:
    packed = keccak(A + B)
    assert digests_hash([A, B]) == packed
    assert claim_commitment([A, B], SALT) == keccak(packed + SALT)
    assert canary_commitment({4: B, 1: A}, SALT) == keccak(
        encode(["uint16[]", "bytes32[]", "bytes32"], [[1, 4], [A, B], SALT])
    )
    words = [n.to_bytes(32, "big") for n in (31337, int(CONTRACT, 16), 7, 2, int(VERIFIER, 16))]
    assert seal_of(31337, CONTRACT, 7, 2, VERIFIER, [A, B], B, SALT) == keccak(b"".join([*words, packed, B, SALT]))


def test_a_seal_opens_in_no_other_place_for_nobody_else_and_to_nothing_else() -> None:
    arguments: list[Any] = [31337, CONTRACT, 7, 2, VERIFIER, [A, B], B, SALT]
    changes: list[Any] = [1, VERIFIER, 8, 1, CONTRACT, [B, A], A, A]
    seals = {seal_of(*arguments)}
    for place, change in enumerate(changes):
        altered = [*arguments]
        altered[place] = change
        seals.add(seal_of(*altered))
    assert len(seals) == 9


@pytest.mark.parametrize(
    ("canaries", "salt"), [({}, SALT), (dict.fromkeys(range(17), A), SALT), ({0: b"\x01"}, SALT), ({0: A}, b"")]
)
def test_canaries_that_the_contract_would_refuse_are_not_committed_to(canaries: dict[int, bytes], salt: bytes) -> None:
    with pytest.raises(InvalidData, match="expected"):
        canary_commitment(canaries, salt)
