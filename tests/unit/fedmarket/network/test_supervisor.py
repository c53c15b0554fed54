"""The supervisor of a network's roles, with small programs in their place: order, loss, and that nobody is left."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedmarket.devnet import REPOSITORY
from fedmarket.network import supervisor
from fedmarket.network.merged_log import MergedLog
from fedmarket.network.record import is_alive
from fedmarket.network.roles import Role, RoleState
from fedmarket.network.supervisor import Member, Supervisor
from market.protocol.errors import InvalidInput

PATIENCE_S = 20


def python(script: str) -> tuple[str, ...]:
    return (sys.executable, "-u", "-c", script)


def staying(name: str, folder: Path, *, after: tuple[str, ...] = (), vital: bool = False) -> Role:
    """Says that it is there, stays, and writes down that it was asked to end."""
    script = f"""
import signal, sys, time
def end(*_):
    open({str(folder / "order")!r}, "a").write({name!r} + "\\n")
    time.sleep(0.2)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("{name} is there")
time.sleep(600)
"""
    return Role(name, (python(script),), after=after, ready=f"^{name} is there", vital=vital)


def run(
    roles: list[Role], stop_when: Callable[[str, list[Member]], bool] = lambda ready, members: False
) -> tuple[int, str, dict[str, Member]]:
    """Run roles until one of them being ready is what the test waits for; status, log and what became of all."""
    stream = io.StringIO()
    members: dict[str, Member] = {}

    def changed(now: object) -> None:
        members.update(running.members)

    def became_ready(name: str) -> None:
        if stop_when(name, list(running.members.values())):
            os.kill(os.getpid(), signal.SIGINT)

    running = Supervisor(
        roles, MergedLog(stream, [role.name for role in roles]), changed=changed, became_ready=became_ready
    )
    return running.run(), stream.getvalue(), members


def gone(pid: int) -> bool:
    give_up_s = time.monotonic() + PATIENCE_S
    while is_alive(pid) and time.monotonic() < give_up_s:
        time.sleep(0.05)
    return not is_alive(pid)


def test_roles_start_after_those_they_need_and_stop_before_them(tmp_path: Path) -> None:
    roles = [
        staying("chain", tmp_path, vital=True),
        staying("market", tmp_path, after=("chain",), vital=True),
        staying("trainer", tmp_path, after=("chain", "market")),
    ]

    status, log, members = run(roles, lambda name, _: name == "trainer")

    assert status == 0
    assert re.findall(r"(\w+) is there", log) == ["chain", "market", "trainer"]
    assert (tmp_path / "order").read_text().split() == ["trainer", "market", "chain"]
    assert {member.state for member in members.values()} == {RoleState.STOPPED}


def test_a_roles_commands_run_one_after_the_other_and_no_further_than_the_one_that_fails(tmp_path: Path) -> None:
    well = Role("well", (python("print('first')"), python("print('second')")))
    ill = Role("ill", (python("print('begins'); raise SystemExit(3)"), python("print('never')")), after=("well",))
    last = staying("last", tmp_path)

    status, log, members = run(
        [well, ill, last, Role("leaning", (python("print('never')"),), after=("ill",))], a_little_after_the_last
    )

    assert status == 0
    assert log.index("first") < log.index("second") < log.index("begins")
    assert "never" not in log
    assert "ill ended with status 3; its last lines:" in log
    assert "leaning is not started: it needs ill" in log
    assert members["well"].state is RoleState.DONE
    assert members["ill"].state is RoleState.FAILED
    assert members["leaning"].state is RoleState.NOT_STARTED


def a_little_after_the_last(name: str, members: list[Member]) -> bool:
    """Stop soon: whoever is to come to an end has time for it."""
    if name == "last":
        threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    return False


def test_a_role_that_dies_is_reported_with_its_last_lines_and_the_others_go_on(tmp_path: Path) -> None:
    dying = Role(
        "dying", (python("import os\nfor n in range(30): print('line', n)\nos.kill(os.getpid(), 9)"),), ready="^line 0"
    )

    status, log, members = run(
        [staying("chain", tmp_path, vital=True), dying, staying("last", tmp_path)], a_little_after_the_last
    )

    assert status == 0
    told = log[log.index("dying was killed by SIGKILL; its last lines:") :]
    assert [f"line {n}" in told for n in (19, 20, 29)] == [False, True, True]
    assert "the others go on without it" in log
    assert members["dying"].state is RoleState.FAILED
    assert sorted((tmp_path / "order").read_text().split()) == ["chain", "last"]


@pytest.mark.parametrize("ending", ["raise SystemExit(0)", "raise SystemExit(4)"])
def test_a_network_ends_with_what_it_cannot_do_without(tmp_path: Path, ending: str) -> None:
    market = Role("market", (python(f"import time; print('up'); time.sleep(0.5); {ending}"),), ready="^up", vital=True)

    status, log, _ = run([staying("chain", tmp_path, vital=True), market, staying("trainer", tmp_path)])

    assert status == 1
    assert "without market there is no network: stopping" in log
    assert sorted((tmp_path / "order").read_text().split()) == ["chain", "trainer"]


def test_a_role_is_ready_when_its_address_answers(tmp_path: Path) -> None:
    script = """
