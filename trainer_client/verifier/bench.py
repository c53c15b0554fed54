"""Where outputs are generated: a batch at a time, what is due first at first, each kept as soon as it is there."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from eth_account.signers.local import LocalAccount

from market.protocol.errors import (
    FedmarketError,
    InvalidContent,
    InvalidData,
    InvalidModel,
    InvalidOutputs,
    InvalidTerms,
    StorageError,
)
from market.protocol.generation import Prompt
from market.storage.part_stream import content_name
from trainer_client.generation import Execution, Outputs, joined, watched
from trainer_client.verifier.digesting import digests_of
from trainer_client.verifier.opening import Opening
from trainer_client.verifier.pace import Pace, work_of
from trainer_client.verifier.services import Question
from trainer_client.verifier.task_folder import TaskFolder

TRIAL_SAMPLES = 2
"""How many samples are generated to know how long all would take, where nothing of the kind was measured yet."""

RETRY_S = 15.0
"""How long a task is left alone whose generation failed; meanwhile others have their turn."""


FRUITLESS = (InvalidData, InvalidModel, InvalidOutputs, InvalidTerms)
"""What generating is refused by that no other moment changes: values that are not finite, or that nobody can digest."""


class Stopped(Exception):
    """Generating was told to end; the batch that was at work is lost, those before it are kept."""


class GaveWay(Exception):
    """A measurement was left for work that something is at stake in, or because it takes too long to be of use."""


@dataclass(frozen=True)
class Advance:
    """How far a task's outputs are.

    Attributes:
        task: its number.
        done, total: samples.
    """

    task: int
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be generated.

    Attributes:
        task: the task's number.
        seed: the task's.
        question: what it asks for, checked.
        folder: where batches are kept; None where only the time is measured that they take.
        until_s: when they have to be there.
        expected_seal: what was committed to already, where the outputs are made again.
        within_s: how long all of it may take; what takes longer is measured no further than to know that.
    """

    task: int
    seed: int
    question: Question
    until_s: int
    folder: TaskFolder | None = None
    expected_seal: bytes | None = None
    within_s: float = math.inf

    @property
    def key(self) -> str:
        """Tells it from all others: after a reorganisation another task may have its number."""
        return f"trial of {self.task}" if self.folder is None else str(self.folder.path)

    @property
    def samples(self) -> int:
        """How many."""
        return len(self.question.request.prompts)


@dataclass
class _Trouble:
    what: str
    until: float


