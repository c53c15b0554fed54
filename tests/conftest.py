"""What every test shares: how hypothesis searches. Markers, timeouts and warnings are set in pyproject.toml."""

from __future__ import annotations

from hypothesis import settings

# No deadline: how long an example takes says more about the machine than about the code. Derandomised, so that a run
# fails for a change and not by luck; `--hypothesis-profile=explore` searches anew each time.
settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile("repeatable")
