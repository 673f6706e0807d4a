"""Told apart: a copy with some words replaced, and another sentence made by the same pattern.

"Book a table for four in Rome at noon" against a sample "Book a table for four in Paris at noon" may be either. What
tells is the place where they differ: in patterned data the words around it ("in _ at") stand around many different
words, and mostly around the same ones again and again; the place is a slot and Rome one of its fillers. Who rewords a
copy hits places that are none, or fills a slot with a word that is never met there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from difflib import SequenceMatcher
from typing import NamedTuple

MANY = 8
"""Different fillers from which a place is a slot."""
LONGEST = 5
"""Words of the longest filler looked for."""
_EDGE = ""


class Gap(NamedTuple):
    """A place where a sample has words that the text lacks."""

    before: str
    after: str
    """The equal words on both sides; the edge of a text counts as one."""
    filler: tuple[str, ...]
    """What the text has there."""


def gaps(mine: Sequence[str], theirs: Sequence[str]) -> list[Gap]:
    """The places where the second text has words that the first lacks."""
    found: list[Gap] = []
    blocks = SequenceMatcher(None, mine, theirs, autojunk=False).get_matching_blocks()
    ends = [(0, 0), *((b.a + b.size, b.b + b.size) for b in blocks)]
    for (my_end, end), block in zip(ends, blocks, strict=False):
        if block.b > end:
            before = theirs[end - 1] if end else _EDGE
            after = theirs[block.b] if block.b < len(theirs) else _EDGE
            found.append(Gap(before, after, tuple(mine[my_end : block.a])))
    return found


class Patterns:
    """What stands between the neighbours of some gaps, over many texts.

    `doubted` are the texts under judgement: they may witness for each other that a filler is usual, but a word that
    stands in them alone must not make a place look like one that takes any word.
    """

    def __init__(
        self, texts: AbstractSet[tuple[str, ...]], doubted: AbstractSet[tuple[str, ...]], wanted: Iterable[Gap]
    ) -> None:
        self._others: dict[tuple[str, str], Counter[tuple[str, ...]]] = {
            (gap.before, gap.after): Counter() for gap in wanted
        }
        self._doubted = {place: Counter[tuple[str, ...]]() for place in self._others}
        self._count(texts - doubted, self._others)
        self._count(doubted, self._doubted)

    def _count(
        self, texts: Iterable[tuple[str, ...]], counters: Mapping[tuple[str, str], Counter[tuple[str, ...]]]
    ) -> None:
        befores = {before for before, _ in counters}
        for text in texts:
            framed = [_EDGE, *text, _EDGE]
            for at, before in enumerate(framed[:-1]):
                if before in befores:
                    for end in range(at + 1, min(at + 2 + LONGEST, len(framed))):
                        if (counter := counters.get((before, framed[end]))) is not None:
                            counter[tuple(framed[at + 1 : end])] += 1

    def usual(self, gap: Gap) -> bool:
        """Whether other texts have the same words there: another sentence of the pattern."""
        place = (gap.before, gap.after)
        return self._others[place][gap.filler] + self._doubted[place][gap.filler] > 1

    def open(self, gap: Gap) -> bool:
        """Whether the place is a slot that takes ever new words (names, numbers), so that a new one tells nothing."""
        fillers = self._others[gap.before, gap.after]
        return len(fillers) >= MANY and 2 * sum(count == 1 for count in fillers.values()) > len(fillers)
