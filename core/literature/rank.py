"""BM25 over short texts in memory: the ranking behind recipe and snippet search. Deterministic, nothing on disk."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_K1, _B = 1.2, 0.75
_WORD = re.compile(r"[a-z0-9]+(?:\.[0-9]+)?")
STOP = frozenset(
    (
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "by",
        "do",
        "for",
        "from",
        "how",
        "i",
        "if",
        "in",
        "is",
        "it",
        "my",
        "of",
        "on",
        "or",
        "our",
        "that",
        "the",
        "to",
        "use",
        "we",
        "what",
        "when",
        "which",
        "with",
    )
)


def words(text: str) -> list[str]:
    """Lower-case words with a light plural cut, so that "rewards" finds "reward"."""
    found = (word for word in _WORD.findall(text.lower()) if word not in STOP)
    return [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in found]


class Index:
    """Texts given as word lists, ready to be scored against queries."""

    def __init__(self, documents: Sequence[Sequence[str]]) -> None:
        self._counts = [Counter(document) for document in documents]
        self._lengths = [count.total() for count in self._counts]
        self._frequency = Counter(word for count in self._counts for word in count)
        self._mean = sum(self._lengths) / max(1, len(self._lengths)) or 1.0

    def scores(self, query: str) -> list[float]:
        """BM25 (k1 1.2, b 0.75) of every text for the query, in the order given; 0 where no word occurs."""
        total = len(self._counts)
        scores = [0.0] * total
        for word in dict.fromkeys(words(query)):
            holders = self._frequency[word]
            weight = math.log(1 + (total - holders + 0.5) / (holders + 0.5))
            for position, count in enumerate(self._counts):
                if seen := count[word]:
                    length = 1 - _B + _B * self._lengths[position] / self._mean
                    scores[position] += weight * seen * (_K1 + 1) / (seen + _K1 * length)
        return scores
