"""Every sentence about a refusal of the contract fits the error that it is about."""

from __future__ import annotations

import pytest

from fedmarket.commands.refusals import SENTENCES, sentence
from market.chain.reverts import known_errors
from market.protocol.errors import ContractRevert, InvalidInput
from market.protocol.rounds import FROZEN_S

SIGNATURES = {signature.name: signature for signature in known_errors().values()}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_sentence_uses_only_arguments_that_its_error_has(name: str) -> None:
    arguments = {argument: 7 for argument, _, _ in SIGNATURES[name].inputs}

    assert sentence(ContractRevert(name, arguments)) != str(ContractRevert(name, arguments))


def test_the_time_left_is_told() -> None:
    refusal = ContractRevert("NotVested", {"timestamp": 1000, "vestsAt": 1252})

    assert sentence(refusal) == "this has not vested yet: it will have in 4 min 12 s"


def test_what_a_dispute_holds_up_is_told_as_that() -> None:
    refusal = ContractRevert("NotVested", {"timestamp": 1000, "vestsAt": FROZEN_S})

    assert sentence(refusal) == "this waits for a dispute that is open"


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ("CLOSED", "the job is closed"),
        ("FINISHED", "the job's rounds are over"),
        (
            "DISPUTED",
            "not while a dispute is open: attestors answer it, and if they do not, `fedmarket dispute thaw` ends it",
        ),
        ("COMMIT", "not now: the job's phase is commit, this is for the phase starved"),
    ],
)
def test_a_wrong_phase_is_told_as_what_it_means(phase: str, words: str) -> None:
    assert sentence(ContractRevert("WrongPhase", {"phase": phase, "expected": "STARVED"})) == words


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ("FINISHED", "the task is finished"),
        ("SETTLE", "not now: the task's phase is settle, this is for the phase reveal"),
    ],
)
def test_a_task_s_wrong_phase_is_told_as_a_task_s(phase: str, words: str) -> None:
    assert sentence(ContractRevert("WrongTaskPhase", {"phase": phase, "expected": "REVEAL"})) == words


def test_another_error_is_shown_as_it_is() -> None:
    assert sentence(ContractRevert("Moon", {"size": 3})) == "the contract refused: Moon(size=3)"
    assert sentence(ContractRevert("SeatsFull", {})) == "the contract refused: SeatsFull()"
    assert sentence(InvalidInput("seven is none")) == "seven is none"
