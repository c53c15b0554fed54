"""The root of the command line: finding commands, and one line for every error."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from fedmarket import cli
from fedmarket.cli import COMMANDS, LazyCommand, main
from fedmarket.commands.trainer import trainer
from market.chain.deployment import Deployment
from market.protocol.errors import ChainUnreachable, ContractRevert, InvalidInput

REPOSITORY = Path(cli.__file__).parents[1]
HEAVY = ("torch", "web3", "numpy", "numba", "sklearn")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def refuses(result: Result, status: int, words: str) -> None:
    assert (len(result.stderr.splitlines()), result.exit_code) == (1, status), (result.stderr, result.exception)
    assert result.stderr.startswith("fedmarket: error: ")
    assert words in result.stderr


def test_help_lists_every_command() -> None:
    result = run("--help")

    assert result.exit_code == 0
    assert all(f"\n  {name} " in result.stdout for name in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    script = f"""
import sys
from fedmarket.cli import main
try:
    main(["--help"])
except SystemExit:
    print("HEAVY", [name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert done.stdout.endswith("HEAVY []\n")


def test_only_commands_that_train_or_commit_import_pytorch_or_the_compiler() -> None:
    modules = [
        f"fedmarket.commands.{name}"
        for name in ("aggregator", "audit", "data", "dev", "job", "keys", "model", "trainer")
    ]
    script = f"import sys, {', '.join(modules)}; print('torch' in sys.modules or 'numba' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "demo"])
def test_the_list_says_of_a_command_what_its_own_help_says(name: str) -> None:
    command = main.get_command(click.Context(main), name)

    assert command is not None
    assert COMMANDS[name].summary.rstrip(".") in command.get_short_help_str(200)


def test_a_part_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "moon", LazyCommand("fedmarket.moon.command", "moon", "Not there."))  # type: ignore[misc]

    refuses(run("moon"), 2, "`fedmarket moon` is not part of this installation")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("jobs",), "No such command 'jobs'"),
        (("--colour",), "No such option"),
        (("job", "show"), "Missing argument 'JOB' (see `fedmarket job show --help`)"),
        (("job", "show", "-1"), "No such option"),
        (("trainer", "run", "0"), "Missing option '--data'"),
        (("trainer", "run", "0", "--data", "x", "--seed", "-1"), "-1 is not in the range"),
        (("dev", "fund"), "Missing argument"),
        (("dev", "fund", "0x12", "--amount", "7 pounds"), "expected an amount such as '1.5 ether'"),
        (("job", "show", "0", "--deployment", "nowhere.json"), "there is no deployment file nowhere.json"),
        (("trainer", "status", "0"), "name a keystore with --keystore FILE"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments: tuple[str, ...], words: str) -> None:
    refuses(run(*arguments), 2, words)


def test_an_unreachable_node_is_one_line_and_status_1(tmp_path: Path) -> None:
    file = tmp_path / "deployment.json"
    address = "0x" + "11" * 20
    Deployment(31337, *[address] * 13, "00" * 320, 0).save(file)

    refuses(run("job", "list", "--rpc", "http://127.0.0.1:9", "--deployment", str(file)), 1, "no node answers")
    refuses(run("job", "list", "--rpc", "nonsense", "--deployment", str(file)), 1, "'nonsense' is no address of a node")


@pytest.mark.parametrize("contents", ["", "[]", '{"chain_id": 1}'])
def test_a_deployment_file_that_is_none_is_named(tmp_path: Path, contents: str) -> None:
    file = tmp_path / "deployment.json"
    file.write_text(contents)

    refuses(run("job", "list", "--deployment", str(file)), 2, str(file))


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (InvalidInput("a value\nof two lines"), 2, "a value of two lines"),
        (ChainUnreachable("no node answers"), 1, "no node answers"),
        (ContractRevert("SeatsFull", {"seats": 8}), 1, "all 8 seats of this job are taken"),
        (FileNotFoundError(2, "No such file or directory", "model.npz"), 1, "model.npz: No such file or directory"),
        (MemoryError(), 1, "the memory of this machine does not hold this"),
        (ModuleNotFoundError("no torch", name="torch.nn"), 1, "this command needs the package torch"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_error_is_one_line_with_its_status(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, words: str
) -> None:
    monkeypatch.setattr(main, "get_command", lambda *_: click.Command("fail", callback=raising(error)))

    result = run("fail")

    assert result.stderr.strip().splitlines()[-1].startswith("fedmarket: error: ")
    assert result.exit_code == status
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_fault_of_the_program_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "get_command", lambda *_: click.Command("fail", callback=raising(ZeroDivisionError())))

    assert isinstance(run("fail").exception, ZeroDivisionError)


def test_output_that_nobody_reads_any_more_ends_quietly() -> None:
    process = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m fedmarket job example | head -1"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Traceback" not in process.stderr


def raising(error: BaseException) -> Callable[[], Any]:
    def callback() -> None:
        raise error

    return callback


def test_every_option_of_training_is_listed_once_under_its_heading() -> None:
    command = trainer.commands["run"]
    text = run("trainer", "run", "--help").stdout
    parts = text.split("\n\n")
    headed = {part.strip().splitlines()[0]: part for part in parts if part.strip().splitlines()[0].endswith(":")}
    options = {name for option in command.params if isinstance(option, click.Option) for name in option.opts}
    listed = {heading: re.findall(r"^ +(--[a-z-]+)", part, re.MULTILINE) for heading, part in headed.items()}
    # click adds --help when a command is first asked for its help, by the names that the context of that moment has.
    assert sorted(name for names in listed.values() for name in names if name != "--help") == sorted(
        options - {"--help"}
    )
    [private] = [part for heading, part in headed.items() if "Private training" in heading]
    assert all(name in private for name in ("--epsilon-limit", "--delta", "--noise-multiplier", "--privacy-ledger"))
    assert [name for name in listed["Options:"] if name != "--help"] == ["--data"]
