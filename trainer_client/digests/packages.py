"""Packages that only verifiers need, imported when they are first used."""

from __future__ import annotations

import importlib
from typing import Any

from market.protocol.errors import InvalidInput


def package(name: str) -> Any:
    """Import a package of the extra `verifier`.

    Raises:
        InvalidInput: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InvalidInput(f"{name} is not installed: pip install 'fedmarket[verifier]' ({error})") from error
