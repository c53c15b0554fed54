"""Updates that are made within a privacy limit: planned, reserved, trained, settled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from market.protocol.errors import InvalidInput, InvalidModel, InvalidTerms, PrivacyLedgerPutBack
from market.storage.durable_file import sync_folder, write_file
from trainer_client.attempt_folder import PRIVACY_NAME, AttemptFolder, make_private
from trainer_client.crafting import RoundTask, method_of, train_by
from trainer_client.engine.gradients import BatchWork
from trainer_client.exported.module import ExportedModel
from trainer_client.job_model import JobModel
from trainer_client.privacy.accounting import Steps, epsilon_of, most_signal, noise_for
from trainer_client.privacy.chance import SecretChance
from trainer_client.privacy.gradient import PrivateGradient
from trainer_client.privacy.ledger import Balance, Place, Plan, PrivacyLedger, Reservation
from trainer_client.privacy.sample_gradients import check_separable
from trainer_client.privacy.sampling import PoissonSampling
from trainer_client.privacy.settings import NoiseChoice

REFUSED: Final[Mapping[str, str]] = {
    "fedspeed": "takes two gradients of one batch, of which only one would be accounted for",
    "curriculum": "orders the samples by their losses, where privacy has to draw them by chance",
}
"""Objectives that look at the samples in a way that no accountant knows of. The others see noised gradients alone."""


LITTLE: Final = 0.25
"""Share of an update's length beyond which nothing is said of its noise."""


class PrivateTraining:
    """Makes an attempt's update by DP-SGD, and never one that the ledger's limit leaves no room for.

    An attempt whose update did not leave this machine, because its trainer was killed or went away, is made again under
    the reservation that it has: what counts is what is handed in, and that is one update an attempt.
    """

    def __init__(self, ledger: PrivacyLedger, choice: NoiseChoice, rounds: int) -> None:
        """Prepare.

        Args:
            ledger: of the data.
            choice: how gradients are clipped and noised.
            rounds: of the job, all together.
        """
        self._ledger, self._choice, self._rounds = ledger, choice, rounds

    def __call__(self, task: RoundTask) -> NDArray[np.float32]:
        """The update, float32 (d,).

        Raises:
            PrivacySpent: the limit leaves no room for it; no sample was looked at.
            InvalidInput: the job cannot be trained privately, or the ledger is damaged.
            InvalidUpdate: the training diverged, or there was no time for a single step.
            StorageError: the disk refuses.
        """
        check_objective(task.job_model)
        reserved = self._reserve(task)
        made: list[PrivateGradient] = []

        def gradients(work: BatchWork) -> PrivateGradient:
            made.append(PrivateGradient(work, reserved.plan, SecretChance()))
            return made[-1]

        # Each has chance of its own: batches are drawn ahead, in another thread.
        # What the model draws, too: a dropout mask that follows from a sample's place in its batch, and is known,
        # would make every gradient depend on which samples come before it.
        method = replace(
            method_of(task),
            gradients=gradients,
            sampling=PoissonSampling(SecretChance()),
            secret=SecretChance().octets,
        )
        delta = train_by(task, method)
        self._ledger.settle(reserved.token, made[-1].steps)
        return delta

    def has_made(self, folder: AttemptFolder) -> bool:
        """Whether what lies trained in a folder was reserved in this ledger: nothing else is handed in.

        Raises:
            InvalidInput, PrivacyLedgerPutBack, StorageError: as `PrivacyLedger.balance`.
        """
        token = _token(folder)
        return token is not None and any(it.token == token for it in self._ledger.balance().reservations)

    def outlook(self, place: Place, model: JobModel, samples: int, done: int) -> str:
        """What is spent, and what the job's other rounds would add, in a line.

        Args:
            place: an attempt of the job.
            model: the job's.
            samples: the trainer's.
            done: rounds that are over.

        Raises:
            InvalidInput: delta is too large for so few samples, or the ledger is damaged, or there is none.
        """
        balance = self._ledger.balance()
        limit = balance.limit
        limit.check_samples(samples)
        line = f"privacy: epsilon {balance.epsilon():.4g} of {limit.epsilon:g} spent at delta {limit.delta:g}"
        rate, steps = _drawn(model, samples)
        left = max(self._rounds - done, 1)
        try:
            noise = self._noise(balance, place, rate, steps, left, None)
        except InvalidInput:
            return f"{line}, which is too much for the rounds that are left"
        end = epsilon_of((*balance.history, Steps(noise, rate, steps * left)), limit.delta, limit.accountant)
        more = f"with {left} more rounds of {steps:,} steps: {end:.4g}"
        line = f"{line}; {more}; noise {noise:.4g}, clip {self._choice.clip:g}, {limit.accountant} accountant"
        share = most_signal(Steps(noise, rate, steps), samples, model.manifest.dimension)
        return line if share > LITTLE else f"{line}; at most {share:.1%} of an update is not noise: few rules accept it"

    # ------------------------------------------------------------------ before the first look at the data

    def _reserve(self, task: RoundTask) -> Reservation:
        balance, samples = self._ledger.balance(), len(task.dataset)
        balance.limit.check_samples(samples)
        token = None if task.folder is None else _token(task.folder)
        if task.folder is not None:
            check_earlier(task.folder)
        place = _place(task)
        rate, steps = _drawn(task.job_model, samples)
        done = 0 if task.folder is None else task.folder.context.round
        noise = self._noise(balance, place, rate, steps, max(self._rounds - done, 1), token)
        reserved = self._ledger.reserve(Plan(place, noise, rate, steps, self._choice.clip), token)
        if task.folder is not None and reserved.token != token:
            _begin(task.folder, reserved.token)
        limit = balance.limit
        after = self._ledger.balance().epsilon()
        task.report(
            f"privacy: epsilon {after:.4g} of {limit.epsilon:g} at delta {limit.delta:g} with this update "
            f"(noise {noise:.4g}, clip {self._choice.clip:g}, {steps:,} steps)"
        )
        return reserved

    def _noise(self, balance: Balance, place: Place, rate: float, steps: int, left: int, token: str | None) -> float:
        """The noise multiplier: the chosen one, or the job's last one while it reaches the target, or a new one."""
        if self._choice.noise_multiplier is not None:
            return self._choice.noise_multiplier
        target = min(self._choice.target or balance.limit.epsilon, balance.limit.epsilon)
        others = tuple(r.plan.kind for r in balance.reservations if r.token != token)
        delta, accountant = balance.limit.delta, balance.limit.accountant
        for reservation in balance.of_job(place)[-1:]:
            plan = reservation.plan
            same = (plan.sample_rate, plan.clip) == (rate, self._choice.clip)
            ends_at = epsilon_of((*others, Steps(plan.noise_multiplier, rate, steps * left)), delta, accountant)
            if same and (reservation.token == token or ends_at <= target):
                return plan.noise_multiplier
        return noise_for(target, delta, rate, steps * left, others, accountant)


