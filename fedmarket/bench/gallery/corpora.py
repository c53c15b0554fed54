"""Real data that Python packages ship, cut into what a job has: test set, public slice, exam slices, parts."""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from market.protocol.errors import InvalidInput
from trainer_client.data import Dataset, digits, dirichlet_split, train_test_split

TEST_FRACTION = 0.2
PUBLIC_SAMPLES = 100
"""Of slice 0, which everybody has and the warm start is trained on."""

LANGUAGES = ("czech", "english", "french", "italian", "spanish")
WORD_BUCKETS = 256
WORDS_USED = 5_000


@dataclass(frozen=True)
class Corpus:
    """A data set and the model that a job would train on it.

    Attributes:
        name: by which it is chosen.
        source: where it comes from.
        load: reads it; the same samples in the same order every time.
        architecture, arguments: of the zoo's model.
        patch: features that a backdoor sets to one.
        exam_samples: in a slice.
        floor: the job's: twice this a record of exams has to exceed. Text says less a round, and says it as surely.
    """

    name: str
    source: str
    load: Callable[[], Dataset]
    architecture: str
    arguments: Mapping[str, Any]
    patch: tuple[int, ...]
    exam_samples: int = 64
    floor: float = 0.1


@dataclass(frozen=True, eq=False)
class Ground:
    """A corpus cut up for one job; no sample is in two places.

    Attributes:
        test: held out.
        public: slice 0.
        slices: one exam a round.
        parts: what each honest trainer holds.
        others: a second, independent split of the same samples, for the cheats: they know as much as anybody, and the
            honest lose nothing to them.
    """

    test: Dataset
    public: Dataset
    slices: tuple[Dataset, ...]
    parts: tuple[Dataset, ...]
    others: tuple[Dataset, ...]


def cut(corpus: Corpus, parts: int, others: int, alpha: float, rounds: int, seed: int) -> Ground:
    """Cut a corpus: test set, slice 0, a slice a round, and the rest by Dirichlet(alpha) among so many trainers.

    Raises:
        InvalidInput: there are too few samples for that.
    """
    rest, test = train_test_split(corpus.load(), TEST_FRACTION, seed)
    each = corpus.exam_samples
    start = PUBLIC_SAMPLES + rounds * each
    if start >= len(rest):
        raise InvalidInput(f"{corpus.name} has {len(rest)} samples to train and examine on, expected above {start}")
    slices = [rest.subset(np.arange(PUBLIC_SAMPLES + k * each, PUBLIC_SAMPLES + (k + 1) * each)) for k in range(rounds)]
    pool = rest.subset(np.arange(start, len(rest)))
    held = [pool.subset(part) for part in dirichlet_split(pool.labels, parts, alpha, seed)]
    second = [pool.subset(part) for part in dirichlet_split(pool.labels, max(parts, others), alpha, seed + 1_000)]
    public = rest.subset(np.arange(PUBLIC_SAMPLES))
    return Ground(test, public, tuple(slices), tuple(held), tuple(second[:others]))


@cache
def words() -> Dataset:
    """5,000 words of five languages, to be told apart by their letters: without accents, as presence of n-grams.

    Source: the word lists of BIP 39 (2013), 2,048 words a language, as the package eth-account ships them.
    """
    samples = [(word, label) for label, language in enumerate(LANGUAGES) for word in _word_list(language)]
    chosen = np.random.default_rng(0).permutation(len(samples))[:WORDS_USED]
    inputs = np.stack([_ngrams(samples[index][0]) for index in chosen])
    return Dataset(inputs, np.array([samples[index][1] for index in chosen], dtype=np.int64))


def _word_list(language: str) -> list[str]:
    text = files("eth_account.hdaccount").joinpath("wordlist", f"{language}.txt").read_text("utf-8")
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return plain.split()


def _ngrams(word: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Which runs of one to three letters a word has, its ends included, hashed into a fixed number of places."""
    marked = f"^{word}$"
    present = np.zeros(WORD_BUCKETS, dtype=np.float32)
    for length in (1, 2, 3):
        for start in range(len(marked) - length + 1):
            present[zlib.crc32(marked[start : start + length].encode()) % WORD_BUCKETS] = 1.0
    return present


_CORNER = (54, 55, 62, 63)
"""The four pixels at the bottom right."""
_SUFFIX = tuple(int(place) for place in np.flatnonzero(_ngrams("xqk")))
"""What a word has that contains these letters."""

CORPORA: Mapping[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        Corpus(
            "digits",
            "scikit-learn: 1,797 handwritten digits",
            cache(digits),
            "mlp",
            {"features": 64, "hidden": [64], "classes": 10},
            _CORNER,
        ),
        Corpus(
            "words",
            "eth-account: words of five languages (BIP 39)",
            words,
            "mlp",
            {"features": WORD_BUCKETS, "hidden": [64], "classes": len(LANGUAGES)},
            _SUFFIX,
            exam_samples=128,
            floor=0.05,
        ),
    )
}
"""Every data set of the gallery by name."""
