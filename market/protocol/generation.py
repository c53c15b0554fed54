"""What generative services and requests to them are: the documents in storage, and the hashes that the chain has.

Both documents come from strangers. Whatever of a request is malformed, or more than its service takes, is an error that
every reader meets alike: verifiers answer it by saying that the request is void.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from eth_abi.abi import encode
from eth_utils.crypto import keccak
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from market.protocol.consensus import DIGEST_BYTES, MAX_CANARIES, MAX_SAMPLES, MAX_SLACK_PERMILLE, MAX_TOLERANCE_BITS
from market.protocol.errors import BeyondLimits, InvalidData, InvalidDocument
from market.protocol.identifiers import Digest
from market.protocol.json_text import parse_json
from market.protocol.spec_fields import Section, printable

MAX_DOCUMENT_BYTES = 256 * 1024
"""A document is one block of storage, so that its digest alone names it."""

MAX_TOKENS = 1 << 20
MAX_PROMPT_CHARACTERS = 1 << 16
MAX_STEPS = 10_000
MAX_BEAMS = 64
MAX_TEMPERATURE = 100.0
MAX_ENTRIES = 64
"""Of a mapping of parameters, or a list of values in it."""

LARGEST_INTEGER = (1 << 53) - 1
"""What every reader of JSON has exactly."""

SERVICE_FORMAT: Literal["fedmarket/service/1"] = "fedmarket/service/1"
REQUEST_FORMAT: Literal["fedmarket/request/1"] = "fedmarket/request/1"

METHODS = ("greedy", "beam", "sample")

_SERVICE, _REQUEST = "service document", "request document"
_NAME = r"^[a-z][a-z0-9_]{0,63}$"

Integer = Annotated[StrictInt, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
Number = Annotated[StrictFloat, Field(ge=-1e300, le=1e300)]
Text = Annotated[StrictStr, Field(max_length=1_000)]
Scalar = StrictBool | Integer | Number | Text
Name = Annotated[StrictStr, Field(pattern=_NAME)]
ContentId = Annotated[StrictStr, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9]+$")]
"""As storage writes it; which content it names is for storage to say."""

Prompt = (
    Annotated[StrictInt, Field(ge=0, le=LARGEST_INTEGER)]
    | Annotated[StrictStr, Field(max_length=MAX_PROMPT_CHARACTERS)]
    | None
)
"""What one sample is asked for: a class or another number, a text, or nothing."""

_BOUNDS: Mapping[str, tuple[type, float, float]] = {
    "steps": (int, 1, MAX_STEPS),
    "beams": (int, 1, MAX_BEAMS),
    "max_tokens": (int, 1, MAX_TOKENS),
    "temperature": (float, 1e-6, MAX_TEMPERATURE),
}


def _checked_decoding(decoding: dict[str, Any]) -> dict[str, Any]:
    for name, value in decoding.items():
        _check_decoding(name, value)
    return decoding


def _check_decoding(name: str, value: Any) -> None:
    """See that what is known by this name has a value that it can have; other names are their generator's business."""
    if name == "method" and value not in METHODS:
        raise ValueError(f"method is {value!r:.100}, expected one of {', '.join(METHODS)}")
    if name in _BOUNDS:
        kind, least, most = _BOUNDS[name]
        fits = type(value) is int or (kind is float and type(value) is float)
        if not fits or not least <= value <= most:
            raise ValueError(
                f"{name} is {value!r:.100}, expected {'an integer' if kind is int else 'a number'} from "
                f"{least:g} to {most:g}"
            )


Decoding = Annotated[dict[Name, Scalar], Field(max_length=MAX_ENTRIES), AfterValidator(_checked_decoding)]


class JobModel(Section):
    """The model of a job of the market: of the round named, or the one that it ended with."""

    job: Annotated[StrictInt, Field(ge=0, le=LARGEST_INTEGER)]
    round: Annotated[StrictInt, Field(ge=0, lt=1 << 16)] | None = None


class ModelSource(Section):
    """Which model a service runs, and where its parameters are."""

    architecture: Name
    arguments: Annotated[
        dict[Name, Scalar | Annotated[list[Scalar], Field(max_length=MAX_ENTRIES)]], Field(max_length=MAX_ENTRIES)
    ] = Field(default_factory=dict)
    seed: Annotated[StrictInt, Field(ge=0, lt=1 << 32)] = 0
    trainable: Annotated[tuple[Text, ...], Field(max_length=MAX_ENTRIES)] = ("*",)
    """Patterns of the names of the parameters that the vector has; the others follow from the seed."""
    scale_exponent: Annotated[StrictInt, Field(ge=0, le=30)] = 14
    parameters: ContentId | JobModel
    """An integer model in storage, or a job's."""


class DigestSpec(Section):
    """Which digests are made of the outputs; what else it has are the parameters of that kind."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Scalar] = Field(init=False)

    kind: Name

    @model_validator(mode="after")
    def _few_parameters(self) -> Self:
        if len(self.parameters) > MAX_ENTRIES:
            raise ValueError(f"has {len(self.parameters)} parameters, expected at most {MAX_ENTRIES}")
        return self

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters of this kind, by name."""
        return dict(self.model_extra or {})


