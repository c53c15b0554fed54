"""Sending once and only once, on a real chain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from fedmarket.devnet import Devnet
from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.chain.transactions import Finality, Receipt, SendPolicy, TransactionSender
from market.protocol.errors import (
    ChainTimeout,
    ChainUnreachable,
    ContractRevert,
    FedmarketError,
    InvalidInput,
    TransactionLost,
    WrongChain,
)

REPOSITORY = Path(__file__).resolve().parents[2]


def call(to: str, signature: str, *arguments: int, value_wei: int = 0) -> PreparedCall:
    data = keccak(text=signature)[:4] + b"".join(argument.to_bytes(32, "big") for argument in arguments)
    return PreparedCall(to, data, value_wei, signature.partition("(")[0])


def increment(faults: str) -> PreparedCall:
    return call(faults, "increment()")


def count(devnet: Any, faults: str) -> int:
    data = "0x" + keccak(text="count()")[:4].hex()
    return int(devnet.request("eth_call", {"to": faults, "data": data}, "latest"), 16)


def send_in_thread(sender: TransactionSender, key: str, prepared: PreparedCall) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(sender.send(key, prepared))
        except FedmarketError as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results


def test_send_returns_the_receipt_of_a_mined_transaction(actors: Any, devnet: Any, faults: str) -> None:
    receipt = actors["alice"].send("one", call(faults, "increment()", value_wei=5))
    assert count(devnet, faults) == 1
    assert receipt.label == "increment"
    assert receipt.gas_used > 21_000
    assert receipt.fee_wei > 0
    assert devnet.balance_wei(faults) == 5


def test_second_send_with_the_same_key_sends_nothing(actors: Any, devnet: Any, faults: str) -> None:
    first = actors["alice"].send("one", increment(faults))
    again = actors["alice"].send("one", increment(faults))
    after_restart = actors.restart("alice").send("one", call(faults, "incrementBefore(uint256)", 0))
    assert first.transaction == again.transaction == after_restart.transaction
    assert count(devnet, faults) == 1


def test_revert_is_seen_before_anything_is_spent(actors: Any, devnet: Any, faults: str) -> None:
    alice = actors["alice"]
    before_wei = devnet.balance_wei(alice.address)
    with pytest.raises(ContractRevert, match="WrongPhase"):
        alice.send("fails", call(faults, "customError()"))
    assert devnet.balance_wei(alice.address) == before_wei
    assert not alice.knows("fails")
    alice.send("works", increment(faults))


def test_account_that_cannot_pay_is_told_so(actors: Any, devnet: Any, faults: str) -> None:
    alice = actors["alice"]
    devnet.fund(alice.address, 10**9)
    with pytest.raises(InvalidInput, match=f"{alice.address} has 1000000000 wei, but increment may need"):
        alice.send("one", increment(faults))
    with pytest.raises(InvalidInput, match="may need"):
        alice.send("one", call(faults, "increment()", value_wei=10**20))
    assert not alice.knows("one")


def test_mined_revert_is_explained_and_can_be_sent_anew(actors: Any, devnet: Any, faults: str) -> None:
    alice = actors["alice"]
    deadline_s = devnet.timestamp() + 1_000
    devnet.set_mining(False)
    thread, results = send_in_thread(alice, "race", call(faults, "incrementBefore(uint256)", deadline_s))
    wait_until_pending(devnet, alice)
    devnet.set_next_timestamp(deadline_s)
    devnet.mine()
    thread.join()
    devnet.set_mining(True)
    assert isinstance(results[0], ContractRevert)
    assert results[0].arguments == {"message": "too late"}
    assert count(devnet, faults) == 0
    assert not alice.knows("race")
    alice.send("race", increment(faults))
    assert count(devnet, faults) == 1


def anvil_only(devnet: Any, reason: str) -> None:
    if devnet.options.kind != "anvil":
        pytest.skip(reason)


def wait_until_pending(devnet: Any, sender: TransactionSender) -> None:
    """Until the sender's one transaction is signed and has reached the node."""
    pause = threading.Event()
    for _ in range(500):
        keys = sender.unresolved()
        if keys and devnet.request("eth_getTransactionByHash", newest_hash(sender, keys[0])) is not None:
            return
        pause.wait(0.01)
    pytest.fail("the transaction never reached the node")


def newest_hash(sender: TransactionSender, key: str) -> str:
    entry = sender._journal.get(key)
    assert entry is not None
    return entry.versions[-1].hash


