from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from market.protocol.errors import CannotCalibrate
from market.protocol.generation import DigestSpec
from tests.unit.trainer_client.calibration.synthetic import measured
from tests.unit.trainer_client.calibration.tiny import tiny_model, tiny_plan
from trainer_client.calibration.calibration import calibrate, predict
from trainer_client.calibration.deviations import rounded
from trainer_client.calibration.distances import same_input
from trainer_client.calibration.panels import independent_undecided
from trainer_client.calibration.samples import Part
from trainer_client.calibration.tolerance import Overlap, Wanted

LOOSE = Wanted(honest_error=0.02, false_error=0.02)


def test_a_service_is_calibrated_from_measurement_to_document(tmp_path: Path) -> None:
    plan = tiny_plan(samples=200, others={"other": -4 * tiny_model(1), "near": rounded(tiny_model(), 12)})
    found = calibrate(plan, LOOSE, tmp_path / "kept", beside=["near"], pictures=tmp_path)
    told = json.loads(found.to_bytes())
    assert told["format"] == "fedmarket/calibration/1"
    assert told["tolerance_bits"] == found.choice.tolerance_bits
    assert told["told_apart"] == ["seed", "model other"]
    assert "tolerance_bits" not in told["service"]
    assert "calibration" not in told["service"]
    assert set(told["calibration"]["seeds"]).isdisjoint(told["report"]["seeds"])
    assert told["calibration"]["inputs"] != told["report"]["inputs"]
    assert sum(told["report"]["distances"]["seed"]) == 200 * 199 // 2
    assert told["report"]["honest"]["refused"] == found.outcome.honest.refused.to_json()
    assert set(told["report"]["panels"]) == {"3", "5", "7"}
    assert told["slack"]["permille"] * 32 // 1000 == told["slack"]["allowed"]
    for name in ("distances", "trade_off"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 500


def test_the_same_measurements_give_the_same_document(tmp_path: Path) -> None:
    first, second = (calibrate(tiny_plan(samples=200), LOOSE, tmp_path).to_bytes() for _ in range(2))
    assert first == second


def test_a_document_never_says_that_an_error_is_none(tmp_path: Path) -> None:
    told = json.loads(calibrate(tiny_plan(samples=200), LOOSE, tmp_path).to_bytes())

    def uppers(entry: object) -> list[float]:
        if not isinstance(entry, dict):
            return []
        return [entry["upper"]] if "upper" in entry else [each for value in entry.values() for each in uppers(value)]

    assert len(uppers(told["report"])) > 10
    assert all(upper > 0 for upper in uppers(told["report"]))
    assert all(panel["undecided_if_independent"] > 0 for panel in told["report"]["panels"].values())


def test_where_distributions_overlap_there_is_a_picture_and_no_tolerance(tmp_path: Path) -> None:
    plan = tiny_plan(samples=200, others={"the same": tiny_model()})
    with pytest.raises(Overlap, match="the distributions overlap"):
        calibrate(plan, LOOSE, tmp_path / "kept", pictures=tmp_path)
    assert (tmp_path / "distances.png").exists()
    assert (tmp_path / "trade_off.png").exists()


def test_too_few_samples_are_refused_for_whichever_digest(tmp_path: Path) -> None:
    with pytest.raises(CannotCalibrate, match="to show that at most"):
        calibrate(tiny_plan(samples=20, digests=[DigestSpec(kind="dct")]), Wanted(0.02, 0.001), tmp_path)


def test_predictions_stand_beside_what_independence_would_make_of_them() -> None:
    hard = np.where(np.arange(3_000) % 20 == 0, 0.3, 0.0)[:, None]
    found = measured(3_000, chance=hard, part=Part.REPORT, machines=8)
    predictions = predict(found, 20, seed=0)
    for seats, each in predictions.items():
        assert each.whole.undecided.estimate == pytest.approx(0.05, abs=0.01)
        upper = same_input(found).within(20).complement.upper
        assert each.independent == independent_undecided(upper, seats) < each.whole.undecided.estimate


def test_progress_is_told_for_each_part(tmp_path: Path) -> None:
    told: dict[Part, list[tuple[int, int]]] = {}
    calibrate(
        tiny_plan(samples=200),
        LOOSE,
        tmp_path,
        progress=lambda part: lambda done, total: told.setdefault(part, []).append((done, total)),
    )
    assert set(told) == set(Part)
    assert all(steps[-1] == (400, 400) for steps in told.values())
