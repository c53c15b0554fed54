"""One interval of a job's training, and what honest, lazy and deviating replicas make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedmarket.demo.scenario import make_scenario
from fedmarket.owner import initial_model
from market.protocol.integer_model import Integers
from market.protocol.replication import DIGEST
from market.protocol.update import Counts
from market.storage import content_cid
from trainer_client.data import Dataset
from trainer_client.digests import DIGESTS, hamming
from trainer_client.exam import slice_bytes
from trainer_client.job_model import JobModel
from trainer_client.replication import interval_seed, train_interval

SAMPLES, SEED = 64, 7
KIND = DIGESTS[DIGEST]


class Interval:
    """One interval of the demo's job, and what replicas make of it."""

    def __init__(self, seed: int = SEED, part: int = 0) -> None:
        self.seed, self.part = seed, part
        self.scenario = make_scenario(3, 3)
        self.job_model = JobModel.of_spec(self.scenario.spec)
        self.model = initial_model(self.scenario.spec, self.scenario.warm)
        self.shard = self.scenario.parts[part].subset(np.arange(SAMPLES))
        self.name = str(content_cid(slice_bytes(self.shard)))
        self.honest = self.train()

    def train(
        self,
        model: Integers | None = None,
        shard: Dataset | None = None,
        seed: int | None = None,
        epochs: int = 0,
        **how: object,
    ) -> Counts:
        training = replace(self.job_model.training, epochs=epochs or self.job_model.training.epochs)
        job_model = replace(self.job_model, training=training)
        own_seed = interval_seed(self.seed if seed is None else seed, 0, self.name)
        start, samples = self.model if model is None else model, self.shard if shard is None else shard
        return train_interval(job_model, start, samples, own_seed, **how)  # type: ignore[arg-type]

    def bits(self, counts: Counts) -> int:
        """How far an update is from the honest one."""
        return int(hamming(KIND.digest(counts[None]), KIND.digest(self.honest[None]))[0])


def no_training(interval: Interval) -> Counts:
    return np.zeros_like(interval.honest)


def one_epoch_less(interval: Interval) -> Counts:
    return interval.train(epochs=interval.job_model.training.epochs - 1)


def one_epoch(interval: Interval) -> Counts:
    return interval.train(epochs=1)


def old_model(interval: Interval) -> Counts:
    return interval.train(model=initial_model(interval.scenario.spec, interval.scenario.warm, epochs=9))


def other_data(interval: Interval) -> Counts:
    return interval.train(shard=interval.scenario.parts[1 - interval.part].subset(np.arange(SAMPLES)))


def half_the_data(interval: Interval) -> Counts:
    return interval.train(shard=interval.shard.subset(np.arange(SAMPLES // 2)))


def another_seed(interval: Interval) -> Counts:
    return interval.train(seed=interval.seed + 1)


def noise(interval: Interval) -> Counts:
    spread = float(interval.honest.std())
    return np.random.default_rng(0).normal(0, spread, len(interval.honest)).astype(np.int16)


def a_flipped_bit_of_the_update(interval: Interval) -> Counts:
    damaged = interval.honest.copy()
    damaged[100] ^= 1 << 14
    return damaged


def a_flipped_sign(interval: Interval) -> Counts:
    return -interval.honest
