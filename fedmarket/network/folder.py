"""What a network keeps under its home: keys for development, the job that it posts, and what does not outlive a run.

.fedmarket/deployment.json, store/, srs/    where every command looks for them
.fedmarket/network.json                     what runs: only while it runs
.fedmarket/network/keys/, password          made once, readable by this user alone; worth nothing anywhere else
.fedmarket/network/data/, job.yaml          of the example, made anew for every run
.fedmarket/network/work/, market.db         of one run: its chain is gone when it ends
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from fedmarket.connection import HOME, address_of
from market.chain import keystore
from market.protocol.job_spec import JobSpec, load_spec

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
PASSWORD_BYTES = 24

SPARE_SECONDS = 1
"""Added to a phase for each trainer beyond the smallest round, and each core that it has not."""

ENOUGH_CORES = 4
FEWEST_TRAINERS = 3


class NetworkFolder:
    """The files of one network."""

    def __init__(self, home: Path = HOME) -> None:
        self.home = home
        self.deployment, self.store, self.srs = home / "deployment.json", home / "store", home / "srs"
        self.record, self.lock = home / "network.json", home / "network.lock"
        self.own = home / "network"
        self.password, self.data, self.kernels = self.own / "password", self.own / "data", self.own / "kernels"
        self.job, self.database = self.own / "job.yaml", self.own / "market.db"

    def keystore(self, name: str) -> Path:
        """The key of one who acts in the network."""
        return self.own / "keys" / f"{name}.json"

    def work(self, name: str) -> Path:
        """What one who acts keeps during a run."""
        return self.own / "work" / name

    def prepare(self, names: Sequence[str]) -> dict[str, str]:
        """Take away what an earlier run left, and make the keys that are missing; everybody's address.

        Raises:
            InvalidKeystore: a key cannot be made, or one that is there is damaged or open to others.
        """
        _make_private(self.own)
        for folder in (self.own / "work", self.kernels):
            shutil.rmtree(folder, ignore_errors=True)
        for suffix in ("", "-wal", "-shm"):
            self.database.with_name(self.database.name + suffix).unlink(missing_ok=True)
        _make_private(self.kernels)
        if not self.password.exists():
            _write_private(self.password, secrets.token_urlsafe(PASSWORD_BYTES) + "\n")
        password = keystore.read_password(self.password, lambda: "")
        _make_private(self.own / "keys")
        return {name: self._address(name, password) for name in names}

    def _address(self, name: str, password: str) -> str:
        path = self.keystore(name)
        if not path.exists():
            keystore.create(path, password, "scrypt-light")
        return address_of(path)

    def environment(self, rpc_url: str, name: str | None = None) -> dict[str, str]:
        """Where a command of this network finds everything; with a name also whose it is."""
        settings = {
            "FEDMARKET_RPC": rpc_url,
            "FEDMARKET_DEPLOYMENT": str(self.deployment),
            "FEDMARKET_STORE": str(self.store),
            "FEDMARKET_SRS": str(self.srs),
        }
        if name is not None:
            settings |= {
                "FEDMARKET_KEYSTORE": str(self.keystore(name)),
                "FEDMARKET_PASSWORD_FILE": str(self.password),
                "FEDMARKET_WORK": str(self.work(name)),
            }
        return settings

    def write_example(self, trainers: int, attestor: str) -> JobSpec:
        """Write the spec of the example for so many trainers, with phases short enough to watch."""
        text = yaml.safe_dump(example_fields(trainers, attestor, os.cpu_count() or 1), sort_keys=False)
        self.job.write_text(text, "utf-8")
        return load_spec(self.job)


def example_fields(trainers: int, attestor: str, cores: int) -> Mapping[str, Any]:
    """The commented example, with a seat for each trainer, one attestor, and phases that this machine can keep.

    Args:
        trainers: how many there will be.
        attestor: the address of the one who answers disputes.
        cores: of this machine: everybody of the network works on them.
    """
    text = files("fedmarket").joinpath("examples", "digits.yaml").read_text("utf-8")
    fields: dict[str, Any] = yaml.safe_load(text)
    crowd = SPARE_SECONDS * max(0, trainers - FEWEST_TRAINERS) * ENOUGH_CORES // min(cores, ENOUGH_CORES)
    narrow = ENOUGH_CORES - min(cores, ENOUGH_CORES)
    fields["name"] = f"handwritten digits, {trainers} trainers"
    fields["seats"] = trainers
    fields["exam"]["period_s"] = 6 + crowd // 2
    fields["disputes"] = {"attestors": [attestor], "answer_s": 60}
    fields["periods"] |= {
        "enrol_s": 14 + 3 * narrow + 2 * crowd,
        "commit_s": 12 + narrow + crowd,
        "reveal_s": 6 + crowd // 2,
        "settle_s": 14 + crowd,
        "vesting_s": 6,
    }
    return fields


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    folder.chmod(PRIVATE_FOLDER)


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
