from __future__ import annotations

import numpy as np
import pytest

from market.protocol.errors import CannotCalibrate, InvalidData
from tests.unit.trainer_client.calibration.synthetic import measured
from trainer_client.calibration.samples import (
    Input,
    Measured,
    Part,
    check_apart,
    check_part,
    divide_prompts,
    make_inputs,
)


def of(inputs: tuple[Input, ...], *, part: Part = Part.REPORT, seeded: bool = True) -> Measured:
    return Measured(part, inputs, ("one",), np.ones((1, len(inputs), 32), dtype=np.uint8), seeded=seeded)


def test_inputs_take_every_prompt_in_turn_under_every_seed() -> None:
    inputs = make_inputs(("a", "b"), [7, 8], 6)
    assert [(each.prompt, each.seed, each.number) for each in inputs] == [
        ("a", 7, 0), ("b", 7, 1), ("a", 7, 2), ("a", 8, 0), ("b", 8, 1), ("a", 8, 2),
    ]  # fmt: skip


def test_other_seeds_are_other_samples() -> None:
    check_apart(of(make_inputs(("a",), [1], 3), part=Part.CALIBRATION).identities(), of(make_inputs(("a",), [2], 3)))


def test_nothing_is_reported_on_what_was_chosen_by() -> None:
    chosen_by = of(make_inputs(("a",), [1, 2], 6), part=Part.CALIBRATION).identities()
    with pytest.raises(CannotCalibrate, match="3 inputs of the report"):
        check_apart(chosen_by, of(make_inputs(("a",), [2, 3], 6)))


def test_where_no_seed_matters_another_seed_is_the_same_sample() -> None:
    chosen_by = of((Input("a", 1, 0),), part=Part.CALIBRATION, seeded=False).identities()
    with pytest.raises(CannotCalibrate, match="1 inputs of the report, among them 'a'"):
        check_apart(chosen_by, of((Input("a", 2, 5),), seeded=False))
    check_apart(chosen_by, of((Input("b", 1, 0),), seeded=False))


def test_a_part_serves_its_purpose_alone() -> None:
    with pytest.raises(CannotCalibrate, match="for the report, expected those for the calibration"):
        check_part(measured(4, part=Part.REPORT), Part.CALIBRATION)


def test_prompts_are_divided_each_once() -> None:
    parts = divide_prompts(["a", "b", "a", "c", "b"])
    assert parts == {Part.CALIBRATION: ("a", "c"), Part.REPORT: ("b",)}
    with pytest.raises(CannotCalibrate, match="1 prompt"):
        divide_prompts(["a", "a"])


def test_an_input_is_measured_once() -> None:
    with pytest.raises(InvalidData, match="2 inputs, of which 1 differ"):
        of((Input("a", 1, 0), Input("a", 1, 0)))


def test_digests_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidData, match=r"expected uint8 \(1, 1, 32\)"):
        Measured(Part.REPORT, make_inputs(("a",), [1], 1), ("one",), np.ones((1, 2, 32), dtype=np.uint8))
    with pytest.raises(InvalidData, match="digests of other"):
        Measured(
            Part.REPORT,
            make_inputs(("a",), [1], 1),
            ("one",),
            np.ones((1, 1, 32), dtype=np.uint8),
            {"other": np.ones((1, 2, 32), dtype=np.uint8)},
        )
