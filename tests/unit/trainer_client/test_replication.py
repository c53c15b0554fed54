"""Honest replicas of an interval agree whatever their machines are like; who does less or something else does not.

The bits that are stated here are measured; `TOLERANCE_BITS` lies between them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from aggregator.gram import gram_matrix
from aggregator.replicas import compare_replicas
from market.protocol.errors import BlockNotFound, InvalidData, InvalidInput, InvalidTerms
from market.protocol.gram_matrix import PUBLIC_ROWS
from market.protocol.identifiers import Seat
from market.protocol.replication import DIGEST_CODE, ROUND
from market.protocol.replication_spec import TOLERANCE_BITS
from market.protocol.update import Counts
from market.storage import content_cid
from tests.replicas import (
    KIND,
    SEED,
    Interval,
    a_flipped_bit_of_the_update,
    a_flipped_sign,
    another_seed,
    half_the_data,
    no_training,
    noise,
    old_model,
    one_epoch,
    one_epoch_less,
    other_data,
)
from trainer_client.data import Dataset
from trainer_client.digests import hamming
from trainer_client.generation import Execution
from trainer_client.replication import ReplicaGenerator, interval_seed

ROUND_NUMBER = 2


@pytest.fixture(scope="module")
def interval() -> Interval:
    return Interval()


def test_the_number_on_the_chain_is_that_of_the_kind() -> None:
    assert KIND.code == DIGEST_CODE


@pytest.mark.parametrize("micro_batch", [None, 7, 1])
def test_honest_replicas_agree_however_they_split_their_batches(interval: Interval, micro_batch: int | None) -> None:
    assert interval.bits(interval.train(micro_batch=micro_batch)) <= TOLERANCE_BITS


def test_honest_replicas_agree_with_other_threads(interval: Interval) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if before == 1 else 1)
        assert interval.bits(interval.train()) <= TOLERANCE_BITS
    finally:
        torch.set_num_threads(before)


def test_the_same_replica_again_is_the_same_bit_for_bit(interval: Interval) -> None:
    assert interval.train().tobytes() == interval.honest.tobytes()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_replicas_of_short_numbers_drift_with_the_length_of_the_interval(interval: Interval, precision: str) -> None:
    near = interval.bits(interval.train(precision=precision))
    one_epoch = interval.train(epochs=1)
    short = interval.train(epochs=1, precision=precision)
    [apart] = hamming(KIND.digest(one_epoch[None]), KIND.digest(short[None]))
    assert apart <= 8
    assert near < 40


@pytest.mark.parametrize(
    ("cheat", "least"),
    [
        (no_training, 100),
        (noise, 100),
        (a_flipped_sign, 200),
        (old_model, 50),
        (other_data, 50),
        (half_the_data, 40),
        (one_epoch, 30),
        (another_seed, 25),
        (a_flipped_bit_of_the_update, 15),
        (one_epoch_less, TOLERANCE_BITS + 1),
    ],
)
def test_a_lazy_or_deviating_replica_is_found(
    interval: Interval, cheat: Callable[[Interval], Counts], least: int
) -> None:
    assert interval.bits(cheat(interval)) >= least > TOLERANCE_BITS


def test_a_rounds_matrix_tells_of_the_same_bits_without_any_update(interval: Interval) -> None:
    deviating = another_seed(interval)
    matrix = gram_matrix([interval.honest, deviating], (None,) * PUBLIC_ROWS)
    [pair] = compare_replicas(matrix, [Seat(0), Seat(1)], [Seat(0), Seat(1)])
    # 256 planes part vectors at this angle as coins fall: three standard deviations are at most 24.
    assert pair.bits == pytest.approx(interval.bits(deviating), abs=24)


def test_every_interval_of_a_task_has_an_order_of_its_own() -> None:
    seeds = {interval_seed(seed, number, shard) for seed in (0, 1) for number in (0, 1) for shard in ("a", "b")}
    assert len(seeds) == 8
    assert all(0 <= seed < 1 << 48 for seed in seeds)


def test_a_precision_that_is_unknown_is_refused(interval: Interval) -> None:
    with pytest.raises(InvalidTerms, match="float32, bfloat16, float16"):
        interval.train(precision="int8")


# ---------------------------------------------------------------------- the generator


@pytest.fixture
def generator(interval: Interval) -> ReplicaGenerator:
    models = {ROUND_NUMBER: interval.model}

    def shard(name: str) -> Dataset:
        if name != interval.name:
            raise BlockNotFound(name, "this store")
        return interval.shard

    return ReplicaGenerator(interval.job_model, models.__getitem__, shard)


def test_a_request_gives_an_update_a_shard(interval: Interval, generator: ReplicaGenerator) -> None:
    told: list[tuple[int, int]] = []
    prompts = (interval.name, interval.name)
    outputs = generator.generate(
        prompts, SEED, {ROUND: ROUND_NUMBER}, Execution(batch_size=16), progress=lambda *done: told.append(done)
    )
    assert outputs.counts is not None
    assert outputs.counts.shape == (2, interval.job_model.manifest.dimension)
    assert interval.bits(outputs.counts[0]) == 0
    assert interval.bits(outputs.counts[1]) > TOLERANCE_BITS
    assert told == [(1, 2), (2, 2)]


def test_intervals_are_the_same_however_a_task_is_cut(interval: Interval, generator: ReplicaGenerator) -> None:
    decoding, execution = {ROUND: ROUND_NUMBER}, Execution(batch_size=16)
    whole = generator.generate((interval.name,) * 2, SEED, decoding, execution)
    second = generator.generate((interval.name,), SEED, decoding, execution, first_sample=1)
    assert whole.counts is not None
    assert second.counts is not None
    assert second.counts[0].tobytes() == whole.counts[1].tobytes()


@pytest.mark.parametrize(
    ("prompts", "decoding"),
    [
        ((3,), {ROUND: 0}),
        ((None,), {ROUND: 0}),
        (("shards/0",), {ROUND: 0}),
        ((str(content_cid(b"shard")),), {}),
        ((str(content_cid(b"shard")),), {ROUND: -1}),
        ((str(content_cid(b"shard")),), {ROUND: "last"}),
    ],
)
def test_what_asks_for_no_interval_is_refused(
    generator: ReplicaGenerator, prompts: tuple[object, ...], decoding: dict[str, object]
) -> None:
    with pytest.raises(InvalidData):
        generator.generate(prompts, SEED, decoding, Execution())  # type: ignore[arg-type]


def test_a_shard_that_is_not_here_may_come(generator: ReplicaGenerator) -> None:
    with pytest.raises(BlockNotFound):
        generator.generate((str(content_cid(b"other")),), SEED, {ROUND: ROUND_NUMBER}, Execution())


def test_a_device_that_is_not_here_is_refused(interval: Interval, generator: ReplicaGenerator) -> None:
    with pytest.raises(InvalidInput):
        generator.generate((interval.name,), SEED, {ROUND: ROUND_NUMBER}, Execution(device="cuda:99"))
