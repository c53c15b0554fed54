"""The project's one tree of errors. Every error names the value at fault and what was expected.

FedmarketError
├── InvalidInput                a person's mistake: shown as one line, never as a traceback
│   ├── InvalidJobSpec          a field of the job's YAML
│   ├── InvalidDocument         a field of a service's or a request's document
│   │   └── BeyondLimits        a request that its service does not take
│   ├── InvalidTerms            terms that the contract would refuse, or a rule's precondition
│   ├── InvalidData             a trainer's data folder or file
│   ├── InvalidModel            unknown architecture, wrong arguments, wrong parameters
│   ├── CannotCalibrate         samples that show no tolerance, or too few of them
│   ├── InvalidKeystore         missing file, wrong password, unsafe permissions
│   ├── PrivacySpent            an update that a trainer's own privacy limit leaves no room for
│   ├── PrivacyLedgerPutBack    an account of what privacy was spent that is a copy from before, or gone
│   └── DatabaseInUse           another process makes its rows
├── InvalidUpdate               NaN or infinite entries, wrong length, values out of range
├── InvalidGram                 a matrix that no integer vectors can have
├── InvalidOutputs              what a model gave, or what is stored as such, that is malformed or not finite
├── InvalidExam                 a slice, a book or a reference that is malformed, or not what was committed to
├── InvalidSealingKey           a public key that nothing can be sealed to
├── InvalidReceipt              an attestor's receipt that is malformed, not its own, or of another place
├── CannotUnseal                sealed content that was altered, or is for another key, place or purpose
├── StorageError
│   ├── InvalidCid              not a CID that we read (CIDv1 or v0, sha2-256)
│   ├── BlockNotFound           no block with that CID here
│   ├── CorruptBlock            the block's bytes do not have its CID
│   ├── ModelsSealed            a job's models, which it takes a key to read that is not at hand
│   ├── InvalidContent          sound blocks that are not the file asked for
│   ├── SourceUnavailable       a daemon or gateway that is down, slow, or refuses
│   └── StorageFull             the disk or the daemon has no room
├── ChainError
│   ├── ChainUnreachable        nothing answers at that RPC address
│   ├── WrongChain              another chain id than expected
│   ├── ContractRevert          a custom error of the contract, decoded, with its arguments
│   ├── TransactionLost         replaced or dropped before it was mined
│   └── ChainTimeout            not mined or not confirmed in time
├── NotFound                    the market's service has nothing of that name
├── NotSignedIn                 a request that takes a sign-in came without one that holds
│   └── SignInRefused           a message or its signature is not what this service asked to be signed
├── NotAllowed                  signed in, as an account whom it does not concern
├── TooLarge                    more bytes than the service takes at once
│   └── OverQuota               more than it takes of one account
├── ServiceError                a market's service, or the way to it, as its clients meet it
│   ├── ServiceUnreachable      nothing answers at that address, or no market
│   ├── ServiceRefused          it said no, and why
│   └── FalseTransaction        it prepared another transaction than the one asked for
├── PhaseClosed                 the phase that an action belongs to is over or has not begun
└── AuditMismatch               what the chain says is not what recomputing gives
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FedmarketError(Exception):
    """Root of everything that this project raises on purpose."""


class InvalidInput(FedmarketError):
    """A person's mistake, told in one line."""


class InvalidJobSpec(InvalidInput):
    """A field of a job's YAML is missing, unknown or out of range."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"job spec: {field}: {problem}")
        self.field = field
        self.problem = problem


class InvalidDocument(InvalidInput):
    """A field of the document of a service, or of a request to it, is missing, unknown or out of range."""

    def __init__(self, document: str, field: str, problem: str) -> None:
        super().__init__(f"{document}: {field}: {problem}")
        self.document = document
        self.field = field
        self.problem = problem


class BeyondLimits(InvalidDocument):
    """A request that is well formed, but asks for what its service does not do: a verifier answers that it is void."""


class InvalidTerms(InvalidInput):
    """Terms that cannot hold together, or a rule whose precondition they break."""


class DatabaseInUse(InvalidInput):
    """Another process follows the chain into this database."""


class InvalidData(InvalidInput):
    """Training data that cannot be read or does not fit the job's model."""


class InvalidModel(InvalidInput):
    """An unknown architecture, wrong arguments, or parameters that do not fit the manifest."""


class CannotCalibrate(InvalidInput):
    """Samples from which no tolerance follows: too few, of one machine, or honest ones as far apart as others."""


class InvalidKeystore(InvalidInput):
    """A keystore file that is missing, damaged, or does not open with the password given."""


class PrivacySpent(InvalidInput):
    """An update that a trainer's own privacy limit leaves no room for."""


class PrivacyLedgerPutBack(InvalidInput):
    """An account of what privacy was spent that is a copy from before, or gone."""