import http.server, threading, time
class Page(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Page.asked += 1
        self.send_response(200 if Page.asked > 3 else 503)
        self.end_headers()
    def log_message(self, *_): print("asked", Page.asked)
server = http.server.HTTPServer(("127.0.0.1", PORT), Page)
print("market: serving")
server.serve_forever()
""".replace("PORT", str(port := free_port()))
    probe = f"http://127.0.0.1:{port}/healthz"
    market = Role("market", (python(script),), ready="^market: ", probe=probe, vital=True)

    status, log, _ = run([market, staying("trainer", tmp_path, after=("market",))], lambda name, _: name == "trainer")

    assert status == 0
    assert log.index("asked 4") < log.index("trainer is there")


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_who_does_not_stop_is_killed_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "GRACE_S", 0.5)
    script = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("pids", os.getpid(), below.pid)
time.sleep(600)
"""
    stubborn = Role("stubborn", (python(script),), ready="^pids")

    status, log, _ = run([stubborn], lambda name, _: True)

    assert status == 0
    assert "does not stop: killed" in log
    pids = re.search(r"pids (\d+) (\d+)", log)
    assert pids is not None
    assert [gone(int(pid)) for pid in pids.groups()] == [True, True]


def test_nobody_is_left_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    script = f"""
import sys
from fedmarket.network.merged_log import MergedLog
from fedmarket.network.roles import Role
from fedmarket.network.supervisor import Supervisor
plain = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + plain
roles = [Role(name, (({sys.executable!r}, "-c", code),)) for name, code in (("a", plain), ("b", stubborn))]
Supervisor(roles, MergedLog(sys.stdout, ["a", "b"])).run()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with process.stdout:
        pids = [int(process.stdout.readline().split()[-1]) for _ in range(2)]
        assert [is_alive(pid) for pid in pids] == [True, True]
        process.kill()
        process.wait()

    assert [gone(pid) for pid in pids] == [True, True]


def test_a_network_whose_log_nobody_reads_any_more_stops(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    role = Role("talker", (python("import time\nwhile True: print('word'); time.sleep(0.05)"),))
    os.close(reading)
    with open(writing, "w") as stream:
        running = Supervisor([role], MergedLog(stream, ["talker"]))
        status = running.run()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # what is left in the buffer goes nowhere

    assert status == 1
    assert running.members["talker"].state is RoleState.STOPPED


def test_a_program_that_is_not_there_is_a_loss_like_another(tmp_path: Path) -> None:
    status, log, _ = run([Role("chain", (("/nowhere/anvil",),), ready="up", vital=True)])

    assert status == 1
    assert "cannot run /nowhere/anvil: No such file or directory" in log


def test_roles_that_wait_for_what_there_is_not_are_refused() -> None:
    with pytest.raises(InvalidInput, match="role market"):
        Supervisor([Role("market", (), after=("chain",))], MergedLog(io.StringIO(), []))
