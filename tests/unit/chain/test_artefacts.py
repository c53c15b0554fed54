from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from market.chain import artefacts
from market.chain.artefacts import Artefact, compile_contracts, differences, load, shipped, write
from market.protocol.errors import InvalidInput

REPOSITORY = Path(__file__).resolve().parents[3]
CONTRACT_DATA = REPOSITORY / "market" / "chain" / "contract_data"
FORGE = REPOSITORY / "tools" / "forge"

HEADER = "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.30;\n"
LEDGER = """
import {SafeERC20, IERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {Sums} from "./libraries/Sums.sol";
import {Halves} from "./libraries/Halves.sol";

contract Ledger is ILedger {
    using SafeERC20 for IERC20;
    mapping(address => uint256) public credit;
    function add(uint256 x, IERC20 token) external {
        if (x > 9) revert TooMuch(x);
        credit[msg.sender] = Sums.add(credit[msg.sender], Halves.half(x));
        token.safeTransfer(msg.sender, x);
    }
}
"""
SOURCES = {
    "src/interfaces/ILedger.sol": "interface ILedger { error TooMuch(uint256 x); event Added(uint256 x); }",
    "src/libraries/Halves.sol": "library Halves { function half(uint256 x) internal pure returns (uint256) "
    "{ return x / 2; } }",
    "src/libraries/Sums.sol": "library Sums { error Overflow(); function add(uint256 x, uint256 y) external pure "
    "returns (uint256) { unchecked { if (x + y < x) revert Overflow(); return x + y; } } }",
    "src/Ledger.sol": LEDGER,
}
ADDRESS = "0x" + "aB" * 20


def contracts_tree(folder: Path, sources: dict[str, str]) -> Path:
    """A repository with these sources in contracts/ and the project's forge settings, dependencies and compiler."""
    root = folder / "contracts"
    for name, text in sources.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(HEADER + text, "utf-8")
    shutil.copy(REPOSITORY / "contracts" / "foundry.toml", root)
    (folder / "node_modules").symlink_to((REPOSITORY / "node_modules").resolve())
    (folder / "tools").symlink_to(REPOSITORY / "tools")
    return root


def forge_artefact(out: Path, source: str, name: str) -> dict[str, object]:
    """What forge wrote about one contract, in the shape of `Artefact.to_json`."""
    output = json.loads((out / source / f"{name}.json").read_text("utf-8"))
    return {
        "abi": in_any_order(output["abi"]),
        "bytecode": output["bytecode"]["object"].removeprefix("0x"),
        "contractName": name,
        "deployedBytecode": output["deployedBytecode"]["object"].removeprefix("0x"),
        "linkReferences": {
            library: [place["start"] for place in places]
            for libraries in output["bytecode"]["linkReferences"].values()
            for library, places in libraries.items()
        },
    }


