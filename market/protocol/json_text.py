"""JSON that somebody else wrote, read without letting it end the process."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 32
"""Of a published document's lists and mappings; a job's spec needs six."""


def parse_json(unverified_data: bytes) -> Any:
    """Parse a document in UTF-8; how long it may be is for the caller to have checked.

    Raises:
        ValueError: it is not JSON, or is nested more than 32 levels deep.
    """
    unverified_text = unverified_data.decode("utf-8")
    _check_depth(unverified_text)
    return json.loads(unverified_text)


def _check_depth(unverified_text: str) -> None:
    """Refuse JSON nested so deeply that the parser, which recurses, would leave the stack: that ends the process."""
    depth = 0
    for bracket in re.findall(r"[][{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", unverified_text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"is nested more than {MAX_DEPTH} levels deep")
