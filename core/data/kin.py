"""What tells a sample from the texts that resemble it.

Sentences of one pattern share its words, and differ in the names and numbers that fill it. So where several texts resemble
a sample, the words that few of them have are the sample's own: a copy has most of those, another sentence of the pattern
hardly any, however much of the pattern it shares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from core.data.files import stride

RESEMBLING = 0.6
"""Share of the sample's different words that a text of its kin has."""
FEWEST_KIN, FEWEST_OWN = 4, 3
"""Less kin shows no pattern; fewer own words do not prove a copy, but having none of them is telling."""
OWN_AMONG = 0.2
"""A word is the sample's own if no more than this share of its kin has it."""
COPIED, SIBLING = 0.6, 0.3
"""Share of its own words from which on a text is a copy (nine in ten are left after an edit of every tenth word), and below
which it is a sibling, which has one or two by chance."""
MOST_TEXTS = 3000


class Kin:
    """Texts among which the kin of a sample is sought."""

    def __init__(self, texts: Iterable[Sequence[str]]) -> None:
        every = sorted({tuple(text) for text in texts})
        self._texts = [(frozenset(text), len(text)) for text in every[:: stride(len(every), MOST_TEXTS)]]
        self._own: dict[int, frozenset[str]] = {}

    def copied(self, index: int, sample: Sequence[str], mine: Sequence[str]) -> bool | None:
        """Whether a text has what is the sample's own; None where its kin is too small, or too much like it, to tell.

        `index`: the sample's, by which its own words are remembered.
        """
        if index not in self._own:
            self._own[index] = self._own_words(sample)
        own = self._own[index]
        kept = len(own.intersection(mine))
        if own and kept < SIBLING * len(own):
            return False
        return True if len(own) >= FEWEST_OWN and kept >= COPIED * len(own) else None

    def _own_words(self, sample: Sequence[str]) -> frozenset[str]:
        wanted = frozenset(sample)
        least, longest = RESEMBLING * len(wanted), 3 * len(sample) + 40
        found = [common for text, size in self._texts if size <= longest and len(common := wanted & text) >= least]
        kin = [common for common in found if len(common) < len(wanted)]
        if len(kin) < FEWEST_KIN:
            return frozenset()
        counts = Counter(word for common in kin for word in common)
        return frozenset(w for w in wanted if counts[w] <= max(1, OWN_AMONG * len(kin)))