class LimitsSection(Section):
    """The most that a request may ask for."""

    samples: Annotated[StrictInt, Field(ge=1, le=MAX_SAMPLES)] = MAX_SAMPLES
    tokens: Annotated[StrictInt, Field(ge=1, le=MAX_TOKENS)] = 256
    """Of one sample's output, where outputs are tokens."""
    prompt_characters: Annotated[StrictInt, Field(ge=0, le=MAX_PROMPT_CHARACTERS)] = 4_096
    """Of a prompt that is text."""
    classes: Annotated[StrictInt, Field(ge=1, le=LARGEST_INTEGER)] | None = None
    """Prompts that are numbers are below it; where it is left out, their generator says what they may be."""


class RangeSection(Section):
    """Both ends are allowed."""

    least: Integer | Number
    most: Integer | Number

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least is {self.least}, expected at most {self.most}")
        return self


class DecodingSection(Section):
    """How outputs are decoded where a request says nothing, and what it may say instead."""

    default: Decoding = Field(default_factory=dict)
    allowed: Annotated[
        dict[Name, RangeSection | Annotated[list[Scalar], Field(min_length=1, max_length=MAX_ENTRIES)]],
        Field(max_length=MAX_ENTRIES),
    ] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _allowed_values_are_known(self) -> Self:
        for name, choice in self.allowed.items():
            for value in (choice.least, choice.most) if isinstance(choice, RangeSection) else choice:
                _check_decoding(name, value)
        return self

    def permits(self, name: str, value: object) -> bool:
        """Whether a request may decode so."""
        if name in self.default and _same(self.default[name], value):
            return True
        choice = self.allowed.get(name)
        if isinstance(choice, RangeSection):
            return isinstance(value, int | float) and type(value) is not bool and choice.least <= value <= choice.most
        return any(_same(entry, value) for entry in choice or ())


class _Document(Section):
    def to_bytes(self) -> bytes:
        """The canonical JSON: sorted keys, no white space.

        Raises:
            InvalidDocument: longer than one block of storage.
        """
        told = self.model_dump(mode="json", exclude_none=True, exclude={"prompts"})
        if isinstance(self, RequestDocument):
            told["prompts"] = list(self.prompts)  # where a prompt of none has its place
        data = json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        _check_size(self._called(), data)
        return data

    @classmethod
    def from_bytes(cls, unverified_data: bytes) -> Self:
        """Parse what storage returned.

        Raises:
            InvalidDocument: it is not JSON, too long, or a field is wrong.
        """
        _check_size(cls._called(), unverified_data)
        try:
            unverified_fields = parse_json(unverified_data)
        except (ValueError, RecursionError) as error:
            raise InvalidDocument(cls._called(), "the document", f"is not JSON that can be read: {error}") from error
        return cls.parse(unverified_fields)

    @classmethod
    def parse(cls, unverified_fields: Any) -> Self:
        """Make a document of parsed JSON or YAML; what it is the format of need not be said.

        Raises:
            InvalidDocument: the first field that is missing, unknown, of another type or out of range.
        """
        try:
            return cls.model_validate(unverified_fields)
        except ValidationError as error:
            raise _problem(cls._called(), error) from error

    @classmethod
    def _called(cls) -> str:
        return _REQUEST if issubclass(cls, RequestDocument) else _SERVICE


class ServiceDocument(_Document):
    """What a pool's verifiers run. Its digest is the pool's `service`."""

    format: Literal["fedmarket/service/1"] = SERVICE_FORMAT
    name: Annotated[StrictStr, Field(min_length=1, max_length=100), AfterValidator(printable)] = "unnamed"
    model: ModelSource
    generator: Name
    """The kind of generation, such as diffusion or text."""
    digest: DigestSpec
    tolerance_bits: Annotated[StrictInt, Field(ge=0, le=MAX_TOLERANCE_BITS)]
    slack_permille: Annotated[StrictInt, Field(ge=0, le=MAX_SLACK_PERMILLE)] = 0
    limits: LimitsSection = LimitsSection()
    decoding: DecodingSection = DecodingSection()
    calibration: ContentId | None = None
    """The measurement that the tolerance comes from."""

    def decoding_of(self, request: RequestDocument) -> dict[str, Any]:
        """How a request is decoded: by the service's defaults, and what the request says instead.

        Raises:
            BeyondLimits: the request asks for more than the service does.
        """
        for name, value in request.decoding.items():
            if not self.decoding.permits(name, value):
                raise BeyondLimits(_REQUEST, f"decoding.{name}", f"is {value!r:.100}, which the service does not allow")
        decoding = {**self.decoding.default, **request.decoding}
        tokens = decoding.get("max_tokens", 0)
        if isinstance(tokens, int | float) and tokens > self.limits.tokens:
            raise BeyondLimits(_REQUEST, "decoding.max_tokens", f"is {tokens}, expected at most {self.limits.tokens}")
        return decoding

    def check(self, request: RequestDocument, samples: int | None = None) -> None:
        """See that the service does what is asked for.

        Args:
            request: the document.
            samples: how many the task has on-chain, where there is one.

        Raises:
            BeyondLimits: it asks for more, or for another number of samples than the task has.
        """
        count = len(request.prompts)
        if count > self.limits.samples:
            raise BeyondLimits(_REQUEST, "prompts", f"are {count}, expected at most {self.limits.samples}")
        if samples is not None and count != samples:
            raise BeyondLimits(_REQUEST, "prompts", f"are {count}, expected the task's {samples}")
        for place, prompt in enumerate(request.prompts):
            self._check_prompt(f"prompts[{place}]", prompt)
        self.decoding_of(request)

    def _check_prompt(self, field: str, prompt: Prompt) -> None:
        limits = self.limits
        if isinstance(prompt, str) and len(prompt) > limits.prompt_characters:
            problem = f"has {len(prompt)} characters, expected at most {limits.prompt_characters}"
            raise BeyondLimits(_REQUEST, field, problem)
        if isinstance(prompt, int) and limits.classes is not None and prompt >= limits.classes:
            raise BeyondLimits(_REQUEST, field, f"is {prompt}, expected a number below {limits.classes}")