@dataclass
class Bench:
    """Generates what is ordered. One thread works at it; others place orders and look at what became of them.

    Attributes:
        execution: how models are run on this machine.
        account: derives salts.
        pace: how fast it goes.
        report: is told what goes wrong, a line at a time.
        progress: is told after every batch.
        hopeless: what cannot be made again as it was committed to, by `Order.key`, and why.
        fruitless: what nothing that could be committed to came of, by `Order.key`, and why.
    """

    execution: Execution
    account: LocalAccount
    pace: Pace
    report: Callable[[str], None] = lambda line: None
    progress: Callable[[Advance], None] = lambda advance: None
    hopeless: dict[str, str] = field(default_factory=dict)
    fruitless: dict[str, str] = field(default_factory=dict)
    _orders: Sequence[Order] = ()
    _troubles: dict[str, _Trouble] = field(default_factory=dict)
    _at_least_s: dict[str, float] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def place(self, orders: Sequence[Order]) -> None:
        """What there is to do from now on, in place of what there was."""
        # Where something is at stake comes first, and then what is due first.
        self._orders = tuple(sorted(orders, key=lambda order: (order.folder is None, order.until_s, order.task)))

    def work_of(self, order: Order) -> str:
        """Names work that takes as long a sample."""
        lengths = [_length(prompt) for prompt in order.question.request.prompts]
        return work_of(order.question.service, order.question.decoding, asdict(self.execution), max(lengths))

    def estimate_s(self, order: Order) -> float | None:
        """How long what is left of an order takes; None where it has to be measured first."""
        left = order.samples
        if order.folder is not None:
            left = sum(len(span) for span in self._spans(order) if not order.folder.batch_path(span.start).exists())
        work = self.work_of(order)
        known = self.pace.estimate_s(work, left)
        if known is None and (least_s := self._at_least_s.get(work, 0.0) * left) > order.within_s:
            return least_s  # it was left unmeasured for that, and is measured where there is more time
        return known

    def work(self) -> bool:
        """Do one piece of what is most urgent; returns whether there was anything to do."""
        order = next((order for order in self._orders if self._can_go_on(order)), None)
        if order is None:
            return False
        try:
            self._do(order)
        except Stopped:
            return False
        except GaveWay:
            return True
        except FRUITLESS as problem:
            self.fruitless[order.key] = f"what comes out is no good with {self.execution}: {problem}"
            self._put_off(order, self.fruitless[order.key])
        except FedmarketError as problem:
            self._put_off(order, str(problem))
        except (ArithmeticError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as defect:
            # Of a service that nobody here has seen before: what is at stake in other tasks is not lost by it.
            self._put_off(order, f"generating fails: {type(defect).__name__}: {' '.join(str(defect).split())[:300]}")
        return True

    def run(self, pause_s: float = 0.1) -> None:
        """Work until `stop` is called."""
        while not self._stopping.is_set():
            if not self.work():
                self._stopping.wait(pause_s)

    def stop(self) -> None:
        """Let the batch go that is at work."""
        self._stopping.set()

    # ------------------------------------------------------------------ one piece

    def _can_go_on(self, order: Order) -> bool:
        trouble = self._troubles.get(order.key)
        if order.key in self.hopeless:
            return False
        if trouble is not None and time.monotonic() < trouble.until:
            return False
        if order.folder is None:
            return self.estimate_s(order) is None
        try:
            opening = order.folder.opening()
        except InvalidContent:
            return True  # it is made again
        except StorageError:
            return False
        return opening is None or order.expected_seal not in (None, opening.seal(order.folder.place))

    def _do(self, order: Order) -> None:
        if order.folder is None:
            self._try_out(order)
            return
        order.folder.begin(asdict(self.execution))
        spans = self._spans(order)
        missing = [span for span in spans if not order.folder.batch_path(span.start).exists()]
        if missing:
            self._generate_batch(order, order.folder, missing[0])
            done = order.samples - sum(map(len, missing[1:]))
            self.progress(Advance(order.task, done, order.samples))
        if len(missing) <= 1:
            self._finish(order, order.folder, spans)

    def _spans(self, order: Order) -> list[range]:
        size = self.execution.batch_size
        return [range(start, min(start + size, order.samples)) for start in range(0, order.samples, size)]

    def _generate_batch(self, order: Order, folder: TaskFolder, span: range) -> None:
        begun = time.monotonic()
        outputs = self._generate(order, order.question.request.prompts[span.start : span.stop], span.start, begun)
        self.pace.measured(self.work_of(order), len(span), max(time.monotonic() - begun, 1e-6))
        draft = folder.draft_path(span.start)
        outputs.write(draft)
        folder.keep_batch(span.start)

    def _try_out(self, order: Order) -> None:
        """Measure how long the longest prompts take, digests included: what has none is not worth a seat."""
        prompts = sorted(order.question.request.prompts, key=_length, reverse=True)[:TRIAL_SAMPLES]
        begun = time.monotonic()
        digests_of(order.question.document, self._generate(order, prompts, 0, begun))
        self.pace.measured(self.work_of(order), len(prompts), max(time.monotonic() - begun, 1e-6))

    def _generate(self, order: Order, prompts: Sequence[Prompt], first_sample: int, begun: float) -> Outputs:
        with watched(lambda: self._watch(order, len(prompts), begun)):
            return order.question.generator.generate(
                prompts,
                order.seed,
                order.question.decoding,
                self.execution,
                first_sample=first_sample,
                progress=lambda *_: self._watch(order, len(prompts), begun),
            )

    def _watch(self, order: Order, samples: int, begun: float) -> None:
        """Called at every step: leaves what is at work for what is more urgent.

        Raises:
            Stopped: generating was told to end.
            GaveWay: only a measurement is at work, and something is at stake elsewhere, or it has taken too long.
        """
        if self._stopping.is_set():
            raise Stopped
        if order.folder is not None:
            return
        if any(other.folder is not None and self._can_go_on(other) for other in self._orders):
            raise GaveWay
        spent_s = time.monotonic() - begun
        if spent_s * order.samples > order.within_s * samples:
            self._at_least_s[self.work_of(order)] = spent_s / samples
            raise GaveWay

    def _finish(self, order: Order, folder: TaskFolder, spans: Sequence[range]) -> None:
        """Put all batches in one file, under a content id, and fix what is committed to."""
        try:
            outputs = joined([Outputs.read(folder.batch_path(span.start)) for span in spans])
        except InvalidOutputs as problem:
            folder.discard_batches()
            raise StorageError(f"batches in {folder.path} are damaged, and are generated again: {problem}") from problem
        digests = digests_of(order.question.document, outputs)
        # A seal binds a content id before anybody else may have the content: nothing is stored yet.
        opening = Opening.derive(self.account, folder.place, digests, content_name([outputs.to_bytes()]).digest)
        if order.expected_seal not in (None, opening.seal(folder.place)):
            self.hopeless[order.key] = (
                f"what {self.execution} gives is not what this account committed to, from another folder: run again "
                "with the --dtype, --batch-size, --threads and --device of that time"
            )
            return
        folder.keep_outputs(outputs.to_bytes())
        folder.seal(opening)
        self.fruitless.pop(order.key, None)
        folder.discard_batches()

    def _put_off(self, order: Order, problem: str) -> None:
        known = self._troubles.get(order.key)
        if known is None or known.what != problem:
            self.report(f"task {order.task}: {problem}; tried again")
        self._troubles[order.key] = _Trouble(problem, time.monotonic() + RETRY_S)


def _length(prompt: Prompt) -> int:
    return len(prompt.encode("utf-8", "surrogatepass")) if isinstance(prompt, str) else 0
