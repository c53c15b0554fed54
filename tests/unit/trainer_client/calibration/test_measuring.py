from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from market.protocol.errors import CannotCalibrate, InvalidTerms
from market.protocol.generation import DigestSpec
from tests.unit.trainer_client.calibration.tiny import tiny_model, tiny_plan, tiny_service
from trainer_client.calibration import measuring
from trainer_client.calibration.measuring import measure, told
from trainer_client.calibration.samples import Part
from trainer_client.generation import Execution, generator_of
from trainer_client.verifier.digesting import digests_of

KIND = "simhash (centre 1)"


def test_digests_are_those_of_the_service_on_each_machine(tmp_path: Path) -> None:
    plan = tiny_plan(samples=12, others={"other": tiny_model(1)})
    found = measure(plan, Part.CALIBRATION, tmp_path)[KIND]
    service = tiny_service()
    for machine, execution in enumerate(plan.executions):
        for place, each in enumerate(found.inputs):
            generator = generator_of(service, tiny_model())
            outputs = generator.generate([each.prompt], each.seed, plan.settings, execution, each.number)
            assert found.digests[machine, place].tobytes() == digests_of(service, outputs)[0]
    assert found.others["other"].shape == (1, 12, 32)
    assert (found.others["other"][0] != found.digests[0]).any()


def test_the_parts_share_no_input(tmp_path: Path) -> None:
    parts = [measure(tiny_plan(), part, tmp_path)[KIND] for part in Part]
    assert not parts[0].identities() & parts[1].identities()
    assert [each.part for each in parts] == list(Part)


def test_an_interrupted_measurement_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(tiny_plan(), Part.CALIBRATION, tmp_path / "whole")[KIND]
    asked: list[int] = []

    def interrupt(done: int, total: int) -> None:
        asked.append(done)
        if done >= total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(tiny_plan(), Part.CALIBRATION, tmp_path / "cut", interrupt)
    kept = len(list((tmp_path / "cut").glob("*.digests")))
    assert 0 < kept < len(list((tmp_path / "whole").glob("*.digests")))
    generated = []
    real = measuring._generated
    monkeypatch.setattr(measuring, "_generated", lambda *given: generated.append(1) or real(*given))
    again = measure(tiny_plan(), Part.CALIBRATION, tmp_path / "cut")[KIND]
    assert np.array_equal(again.digests, whole.digests)
    assert len(generated) == len(list((tmp_path / "whole").glob("*.digests"))) - kept


def test_a_damaged_chunk_is_made_again(tmp_path: Path) -> None:
    before = measure(tiny_plan(), Part.CALIBRATION, tmp_path)[KIND]
    chunk = next(tmp_path.glob("*.digests"))
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert np.array_equal(measure(tiny_plan(), Part.CALIBRATION, tmp_path)[KIND].digests, before.digests)


def test_another_model_or_setting_is_measured_anew(tmp_path: Path) -> None:
    measure(tiny_plan(), Part.CALIBRATION, tmp_path)
    each = len(list(tmp_path.iterdir()))
    for count, changed in (
        (2, tiny_plan(model=tiny_model(1))),
        (3, tiny_plan(decoding={"steps": 6})),
        (4, tiny_plan(digests=[DigestSpec(kind="dct")])),
        (5, tiny_plan(seed=50)),
    ):
        measure(changed, Part.CALIBRATION, tmp_path)
        assert len(list(tmp_path.iterdir())) == count * each


def test_several_digests_are_made_of_the_same_outputs(tmp_path: Path) -> None:
    kinds = [DigestSpec(kind="dct"), DigestSpec(kind="simhash")]
    found = measure(tiny_plan(digests=kinds), Part.REPORT, tmp_path)
    assert list(found) == ["dct", "simhash"] == [told(kind) for kind in kinds]
    alone = measure(tiny_plan(digests=[kinds[1]]), Part.REPORT, tmp_path)
    assert np.array_equal(found["simhash"].digests, alone["simhash"].digests)


def test_progress_counts_every_digest(tmp_path: Path) -> None:
    plan, told_of = tiny_plan(others={"other": tiny_model(1)}), []
    measure(plan, Part.CALIBRATION, tmp_path, lambda done, total: told_of.append((done, total)))
    assert told_of[-1] == (180, 180)
    assert [done for done, _ in told_of] == sorted(done for done, _ in told_of)


def test_greedy_texts_are_told_apart_by_their_prompts_alone() -> None:
    service = tiny_service().model_copy(update={"generator": "text"})
    greedy = tiny_plan(service=service, prompts=["a", "b", "c", "a"], decoding={"method": "greedy"})
    assert not greedy.seeded
    assert [each.prompt for each in greedy.inputs(Part.CALIBRATION)] == ["a", "c"]
    assert [each.prompt for each in greedy.inputs(Part.REPORT)] == ["b"]
    sampled = replace(greedy, decoding={"method": "sample"})
    assert sampled.seeded
    seeds = [{each.seed for each in sampled.inputs(part)} for part in Part]
    assert not seeds[0] & seeds[1]


def test_mistakes_are_told_before_anything_runs() -> None:
    with pytest.raises(CannotCalibrate, match="1 way of running the model"):
        tiny_plan(executions=[Execution()] * 2)
    with pytest.raises(CannotCalibrate, match="no prompts"):
        tiny_plan(prompts=[])
    with pytest.raises(InvalidTerms, match="'nothing'"):
        tiny_plan(digests=[DigestSpec(kind="nothing")])
