from __future__ import annotations

import pytest
import requests
import web3.exceptions
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from web3.exceptions import ContractCustomError, ContractLogicError, Web3Exception, Web3RPCError

from market.chain import artefacts, reverts
from market.chain.connection import translated
from market.chain.reverts import ErrorSignature, decode_revert, from_web3, known_errors
from market.protocol.errors import ChainError, ChainUnreachable, ContractRevert, FedmarketError

ADDRESS = "0x" + "ab" * 20


def revert_data(signature: str, *values: object) -> bytes:
    kinds = signature[signature.index("(") + 1 : -1]
    return keccak(text=signature)[:4] + encode(kinds.split(",") if kinds else [], list(values))


def test_custom_error_carries_its_arguments_by_name() -> None:
    error = decode_revert(revert_data("InsufficientDeposit(uint256,uint256)", 5, 7))
    assert (error.name, error.arguments) == ("InsufficientDeposit", {"received": 5, "required": 7})
    assert str(error) == "the contract refused: InsufficientDeposit(received=5, required=7)"


def test_enumerations_are_named() -> None:
    error = decode_revert(revert_data("WrongPhase(uint8,uint8)", 2, 5))
    assert error.arguments == {"phase": "COMMIT", "expected": "SETTLE"}


def test_addresses_have_their_checksum_and_bytes_are_hexadecimal() -> None:
    owner = decode_revert(revert_data("NotOwner(address,address)", ADDRESS, ADDRESS))
    assert owner.arguments["caller"] == to_checksum_address(ADDRESS) != ADDRESS
    seal = decode_revert(revert_data("SealMismatch(bytes32,bytes32)", b"\1" * 32, b"\2" * 32))
    assert seal.arguments == {"opened": "0x" + "01" * 32, "committed": "0x" + "02" * 32}


@pytest.mark.parametrize(
    ("data", "name", "arguments"),
    [
        (revert_data("Error(string)", "no"), "Error", {"message": "no"}),
        (revert_data("Panic(uint256)", 0x11), "Panic", {"code": 0x11, "meaning": "arithmetic overflow or underflow"}),
        (revert_data("ReentrancyGuardReentrantCall()"), "ReentrancyGuardReentrantCall", {}),
        (b"", "NoReason", {}),
        (b"\1\2\3\4\5", "UnknownError", {"data": "0x0102030405"}),
        (b"\1\2", "UnknownError", {"data": "0x0102"}),
        (revert_data("NotOwner(address,address)", ADDRESS, ADDRESS)[:20], "UnknownError", None),
        (keccak(text="Error(string)")[:4] + encode(["bytes"], [b"\xff\xfe"]), "UnknownError", None),
    ],
)
def test_every_answer_is_some_refusal(data: bytes, name: str, arguments: dict[str, object] | None) -> None:
    error = decode_revert(data)
    assert error.name == name
    if arguments is not None:
        assert error.arguments == arguments


def test_every_error_of_the_contracts_is_known() -> None:
    for contract in (*reverts.CONTRACTS, "Attempts", "IJobMarket", "IRoundRules"):
        signatures = ErrorSignature.of_abi(artefacts.load(contract).abi)
        assert {signature.selector for signature in signatures} <= set(known_errors())


def test_every_enumeration_in_the_errors_has_its_names() -> None:
    kinds = {solidity for error in known_errors().values() for _, _, solidity in error.inputs}
    assert {kind for kind in kinds if kind.startswith("enum ")} <= set(reverts.ENUMS)


DATA = "0x" + revert_data("EmptySeal()").hex()


@pytest.mark.parametrize(
    "error",
    [
        ContractCustomError("x", data=DATA),
        ContractLogicError("reverted", data={"result": DATA, "message": "revert"}),  # Ganache's estimates
        Web3RPCError("x", rpc_response={"error": {"code": -32000, "message": "VM Exception", "data": DATA}}),
        Web3RPCError("x", rpc_response={"error": {"code": 3, "message": "reverted", "data": {"result": DATA}}}),
    ],
)
def test_data_is_found_wherever_a_node_puts_it(error: Web3Exception) -> None:
    found = from_web3(error)
    assert found is not None
    assert found.name == "EmptySeal"


def test_other_complaints_are_no_reverts() -> None:
    complaint = Web3RPCError("x", rpc_response={"error": {"code": -32601, "message": "method not found"}})
    assert from_web3(complaint) is None


@pytest.mark.parametrize("words", ["execution reverted", "EVM error InvalidFEOpcode", "out of gas"])
def test_failed_execution_without_data_is_a_revert(words: str) -> None:
    found = from_web3(Web3RPCError("x", rpc_response={"error": {"code": -32603, "message": words}}))
    assert found is not None
    assert found.name == "NoReason"


def all_subclasses(kind: type[BaseException]) -> set[type[BaseException]]:
    return {kind}.union(*(all_subclasses(child) for child in kind.__subclasses__()))


def instance(kind: type[BaseException]) -> BaseException:
    error = kind.__new__(kind)
    error.args = ("words",)
    return error


@pytest.mark.parametrize("kind", sorted(all_subclasses(web3.exceptions.Web3Exception), key=lambda kind: kind.__name__))
def test_no_exception_of_web3_comes_out_untranslated(kind: type[BaseException]) -> None:
    with pytest.raises(FedmarketError), translated("http://node"):
        raise instance(kind)


@pytest.mark.parametrize(
    "kind",
    sorted(all_subclasses(requests.RequestException) - {requests.RequestException}, key=lambda kind: kind.__name__),
)
def test_no_exception_of_requests_comes_out_untranslated(kind: type[BaseException]) -> None:
    with pytest.raises(ChainUnreachable), translated("http://node"):
        raise (
            kind("words", "document", 0) if issubclass(kind, ValueError) and "JSON" in kind.__name__ else kind("words")
        )


def test_errors_of_our_own_pass_unchanged() -> None:
    for error in (ContractRevert("X", {}), ChainError("y")):
        with pytest.raises(type(error)) as caught, translated("http://node"):
            raise error
        assert caught.value is error