def forge_build(root: Path, out: Path) -> None:
    """Build everything below `root`, tests and scripts included, as `forge test` does."""
    command = [FORGE, "build", "--root", root, "--out", out, "--cache-path", out / "cache"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FOUNDRY_", "DAPP_"))}
    subprocess.run(command, check=True, capture_output=True, cwd=root, env=environment, timeout=400)


def in_any_order(abi: list[dict[str, object]]) -> list[str]:
    """The entries in one order: forge groups them by kind, solc sorts them by name."""
    return sorted(json.dumps(entry, sort_keys=True) for entry in abi)


def forge_disagreements(out: Path, compiled: dict[str, Artefact]) -> list[str]:
    """The names of the artefacts that differ from forge's in a byte of code, an offset or an entry of the ABI."""
    source_of = {file.stem: file.parent.name for file in out.glob("*.sol/*.json")}
    disagreeing = []
    for name, artefact in compiled.items():
        ours = json.loads(artefact.to_json())
        ours["abi"] = in_any_order(ours["abi"])
        if ours != forge_artefact(out, source_of[name], name):
            disagreeing.append(name)
    return disagreeing


@pytest.fixture(scope="module")
def ledger_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return contracts_tree(tmp_path_factory.mktemp("ledger"), SOURCES)


@pytest.fixture(scope="module")
def ledger(ledger_root: Path) -> dict[str, Artefact]:
    return compile_contracts(ledger_root)


@pytest.fixture(scope="module")
def project() -> dict[str, Artefact]:
    return compile_contracts()


def test_shipped_artefacts_are_what_the_sources_give(project: dict[str, Artefact]) -> None:
    assert differences(CONTRACT_DATA, project) == []
    assert shipped() == tuple(sorted(project))
    assert load("JobMarket") == project["JobMarket"]


@pytest.mark.timeout(420)  # a cold compilation of everything
def test_shipped_artefacts_are_what_forge_gives(project: dict[str, Artefact], tmp_path: Path) -> None:
    forge_build(REPOSITORY / "contracts", tmp_path)
    assert forge_disagreements(tmp_path, project) == []


def test_contracts_fit_the_size_limits_of_every_chain(project: dict[str, Artefact]) -> None:
    """EIP-170 for the code that stays, EIP-3860 for the code that creates it, in bytes."""
    sizes = {name: (len(a.deployed_bytecode) // 2, len(a.bytecode) // 2) for name, a in project.items()}
    assert {name: size for name, size in sizes.items() if size[0] > 24_576 or size[1] > 49_152} == {}


def test_forge_gives_the_same_for_linked_libraries_and_dependencies(
    ledger_root: Path, ledger: dict[str, Artefact], tmp_path: Path
) -> None:
    forge_build(ledger_root, tmp_path)
    assert forge_disagreements(tmp_path, ledger) == []


def test_disagreement_with_forge_is_seen(ledger_root: Path, ledger: dict[str, Artefact], tmp_path: Path) -> None:
    forge_build(ledger_root, tmp_path)
    altered = dataclasses.replace(ledger["Sums"], bytecode=ledger["Sums"].bytecode[:-2] + "00")
    assert forge_disagreements(tmp_path, ledger | {"Sums": altered}) == ["Sums"]


def test_forge_is_configured_as_the_compiler_is() -> None:
    profile = tomllib.loads((REPOSITORY / "contracts" / "foundry.toml").read_text("utf-8"))["profile"]["default"]
    configured = {
        "remappings": profile["remappings"],
        "optimizer": {"enabled": profile["optimizer"], "runs": profile["optimizer_runs"]},
        "evmVersion": profile["evm_version"],
        "viaIR": profile["via_ir"],
        "metadata": {"bytecodeHash": profile["bytecode_hash"], "appendCBOR": profile["cbor_metadata"]},
    }
    assert configured == artefacts.COMPILER_SETTINGS


def test_interfaces_are_shipped_for_their_errors_and_internal_libraries_are_not(ledger: dict[str, Artefact]) -> None:
    assert sorted(ledger) == ["ILedger", "Ledger", "Sums"]
    assert {entry["name"] for entry in ledger["ILedger"].abi} == {"Added", "TooMuch"}
    assert "SafeERC20FailedOperation" in {entry.get("name") for entry in ledger["Ledger"].abi}


def test_interface_has_no_code_to_deploy(ledger: dict[str, Artefact]) -> None:
    with pytest.raises(InvalidInput, match="ILedger has no code"):
        ledger["ILedger"].creation_code()


def test_linking_puts_the_address_in_every_place(ledger: dict[str, Artefact]) -> None:
    code = ledger["Ledger"].creation_code({"Sums": ADDRESS})
    (offset,) = ledger["Ledger"].link_references["Sums"]
    assert code[offset : offset + 20] == bytes.fromhex(ADDRESS[2:])
    assert len(code) == len(ledger["Ledger"].bytecode) // 2


@pytest.mark.parametrize(
    ("libraries", "problem"),
    [
        (None, r"links \['Sums'\], got \[\]"),
        ({"Halves": ADDRESS}, r"links \['Sums'\], got \['Halves'\]"),
        ({"Sums": ADDRESS[:-2]}, "is not an address"),
        ({"Sums": "0x" + "zz" * 20}, "is not an address"),
    ],
)
def test_linking_refuses_wrong_libraries(
    ledger: dict[str, Artefact], libraries: dict[str, str] | None, problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        ledger["Ledger"].creation_code(libraries)


def test_json_holds_the_artefact_and_is_stable(ledger: dict[str, Artefact]) -> None:
    for artefact in ledger.values():
        text = artefact.to_json()
        assert Artefact.from_json(text) == artefact
        assert Artefact.from_json(text).to_json() == text
        assert text.endswith("}\n")


def test_writing_leaves_no_stale_file(ledger: dict[str, Artefact], tmp_path: Path) -> None:
    (tmp_path / "Gone.json").write_text("{}", "utf-8")
    write(tmp_path, ledger)
    assert sorted(file.stem for file in tmp_path.iterdir()) == sorted(ledger)
    assert differences(tmp_path, ledger) == []


def test_altered_missing_and_superfluous_files_are_named(ledger: dict[str, Artefact], tmp_path: Path) -> None:
    write(tmp_path, ledger)
    altered = tmp_path / "Ledger.json"
    altered.write_text(altered.read_text("utf-8").replace("60", "61", 1), "utf-8")
    (tmp_path / "Sums.json").unlink()
    (tmp_path / "Gone.json").write_text("{}", "utf-8")
    assert differences(tmp_path, ledger) == ["Gone", "Ledger", "Sums"]


def test_unknown_contract_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"no contract '../artefacts' is shipped"):
        load("../artefacts")


def test_source_that_does_not_compile_is_named(tmp_path: Path) -> None:
    root = contracts_tree(tmp_path, {"src/Broken.sol": "contract Broken { function f() external { x = 1; } }"})
    with pytest.raises(InvalidInput, match="Undeclared identifier"):
        compile_contracts(root)


def test_import_from_outside_the_allowed_folders_is_refused(tmp_path: Path) -> None:
    root = contracts_tree(tmp_path, {"src/Spy.sol": 'import "../../secret.sol";'})
    (tmp_path / "secret.sol").write_text(HEADER, "utf-8")
    with pytest.raises(InvalidInput, match="not found"):
        compile_contracts(root)


def test_two_contracts_of_one_name_are_refused(tmp_path: Path) -> None:
    interface = "interface ITwice { error Twice(); }"
    root = contracts_tree(tmp_path, {"src/A.sol": interface, "src/B.sol": interface})
    with pytest.raises(InvalidInput, match="two contracts are named ITwice"):
        compile_contracts(root)


def test_folder_without_sources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no Solidity source below"):
        compile_contracts(tmp_path)


def test_check_fails_until_the_artefacts_are_written(
    ledger: dict[str, Artefact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(artefacts, "compile_contracts", lambda: ledger)
    monkeypatch.setattr(artefacts, "__file__", str(tmp_path / "artefacts.py"))
    assert artefacts.main(["check"]) == 1
    assert "stale artefacts: ILedger, Ledger, Sums" in capsys.readouterr().err
    assert artefacts.main(["write"]) == 0
    assert artefacts.main(["check"]) == 0
