"""Tasks on a real chain, whose verifiers reveal whatever a test says: digests are made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fedmarket.devnet import Devnet
from market.chain.calls import PreparedCall
from market.chain.consensus_events import ConsensusEvent, PoolOpened, TaskOpened
from market.chain.consensus_records import NONE_32, PoolTerms, TaskTerms
from market.chain.output_consensus import OutputConsensus
from market.chain.transactions import Receipt
from market.protocol.generation import seal_of
from market.protocol.identifiers import Digest, PoolId, TaskId, Wei
from market.protocol.seat_draw import DELAY_BLOCKS
from market.protocol.terms import NATIVE
from market.task_history import TaskHistory
from tests.integration.conftest import Actors

UNIT_WEI = 9_000
SHARE_WEI = 1_001
TOLERANCE = 8
SAMPLES = 3
PERIOD_S = 600
SALT = b"\x07" * 32
OUTPUTS = Digest(b"\x05" * 32)

E = TypeVar("E", bound=ConsensusEvent)
Digests = tuple[bytes, ...]

RIGHT: Digests = tuple(bytes([0x10 + sample]) * 32 for sample in range(SAMPLES))
WRONG: Digests = tuple(bytes([0xC0 + sample]) * 32 for sample in range(SAMPLES))
VOID: Digests = ()


def near(digests: Digests, bits: int) -> Digests:
    """Digests with their lowest so many bits flipped."""
    return tuple((int.from_bytes(digest, "big") ^ ((1 << bits) - 1)).to_bytes(32, "big") for digest in digests)


@dataclass
class Panels:
    """A pool with its people, and one task of it."""

    devnet: Devnet
    consensus: OutputConsensus
    actors: Actors
    pool: PoolId = field(init=False)
    task: TaskId = field(init=False)
    sent: int = 0

    def send(self, who: str, call: PreparedCall) -> Receipt:
        self.sent += 1
        return self.actors[who].send(f"{call.label}/{self.sent}", call)

    def open_pool(self, names: Sequence[str], units: int = 2, **changes: Any) -> None:
        """Open a pool in which these have staked."""
        terms = PoolTerms(Digest(b"\x01" * 32), 1, TOLERANCE, 0, 16, Wei(UNIT_WEI))
        receipt = self.send("owner", self.consensus.open_pool(PoolTerms(**{**vars(terms), **changes})))
        self.pool = self.event(receipt, PoolOpened).pool
        for name in names:
            self.send(name, self.consensus.stake(self.pool, units, UNIT_WEI))

    def terms(self, **changes: Any) -> TaskTerms:
        plain: dict[str, Any] = {
            "pool": self.pool,
            "request": Digest(b"\x02" * 32),
            "seed": 5,
            "samples": SAMPLES,
            "verifiers": 3,
            "share_wei": Wei(SHARE_WEI),
            "worker": NATIVE,
            "worker_reward_wei": Wei(0),
            "claim": NONE_32,
            "canaries": NONE_32,
            "seat_period_s": PERIOD_S,
            "commit_period_s": PERIOD_S,
            "reveal_period_s": PERIOD_S,
            "appeal_period_s": PERIOD_S,
        }
        return TaskTerms(**{**plain, **changes})

    def open_task(self, **changes: Any) -> None:
        receipt = self.send("owner", self.consensus.open_task(self.terms(**changes)))
        self.task = self.event(receipt, TaskOpened).task

    def draw(self) -> None:
        self.devnet.mine(DELAY_BLOCKS)
        self.send("anyone", self.consensus.draw_seats(self.task))

    def seat(self, names: Sequence[str]) -> None:
        """Seat these, and nobody else, in this order."""
        for name in names:
            self.send(name, self.consensus.take_seat(self.task))
        self.devnet.advance_to(self.panel().seat_until_s)

    def commit(self, answers: Mapping[str, Digests]) -> None:
        """Have each commit to its answer; whoever has none is silent."""
        panel = self.consensus.state(self.task).panel
        for name, digests in answers.items():
            place = (self.devnet.chain_id, self.consensus.address, self.task, panel, self.address(name))
            seal = seal_of(*place, digests, self.outputs(digests), SALT)
            self.send(name, self.consensus.commit_outputs(self.task, seal))

    def reveal(self, answers: Mapping[str, Digests]) -> None:
        for name, digests in answers.items():
            call = self.consensus.reveal_outputs(self.task, digests, self.outputs(digests), SALT)
            self.send(name, call)

    def play(self, answers: Mapping[str, Digests | None]) -> None:
        """Draw, seat, commit and reveal; who answers None sits and is silent."""
        self.draw()
        self.seat(list(answers))
        given = {name: digests for name, digests in answers.items() if digests is not None}
        self.commit(given)
        if len(given) < len(answers):
            self.devnet.advance_to(self.panel().commit_until_s)
        self.reveal(given)

    def settle(self) -> None:
        history = self.history()
        self.send("anyone", self.consensus.settle(self.task, history.evidence(history.current)))

    def finish(self) -> None:
        if self.consensus.state(self.task).panel != 2:
            self.devnet.advance_to(self.consensus.state(self.task).appeal_until_s)
        self.send("anyone", self.consensus.finish(self.task))

    def history(self) -> TaskHistory:
        return TaskHistory.of_events(self.task, self.consensus.events(self.task))

    def panel(self) -> Any:
        return self.consensus.panel(self.task, self.consensus.state(self.task).panel)

    def address(self, name: str) -> str:
        return self.actors[name].address

    def credits(self, *names: str) -> list[int]:
        return [int(self.consensus.credits_wei(self.address(name))) for name in names]

    def event(self, receipt: Receipt, kind: type[E]) -> E:
        (found,) = [event for event in self.consensus.events_in(receipt.logs) if isinstance(event, kind)]
        return found

    @staticmethod
    def outputs(digests: Digests) -> Digest:
        return OUTPUTS if digests else Digest(NONE_32)