class InvalidUpdate(FedmarketError):
    """An update that has another length, or entries that are not finite or out of range."""


class InvalidGram(FedmarketError):
    """A matrix that is not the Gram matrix of integer vectors within the stated ranges."""


class InvalidOutputs(FedmarketError):
    """What a model gave, or what is stored as such, that is malformed, too large, or not finite."""


class InvalidExam(FedmarketError):
    """A slice, a book or a reference of an exam that is malformed, or not what the owner committed to."""


class InvalidSealingKey(FedmarketError):
    """A public key that nothing can be sealed to: of another length, or of low order."""


class InvalidReceipt(FedmarketError):
    """An attestor's receipt that is malformed, was signed by somebody else, or is not of the place it was asked for."""


class CannotUnseal(FedmarketError):
    """Sealed content that was altered or cut, or was sealed to another key, for another place or purpose."""


class StorageError(FedmarketError):
    """Content-addressed storage could not do what was asked."""


class InvalidCid(StorageError):
    """A string or byte sequence that is not a CID with a sha2-256 digest."""


class BlockNotFound(StorageError):
    """No block with this CID is held here."""

    def __init__(self, cid: str, where: str) -> None:
        super().__init__(f"block {cid} is not in {where}")
        self.cid = cid


class CorruptBlock(StorageError):
    """A stored block is truncated or altered: its bytes do not hash to its CID."""

    def __init__(self, cid: str, problem: str) -> None:
        super().__init__(f"block {cid} is corrupt: {problem}")
        self.cid = cid


class InvalidContent(StorageError):
    """Blocks that have their CIDs but are not the file that was asked for.

    Unlike a corrupt block, fetching it again changes nothing: whoever published the CID published this.
    """

    def __init__(self, cid: str, problem: str) -> None:
        super().__init__(f"content {cid} is not as expected: {problem}")
        self.cid = cid


class ModelsSealed(StorageError):
    """The models of a job are sealed, and this process has no key to them."""


class SourceUnavailable(StorageError):
    """A daemon or a gateway is down, too slow, or refuses; the error names it.

    Attributes:
        passing: whether asking again in a moment may help.
    """

    def __init__(self, source: str, problem: str, *, passing: bool = False) -> None:
        super().__init__(f"{source}: {problem}")
        self.source = source
        self.problem = problem
        self.passing = passing


class StorageFull(StorageError):
    """The disk, or the daemon that keeps blocks, has no room."""


class ChainError(FedmarketError):
    """The chain, or the way to it, refused."""


class ChainUnreachable(ChainError):
    """Nothing answers JSON-RPC at the address given."""


class NodeRefused(ChainError):
    """The node answers, and refuses: a limit of its own, a block that it does not have yet, funds that are missing."""


class WrongChain(ChainError):
    """The node serves another chain than the one expected."""


class ContractRevert(ChainError):
    """A contract's custom error, decoded: its name and its arguments by name."""

    def __init__(self, name: str, arguments: Mapping[str, Any]) -> None:
        values = ", ".join(f"{key}={value}" for key, value in arguments.items())
        super().__init__(f"the contract refused: {name}({values})")
        self.name = name
        self.arguments = dict(arguments)


class TransactionLost(ChainError):
    """A transaction of ours was replaced or dropped before it was mined."""


class ChainTimeout(ChainError):
    """A transaction was not mined, or not confirmed, in the time allowed."""


class NotFound(FedmarketError):
    """The service has nothing of that name."""


class NotSignedIn(FedmarketError):
    """A request that takes a sign-in came without one, or with one that is over."""


class SignInRefused(NotSignedIn):
    """A message that this service did not ask to be signed, or a signature that is not its account's."""


class NotAllowed(FedmarketError):
    """The request concerns another account than the one that signed in."""


class TooLarge(FedmarketError):
    """More bytes than the service takes in one request."""


class OverQuota(TooLarge):
    """More bytes than the service keeps for one account that are in no job yet."""


class ServiceError(FedmarketError):
    """A market's service, or the way to it, failed a client."""


class ServiceUnreachable(ServiceError):
    """Nothing answers at the address given, or what answers is no market."""


class ServiceRefused(ServiceError):
    """The service said no: its status, the problem's type, and for each field at fault what is wrong with it."""

    def __init__(self, status: int, kind: str, detail: str, errors: tuple[tuple[str, str], ...] = ()) -> None:
        fields = "".join(f"; {field}: {problem}" for field, problem in errors)
        super().__init__(f"the market refused ({status}): {detail}{fields}")
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = errors


class FalseTransaction(ServiceError):
    """The service prepared another transaction than the one that was asked for: it must not be signed."""


class PhaseClosed(FedmarketError):
    """An action came before its phase began or after it ended."""


class AuditMismatch(FedmarketError):
    """A published value differs from what anyone can recompute."""