def check_private(model: JobModel) -> None:
    """Refuse a job that cannot be trained privately.

    Raises:
        InvalidModel: a layer mixes the samples of a batch, or training writes a buffer.
        InvalidTerms: its objective looks at the samples in a way that no accountant knows of.
    """
    check_objective(model)
    check_separable(model.module)
    if isinstance(model.module, ExportedModel):
        # A package's manifest names those buffers alone that its training writes.
        buffers = dict(model.module.named_buffers())
        for entry in model.manifest.entries:
            if entry.name in buffers:
                raise InvalidModel(
                    f"privacy: training writes buffer {entry.name} of the job's model, which keeps what the samples "
                    "were like: this job needs group or layer normalisation to be trained privately"
                )


def check_objective(model: JobModel) -> None:
    """Refuse an objective that looks at the samples in a way that no accountant knows of.

    Raises:
        InvalidTerms: it does.
    """
    objective = model.training.objective
    if objective is not None and objective.name in REFUSED:
        raise InvalidTerms(f"privacy: the job's objective {objective.name} {REFUSED[objective.name]}")


def check_revealed(ledger: PrivacyLedger, place: Place, revealed: list[int], *, late: bool = False) -> None:
    """Hold the ledger against the chain: whatever this account handed in has to be in it.

    An update that may be handed in late is in it by the attempt that its training began in: then numbers alone count.

    Args:
        ledger: of the data.
        place: an attempt of the job.
        revealed: the attempts of the job in which this account handed an update in.
        late: whether the job takes updates made from earlier models.

    Raises:
        PrivacyLedgerPutBack: an attempt is missing.
        InvalidInput: there is no ledger, or it is damaged.
    """
    known = {reservation.plan.place.attempt for reservation in ledger.balance().of_job(place)}
    missing = revealed[len(known) :] if late else [attempt for attempt in revealed if attempt not in known]
    if missing:
        raise PrivacyLedgerPutBack(
            f"this account handed in updates in attempt {', '.join(map(str, missing))} of job {place.job} that the "
            f"privacy ledger in {ledger.folder} knows nothing of: it is a copy from before, or they were trained "
            "without privacy, which cannot begin in the middle of a job"
        )


def check_earlier(folder: AttemptFolder) -> None:
    """Refuse to add to what an update without privacy left over: rounding, and what compressors and objectives keep.

    Raises:
        InvalidInput: an earlier attempt was sealed without a reservation.
    """
    for opening in sorted(folder.path.parent.glob("attempt-*/opening.json")):
        if opening.parent != folder.path and not opening.with_name(PRIVACY_NAME).exists():
            raise InvalidInput(
                f"{opening.parent} was trained without privacy, and what it left over would be in the next update: "
                "privacy cannot begin in the middle of a job"
            )


def default_ledger(data: Path) -> Path:
    """Where the ledger of a data file or folder is kept: beside it, whatever account or job uses it."""
    whole = data.resolve()
    return whole.with_name(f"{whole.name}.privacy")


def _drawn(model: JobModel, samples: int) -> tuple[float, int]:
    """A round's sample rate and its steps."""
    sampling, training = PoissonSampling(SecretChance()), model.training
    steps = sampling.steps(samples, training.batch_size)
    return sampling.rate(samples, training.batch_size), training.epochs * steps


def _place(task: RoundTask) -> Place:
    return Place(0, "", 0, task.attempt) if task.folder is None else Place.of(task.folder.context)


def _token(folder: AttemptFolder) -> str | None:
    try:
        return str(json.loads((folder.path / PRIVACY_NAME).read_bytes())["token"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # then the update is paid for again


def _begin(folder: AttemptFolder, token: str) -> None:
    """Bind a folder to its reservation; a training that lies there was not made under it."""
    make_private(folder.path)
    folder.checkpoint_path.unlink(missing_ok=True)
    sync_folder(folder.path)
    write_file(folder.path / PRIVACY_NAME, [json.dumps({"token": token}).encode()], 0o600)
    sync_folder(folder.path)
