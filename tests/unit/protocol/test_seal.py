from dataclasses import replace

import pytest

from market.protocol.identifiers import Digest, JobId
from market.protocol.seal import SALT_BYTES, SealContext, new_salt, seal

CONTEXT = SealContext(31337, "0x" + "11" * 20, JobId(1), round=2, attempt=3)
TRAINER, OTHER = "0x" + "22" * 20, "0x" + "33" * 20
COMMITMENT, CONTENT, SALT = b"\x05" * 64, Digest(b"\x07" * 32), b"\x09" * 32


@pytest.mark.parametrize("field", ["chain_id", "job", "round", "attempt"])
def test_a_seal_is_worth_nothing_in_another_place_or_time(field: str) -> None:
    elsewhere = replace(CONTEXT, **{field: getattr(CONTEXT, field) + 1})
    assert seal(CONTEXT, TRAINER, COMMITMENT, CONTENT, SALT) != seal(elsewhere, TRAINER, COMMITMENT, CONTENT, SALT)


def test_a_seal_does_not_open_for_another_contract_trainer_commitment_content_or_salt() -> None:
    own = seal(CONTEXT, TRAINER, COMMITMENT, CONTENT, SALT)
    assert own != seal(replace(CONTEXT, contract=OTHER), TRAINER, COMMITMENT, CONTENT, SALT)
    assert own != seal(CONTEXT, OTHER, COMMITMENT, CONTENT, SALT)
    assert own != seal(CONTEXT, TRAINER, b"\x06" * 64, CONTENT, SALT)
    assert own != seal(CONTEXT, TRAINER, COMMITMENT, Digest(b"\x08" * 32), SALT)
    assert own != seal(CONTEXT, TRAINER, COMMITMENT, CONTENT, b"\x0a" * 32)


def test_salts_are_long_and_do_not_repeat() -> None:
    salts = {new_salt() for _ in range(100)}
    assert len(salts) == 100
    assert {len(salt) for salt in salts} == {SALT_BYTES}
