"""A verifier in its pools: sit, generate, commit, reveal, in several tasks at once, from whatever is done already.

Data's path: request and service, checked -> batches of outputs on this machine -> their digests -> opening on the disk
-> seal on the chain -> once nobody can seal any more: outputs to storage, opening on the chain -> settlement.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from market.chain.calls import PreparedCall
from market.chain.consensus_records import PoolTerms
from market.chain.output_consensus import OutputConsensus
from market.chain.transactions import Finality, Receipt, TransactionSender
from market.protocol.errors import (
    ChainError,
    ChainUnreachable,
    ContractRevert,
    FedmarketError,
    InvalidContent,
    StorageError,
)
from market.protocol.identifiers import Digest, PoolId, TaskId
from market.protocol.money import format_amount
from market.storage import ContentStore
from market.storage.part_stream import content_name
from market.task_history import TaskHistory
from trainer_client.delivery import Delivery
from trainer_client.generation import Execution
from trainer_client.verifier.bench import Advance, Bench, Order
from trainer_client.verifier.chain_view import FollowedTasks
from trainer_client.verifier.enquiries import Enquiries
from trainer_client.verifier.opening import Opening, SealPlace
from trainer_client.verifier.pace import Pace
from trainer_client.verifier.services import IMPOSSIBLE, Pool, Services
from trainer_client.verifier.task_folder import TaskFolder
from trainer_client.verifier.turn import Act, Kept, Load, Stage, TaskView, fits, is_turn, next_act, rank

ONE_BLOCK: Final = Finality(blocks=1)
"""What came of a transaction is read from the chain again at every look: nothing else waits for it."""

SEND_S: Final = 60.0
"""How long one transaction is waited for before other tasks have their turn; it is in the journal, and goes on."""

POOLS_S: Final = 30.0
"""How often is looked for pools that this account has staked in since."""

PATIENCE_S: Final = 10.0
"""How long a batch that is at work is waited for when a session ends; nothing but that batch is lost by leaving it."""

LEAST_SHARES_A_UNIT: Final = 1000
"""Unless told otherwise no seat is taken for less than this part of the unit that it locks.

Else tasks of a few wei could hold a pool's units for months."""

OVERTAKEN: Final = (
    *("WrongTaskPhase", "DrawTooEarly", "NumberTooHigh", "AlreadySeated", "StakedTooLate", "Barred", "NoUnits"),
    *("UnitsLocked", "NotSeated", "AlreadyCommitted", "AlreadyRevealed", "NotCommitted", "NotEntitled"),
)
"""What the contract says to who comes second, or too late: the next look tells what is due."""


@dataclass
class _Part:
    """What a session knows of its part in one panel; a new process finds out again."""

    folder: TaskFolder
    delivery: Delivery = field(default_factory=Delivery)
    due_since: dict[Act, int] = field(default_factory=dict)
    is_unavailable: bool = False
    impossible: str = ""


@dataclass(frozen=True)
class _Moment:
    """One look at the chain."""

    block: int
    now_s: int


