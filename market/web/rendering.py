"""From a template and what it shows to an answer. Everything that is put into a page is escaped."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from market.protocol.moments import duration, moment
from market.web import words

STATIC = "/static"
STATIC_FOLDER = Path(str(resources.files("market.web") / "static"))


def page(template: str, status: int = 200, **shown: Any) -> HTMLResponse:
    """An answer.

    Args:
        template: its file's name.
        status: of the answer.
        shown: what the template speaks of; `network` is the chain as far as it was read, or None.
    """
    text = _environment().get_template(template).render({"network": None, **shown})
    return HTMLResponse(text, status, {"Cache-Control": "no-cache"})


@cache
def static_url(name: str) -> str:
    """The address of a file that never changes under it."""
    digest = hashlib.sha256((STATIC_FOLDER / name).read_bytes()).hexdigest()
    return f"{STATIC}/{name}?v={digest[:12]}"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("market.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        count=lambda number: f"{number:,}",
        duration=duration,
        hex=lambda data: "0x" + data.hex(),
        moment=moment,
        money=words.money,
        money_short=words.money_short,
        money_title=words.money_title,
        short=words.short,
        unit=words.unit,
    )
    made.globals.update(
        FACTS=words.FACTS,
        OUTCOMES=words.OUTCOMES,
        PHASE_NAMES=words.PHASE_NAMES,
        PHASE_TONES=words.PHASE_TONES,
        VERDICTS=words.VERDICTS,
        static_url=static_url,
        vesting=words.vesting,
    )
    return made
