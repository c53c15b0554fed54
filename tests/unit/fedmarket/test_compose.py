"""docker-compose.yml and Dockerfile: loopback only, healthy or done, no secrets in environments, nothing made up."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedmarket.commands.serving import Serving
from fedmarket.connection import address_of
from fedmarket.devnet import REPOSITORY
from fedmarket.own_store import SourceOptions, open_store
from market.protocol.job_spec import load_spec
from tests.unit.fedmarket.command_lines import parses

COMPOSE = REPOSITORY / "docker-compose.yml"
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text("utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
DESCRIBED: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
ONE_SHOT = {
    name
    for service in SERVICES.values()
    for name, need in service.get("depends_on", {}).items()
    if need["condition"] == "service_completed_successfully"
}
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("fedmarket/"))
SECRET_WORDS = ("PASSWORD", "SECRET", "TOKEN", "KEY")

every_service = pytest.mark.parametrize("name", list(SERVICES))
every_image_of_ours = pytest.mark.parametrize("name", OURS)


def command_lines(name: str) -> list[list[str]]:
    """What a service's container runs of this program, and what asks whether it is well."""
    service = SERVICES[name]
    lines: list[list[str]] = []
    if service.get("entrypoint") == ["sh", "-c"]:
        lines += [part.removeprefix("exec ").split() for part in service["command"][0].split(" && ")]
    else:
        lines.append(["fedmarket", *service["command"]])
    asked = service.get("healthcheck", {}).get("test", [])[1:]
    return [*lines, *([asked] if asked[:1] == ["fedmarket"] else [])]


def test_everybody_is_described() -> None:
    trainers = {"trainer-0", "trainer-1", "trainer-2"}
    assert {"anvil", "deploy", "kubo", "postgres", "market", "owner", "aggregator", "attestor", *trainers} <= {
        *SERVICES
    }


@every_service
def test_every_published_port_is_for_this_machine_alone(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), port
    assert SERVICES[name].get("network_mode") in (None, "none")


@every_service
def test_every_service_says_whether_it_is_well_or_is_done_once(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) != (name in ONE_SHOT)
    assert name not in ONE_SHOT or "restart" not in SERVICES[name]


@every_service
def test_who_waits_for_a_service_waits_until_it_is_well_or_done(name: str) -> None:
    for need, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] == ("service_completed_successfully" if need in ONE_SHOT else "service_healthy")