CHILD = """
import os, signal, sys
from pathlib import Path
from eth_account import Account
from market.chain.calls import PreparedCall
from market.chain.connection import Chain
from market.chain.transactions import TransactionSender

moment, url, key, journal, to, data = sys.argv[1:]

class Dying(TransactionSender):
    def _broadcast(self, version):
        if moment == "after":
            super()._broadcast(version)
        os.kill(os.getpid(), signal.SIGKILL)

sender = Dying(Chain.connect(url), Account.from_key(key), Path(journal))
sender.send("one", PreparedCall(to, bytes.fromhex(data), label="increment"))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("mining", [True, False])
def test_kill_9_around_the_broadcast_never_sends_twice(
    moment: str, mining: bool, actors: Any, devnet: Any, faults: str
) -> None:
    alice = actors["alice"]
    alice.close()
    devnet.set_mining(mining)
    journal = str(actors.folder / "alice")
    arguments = [moment, devnet.url, alice.account.key.hex(), journal, faults, increment(faults).data.hex()]
    child = subprocess.run([sys.executable, "-c", CHILD, *arguments], cwd=REPOSITORY, timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL
    mined_already = moment == "after" and mining
    assert count(devnet, faults) == int(mined_already)

    restarted = actors.restart("alice")
    signed = newest_hash(restarted, "one")
    assert restarted.knows("one")
    restarted.recover()
    devnet.set_mining(True)
    devnet.mine()
    receipt = restarted.send("one", increment(faults))
    assert "0x" + receipt.transaction.hex() == signed
    assert count(devnet, faults) == 1
    assert restarted.unresolved() == []


def test_dropped_transaction_is_handed_in_again(actors: Any, devnet: Any, faults: str) -> None:
    anvil_only(devnet, "only Anvil can drop a transaction")
    alice = actors["alice"]
    devnet.set_mining(False)
    thread, results = send_in_thread(alice, "one", increment(faults))
    wait_until_pending(devnet, alice)
    transaction = newest_hash(alice, "one")
    devnet.request("anvil_dropTransaction", transaction)
    wait_until_pending(devnet, alice)
    devnet.mine()
    thread.join()
    assert isinstance(results[0], Receipt)
    assert "0x" + results[0].transaction.hex() == transaction


def test_new_intent_does_not_wait_behind_a_signed_one_that_was_never_broadcast(
    actors: Any, devnet: Any, faults: str
) -> None:
    class Forgetful(TransactionSender):
        def _broadcast(self, version: Any) -> None:
            raise ChainUnreachable("gone")

    alice = actors["alice"]
    alice.close()
    with (
        Forgetful(alice.chain, alice.account, actors.folder / "alice", actors.policy) as forgetful,
        pytest.raises(ChainUnreachable),
    ):
        forgetful.send("one", increment(faults))
    assert count(devnet, faults) == 0
    alice = actors.restart("alice")
    alice.send("two", increment(faults))
    alice.wait("one")
    assert count(devnet, faults) == 2


def test_transaction_whose_nonce_another_took_is_lost_and_can_be_sent_anew(
    actors: Any, devnet: Any, faults: str, tmp_path: Path
) -> None:
    anvil_only(devnet, "Ganache executes both transactions that have one nonce")
    alice = actors["alice"]
    devnet.set_mining(False)
    thread, results = send_in_thread(alice, "one", increment(faults))
    wait_until_pending(devnet, alice)
    devnet.request("anvil_dropTransaction", newest_hash(alice, "one"))
    # A person runs another program with the same account.
    rival = alice.account.sign_transaction(
        {
            **{
                "chainId": devnet.chain_id,
                "nonce": int(devnet.request("eth_getTransactionCount", alice.address, "latest"), 16),
            },
            **{"to": alice.address, "value": 1, "gas": 21_000, "data": "0x"},
            **{"type": 2, "maxFeePerGas": 10**13, "maxPriorityFeePerGas": 10**12},
        }
    )
    devnet.request("eth_sendRawTransaction", "0x" + rival.raw_transaction.hex())
    devnet.mine()
    thread.join()
    devnet.set_mining(True)
    assert isinstance(results[0], TransactionLost)
    assert count(devnet, faults) == 0
    assert not alice.knows("one")
    alice.send("one", increment(faults))
    assert count(devnet, faults) == 1


def test_transaction_that_is_not_mined_is_repriced_with_the_same_nonce(actors: Any, devnet: Any, faults: str) -> None:
    anvil_only(devnet, "Ganache executes both transactions that have one nonce")
    actors.policy = SendPolicy(timeout_s=30, poll_s=0.02, reprice_after_s=0.2)
    alice = actors["alice"]
    devnet.set_mining(False)
    thread, results = send_in_thread(alice, "one", increment(faults))
    wait_until_pending(devnet, alice)
    first = newest_hash(alice, "one")
    pause = threading.Event()
    for _ in range(500):
        if newest_hash(alice, "one") != first:
            break
        pause.wait(0.01)
    wait_until_pending(devnet, alice)
    devnet.mine()
    thread.join()
    versions = alice._journal.get("one").versions
    assert len(versions) >= 2
    assert all(8 * new.fee_cap_wei >= 9 * old.fee_cap_wei for old, new in pairwise(versions))
    assert "0x" + results[0].transaction.hex() in {version.hash for version in versions}
    assert count(devnet, faults) == 1


def test_send_waits_for_as_many_blocks_as_finality_asks(actors: Any, devnet: Any, faults: str) -> None:
    alice = actors["alice"]
    with pytest.raises(ChainTimeout, match=r"mined in block .* but not confirmed after"):
        alice.send("one", increment(faults), Finality(blocks=3), timeout_s=0.1)
    devnet.mine(1)
    with pytest.raises(ChainTimeout):
        alice.wait("one", Finality(blocks=3), timeout_s=0.1)
    devnet.mine(1)
    alice.wait("one", Finality(blocks=3), timeout_s=0.1)
    assert count(devnet, faults) == 1


def test_send_waits_for_the_jobs_confirmation_period(actors: Any, devnet: Any, faults: str) -> None:
    alice = actors["alice"]
    with pytest.raises(ChainTimeout):
        alice.send("one", increment(faults), Finality(period_s=1_000), timeout_s=0.1)
    devnet.advance(1_000)
    alice.wait("one", Finality(period_s=1_000), timeout_s=0.1)


def test_reorganisation_before_finality_brings_the_same_transaction_back(actors: Any, devnet: Any, faults: str) -> None:
    alice = actors["alice"]
    snapshot = devnet.snapshot()
    with pytest.raises(ChainTimeout):
        alice.send("one", increment(faults), Finality(blocks=3), timeout_s=0.1)
    assert count(devnet, faults) == 1
    transaction = newest_hash(alice, "one")
    devnet.revert(snapshot)
    devnet.mine(2)
    assert count(devnet, faults) == 0
    with pytest.raises(ChainTimeout):
        alice.wait("one", Finality(blocks=3), timeout_s=0.3)
    devnet.mine(2)
    receipt = alice.wait("one", Finality(blocks=3))
    assert "0x" + receipt.transaction.hex() == transaction
    assert count(devnet, faults) == 1


def test_done_transaction_is_handed_in_again_after_a_deep_reorganisation(actors: Any, devnet: Any, faults: str) -> None:
    alice = actors["alice"]
    snapshot = devnet.snapshot()
    first = alice.send("one", increment(faults))
    devnet.revert(snapshot)
    again = alice.send("one", increment(faults))
    assert first.transaction == again.transaction
    assert count(devnet, faults) == 1


def test_a_deep_reorganisation_leaves_no_gap_before_what_is_still_wanted(actors: Any, devnet: Any, faults: str) -> None:
    alice = actors["alice"]
    snapshot = devnet.snapshot()
    alice.send("one", increment(faults))
    second = alice.send("two", increment(faults))
    devnet.revert(snapshot)
    devnet.mine()
    again = alice.send("two", increment(faults))  # nobody asks for the first any more
    assert second.transaction == again.transaction
    assert count(devnet, faults) == 2


def test_two_accounts_send_from_two_threads(actors: Any, devnet: Any, faults: str) -> None:
    def send_ten(sender: TransactionSender) -> None:
        for number in range(10):
            sender.send(f"increment/{number}", increment(faults))

    threads = [threading.Thread(target=send_ten, args=(actors[name],)) for name in ("alice", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(devnet, faults) == 20


def test_two_threads_share_one_sender(actors: Any, devnet: Any, faults: str) -> None:
    alice = actors["alice"]
    keys = [[f"thread/{thread}/{number}" for number in range(5)] for thread in range(3)]
    threads = [
        threading.Thread(target=lambda own=own: [alice.send(key, increment(faults)) for key in own]) for own in keys
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(devnet, faults) == 15


def test_journal_is_refused_to_a_second_process(actors: Any, devnet: Any) -> None:
    alice = actors["alice"]
    with pytest.raises(InvalidInput, match="in use by another process"):
        actors.open("alice")
    alice.close()
    actors.open("alice").close()


def test_journal_is_refused_to_another_account(actors: Any, chain: Chain) -> None:
    actors["alice"].close()
    with pytest.raises(InvalidInput, match="belongs to account"):
        TransactionSender(chain, actors["bob"].account, actors.folder / "alice")


def test_journal_is_refused_on_another_chain(actors: Any) -> None:
    alice = actors["alice"]
    alice.close()
    with Devnet() as other:
        elsewhere = Chain.connect(other.url)
        with pytest.raises(WrongChain, match="use another work folder"):
            TransactionSender(elsewhere, alice.account, actors.folder / "alice")


def test_damaged_journal_is_named(actors: Any, faults: str) -> None:
    actors["alice"].send("one", increment(faults))
    actors["alice"].close()
    (file,) = (actors.folder / "alice").glob("intent-*.json")
    file.write_text(file.read_text()[:40])
    with pytest.raises(InvalidInput, match=f"{file.name} is not a journal's file or is damaged"):
        actors.open("alice")


def test_journal_and_its_files_are_private(actors: Any, faults: str) -> None:
    actors["alice"].send("one", increment(faults))
    for file in (actors.folder / "alice").glob("*.json"):
        assert os.stat(file).st_mode & 0o077 == 0


def test_transaction_too_large_for_the_chain_is_refused_before_it_is_signed(
    actors: Any, devnet: Any, faults: str
) -> None:
    anvil_only(devnet, "Ganache takes many seconds to run out of gas")
    alice = actors["alice"]
    # Creation code that never ends: the node's estimate gives up at its limit.
    with pytest.raises(ContractRevert):
        alice.send("endless", PreparedCall(None, bytes.fromhex("5b5f56"), label="endless"))
    assert not alice.knows("endless")
