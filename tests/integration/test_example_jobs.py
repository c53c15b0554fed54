"""A job for each kind of generative model, played whole: posted, trained, proven, settled, paid, closed and audited."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmarket.devnet import Devnet
from fedmarket.example_jobs import example_scenario, train_example
from fedmarket.example_models import source_of
from market.protocol import integer_model
from market.protocol.rounds import Phase
from market.storage import EmbeddedStore
from market.storage.part_stream import content_name
from tests.integration.marketplace import ON_ANVIL, development_srs
from trainer_client.generation import GENERATORS, Execution, Prompt, module_of

pytestmark = ON_ANVIL

SMALL: dict[str, tuple[dict[str, Any], Prompt]] = {
    "conditional_diffusion": ({"channels": 1, "height": 8, "width": 8, "classes": 10, "hidden": [8]}, 3),
    "vae": ({"channels": 1, "height": 8, "width": 8, "hidden": [8], "code": 2}, None),
    "text": ({"vocabulary": 128, "width": 8, "layers": 1, "heads": 2, "context": 48}, "Alice "),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_job_ends_with_a_model_that_generates(name: str, devnet: Devnet, tmp_path: Path) -> None:
    arguments, prompt = SMALL[name]
    scenario = example_scenario(name, 0, rounds=1)
    model = scenario.spec.model.model_copy(update={"arguments": arguments})
    training = scenario.spec.training.model_copy(update={"epochs": 1})
    spec = scenario.spec.model_copy(update={"model": model, "training": training})
    if name == "text":
        shorter = [part.subset(np.arange(20)) for part in (scenario.test, *scenario.parts)]
        cut = [replace(part, inputs=part.inputs[:, :49]) for part in shorter]
        scenario = replace(scenario, test=cut[0], parts=tuple(cut[1:]))
    phases: list[Phase] = []
    trained = train_example(
        replace(scenario, spec=spec), devnet, development_srs(), tmp_path, lambda _, phase: phases.append(phase)
    )
    assert trained.rounds == 1
    assert phases[-1] is Phase.FINISHED
    assert content_name(integer_model.parts(trained.model)) == trained.content_id
    assert EmbeddedStore(tmp_path / "store").has(trained.content_id)
    source = source_of(spec, str(trained.content_id))
    generator = GENERATORS[name](module_of(source, trained.model), source.arguments, None)
    decoding = {"max_tokens": 8} if name == "text" else {}
    assert len(generator.generate([prompt], 0, decoding, Execution())) == 1
