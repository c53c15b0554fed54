"""A Brownie console on a running network, with the deployed contracts as `market`, `rules`, `verifier` and `directory`.

    .venv-brownie/bin/python tools/brownie/console.py [--rpc URL] [--deployment FILE] [SCRIPT.py]

With a script it runs that, with the same names, in place of the console. Brownie's home and the folder that it works in
are inside its virtual environment: nothing is compiled, and nothing is written anywhere else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
ARTEFACTS = REPOSITORY / "market" / "chain" / "contract_data"
CONTRACTS = {
    "market": ("JobMarket", "job_market"),
    "rules": ("RoundRules", "round_rules"),
    "verifier": ("GramVerifier", "gram_verifier"),
    "directory": ("Directory", "directory"),
}
"""By its name in the console: what it is, and the field of the deployment that has its address."""

NETWORK = "fedmarket"


def main() -> int:
    """Open the console, or run a script; returns the exit status."""
    asked = _arguments()
    try:
        deployment: dict[str, Any] = json.loads(asked.deployment.read_text("utf-8"))
        script = asked.script and compile(asked.script.read_text("utf-8"), str(asked.script), "exec")
    except (OSError, ValueError) as error:
        print(f"brownie console: error: {error}", file=sys.stderr)
        return 2
    _move_in(Path(sys.prefix) / "home")
    return _run(asked.rpc, deployment, script)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A Brownie console on a running network.")
    rpc = os.environ.get("FEDMARKET_RPC", "http://127.0.0.1:8545")
    deployment = os.environ.get("FEDMARKET_DEPLOYMENT", ".fedmarket/deployment.json")
    parser.add_argument("--rpc", default=rpc, help="address of a node (default: %(default)s)")
    parser.add_argument("--deployment", type=Path, default=Path(deployment), help="(default: %(default)s)")
    parser.add_argument("script", nargs="?", type=Path, help="run this in place of the console")
    return parser.parse_args()


def _move_in(home: Path) -> None:
    """Give Brownie a home of its own: it decides where that is when it is imported."""
    folder = home / "project"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).with_name("brownie-config.yaml"), home / "brownie-config.yaml")
    os.environ["HOME"] = str(home)
    os.chdir(folder)


def _run(rpc: str, deployment: dict[str, Any], script: Any) -> int:
    import brownie
    from brownie._cli.console import Console
    from brownie._config import CONFIG

    CONFIG.networks[NETWORK] = {
        "id": NETWORK,
        "name": NETWORK,
        "host": rpc,
        "chainid": str(deployment["chain_id"]),
        "timeout": 30,
    }
    try:
        brownie.network.connect(NETWORK)
        names = {name: _contract(brownie, deployment, *which) for name, which in CONTRACTS.items()}
    except Exception as error:  # whatever it is: one line, for Brownie has no tree of errors
        print(f"brownie console: error: no market at {rpc}: {error}", file=sys.stderr)
        return 1
    if script is not None:
        exec(script, {**{name: getattr(brownie, name) for name in brownie.__all__}, **names, "__name__": "__main__"})
        return 0
    named = "market, rules, verifier and directory are the deployed contracts"
    banner = f"chain {deployment['chain_id']} at {rpc}; {named}"
    Console(None, names).interact(banner=banner, exitmsg="")
    return 0


def _contract(brownie: Any, deployment: dict[str, Any], kind: str, field: str) -> Any:
    abi = json.loads((ARTEFACTS / f"{kind}.json").read_text("utf-8"))["abi"]
    return brownie.Contract.from_abi(kind, deployment[field], abi, persist=False)


if __name__ == "__main__":
    sys.exit(main())