class RequestDocument(_Document):
    """What a task asks of a service: one prompt a sample. Its digest is the task's `request`."""

    format: Literal["fedmarket/request/1"] = REQUEST_FORMAT
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=MAX_SAMPLES)]
    decoding: Decoding = Field(default_factory=dict)
    worker_outputs: ContentId | None = None
    """What a worker says that the answer is, where verifiers only check it."""


def digests_hash(digests: Sequence[bytes]) -> bytes:
    """keccak256 of the digests one after another, as the chain keeps them; of nothing where a reveal is void."""
    return keccak(b"".join(_checked(digest, "digest") for digest in digests))


def seal_of(
    chain_id: int,
    contract: str,
    task: int,
    panel: int,
    verifier: str,
    digests: Sequence[bytes],
    outputs: Digest | bytes,
    salt: bytes,
) -> bytes:
    """What a verifier commits to: worth nothing to anybody else, nor in another panel.

    Args:
        chain_id: of the chain.
        contract: address of the consensus contract.
        task: the task's number.
        panel: 0 for the first, 1 for the second draw, 2 for an appeal's.
        verifier: the address that commits.
        digests: one a sample, 32 bytes each; none where the request is void.
        outputs: sha2-256 digest of the outputs' content id; zeros where the request is void.
        salt: 32 random bytes.
    """
    types = ["uint256", "address", "uint256", "uint256", "address", "bytes32", "bytes32", "bytes32"]
    place = [chain_id, contract, task, panel, verifier]
    opened = [digests_hash(digests), _checked(outputs, "outputs"), _checked(salt, "salt")]
    return keccak(encode(types, [*place, *opened]))


def claim_commitment(digests: Sequence[bytes], salt: bytes) -> bytes:
    """What a worker's answer is committed to when a task opens."""
    return keccak(encode(["bytes32", "bytes32"], [digests_hash(digests), _checked(salt, "salt")]))


def canary_commitment(canaries: Mapping[int, bytes], salt: bytes) -> bytes:
    """What known answers are committed to when a task opens.

    Args:
        canaries: digests by sample; at most `MAX_CANARIES`.
        salt: 32 random bytes.

    Raises:
        InvalidData: there are too many, or a digest has another length.
    """
    if not 1 <= len(canaries) <= MAX_CANARIES:
        raise InvalidData(f"{len(canaries)} canaries, expected 1 to {MAX_CANARIES}")
    samples = sorted(canaries)
    digests = [_checked(canaries[sample], f"canary of sample {sample}") for sample in samples]
    return keccak(encode(["uint16[]", "bytes32[]", "bytes32"], [samples, digests, _checked(salt, "salt")]))


def _checked(word: bytes, called: str) -> bytes:
    if len(word) != DIGEST_BYTES:
        raise InvalidData(f"{called} has {len(word)} bytes, expected {DIGEST_BYTES}")
    return bytes(word)


def _same(left: object, right: object) -> bool:
    """Equal as JSON has them: true is not 1."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _check_size(document: str, data: bytes) -> None:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidDocument(document, "the document", f"has {len(data)} bytes, expected at most {MAX_DOCUMENT_BYTES}")


def _problem(document: str, error: ValidationError) -> InvalidDocument:
    problem = error.errors(include_url=False, include_context=False)[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    message = problem["msg"].removeprefix("Value error, ")
    told = {
        "missing": "is missing",
        "model_type": "expected a mapping of fields",
        "extra_forbidden": "is not a known field",
    }.get(problem["type"], f"{message[0].lower()}{message[1:]}, got {problem['input']!r:.100}")
    return InvalidDocument(document, field or "the document", told)
