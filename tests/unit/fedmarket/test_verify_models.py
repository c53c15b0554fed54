from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fedmarket.cli import main
from fedmarket.commands.verify_models import _tiled
from fedmarket.example_jobs import example_scenario
from fedmarket.example_models import EXAMPLES
from market.protocol.errors import InvalidInput


def test_models_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "vae.json").write_text("{}")
    with pytest.raises(
        InvalidInput, match=r"vae\.json exists already: name another folder, or replace it with --force"
    ):
        CliRunner().invoke(main, ["verify", "models", str(tmp_path)], standalone_mode=False, catch_exceptions=False)
    assert [path.name for path in tmp_path.iterdir()] == ["vae.json"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_scenario_follows_from_its_seed_and_keeps_its_test_apart(name: str) -> None:
    first, again, other = (example_scenario(name, seed) for seed in (1, 1, 2))
    assert len(first.parts) == len(first.cast) == first.spec.seats
    for one, same in zip(first.parts, again.parts, strict=True):
        assert (one.inputs == same.inputs).all()
    assert (first.parts[0].inputs[:5] != other.parts[0].inputs[:5]).any()
    rows = {row.tobytes() for part in first.parts for row in part.inputs}
    assert sum(row.tobytes() in rows for row in first.test.inputs) < 5  # some real digits are drawn alike


def test_images_are_shown_side_by_side_with_lines_between_them() -> None:
    sheet = _tiled(np.stack([np.zeros((2, 3)), np.ones((2, 3))] * 2), 2, scale=1)
    assert sheet.shape == (8, 10)
    assert (sheet[1:3, 1:4] == 0).all()
    assert (sheet[5:7, 6:9] == 255).all()
