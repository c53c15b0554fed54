"""Who may read a job's models: everybody, or those who take part in it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from market.protocol.spec_fields import Hex32, Section


def _sealed_or_left_out(models: Literal["open", "sealed"] | None) -> Literal["open", "sealed"] | None:
    # Said or not, it is the same job: its document has the same bytes.
    return None if models == "open" else models


Models = Annotated[Literal["open", "sealed"] | None, AfterValidator(_sealed_or_left_out)]


class ModelSealing(Section):
    """How the content key of a job with sealed models is made, and recognised. Neither tells anything of it."""

    key_salt: Hex32
    """What the owner's account makes the key with."""
    key_check: Hex32
    """What the key makes of itself: whoever is handed another one notices."""