@every_service
def test_no_environment_has_a_secret(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        assert "://" not in str(value) or "@" not in str(value), variable
        if any(word in variable for word in SECRET_WORDS):
            assert variable.endswith("_FILE") or variable == "FEDMARKET_KEYSTORE", variable
            assert str(value).startswith("/run/secrets/"), variable


@every_service
def test_every_secret_that_is_used_is_handed_in_as_a_file(name: str) -> None:
    service = SERVICES[name]
    used = set(
        re.findall(r"/run/secrets/([\w-]+)", json.dumps([service.get("environment", {}), service.get("command")]))
    )

    assert used <= set(service.get("secrets", []))
    assert set(service.get("secrets", [])) <= set(DESCRIBED["secrets"])


def test_secrets_are_files_that_the_tool_makes() -> None:
    tool = (REPOSITORY / "tools" / "compose-secrets").read_text("utf-8")

    for name, secret in DESCRIBED["secrets"].items():
        assert list(secret) == ["file"]
        path = Path(secret["file"])
        assert path.parent == Path(".fedmarket/compose"), name
        assert f"/{path.name}" in tool or path.stem in tool
    assert os.access(REPOSITORY / "tools" / "compose-secrets", os.X_OK)


def test_the_job_that_is_posted_names_the_attestor(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "fedmarket").symlink_to(REPOSITORY / "fedmarket")
    tool = shutil.copy(REPOSITORY / "tools" / "compose-secrets", tmp_path / "tools")
    command = tmp_path / "bin" / "fedmarket"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec {sys.executable} -P -m fedmarket "$@"\n')
    command.chmod(0o700)

    made = subprocess.run([tool], env={**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}, check=False)

    assert made.returncode == 0
    secrets = tmp_path / ".fedmarket" / "compose"
    assert DESCRIBED["configs"]["job"]["file"] == ".fedmarket/compose/job.yaml"
    disputes = load_spec(secrets / "job.yaml").disputes
    assert disputes is not None
    assert disputes.attestors == (address_of(secrets / "attestor.json"),)
    assert {path.stat().st_mode & 0o077 for path in secrets.iterdir()} == {0}


def test_what_commands_the_ipfs_node_is_reached_by_the_roles_alone() -> None:
    kubo, [network] = SERVICES["kubo"], SERVICES["kubo"]["networks"]
    there = {name for name, service in SERVICES.items() if network in service.get("networks", [])}
    using = {name for name, service in SERVICES.items() if "FEDMARKET_KUBO" in service.get("environment", {})}

    assert "ports" not in kubo
    assert DESCRIBED["networks"][network] == {"internal": True}
    assert there == {"kubo", *using}
    assert using == {"post", "owner", "aggregator", "attestor", "trainer-0", "trainer-1", "trainer-2"}


def test_whoever_stores_gives_it_to_the_ipfs_node_that_there_is(tmp_path: Path) -> None:
    for service in SERVICES.values():
        url = service.get("environment", {}).get("FEDMARKET_KUBO")
        if url is not None:
            assert url == "http://kubo:5001"
            assert service["depends_on"]["kubo"] == {"condition": "service_healthy"}
            open_store(tmp_path, SourceOptions(kubo=url))  # refuses addresses that it would not ask


def test_the_attestor_announces_where_it_serves() -> None:
    [line] = [line for line in command_lines("attestor") if line[1] == "attestor"]
    options = dict(option.split("=", 1) for option in line if option.startswith("--"))
    host, port = options["--serve"].rsplit(":", 1)

    assert Serving(host, int(port), options["--public-url"]).endpoint("", at_home=True) == f"http://attestor:{port}"


@every_service
def test_every_volume_is_described(name: str) -> None:
    sources = [volume.split(":")[0] for volume in SERVICES[name].get("volumes", [])]

    assert set(sources) <= set(DESCRIBED["volumes"])


@every_image_of_ours
def test_our_containers_cannot_write_outside_their_volumes_or_gain_rights(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")


@every_service
def test_every_image_is_pinned(name: str) -> None:
    assert re.search(r":v?\d+\.\d+[\w.-]*$", SERVICES[name]["image"])


@pytest.mark.parametrize("name", [name for name in OURS if name != "anvil"])
def test_every_command_is_one_that_there_is(name: str) -> None:
    lines = command_lines(name)

    assert lines
    for line in lines:
        assert line[0] == "fedmarket"
        parses(line[1:])


def test_the_chain_has_the_options_that_it_is_given() -> None:
    shown = subprocess.run(
        [REPOSITORY / "tools" / "anvil", "--help"], capture_output=True, text=True, check=True
    ).stdout
    options = [argument.split("=")[0] for argument in SERVICES["anvil"]["command"]]

    assert [option for option in options if f"{option} " not in shown and f"{option}\n" not in shown] == []


@every_image_of_ours
def test_every_image_has_a_target_that_does_not_run_as_root(name: str) -> None:
    target = SERVICES[name]["build"]["target"]
    stage = re.search(rf"^FROM \S+ AS {target}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, flags=re.DOTALL | re.MULTILINE)

    assert stage is not None
    assert "\nUSER fedmarket\n" in stage.group(1)


def test_all_that_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text("utf-8").split("\n")
    copied = [
        source.removeprefix("./")
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, flags=re.MULTILINE)
        for source in line.split()[:-1]
    ]

    assert copied
    assert [source for source in copied if not (REPOSITORY / source).exists()] == []
    assert [source for source in copied if f"!{source}" not in ignored] == []


def test_the_dockerfile_copies_between_stages_what_those_make() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, flags=re.MULTILINE)
    taken = re.findall(r"^COPY --from=(\S+)", DOCKERFILE, flags=re.MULTILINE)
    built_on = re.findall(r"^FROM ([^$\s]\S*) AS", DOCKERFILE, flags=re.MULTILINE)

    assert {*taken, *built_on} <= {*stages}
    assert list(REPOSITORY.glob("node_modules/@foundry-rs/anvil-*/bin/anvil")), "what the stage tools installs"


def test_the_dockerfile_installs_extras_that_there_are() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {extra for group in re.findall(r"'\.\[([\w,]+)\]'", DOCKERFILE) for extra in group.split(",")}

    assert extras == {"market", "aggregator", "owner", "trainer"}
    assert extras <= set(project["optional-dependencies"])


def test_compose_itself_accepts_the_file(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no docker client with the compose plugin here")

    checked = subprocess.run(
        [docker, "compose", "-f", COMPOSE, "config", "-q"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr
