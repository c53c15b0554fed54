"""The contracts of one marketplace: how they are put on a chain, written down, and recognised again."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from market.chain import artefacts
from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.chain.contract import checked_address
from market.chain.directory import Directory
from market.chain.job_market import JobMarket
from market.chain.output_consensus import OutputConsensus
from market.chain.transactions import TransactionSender
from market.protocol.errors import ChainError, InvalidInput, WrongChain

JOB_MARKET = "JobMarket"
ROUND_RULES = "RoundRules"
GRAM_VERIFIER = "GramVerifier"
ATTEMPTS = "Attempts"
OPENINGS = "Openings"
EXAMS = "Exams"
MEMBERS = "Members"
DISPUTES = "Disputes"
RECEIPTS = "Receipts"
CLAIMS = "Claims"
DIRECTORY = "Directory"
TASK_ENDINGS = "TaskEndings"
OUTPUT_CONSENSUS = "OutputConsensus"
LIBRARIES = (ATTEMPTS, OPENINGS, EXAMS, MEMBERS, DISPUTES, RECEIPTS, CLAIMS)
"""In an order in which each is linked with earlier ones alone."""

WORD_BYTES = 32
POWERS_BYTES = 320
"""[τ] in the first group, then [τ] and [τ²] in the second, as the EVM writes points: 2 + 4 + 4 words."""

_ADDED = frozenset({"receipts", "claims", "directory", "task_endings", "consensus"})
"""What files that older versions wrote do not name."""

_PLACEHOLDER = re.compile(r"__\$[0-9a-f]{34}\$__")


@dataclass(frozen=True)
class Deployment:
    """Where a marketplace lives.

    Attributes:
        chain_id: on which chain.
        job_market: address of the marketplace.
        round_rules: address of the contract that decides its rounds.
        gram_verifier: address of the contract that verifies them.
        attempts: address of a library that it is linked with: how attempts start and end.
        openings: address of another: how jobs are opened.
        exams: address of another: how exams are committed, opened and published.
        members: address of another: how trainers and aggregators come and go.
        disputes: address of another: how facts are disputed and answered.
        receipts: address of another: how attestors' receipts are filed.
        claims: address of another: how credits are paid.
        directory: address of the contract where a job's people announce keys and hand each other sealed bytes.
        task_endings: address of the library that the next contract is linked with: how tasks are settled and finished.
        consensus: address of the contract where verifiers decide what models give for prompts.
        powers_of_tau: what the verifier of rounds verifies with, in hex: `POWERS_BYTES` bytes.
        block: the block that the marketplace was deployed in: no event of it is older.
    """

    chain_id: int
    job_market: str
    round_rules: str
    gram_verifier: str
    attempts: str
    openings: str
    exams: str
    members: str
    disputes: str
    receipts: str
    claims: str
    directory: str
    task_endings: str
    consensus: str
    powers_of_tau: str
    block: int

    @property
    def srs_id(self) -> bytes:
        """The name of the powers of tau: every commitment of this marketplace's jobs is made under them."""
        return keccak(keccak(text="fedmarket/srs/1") + bytes.fromhex(self.powers_of_tau))

    def save(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            InvalidInput: the file cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")
        except OSError as error:
            raise InvalidInput(f"deployment {path} cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read what `save` wrote.

        Raises:
            InvalidInput: the file is missing, is no deployment, or a field is wrong.
            ChainError: an older version wrote it, of contracts that this one does not work with.
        """
        try:
            unverified_fields = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise InvalidInput(f"deployment {path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise InvalidInput(f"deployment {path} is not JSON") from error
        return cls._parse(path, unverified_fields)

    @classmethod
    def _parse(cls, path: Path, unverified_fields: Any) -> Deployment:
        names = {field.name: field.type for field in fields(cls)}
        _require_fields(path, unverified_fields, names)
        parsed: dict[str, Any] = {}
        for name, kind in names.items():
            value = unverified_fields[name]
            if name == "powers_of_tau":
                value = _checked_powers(value).hex()
            elif kind == "str":
                value = checked_address(str(value))
            elif type(value) is not int or value < 0:
                raise InvalidInput(f"deployment {path}: {name} is {value!r}, expected a whole number")
            parsed[name] = value
        return cls(**parsed)

    def connect(self, chain: Chain) -> JobMarket:
        """The marketplace's gateway, once its code is seen to be the code that this version knows.

        Raises:
            WrongChain: the node serves another chain.
            ChainError: an address holds no code, or other code.
        """
        if chain.chain_id != self.chain_id:
            raise WrongChain(
                f"the marketplace is on chain {self.chain_id}, the node at {chain.place} serves {chain.chain_id}"
            )
        for contract, address in {**self._parts, JOB_MARKET: self.job_market}.items():
            code = chain.code(address)
            if not code:
                raise ChainError(f"there is no contract at {address} on chain {self.chain_id}: expected the {contract}")
            if self._without_own(code) != self._shipped(contract):
                raise ChainError(f"the contract at {address} is not the {contract} that this version was made with")
        return JobMarket(chain, self.job_market, first_block=self.block)

    def directory_on(self, chain: Chain) -> Directory:
        """The directory's gateway, of a chain that `connect` has recognised the contracts on."""
        return Directory(chain, self.directory, first_block=self.block)

    def consensus_on(self, chain: Chain) -> OutputConsensus:
        """The gateway of the consensus on outputs, of a chain that `connect` has recognised the contracts on."""
        return OutputConsensus(chain, self.consensus, first_block=self.block)

    @property
    def _parts(self) -> dict[str, str]:
        """The addresses that belong in the code of some contract, by that contract's or library's name."""
        return {
            ROUND_RULES: self.round_rules,
            GRAM_VERIFIER: self.gram_verifier,
            ATTEMPTS: self.attempts,
            OPENINGS: self.openings,
            EXAMS: self.exams,
            MEMBERS: self.members,
            DISPUTES: self.disputes,
            RECEIPTS: self.receipts,
            CLAIMS: self.claims,
            DIRECTORY: self.directory,
            TASK_ENDINGS: self.task_endings,
            OUTPUT_CONSENSUS: self.consensus,
        }

    def _without_own(self, code: bytes) -> bytes:
        """The code with the addresses and powers of tau zeroed that belong in it; others stay, and show."""
        immutable = b"\x7f"  # PUSH32
        library = b"\x73"  # PUSH20: a linked library's address, and a library's own, by which it refuses to be called
        addresses = [bytes.fromhex(address[2:]) for address in self._parts.values()]
        powers = bytes.fromhex(self.powers_of_tau)
        words = [powers[at : at + WORD_BYTES] for at in range(0, POWERS_BYTES, WORD_BYTES)]
        for word in [*(address.rjust(WORD_BYTES, b"\0") for address in addresses), *words, self.srs_id]:
            code = code.replace(immutable + word, immutable + bytes(WORD_BYTES))
        for address in addresses:
            code = code.replace(library + address, library + bytes(len(address)))
        return code

    @staticmethod
    def _shipped(contract: str) -> bytes:
        code = artefacts.load(contract).deployed_bytecode
        return bytes.fromhex(_PLACEHOLDER.sub("00" * 20, code))


def deploy(sender: TransactionSender, powers_of_tau: bytes, key: str = "deploy") -> Deployment:
    """Put a marketplace on the chain; killed half-way and called again, it goes on where it was.

    Args:
        sender: who pays for it. The deployer has no power over it afterwards.
        powers_of_tau: what proofs are verified with: [τ] in the first group, [τ] and [τ²] in the second, as the EVM
            writes points.
        key: names this marketplace among those that the sender deployed.

    Raises:
        InvalidInput: the powers of tau have another length.
        ContractRevert: they are no points, or not powers of one number.
    """
    powers = _checked_powers(powers_of_tau.hex())
    rules = _create(sender, f"{key}/{ROUND_RULES}", ROUND_RULES)
    verifier = _create(sender, f"{key}/{GRAM_VERIFIER}", GRAM_VERIFIER, arguments=powers)
    libraries: dict[str, str] = {}
    for name in LIBRARIES:
        needed = {other: libraries[other] for other in artefacts.load(name).link_references}
        libraries[name] = _create(sender, f"{key}/{name}", name, needed).address
    arguments = encode(["address", "address"], [rules.address, verifier.address])
    market = _create(sender, f"{key}/{JOB_MARKET}", JOB_MARKET, libraries, arguments)
    # After the market: no event of theirs is older either.
    directory = _create(sender, f"{key}/{DIRECTORY}", DIRECTORY)
    endings = _create(sender, f"{key}/{TASK_ENDINGS}", TASK_ENDINGS)
    consensus = _create(sender, f"{key}/{OUTPUT_CONSENSUS}", OUTPUT_CONSENSUS, {TASK_ENDINGS: endings.address})
    return Deployment(
        chain_id=sender.chain.chain_id,
        job_market=market.address,
        round_rules=rules.address,
        gram_verifier=verifier.address,
        attempts=libraries[ATTEMPTS],
        openings=libraries[OPENINGS],
        exams=libraries[EXAMS],
        members=libraries[MEMBERS],
        disputes=libraries[DISPUTES],
        receipts=libraries[RECEIPTS],
        claims=libraries[CLAIMS],
        directory=directory.address,
        task_endings=endings.address,
        consensus=consensus.address,
        powers_of_tau=powers.hex(),
        block=market.block,
    )


def _require_fields(path: Path, unverified_fields: Any, expected: Collection[str]) -> None:
    stated = set(unverified_fields) if isinstance(unverified_fields, dict) else set()
    missing = [name for name in expected if name not in stated]
    if missing and set(missing) <= _ADDED and len(stated) + len(missing) == len(expected):
        raise ChainError(
            f"deployment {path} names no {' and no '.join(missing)}: an older version deployed that market, and "
            "this one does not work with its contracts. Take the file of a market that this version deployed; "
            "`fedmarket dev chain` and `fedmarket dev deploy` make new ones for development"
        )
    if stated != set(expected):
        raise InvalidInput(f"deployment {path}: expected a JSON object with the fields {', '.join(expected)}")


def _checked_powers(unverified_powers: object) -> bytes:
    """The powers of tau out of hex; whether they are points is for the contract to say."""
    try:
        powers = bytes.fromhex(unverified_powers) if isinstance(unverified_powers, str) else b""
    except ValueError:
        powers = b""
    if len(powers) != POWERS_BYTES:
        raise InvalidInput(f"powers of tau: got {len(powers)} bytes in hex, expected {POWERS_BYTES}")
    return powers


@dataclass(frozen=True)
class _Created:
    address: str
    block: int


def _create(
    sender: TransactionSender,
    key: str,
    contract: str,
    libraries: Mapping[str, str] | None = None,
    arguments: bytes = b"",
) -> _Created:
    code = artefacts.load(contract).creation_code(libraries)
    receipt = sender.send(key, PreparedCall(None, code + arguments, label=f"deploy {contract}"))
    if receipt.contract is None:
        raise ChainError(f"the chain names no address for the {contract} of transaction 0x{receipt.transaction.hex()}")
    return _Created(checked_address(receipt.contract), receipt.block_number)
