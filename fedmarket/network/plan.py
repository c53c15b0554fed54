"""Who takes part in a network on this machine, as roles: the chain, the market, and everybody that a job takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedmarket.devnet import REPOSITORY
from fedmarket.network.folder import NetworkFolder
from fedmarket.network.roles import Role
from market.protocol.job_spec import JobSpec
from market.protocol.terms import NATIVE

JOB = 0
"""The first of a chain that has just begun."""

CHAIN, MARKET, KERNELS, DATA = "chain", "market", "kernels", "data"
OWNER, AGGREGATOR, ATTESTOR, EVALUATOR = "owner", "aggregator", "attestor", "evaluator"
TEST = "test"
KEPT_VARIABLES = ("FEDMARKET_ANVIL",)


@dataclass(frozen=True)
class NetworkPlan:
    """A network to be.

    Attributes:
        folder: its files.
        rpc_port: of the chain, on 127.0.0.1.
        port: of the market, on 127.0.0.1.
        accounts: everybody's address, by name.
        trainers: how many train.
        spec_file: the job to post; None for none.
        spec: what it says.
        data: a folder with owner.npz and trainer-0.npz, …; None for the digits.
    """

    folder: NetworkFolder
    rpc_port: int
    port: int
    accounts: Mapping[str, str]
    trainers: int
    spec_file: Path | None = None
    spec: JobSpec | None = None
    data: Path | None = None

    @property
    def rpc_url(self) -> str:
        """The chain's address."""
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def page_url(self) -> str:
        """The market's address."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """What all roles have: nothing that the shell says of another network, and no buffered lines."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("FEDMARKET_") or name in KEPT_VARIABLES
        }
        kept.pop("FORCE_COLOR", None)
        path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        return {
            **kept,
            **self.folder.environment(self.rpc_url),
            "PYTHONPATH": path,
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",  # everybody shares this machine's cores: threads would only wait for each other
        }

    def roles(self) -> list[Role]:
        """Everybody, each after those that it waits for."""
        base = [self._chain(), self._market()]
        if self.spec is None:
            return base
        made = [_kernels(self.folder), *([] if self.data else [self._digits()])]
        owner = self._owner(self.spec, [role.name for role in made])
        # Of a network of one's own: the owner's word is one's own, too.
        unseen = ("--unseen",) if self.spec.seals_models else ()
        watching = [self._acting(AGGREGATOR, ("aggregator", "run", str(JOB), *unseen))]
        if self._attests(self.spec):
            watching.append(self._acting(ATTESTOR, ("attestor", "run", str(JOB), "--serve", "127.0.0.1:0")))
        if self.data is None or self._samples(TEST).exists():
            watching.append(self._evaluator())
        return [*base, *made, owner, *watching, *map(self._trainer, range(self.trainers))]

    def _chain(self) -> Role:
        fund = [argument for address in self.accounts.values() for argument in ("--fund", address)]
        run = fedmarket("dev", "chain", "--port", str(self.rpc_port), "--deployment", self.folder.deployment, *fund)
        return Role(CHAIN, (run,), ready="^Ctrl-C stops it", vital=True)

    def _market(self) -> Role:
        run = fedmarket(
            *("market", "run", "--rpc", self.rpc_url, "--deployment", self.folder.deployment),
            *("--store", self.folder.store, "--database", f"sqlite:///{self.folder.database}"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
        )
        probe = f"{self.page_url}/healthz"
        return Role(MARKET, (run,), after=(CHAIN,), ready="^market: http", probe=probe, vital=True)

    def _digits(self) -> Role:
        make = fedmarket("data", "digits", self.folder.data, "--parts", str(self.trainers), "--force")
        return Role(DATA, (make,), quiet=True)

    def _owner(self, spec: JobSpec, made: Sequence[str]) -> Role:
        assert self.spec_file is not None
        samples = self._samples(OWNER)
        source = ("--warm-start", samples) if spec.exam is None else ("--reference", samples)
        commands = [fedmarket("job", "post", self.spec_file, *source)]
        examines = spec.exam is not None and spec.exam.examiner in (NATIVE, self.accounts[OWNER])
        if examines or (spec.exam is None and spec.seals_models):
            commands.append(fedmarket("owner", "run", str(JOB), "--close"))
        return Role(
            OWNER,
            tuple(commands),
            after=(CHAIN, *made),
            ready=rf"^Job {JOB} is open",
            environment=self.folder.environment(self.rpc_url, OWNER),
            account=self.accounts[OWNER],
        )

    def _attests(self, spec: JobSpec) -> bool:
        return spec.disputes is not None and self.accounts[ATTESTOR] in spec.disputes.attestors

    def _evaluator(self) -> Role:
        """In the owner's name, for whom the page keeps what it measures."""
        measure = fedmarket("model", "evaluate", JOB, self._samples(TEST), "--follow", "--market", self.page_url)
        return Role(
            EVALUATOR, (measure,), after=(OWNER, MARKET), environment=self.folder.environment(self.rpc_url, OWNER)
        )

    def _trainer(self, number: int) -> Role:
        name = trainer_name(number)
        data = ("--data", str(self._samples(name)), "--device", "cpu")
        return self._acting(name, ("trainer", "enrol", str(JOB)), ("trainer", "run", str(JOB), *data))

    def _acting(self, name: str, *commands: Sequence[str]) -> Role:
        return Role(
            name,
            tuple(fedmarket(*command) for command in commands),
            after=(OWNER,),
            environment=self.folder.environment(self.rpc_url, name),
            account=self.accounts[name],
        )

    def _samples(self, name: str) -> Path:
        return (self.data or self.folder.data) / f"{name}.npz"


def trainer_name(number: int) -> str:
    """What a trainer is called in the log, and its files."""
    return f"trainer-{number}"


def acting_names(trainers: int) -> list[str]:
    """Everybody who has a key."""
    return [OWNER, AGGREGATOR, ATTESTOR, *map(trainer_name, range(trainers))]


def fedmarket(*arguments: object) -> tuple[str, ...]:
    """A command line of this program; what is in the current folder is not taken for a part of it."""
    return (sys.executable, "-P", "-m", "fedmarket", *map(str, arguments))


def _kernels(folder: NetworkFolder) -> Role:
    """The proofs' arithmetic, compiled before the job's clock runs: half a minute the first time, nothing later."""
    return Role(
        KERNELS, ((sys.executable, "-P", "-m", "fedmarket.bench.stages", "compile", str(folder.kernels)),), quiet=True
    )
