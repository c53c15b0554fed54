"""What the compiler makes of the contracts: ABI and bytecode, shipped as JSON so that no role needs a compiler.

`python -m market.chain.artefacts write` compiles contracts/ and writes the JSON files; with `check` it fails if one of
them is not byte for byte what the sources give.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from market.protocol.errors import FedmarketError, InvalidInput

REPOSITORY = Path(__file__).resolve().parents[2]
CONTRACTS_ROOT = REPOSITORY / "contracts"
SOLC = REPOSITORY / "tools" / "solc"
DATA_FOLDER = "contract_data"
OPENZEPPELIN = "../node_modules/@openzeppelin/contracts/"

COMPILER_SETTINGS: Mapping[str, Any] = {
    "remappings": [f"@openzeppelin/contracts/={OPENZEPPELIN}"],
    "optimizer": {"enabled": True, "runs": 1000},
    "evmVersion": "shanghai",
    "viaIR": False,
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
}
"""The settings that reach the bytecode, as contracts/foundry.toml has them: both compilers give the same bytes."""

_OUTPUTS = ["abi", "evm.bytecode.object", "evm.bytecode.linkReferences", "evm.deployedBytecode.object"]


@dataclass(frozen=True)
class Artefact:
    """One compiled contract, library or interface.

    Attributes:
        name: the Solidity name, without its file.
        abi: the entries of the JSON ABI: functions, events and every custom error that the code can raise.
        bytecode: creation code in hex without 0x; 40 placeholder characters stand for each library's address, and an
            interface has none.
        deployed_bytecode: runtime code in hex without 0x, immutables still zero.
        link_references: for each external library, the byte offsets in the creation code where its address belongs.
    """

    name: str
    abi: tuple[Mapping[str, Any], ...]
    bytecode: str
    deployed_bytecode: str
    link_references: Mapping[str, tuple[int, ...]]

    def creation_code(self, libraries: Mapping[str, str] | None = None) -> bytes:
        """The bytes to deploy, with the libraries' addresses filled in.

        Args:
            libraries: 0x-prefixed address of each external library by name.

        Raises:
            InvalidInput: there is no code, an address is missing or malformed, or a library is not one of this code's.
        """
        addresses = dict(libraries or {})
        if not self.bytecode:
            raise InvalidInput(f"{self.name} has no code to deploy: it is an interface or an abstract contract")
        if set(addresses) != set(self.link_references):
            raise InvalidInput(f"{self.name} links {sorted(self.link_references)}, got {sorted(addresses)}")
        code = self.bytecode
        for library, address in addresses.items():
            for offset in self.link_references[library]:
                code = code[: 2 * offset] + _address_digits(library, address) + code[2 * offset + 40 :]
        return bytes.fromhex(code)

    def to_json(self) -> str:
        """The file's text: sorted keys, one trailing newline, the same for the same contract on every machine."""
        fields = {
            "abi": self.abi,
            "bytecode": self.bytecode,
            "contractName": self.name,
            "deployedBytecode": self.deployed_bytecode,
            "linkReferences": self.link_references,
        }
        return json.dumps(fields, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Artefact:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        return cls(
            name=fields["contractName"],
            abi=tuple(fields["abi"]),
            bytecode=fields["bytecode"],
            deployed_bytecode=fields["deployedBytecode"],
            link_references={name: tuple(offsets) for name, offsets in fields["linkReferences"].items()},
        )


def _address_digits(library: str, unverified_address: str) -> str:
    digits = unverified_address.removeprefix("0x")
    if len(digits) != 40 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        raise InvalidInput(f"library {library}: {unverified_address!r} is not an address of 20 bytes in hex")
    return digits.lower()


def load(name: str) -> Artefact:
    """The shipped artefact of a contract, library or interface.

    Raises:
        InvalidInput: no such artefact is shipped.
    """
    if name not in shipped():
        raise InvalidInput(f"no contract {name!r} is shipped: expected one of {', '.join(shipped())}")
    return Artefact.from_json(files("market.chain").joinpath(DATA_FOLDER, f"{name}.json").read_text("utf-8"))


def shipped() -> tuple[str, ...]:
    """The names that `load` knows, sorted."""
    folder = files("market.chain").joinpath(DATA_FOLDER)
    if not folder.is_dir():
        return ()
    return tuple(sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json")))


def compile_contracts(root: Path = CONTRACTS_ROOT, solc: Path = SOLC) -> dict[str, Artefact]:
    """Compile every source below `root`/src with py-solc-x.

    Args:
        root: the folder that holds src/, forge's root.
        solc: an executable with the native compiler's command line.

    Returns:
        The artefacts by name, except for those without any outside: a library of internal functions has no ABI.

    Raises:
        InvalidInput: a source does not compile, or two contracts have one name.
    """
    import solcx  # the one tool of an extra: only those who change contracts have it
    from solcx.exceptions import SolcError

    names = sorted(source.relative_to(root).as_posix() for source in (root / "src").rglob("*.sol"))
    if not names:
        raise InvalidInput(f"no Solidity source below {root / 'src'}")
    request = {
        "language": "Solidity",
        "sources": {name: {"content": (root / name).read_text("utf-8")} for name in names},
        "settings": {**COMPILER_SETTINGS, "outputSelection": {name: {"*": _OUTPUTS} for name in names}},
    }
    allowed = [root, (root / OPENZEPPELIN).resolve()]
    try:
        answer = solcx.compile_standard(request, base_path=root, allow_paths=allowed, solc_binary=solc)
    except SolcError as error:
        raise InvalidInput(f"the contracts do not compile: {error.message}") from error
    return _by_name(_artefacts(answer["contracts"]))


def _artefacts(contracts_by_file: Mapping[str, Mapping[str, Any]]) -> Iterator[Artefact]:
    for contracts in contracts_by_file.values():
        for name, output in contracts.items():
            if output["abi"]:
                yield _artefact(name, output)


def _artefact(name: str, output: Mapping[str, Any]) -> Artefact:
    creation = output["evm"]["bytecode"]
    links = {
        library: tuple(place["start"] for place in places)
        for libraries in creation["linkReferences"].values()
        for library, places in libraries.items()
    }
    return Artefact(name, tuple(output["abi"]), creation["object"], output["evm"]["deployedBytecode"]["object"], links)


def _by_name(artefacts: Iterable[Artefact]) -> dict[str, Artefact]:
    named: dict[str, Artefact] = {}
    for artefact in artefacts:
        if artefact.name in named:
            raise InvalidInput(f"two contracts are named {artefact.name}: artefacts are files by that name")
        named[artefact.name] = artefact
    return named


def write(folder: Path, artefacts: Mapping[str, Artefact]) -> None:
    """Make `folder` hold one JSON file for each artefact and no other."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in set(folder.glob("*.json")) - {folder / f"{name}.json" for name in artefacts}:
        stale.unlink()
    for name, artefact in artefacts.items():
        (folder / f"{name}.json").write_text(artefact.to_json(), "utf-8", newline="\n")


def differences(folder: Path, artefacts: Mapping[str, Artefact]) -> list[str]:
    """The names whose file in `folder` is missing, superfluous or not byte for byte what the artefact gives."""
    committed = {file.stem: file.read_bytes() for file in folder.glob("*.json")}
    compiled = {name: artefact.to_json().encode() for name, artefact in artefacts.items()}
    return sorted(name for name in committed | compiled if committed.get(name) != compiled.get(name))


def main(arguments: list[str] | None = None) -> int:
    """Write or check the JSON files of a source tree; the exit status is 1 when they are stale."""
    parser = argparse.ArgumentParser(prog="python -m market.chain.artefacts", description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("write", "check"))
    action = parser.parse_args(arguments).action
    folder = Path(__file__).parent / DATA_FOLDER
    try:
        compiled = compile_contracts()
    except FedmarketError as error:
        print(error, file=sys.stderr)
        return 1
    if action == "write":
        write(folder, compiled)
        return 0
    if stale := differences(folder, compiled):
        print(f"stale artefacts: {', '.join(stale)}; run `make contracts` and commit what it writes", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
