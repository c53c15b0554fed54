"""What the verification of a proof costs on a chain: a real transaction to the real contract, on a chain of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from eth_account import Account

from fedmarket.devnet import Devnet
from market.chain import artefacts
from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.chain.contract import Gateway
from market.chain.transactions import SendPolicy, TransactionSender
from zk.transcript import GramProof, Statement, VerifyingKey

GIFT_WEI = 10**21
CONTRACT = "GramVerifier"
WEIGHT_BYTES = 4


@dataclass(frozen=True)
class VerificationGas:
    """A transaction that verified a proof.

    Attributes:
        gas: all that it used, its base price and its calldata included.
        calldata_bytes: statement and proof together, encoded.
        chain: which program ran it.
    """

    gas: int
    calldata_bytes: int
    chain: str


class _Verifier(Gateway):
    """The contract by itself, without a marketplace around it."""

    def verify(self, statement: Statement, proof: GramProof) -> PreparedCall:
        rows = b"".join((proof.mask, *statement.updates, *statement.public))
        weights = b"".join(weight.to_bytes(WEIGHT_BYTES, "big") for weight in statement.weights)
        claim = (statement.context, statement.dimension, statement.chunks, rows, weights)
        return self._prepare("verify", claim, statement.gram, (proof.sums, proof.blinders, proof.argument))


def measure_gas(key: VerifyingKey, statement: Statement, proof: GramProof) -> VerificationGas:
    """Put a verifier on a fresh chain and have it verify a proof.

    Raises:
        ChainError: the chain does not run, or the contract does not accept the proof.
    """
    account = Account.create()
    with Devnet() as net, TemporaryDirectory() as journal:
        net.fund(account.address, GIFT_WEI)
        chain = Chain.connect(net.url, net.chain_id)
        artefact = artefacts.load(CONTRACT)
        powers = key.tau_g1 + key.tau_g2 + key.tau2_g2
        with TransactionSender(chain, account, Path(journal), SendPolicy(poll_s=0.05)) as sender:
            created = sender.send("deploy", PreparedCall(None, artefact.creation_code() + powers, label="deploy"))
            verifier = _Verifier(chain, str(created.contract), artefact.abi)
            call = verifier.verify(statement, proof)
            receipt = sender.send("verify", call)
        return VerificationGas(receipt.gas_used, len(call.data), chain.client)