class VerifierSession:
    """One account's verifying in some pools.

    It keeps nothing that chain, storage and its work folder cannot give back: killed at any moment and started again,
    it goes on where it was, never commits to other outputs than it did, and reveals what it committed to. Where the
    work folder is lost, too, it generates the same outputs again: the salt follows from the account.
    """

    def __init__(
        self,
        consensus: OutputConsensus,
        sender: TransactionSender,
        services: Services,
        store: ContentStore,
        work_folder: Path,
        execution: Execution,
        *,
        pools: Collection[PoolId] | None = None,
        appeals: bool = False,
        least_share_wei: int | None = None,
        report: Callable[[str], None] = lambda line: None,
        progress: Callable[[Advance], None] = lambda advance: None,
        poll_s: float = 0.5,
    ) -> None:
        """Prepare to verify.

        Args:
            consensus: the contract.
            sender: the verifier's account.
            services: fetches what tasks are about.
            store: where revealed outputs go.
            work_folder: where batches, openings and what was measured are kept.
            execution: how models are run on this machine.
            pools: which to follow; None for all that the account has staked in, now and later.
            appeals: whether to appeal against decisions that leave this account out.
            least_share_wei: no seat is taken for less: whoever opens a task sets its share, and a seat costs gas and
                holds a unit however small that is. None for a thousandth of the pool's unit.
            report: is told what happens, a line at a time.
            progress: is told after every batch.
            poll_s: how often the chain is asked.
        """
        self.consensus, self.sender, self.services, self.store = consensus, sender, services, store
        self.appeals, self.report, self.poll_s = appeals, report, poll_s
        self._least_share_wei = least_share_wei
        self._enquiries = Enquiries(services)
        self._work_folder = work_folder
        self._pools = None if pools is None else frozenset(pools)
        self._staked: frozenset[PoolId] = frozenset()
        self._look_at = float("-inf")
        self._terms: dict[PoolId, PoolTerms] = {}
        self._tasks = FollowedTasks(consensus)
        self._parts: dict[tuple[int, int, bytes], _Part] = {}
        self._told: dict[object, str] = {}
        self._under_way: set[int] = set()
        pace = Pace(work_folder / "pace.json")
        self.bench = Bench(execution, sender.account, pace, report, progress)

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Take part until `should_stop` says so.

        A node that is away, a confirmation that is late and a transaction that was lost are told once and waited out.

        Raises:
            ChainUnreachable: the node does not answer at the start; later it is waited for.
        """
        self.sender.recover()
        worker = threading.Thread(target=self.bench.run, name="bench", daemon=True)
        worker.start()
        try:
            while not should_stop():
                try:
                    acted = self.advance()
                    self._told.pop("chain", None)
                except ChainError as problem:
                    self._tell("chain", str(problem))
                    acted = False
                if not worker.is_alive():
                    raise RuntimeError("generating ended by a defect, which was shown")
                if not acted:
                    time.sleep(self.poll_s)
        finally:
            self.bench.stop()
            worker.join(PATIENCE_S)

    def advance(self) -> bool:
        """Do once what is due in every task; returns whether there was anything. Generating is the bench's.

        One task's trouble is no other's: it is told once, and looked at again the next time.

        Raises:
            ChainUnreachable: the node does not answer.
        """
        moment = _Moment(self.consensus.chain.block_number(), self.consensus.chain.timestamp())
        self._enquiries.begin()
        pools, acted = self._followed(), False
        orders: list[Order] = []
        seen = [(view, self._part(view)) for view in self._tasks.look(pools)]
        for view, part in sorted(seen, key=lambda entry: self._urgency(*entry)):
            acted = self._guarded(view, part, moment, orders) or acted
        self.bench.place(orders)
        return acted

    def _urgency(self, view: TaskView, part: _Part) -> int:
        """In which order tasks have their turns: contents that are on their way keep no reveal waiting.

        What only has to be sent is first; then comes what has to be generated; then seats that could be taken, in what
        is left of the time.
        """
        if view.panel.place_of(self.address) is None:
            return 2 if view.stage is Stage.SEATING else 0
        return 1 if view.stage in (Stage.SEATING, Stage.COMMIT) and not part.folder.is_sealed else 0

    @property
    def open_tasks(self) -> list[TaskId]:
        """The tasks that were not finished when they were last looked at."""
        return self._tasks.numbers

    @property
    def address(self) -> str:
        """The verifier's."""
        return self.sender.address

    # ------------------------------------------------------------------ one task

    def _guarded(self, view: TaskView, part: _Part, moment: _Moment, orders: list[Order]) -> bool:
        try:
            return self._advance_task(view, part, moment, orders)
        except ChainUnreachable:
            raise
        except ContractRevert as refusal:
            if refusal.name not in OVERTAKEN:
                self._tell(view.id, f"task {view.id}: {refusal}")
        except FedmarketError as problem:
            self._tell(view.id, f"task {view.id}: {' '.join(str(problem).split())}")
        return False

    def _advance_task(self, view: TaskView, part: _Part, moment: _Moment, orders: list[Order]) -> bool:
        kept = self._kept(view, part)
        act = next_act(view, self.address, kept, moment.now_s, moment.block)
        if view.stage is Stage.FINISHED:
            self._leave(view, part)
            return False
        self._under_way.add(view.id)
        self._tell_verdict(view)
        delivered = self._go_on_delivering(view, part)
        match act:
            case Act.DRAW:
                return self._in_turn(act, view, part, moment, f"draw/{view.panel.draw_block}", self._draw_call(view))
            case Act.FINISH:
                return self._in_turn(act, view, part, moment, "finish", self.consensus.finish(TaskId(view.id)))
            case Act.SETTLE:
                return self._settle(view, part, moment)
            case Act.SIT:
                return self._sit(view, part, moment, orders)
            case Act.GENERATE | Act.RECOVER:
                return self._order(view, part, orders, recovers=act is Act.RECOVER)
            case Act.VOID:
                return self._seal_void(view, part)
            case Act.COMMIT:
                return self._commit(view, part)
            case Act.REVEAL:
                return self._reveal(view, part)
            case Act.APPEAL:
                return self._appeal(view, part)
        return delivered

    def _kept(self, view: TaskView, part: _Part) -> Kept:
        opening = self._opening(part)
        seal = None if opening is None else opening.seal(part.folder.place)
        # Silence always costs the unit. That nothing can be committed to is said where it is so, and late: others may
        # find a way that this machine does not.
        is_fruitless = str(part.folder.path) in self.bench.fruitless
        return Kept(seal, part.is_unavailable or is_fruitless, bool(part.impossible), self.appeals)

    def _opening(self, part: _Part) -> Opening | None:
        try:
            return part.folder.opening()
        except InvalidContent as damage:
            # It is made again, from the account and the outputs.
            self._tell((part.folder.path, "opening"), str(damage))
            return None

    def _part(self, view: TaskView) -> _Part:
        key = (view.id, view.panel.index, view.identity)
        if key not in self._parts:
            chain_id, contract = self.consensus.chain.chain_id, self.consensus.address
            place = SealPlace(chain_id, contract, view.id, view.panel.index, self.address)
            self._parts[key] = _Part(TaskFolder(self._work_folder, place, view.identity))
        return self._parts[key]

    def _leave(self, view: TaskView, part: _Part) -> None:
        self._tasks.leave(TaskId(view.id))
        self.services.forget(self._pool(view), view.request)
        if part.folder.path.parent.exists() and view.id in self._under_way:
            outcome = self.consensus.state(TaskId(view.id)).outcome.name.lower().replace("_", " ")
            credits = format_amount(self.consensus.credits_wei(self.address))
            self.report(f"task {view.id} is finished: {outcome}; this account can claim {credits}")

    # ------------------------------------------------------------------ pools

    def _followed(self) -> frozenset[PoolId]:
        """The pools that this account is told to follow, or that it has units in; for those is looked now and then."""
        if self._pools is not None:
            return self._pools
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + POOLS_S
            every = map(PoolId, range(self.consensus.pool_count()))
            self._staked = frozenset(pool for pool in every if self.consensus.verifier(pool, self.address).units)
        return self._staked

    def _pool(self, view: TaskView) -> Pool:
        return pool_of(self._pool_terms(view))

    def _pool_terms(self, view: TaskView) -> PoolTerms:
        number = PoolId(view.pool)
        if number not in self._terms:
            self._terms[number] = self.consensus.pool(number)
        return self._terms[number]

    # ------------------------------------------------------------------ seats

    def _sit(self, view: TaskView, part: _Part, moment: _Moment, orders: list[Order]) -> bool:
        """Take a seat that this account has drawn, where what it takes can be done in time."""
        stake, task = self.consensus.verifier(PoolId(view.pool), self.address), TaskId(view.id)
        if stake.locked >= stake.units or not self._pays(view):
            return False
        number = self.consensus.number_of(task, view.panel.index, self.address)
        call = self.consensus.take_seat(task)
        if not view.panel.has_room_for(number) or self.consensus.refusal(call, self.address) is not None:
            return False
        if not self._can_do(view, part, moment, orders):
            return False
        self._send("sit", view, part, call)
        self.report(f"task {view.id}: took a seat for {view.samples} samples")
        self._order(view, part, orders, recovers=False)  # whoever looks at other tasks now knows of this one's work
        return True

    def _pays(self, view: TaskView) -> bool:
        least_wei = self._least_share_wei
        if least_wei is None:
            least_wei = self._pool_terms(view).unit_wei // LEAST_SHARES_A_UNIT
        if view.share_wei >= least_wei:
            return True
        share, least = format_amount(view.share_wei), format_amount(least_wei)
        self._tell((view.id, "share"), f"task {view.id}: no seat is taken for {share}, expected {least} or more")
        return False

    def _can_do(self, view: TaskView, part: _Part, moment: _Moment, orders: list[Order]) -> bool:
        """Whether what a task asks for is here, and is done in time; why it is not is told once."""
        order = self._prepared(view, part, None)
        if part.is_unavailable or part.impossible or order is None:
            # Who declares void what others can do loses its unit: no seat is worth that.
            return bool(part.impossible)
        seconds = self.bench.estimate_s(order)
        if seconds is None:
            orders.append(order)  # it is measured first, with nothing at stake
            return False
        due = [(entry, self.bench.estimate_s(entry)) for entry in orders if entry.folder is not None]
        loads = [Load(known, entry.until_s) for entry, known in due if known is not None]
        if fits([*loads, Load(seconds, view.panel.generated_until_s)], moment.now_s) and (
            seconds <= view.commit_period_s
        ):
            return True
        other = f" beside {len(loads)} other tasks" if loads else ""
        self._tell(
            (view.id, "slow"),
            f"task {view.id}: no seat is taken: {view.samples} samples take about {seconds:.0f} s here{other}, and the "
            f"commit period has {view.commit_period_s} s",
        )
        return False

    # ------------------------------------------------------------------ generating

    def _order(self, view: TaskView, part: _Part, orders: list[Order], *, recovers: bool) -> bool:
        if recovers and self._recover_void(view, part):
            return True
        order = self._prepared(view, part, self._own_seal(view) if recovers else None, part.folder)
        if hopeless := self.bench.hopeless.get(str(part.folder.path)):
            self._tell((view.id, "hopeless"), f"task {view.id}: {hopeless}")
        if order is not None:
            orders.append(order)
        return False

    def _prepared(
        self, view: TaskView, part: _Part, expected_seal: bytes | None, folder: TaskFolder | None = None
    ) -> Order | None:
        """A task's order, once its service and its request are here and checked; None where they are not."""
        try:
            question = self._enquiries.question(self._pool(view), view.request, view.samples)
        except IMPOSSIBLE as problem:
            part.impossible = str(problem)
            self._tell((view.id, "void"), f"task {view.id}: what it asks for cannot be done: {problem}")
            return None
        except StorageError as problem:
            part.is_unavailable = True
            self._tell((view.id, "missing"), f"task {view.id}: waiting for what it is about: {problem}")
            return None
        if question is None:
            self._tell((view.id, "missing"), f"task {view.id}: what it is about is on its way")
            return None
        part.is_unavailable = False
        until_s = view.panel.generated_until_s if expected_seal is None else view.panel.reveal_until_s
        return Order(view.id, view.seed, question, until_s, folder, expected_seal, view.commit_period_s)

    def _recover_void(self, view: TaskView, part: _Part) -> bool:
        """Where the disk was lost: see whether it was void that this account committed to."""
        opening = Opening.derive(self.sender.account, part.folder.place)
        if opening.seal(part.folder.place) != self._own_seal(view):
            return False
        part.folder.seal(opening)
        return True

    def _own_seal(self, view: TaskView) -> bytes:
        return next(seat.seal for seat in view.panel.seats if seat.verifier == self.address)

    # ------------------------------------------------------------------ commit and reveal

    def _seal_void(self, view: TaskView, part: _Part) -> bool:
        part.folder.seal(Opening.derive(self.sender.account, part.folder.place))
        fruitless = self.bench.fruitless.get(str(part.folder.path))
        why = part.impossible or fruitless or "what it is about is not to be had"
        self.report(f"task {view.id}: it is void: {why}")
        return True

    def _commit(self, view: TaskView, part: _Part) -> bool:
        opening = part.folder.opening()
        if opening is None:
            return False
        # On the disk before it is signed: what is signed once is never made another.
        call = self.consensus.commit_outputs(TaskId(view.id), opening.seal(part.folder.place))
        self._send("commit", view, part, call)
        self.report(f"task {view.id}: committed")
        return True

    def _reveal(self, view: TaskView, part: _Part) -> bool:
        opening = part.folder.opening()
        if opening is None:
            return False
        # Nobody can commit any more: now others may have the outputs, and have to find them.
        self._deliver(view, part, opening)
        task, outputs = TaskId(view.id), Digest(opening.outputs)
        self._send("reveal", view, part, self.consensus.reveal_outputs(task, opening.digests, outputs, opening.salt))
        what = "void" if opening.is_void else f"{len(opening.digests)} samples"
        self.report(f"task {view.id}: revealed {what}")
        return True

    def _go_on_delivering(self, view: TaskView, part: _Part) -> bool:
        place = view.panel.place_of(self.address)
        if place is None or not view.panel.seats[place].has_revealed or part.folder.is_delivered:
            return False
        opening = self._opening(part)
        return opening is not None and self._deliver(view, part, opening)

    def _deliver(self, view: TaskView, part: _Part, opening: Opening) -> bool:
        """Put the outputs where others find them; a storage that refuses is tried again, later."""
        if opening.is_void or part.folder.is_delivered or not part.delivery.is_due(view.panel.index):
            return False
        try:
            self._publish(view, part, opening)
        except StorageError as problem:
            if part.delivery.fail(self.poll_s):
                line = " ".join(str(problem).split())
                self.report(f"task {view.id}: the outputs cannot be stored, trying again: {line}")
            return False
        part.folder.mark_delivered()
        part.delivery.end()
        return True

    def _publish(self, view: TaskView, part: _Part, opening: Opening) -> None:
        try:
            content = part.folder.outputs_path.read_bytes()
        except OSError as error:
            raise StorageError(f"{part.folder.outputs_path} cannot be read: {error.strerror}") from error
        if content_name([content]).digest != opening.outputs:
            raise InvalidContent(str(part.folder.outputs_path), "it is not what this account committed to")
        cid = self.store.add_bytes(content)
        self.store.pin(cid, f"task {view.id} panel {view.panel.index} outputs")

    # ------------------------------------------------------------------ calls that are open to anybody

    def _draw_call(self, view: TaskView) -> PreparedCall:
        return self.consensus.draw_seats(TaskId(view.id))

    def _settle(self, view: TaskView, part: _Part, moment: _Moment) -> bool:
        if not self._is_turn(Act.SETTLE, view, part, moment):
            return False
        task = TaskId(view.id)
        history = TaskHistory.of_events(task, self.consensus.events(task))
        panel = history.panels.get(view.panel.index)
        if panel is None:  # the node's events are behind its state
            return False
        return self._push(view, part, "settle", self.consensus.settle(task, history.evidence(panel)))

    def _appeal(self, view: TaskView, part: _Part) -> bool:
        call = self.consensus.appeal(TaskId(view.id), view.appeal_bond_wei)
        self._send("appeal", view, part, call)
        self.report(f"task {view.id}: appealed, with a bond of {view.appeal_bond_wei} wei")
        return True

    def _tell_verdict(self, view: TaskView) -> None:
        place = view.panel.place_of(self.address)
        if view.stage is not Stage.APPEAL or place is None:
            return
        if view.panel.clique >> place & 1:
            self._tell((view.id, "verdict"), f"task {view.id}: this account's outputs are with the majority")
            return
        bond, told = format_amount(view.appeal_bond_wei), "" if self.appeals else "; `--appeal` would appeal"
        line = f"task {view.id}: this account's outputs are not with the majority; an appeal takes {bond}{told}"
        self._tell((view.id, "verdict"), line)

    def _in_turn(self, act: Act, view: TaskView, part: _Part, moment: _Moment, name: str, call: PreparedCall) -> bool:
        return self._is_turn(act, view, part, moment) and self._push(view, part, name, call)

    def _is_turn(self, act: Act, view: TaskView, part: _Part, moment: _Moment) -> bool:
        since = part.due_since.setdefault(act, moment.block)
        own = rank(view.id, self.address, view.panel.place_of(self.address), view.panel.size)
        return is_turn(own, moment.block - since)

    def _push(self, view: TaskView, part: _Part, name: str, call: PreparedCall) -> bool:
        """Send a call that may be another's as well, where nobody has done it before."""
        refusal = self.consensus.refusal(call, self.address)
        if refusal is not None:
            if refusal.name not in OVERTAKEN:
                raise refusal
            return False
        self._send(name, view, part, call)
        return True

    # ------------------------------------------------------------------ small things

    def _send(self, act: str, view: TaskView, part: _Part, call: PreparedCall) -> Receipt:
        key = f"consensus/{act}/{view.id}/{part.folder.path.name}"
        return self.sender.send(key, call, ONE_BLOCK, SEND_S)

    def _tell(self, about: object, line: str) -> None:
        """Say what has changed, once."""
        if self._told.get(about) != line:
            self._told[about] = line
            self.report(line)


def pool_of(terms: PoolTerms) -> Pool:
    """A pool's terms as far as its service is to agree with them."""
    return Pool(terms.service, terms.digest_kind, terms.tolerance_bits, terms.slack_permille, terms.max_samples)
