"""Writes consensus.json: panels, and what the consensus contract's interface, read literally, says of them.

    python -m tests.vectors.make_consensus

The answers come from `tests/unit/protocol/consensus_oracle.py` alone. Forge decides the panels by the contract's code,
pytest by the Python's. Panels and verdicts are ABI encoded; what they are stands beside them for people.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from eth_abi import encode

from market.protocol.consensus import VOID, Batch, ConsensusTerms, Reveal, batch_of, digests_of
from tests.unit.protocol.consensus_oracle import Digests, Rules, Verdict, verdict
from tests.unit.protocol.random_panels import Case, flipped, random_case

PATH = Path(__file__).with_name("consensus.json")

SILENT, GIVEN, EMPTY = range(3)
"""What a seat did: nothing, give digests, say that the request is void."""

PANEL = ["uint256"] * 4 + ["uint8[]", "bytes32[][]", "uint16[]", "bytes32[]"]
"""Seats, samples, tolerance in bits, slack in thousandths; what each seat did, its digests; canaries."""

VERDICT = ["uint8", "uint16", "uint16", "uint8", "uint256"]
"""Outcome, clique, spared, medoid, accepted samples: as the contract's event has them."""

TOLERANCE = 40
ONE = bytes([0x5A]) * 32


def named_cases() -> Iterator[tuple[str, Case]]:
    """Panels that a person would think of."""
    rng = random.Random(2_307)
    honest, lazy, other = ([rng.randbytes(32) for _ in range(4)] for _ in range(3))
    near = [_near(rng, honest) for _ in range(15)]
    for seats in (3, 5, 7, 15):
        majority = seats // 2 + 1
        yield f"all_agree_{seats}", _case(seats, near[:seats])
        yield f"a_bare_majority_{seats}", _case(seats, [*near[:majority], *[None] * (seats - majority)])
        yield (
            f"one_short_of_a_majority_{seats}",
            _case(seats, [*near[: majority - 1], *[None] * (seats - majority + 1)]),
        )
        yield f"one_is_lazy_{seats}", _case(seats, [batch_of(lazy), *near[: seats - 1]])
        yield f"nobody_agrees_{seats}", _case(seats, [_noise(rng) for _ in range(seats)])
        yield f"nobody_reveals_{seats}", _case(seats, [None] * seats)
        yield f"all_say_void_{seats}", _case(seats, [VOID] * seats)
        yield f"void_wins_{seats}", _case(seats, [*near[: seats - majority], *[VOID] * majority])
        yield f"void_loses_{seats}", _case(seats, [VOID, *near[: seats - 1]])
        yield f"a_chain_{seats}", _case(seats, [_moved(honest, 25 * seat) for seat in range(seats)])
        bridge = [_moved(honest, 0), _moved(honest, TOLERANCE), _moved(honest, 2 * TOLERANCE)]
        yield f"a_bridge_{seats}", _case(seats, [*bridge, *near[: seats - 3]])
        yield f"copies_{seats}", _case(seats, [near[0]] * (seats - 1) + [batch_of(other)])
        tied = (
            [_moved(honest, 0)] * (seats // 2)
            + [_moved(honest, TOLERANCE)]
            + [_moved(honest, 2 * TOLERANCE)] * (seats // 2)
        )
        yield f"two_cliques_tie_{seats}", _case(seats, tied)
    eight = [rng.randbytes(32) for _ in range(8)]
    guess = rng.randbytes(32)
    guessed = batch_of([guess, *eight[1:]])
    right = batch_of(eight)
    for name, canaries in {
        "no_canary_finds_the_guess": {},
        "a_canary_finds_the_guess": {0: eight[0]},
        "a_false_canary_parts_nobody": {0: guess},
        "a_canary_elsewhere_parts_nobody": {1: eight[1]},
        "a_canary_at_the_tolerance_counts": {0: flipped(rng, eight[0], TOLERANCE)},
        "a_canary_beyond_the_tolerance_does_not": {0: _exactly(eight[0], TOLERANCE + 1)},
    }.items():
        yield name, Case(ConsensusTerms(3, 8, TOLERANCE, 249), (right, guessed, right), canaries)
    ends = [batch_of([guess if place == sample else right for place, right in enumerate(eight)]) for sample in range(2)]
    yield (
        "canaries_undo_no_majority",
        Case(ConsensusTerms(3, 8, TOLERANCE, 249), (ends[0], right, ends[1]), {0: eight[0], 1: eight[1]}),
    )
    for beyond in range(4):
        batch = batch_of([*[rng.randbytes(32) for _ in range(beyond)], *eight[beyond:]])
        yield (
            f"{beyond}_of_8_beyond_with_slack_for_1",
            Case(ConsensusTerms(3, 8, TOLERANCE, 249), (right, batch, None), {}),
        )
    for bits in (TOLERANCE, TOLERANCE + 1):
        pair = (batch_of([ONE]), batch_of([_exactly(ONE, bits)]), None)
        yield f"{bits}_bits_apart_at_tolerance_{TOLERANCE}", Case(ConsensusTerms(3, 1, TOLERANCE, 0), pair, {})
    full = [rng.randbytes(32) for _ in range(256)]
    yield (
        "as_many_samples_as_there_can_be",
        Case(ConsensusTerms(3, 256, 127, 249), (batch_of(full), batch_of(full), _near(rng, full)), {255: full[255]}),
    )


def random_cases() -> Iterator[tuple[str, Case]]:
    """Panels that nobody would think of."""
    rng = random.Random(1_897)
    for seats in (3, 5, 7, 15):
        for number in range(16):
            yield f"random_{seats}_{number}", random_case(rng, seats, most_samples=3 if seats == 15 else 6)


def as_panel(case: Case) -> bytes:
    """A panel, ABI encoded."""
    states = [_state(reveal) for reveal in case.reveals]
    digests = [_digests(reveal) for reveal in case.reveals]
    samples = sorted(case.canaries)
    terms = (case.terms.verifiers, case.terms.samples, case.terms.tolerance_bits, case.terms.slack_permille)
    return encode(PANEL, [*terms, states, digests, samples, [case.canaries[sample] for sample in samples]])


def as_verdict(told: Verdict) -> bytes:
    """A verdict, ABI encoded."""
    return encode(VERDICT, [told.outcome, told.clique, told.spared, told.medoid, told.accepted_samples])


def oracle(case: Case) -> Verdict:
    """What the oracle says of a panel."""
    terms = case.terms
    rules = Rules(terms.verifiers, terms.samples, terms.tolerance_bits, terms.slack_permille)
    canaries = {sample: int.from_bytes(digest, "big") for sample, digest in case.canaries.items()}
    return verdict(rules, [_numbers(reveal) for reveal in case.reveals], canaries)


def vectors() -> dict[str, Any]:
    """The file's content."""
    cases = [*named_cases(), *random_cases()]
    assert len(dict(cases)) == len(cases)
    return {name: _vector(case) for name, case in cases}


def text() -> str:
    """The file's text."""
    return json.dumps(vectors(), indent=1, sort_keys=True) + "\n"


def _vector(case: Case) -> dict[str, Any]:
    told = oracle(case)
    return {
        "panel": "0x" + as_panel(case).hex(),
        "verdict": "0x" + as_verdict(told).hex(),
        "seats": [("silent", "digests", "void")[_state(r)] for r in case.reveals],
        "told": {
            "outcome": told.outcome,
            "clique": told.clique,
            "spared": told.spared,
            "medoid": told.medoid,
            "accepted_samples": hex(told.accepted_samples),
        },
    }


def _state(reveal: Reveal) -> int:
    if reveal is None:
        return SILENT
    return EMPTY if reveal is VOID else GIVEN


def _digests(reveal: Reveal) -> Sequence[bytes]:
    return digests_of(reveal) if isinstance(reveal, np.ndarray) else ()


def _numbers(reveal: Reveal) -> Digests:
    return None if reveal is None else [int.from_bytes(digest, "big") for digest in _digests(reveal)]


def _case(seats: int, reveals: Sequence[Reveal]) -> Case:
    return Case(ConsensusTerms(seats, 4, TOLERANCE, 0), tuple(reveals), {})


def _near(rng: random.Random, digests: Sequence[bytes]) -> Batch:
    return batch_of([flipped(rng, digest, rng.randrange(TOLERANCE // 2)) for digest in digests])


def _noise(rng: random.Random) -> Batch:
    return batch_of([rng.randbytes(32) for _ in range(4)])


def _moved(digests: Sequence[bytes], bits: int) -> Batch:
    """Each digest with its first so many bits flipped: such batches lie on a line."""
    return batch_of([_exactly(digest, min(bits, 255)) for digest in digests])


def _exactly(digest: bytes, bits: int) -> bytes:
    return (int.from_bytes(digest, "big") ^ ((1 << bits) - 1)).to_bytes(32, "big")


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
