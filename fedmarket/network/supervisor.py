"""Runs the roles of a network: starts each when what it needs is there, merges their logs, and stops them in order.

Nothing is started a second time: a role that dies is reported with its last lines, and the others go on without it.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from fedmarket.network.child import Child
from fedmarket.network.merged_log import MergedLog, clean
from fedmarket.network.roles import ALIVE, GONE, Role, RoleState, depths

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 10.0
"""For a role to end when it is asked to; then it is made to. Longer than it takes a chain to insist with its node."""
READY_TIMEOUT_S = 90.0
"""For a role that the network cannot do without to be ready."""
LOOK_S = 0.1
ENDS_WHEN_ASKED = frozenset({0, -signal.SIGTERM, 128 + signal.SIGTERM, -signal.SIGKILL})
"""Exit statuses of a role that was stopped, in good time or not."""
HEARD_LINES = 10_000
"""Lines that wait to be written: more, and who speaks waits for who reads."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Heard:
    """A role printed a line."""

    name: str
    text: str


@dataclass(frozen=True)
class Ended:
    """A role's process ended."""

    name: str
    status: int


@dataclass(frozen=True)
class Answered:
    """A role's address answered 200."""

    name: str


class Member:
    """A role and what has become of it."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.state = RoleState.WAITING
        self.is_ready = False
        self.status: int | None = None
        self.child: Child | None = None
        self.commands_done = 0
        self.started_s = 0.0

    @property
    def pid(self) -> int | None:
        """Of its process, while it runs."""
        return self.child.pid if self.child is not None and self.state in ALIVE else None

    @property
    def is_alive(self) -> bool:
        """Whether a process of it runs."""
        return self.state in ALIVE


class Supervisor:
    """Runs a network's roles until a signal comes, or one ends that the network cannot do without."""

    def __init__(
        self,
        roles: Sequence[Role],
        log: MergedLog,
        environment: Mapping[str, str] | None = None,
        *,
        changed: Callable[[Sequence[Member]], None] = lambda members: None,
        became_ready: Callable[[str], None] = lambda name: None,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            roles: each after those that it waits for.
            log: where everything is said.
            environment: what all of them have; this process's own by default.
            changed: called whenever the state of one has changed.
            became_ready: called with the name of a role that is ready.

        Raises:
            InvalidInput: the roles wait for each other, or two have one name.
        """
        self.members = {role.name: Member(role) for role in roles}
        self._depths = depths(roles)
        self._log, self._changed, self._became_ready = log, changed, became_ready
        self._environment = dict(os.environ if environment is None else environment)
        self._events: queue.Queue[Heard | Ended | Answered] = queue.Queue(HEARD_LINES)
        self._signals = 0
        self._asked_by = signal.SIGINT
        self._vital_loss = False

    def run(self) -> int:
        """Run everything; returns the exit status: 0 when a signal ended it, 1 when the network fell."""
        with self._signals_noted():
            try:
                self._start_due()
                while not (self._signals or self._vital_loss or self._log.is_closed):
                    self._take_event()
                    self._check_patience()
                if self._signals:
                    self._log.note(f"{self._asked_by.name}: stopping; once more to kill")
            finally:
                self._stop_all()
        return 1 if self._vital_loss or self._log.is_closed else 0

    @contextmanager
    def _signals_noted(self) -> Iterator[None]:
        """Signals are counted, and looked at between two events."""

        def note(number: int, frame: FrameType | None) -> None:
            self._signals += 1
            self._asked_by = signal.Signals(number)

        handled = SIGNALS if threading.current_thread() is threading.main_thread() else ()
        before = {number: signal.signal(number, note) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start_due(self) -> None:
        """Start every role that has all that it waits for; give up those whose needs have failed."""
        for member in self.members.values():
            if member.state is not RoleState.WAITING:
                continue
            needs = [self.members[name] for name in member.role.after]
            lost = [need.role.name for need in needs if not need.is_ready and need.state in GONE]
            if lost:
                self._log.note(f"{member.role.name} is not started: it needs {' and '.join(lost)}", is_bad=True)
                member.state = RoleState.NOT_STARTED
                self._tell_change()
            elif all(need.is_ready for need in needs):
                self._start(member)

    def _tell_change(self) -> None:
        self._changed(list(self.members.values()))

    def _start(self, member: Member) -> None:
        """Start a role's next command."""
        name = member.role.name
        command = member.role.commands[member.commands_done]
        member.child = Child(
            command,
            {**self._environment, **member.role.environment},
            lambda text: self._events.put(Heard(name, text)),
        )
        if member.state is RoleState.WAITING:
            member.state, member.started_s = RoleState.STARTING, time.monotonic()
        if member.role.ready is None and member.commands_done == len(member.role.commands) - 1:
            member.state = RoleState.RUNNING
        threading.Thread(target=self._await_end, args=(name, member.child), daemon=True).start()
        self._tell_change()

    def _await_end(self, name: str, child: Child) -> None:
        self._events.put(Ended(name, child.wait()))

    def _take_event(self) -> None:
        try:
            event = self._events.get(timeout=LOOK_S)
        except queue.Empty:
            return
        member = self.members[event.name]
        if isinstance(event, Heard):
            self._hear(member, event.text)
        elif isinstance(event, Answered):
            self._ready(member)
        else:
            self._end(member, event.status)

    def _hear(self, member: Member, text: str) -> None:
        if not member.role.quiet:
            self._log.line(member.role.name, text)
        pattern = member.role.ready
        if pattern is None or member.state is not RoleState.STARTING or not re.search(pattern, clean(text)):
            return
        member.state = RoleState.RUNNING
        if member.role.probe is None:
            self._ready(member)
        else:
            threading.Thread(target=self._probe, args=(member, member.role.probe), daemon=True).start()

    def _probe(self, member: Member, url: str) -> None:
        """Ask until it answers, or is gone."""
        while member.is_alive and not answers(url):
            time.sleep(LOOK_S)
        if member.is_alive:
            self._events.put(Answered(member.role.name))

    def _ready(self, member: Member) -> None:
        member.is_ready = True
        self._tell_change()
        self._became_ready(member.role.name)
        self._start_due()

    def _end(self, member: Member, status: int) -> None:
        """One command of a role has ended, in the course of things or not."""
        member.commands_done += 1
        member.status = status
        if status == 0 and member.commands_done < len(member.role.commands):
            self._start(member)
            return
        well = status == 0 and not member.role.vital
        member.state = RoleState.DONE if well else RoleState.FAILED
        member.is_ready = member.is_ready or well
        self._tell_change()
        if not well:
            self._report_loss(member)
        elif not member.role.quiet:
            self._log.note(f"{member.role.name} is done")
        self._start_due()

    def _report_loss(self, member: Member) -> None:
        self._show_last_lines(member)
        if member.role.vital:
            self._vital_loss = True
            self._log.note(f"without {member.role.name} there is no network: stopping", is_bad=True)
        else:
            self._log.note("the others go on without it")

    def _show_last_lines(self, member: Member) -> None:
        lines = [] if member.child is None else [clean(text) for text in member.child.last_lines]
        rest = "; its last lines:" if lines else ", and said nothing"
        self._log.note(f"{member.role.name} {ending(member.status)}{rest}", is_bad=True)
        for line in lines:
            self._log.note(f"    {line}", is_bad=True)

    def _check_patience(self) -> None:
        """A network that does not come up says so."""
        for member in self.members.values():
            late = member.is_alive and not member.is_ready and member.role.vital
            if late and time.monotonic() - member.started_s > READY_TIMEOUT_S:
                self._vital_loss = True
                self._log.note(
                    f"{member.role.name} was not ready within {READY_TIMEOUT_S:.0f} s: stopping", is_bad=True
                )

    def _stop_all(self) -> None:
        """Stop whoever leans on others before those: each level together, asked first and then made to."""
        signals = self._signals
        for depth in sorted(set(self._depths.values()), reverse=True):
            level = [m for m in self.members.values() if self._depths[m.role.name] == depth]
            for member in level:
                if member.is_alive and member.child is not None:
                    member.child.terminate()
            give_up_s = time.monotonic() + GRACE_S
            while self._alive(level) and time.monotonic() < give_up_s and self._signals == signals:
                self._note_stops()
            for member in self._alive(level):
                assert member.child is not None
                self._log.note(f"{member.role.name} (process {member.pid}) does not stop: killed", is_bad=True)
                member.child.kill()
            while self._alive(level):
                self._note_stops()

    def _alive(self, members: Sequence[Member]) -> list[Member]:
        return [member for member in members if member.is_alive]

    def _note_stops(self) -> None:
        """Take what happens while all is being stopped; last words are shown of those alone that end in another way."""
        try:
            event = self._events.get(timeout=LOOK_S)
        except queue.Empty:
            return
        if not isinstance(event, Ended):
            return
        member = self.members[event.name]
        member.state, member.status = RoleState.STOPPED, event.status
        if event.status not in ENDS_WHEN_ASKED:
            self._show_last_lines(member)
        self._tell_change()


def answers(url: str, timeout_s: float = 2.0) -> bool:
    """Whether an address on this machine answers 200."""
    try:
        with _DIRECT.open(url, timeout=timeout_s) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def ending(status: int | None) -> str:
    """How a process ended, in words."""
    if status is not None and status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
