"""The service against its own description: whatever is asked, no answer is one that it does not announce, and no 5xx.

Run by `make test-api`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from fedmarket.devnet import Devnet
from market.chain.deployment import Deployment
from market.chain.job_market import JobMarket
from tests.integration.conftest import Actors, account
from tests.integration.marketplace import ON_ANVIL, Marketplace, names
from tests.integration.service import Running, serving, settings_for

pytestmark = [ON_ANVIL, pytest.mark.fuzz]

LEAST_CASES = 5_000
EACH = 220
ENDLESS = "/api/v1/events/stream"
"""Never ends, so that nothing can be said of its answer: tests/unit/market/api/test_stream.py reads it."""


@pytest.fixture
def running(
    devnet: Devnet,
    deployment: Deployment,
    deployed: JobMarket,
    actors: Actors,
    tmp_path: Path,
    new_database: Callable[[], str],
) -> Iterator[Running]:
    """A service over a chain on which a round was settled, on either database."""
    market = Marketplace(devnet, deployed, actors, tmp_path, 20)
    market.post(rounds=2, seats=4).join(4)
    market.play_round(names(4))
    with serving(settings_for(tmp_path, devnet, deployment, database_url=new_database())) as opened:
        opened.wait_until_read()
        yield opened


@pytest.mark.timeout(900)
def test_nothing_that_is_asked_gets_an_answer_that_was_not_announced(running: Running) -> None:
    headers = running.sign_in(account("fuzz"))
    schema = schemathesis.openapi.from_url(f"{running.url}/api/v1/openapi.json").exclude(path=ENDLESS)
    statuses: Counter[int] = Counter()
    for operation in _operations(schema):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _ask(operation, mode, headers, statuses)
    cases = sum(statuses.values())
    print(f"\n{cases:,} cases over {len(_operations(schema))} operations: {dict(sorted(statuses.items()))}")
    assert cases >= LEAST_CASES
    assert not [status for status in statuses if status >= 500]
    assert statuses[200] > cases / 20  # it is not refusals alone that were asked for


def _operations(schema: BaseSchema) -> list[APIOperation[Any, Any, Any, Any]]:
    found = [operation.ok() for operation in schema.get_all_operations()]
    return sorted(found, key=lambda operation: operation.method == "delete")  # which ends the session of all others


def _ask(
    operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, headers: dict[str, str], statuses: Counter[int]
) -> None:
    @settings(
        max_examples=EACH // 2,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        path = case.path_parameters
        if path.get("job") in range(5) or mode is GenerationMode.POSITIVE:
            # Numbers at random are nobody's: most questions are about what is there.
            path.update({name: 0 for name in ("job", "attempt", "version") if name in path})
        answer = case.call(headers=headers)
        statuses[answer.status_code] += 1
        # Not every text is a cursor, a content id or a signature: that is refused with 422, as the description says.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])

    # In the negative mode, of a question that nothing can be wrong with.
    with suppress(Unsatisfiable):
        ask()
