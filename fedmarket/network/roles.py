"""What runs in a network: each role's commands, what they wait for, and how one sees that they are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from market.protocol.errors import InvalidInput


@dataclass(frozen=True)
class Role:
    """One part of a network, as data.

    Attributes:
        name: what its lines in the log begin with.
        commands: run one after the other, each when the one before it ended well.
        after: the roles that have to be ready before it starts, and that stop after it.
        ready: a pattern; the first line that has it says that it is ready. None: it is when its commands are done.
        probe: an address that has to answer 200 as well.
        vital: whether the network ends with it.
        quiet: whether its lines are shown only if it fails.
        environment: its own, in addition to what all have.
        account: the address that it acts for, where it has one.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    after: tuple[str, ...] = ()
    ready: str | None = None
    probe: str | None = None
    vital: bool = False
    quiet: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    account: str | None = None


class RoleState(StrEnum):
    """What has become of a role."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    NOT_STARTED = "not started"


ALIVE = frozenset({RoleState.STARTING, RoleState.RUNNING})
GONE = frozenset({RoleState.FAILED, RoleState.NOT_STARTED, RoleState.STOPPED})


def depths(roles: Sequence[Role]) -> dict[str, int]:
    """How many roles stand below each one: who leans on nobody has zero.

    Raises:
        InvalidInput: a role waits for one that there is not, or that comes after it.
    """
    found: dict[str, int] = {}
    for role in roles:
        unknown = [name for name in role.after if name not in found]
        if unknown or role.name in found:
            raise InvalidInput(
                f"role {role.name}: expected one of its name, after those that it waits for {role.after}"
            )
        found[role.name] = 1 + max((found[name] for name in role.after), default=-1)
    return found
