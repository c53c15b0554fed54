"""Replicated training: a seeded interval of a job's training that several replicas do, each on its own machine.

Every interval begins at one of the job's models on the chain, which is the same integers for everybody: what floats
drift apart in one interval does not add up over the next. From there all that is drawn follows from the task's seed,
the interval's number and the shard's content id. What comes out is an update, int16 counts as trainers send them,
whose SimHash the replicas compare (Charikar 2002, doi:10.1145/509907.509965).
"""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import torch

from market.protocol.errors import InvalidData, InvalidTerms
from market.protocol.integer_model import Integers
from market.protocol.update import Counts, UpdateEncoding, encode
from trainer_client.data import Dataset
from trainer_client.exam import load_slice
from trainer_client.job_model import JobModel
from trainer_client.training import CPU, train

SEED_DOMAIN: Final = "fedmarket/replica/1"

SEED_BYTES: Final = 6
"""A replica's seed has 48 bits: what the noise of a loss is drawn with is some thousand times that."""

PRECISIONS: Final = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What matrices are multiplied in; parameters are float32 always."""


def interval_seed(seed: int, interval: int, shard: str) -> int:
    """What an interval's order of samples and noise follow from: 48 bits of SHAKE-256.

    Args:
        seed: the task's.
        interval: its number within the task, from zero.
        shard: the content id of its samples.
    """
    drawn = hashlib.shake_256(f"{SEED_DOMAIN}:{seed}:{interval}:{shard}".encode()).digest(SEED_BYTES)
    return int.from_bytes(drawn, "big")


def train_interval(
    job_model: JobModel,
    model: Integers,
    samples: Dataset,
    seed: int,
    *,
    device: torch.device = CPU,
    micro_batch: int | None = None,
    precision: str = "float32",
) -> Counts:
    """One interval's update: the job's local training on a shard, from a model of the chain, int16 (d,).

    On one build of PyTorch and one number of threads it is the same bit for bit; elsewhere up to the order of sums.

    Args:
        job_model: the job's; its module is given the model's values.
        model: where the interval begins, int64 (d,).
        samples: the shard.
        seed: as `interval_seed` gives it.
        device: where to compute.
        micro_batch: samples differentiated at a time; None for a batch of the job's at once.
        precision: what matrices are multiplied in: float32, bfloat16 or float16.

    Raises:
        InvalidData: the shard does not fit the model.
        InvalidUpdate: the training diverges.
        InvalidTerms: the precision is unknown.
    """
    module = job_model.load(model)
    with multiplying_in(precision, device):
        trained = train(
            module,
            samples,
            job_model.training,
            seed=seed,
            manifest=job_model.manifest,
            device=device,
            micro_batch=micro_batch,
        )
    return encode(trained.delta, None, UpdateEncoding(job_model.scale_exponent)).counts


def multiplying_in(precision: str, device: torch.device) -> torch.autocast | nullcontext[None]:
    """A context in which matrices are multiplied in this precision on this device.

    Raises:
        InvalidTerms: the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise InvalidTerms(f"precision {precision!r} is unknown, expected one of {', '.join(PRECISIONS)}")
    dtype = PRECISIONS[precision]
    # Without its cache: it would keep the parameters of the first step for all of them.
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype, cache_enabled=False)


def load_shard(path: Path, job_model: JobModel) -> Dataset:
    """Read a shard that somebody published: an uncompressed .npz of its arrays, as `fedmarket data` writes none larger.

    Raises:
        InvalidData: it is no such archive, would unpack to more than its own length, or does not fit the model.
    """
    samples = load_slice(path, job_model)
    if samples.features != job_model.input.features:
        raise InvalidData(f"{path} has {samples.features} values a sample, expected {job_model.input.features}")
    return samples
