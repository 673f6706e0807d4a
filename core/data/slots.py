"""Told apart: a copy with some words replaced, and another sentence made by the same pattern.

"Book a table for four in Rome at noon" against a sample "Book a table for four in Paris at noon" may be either. What tells
is the place where they differ. In patterned data sentences of the same frame have many different words there, mostly the
same ones again and again: the place is a slot, and Rome is one of its fillers, because it stands in that slot elsewhere or
because it is used elsewhere just as other fillers are. Who rewords a copy hits places that are none, or fills a slot with a
word that is never met in such places.

Only sentences of the same frame are asked: the word before and the word after are not enough ("return _ if" stands around
half a language), so three more words of the sample must stand nearby.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from difflib import SequenceMatcher
from typing import NamedTuple

MANY = 8
"""Different fillers from which a place is a slot."""
LONGEST = 5
"""Words of the longest filler looked for."""
NEARBY, SHARED = 10, 3
"""A sentence is of the sample's frame if within so many words of the place it has so many more of the sample's words there."""
WITNESSES = 1000
"""Sentences asked for one place at most."""

Words = tuple[str, ...]


class Gap(NamedTuple):
    """A place where a sample has words that the text lacks."""

    before: str
    after: str
    """The equal words on both sides; empty at the edge of the sample, where the text may go on."""
    filler: Words
    """What the text has there."""
    lost: Words
    """What the sample has there."""
    around: frozenset[str]
    """The sample's further words nearby."""

    @property
    def inner(self) -> bool:
        """Whether it has an end: at an edge of the sample the text may go on, and what fills the place is not known."""
        return bool(self.before and self.after)


class _Witness(NamedTuple):
    """Words [start, end) of a text. Their surroundings are looked at when they are asked: keeping them would fill the memory."""

    text: Words
    start: int
    end: int


def gaps(mine: Sequence[str], theirs: Sequence[str]) -> list[Gap]:
    """The places where the second text has words that the first lacks."""
    found: list[Gap] = []
    blocks = SequenceMatcher(None, mine, theirs, autojunk=False).get_matching_blocks()
    ends = [(0, 0), *((b.a + b.size, b.b + b.size) for b in blocks)]
    for (my_end, end), block in zip(ends, blocks, strict=False):
        if block.b > end:
            before = theirs[end - 1] if end else ""
            after = theirs[block.b] if block.b < len(theirs) else ""
            around = _around(theirs, end, block.b)
            found.append(Gap(before, after, tuple(mine[my_end : block.a]), tuple(theirs[end : block.b]), around))
    return found


def _around(words: Sequence[str], start: int, end: int) -> frozenset[str]:
    """The words within NEARBY of words[start:end], without the two that touch it."""
    return frozenset([*words[max(0, start - NEARBY) : max(0, start - 1)], *words[end + 1 : end + NEARBY]])


class Patterns:
    """What stands at the places of some gaps, over many texts.

    `doubted` are the texts under judgement: they may witness for each other that a filler is usual, but a word that
    stands in them alone must not make a place look like one that takes any word.
    """

    def __init__(self, texts: AbstractSet[Words], doubted: AbstractSet[Words], wanted: Iterable[Gap]) -> None:
        wanted = list(wanted)
        places = {(gap.before, gap.after) for gap in wanted}
        settled = sorted(texts - doubted)
        self._others = _witnesses(settled, places)
        self._doubted = _witnesses(sorted(doubted), places)
        self._known: dict[tuple[str, str, frozenset[str]], tuple[Counter[Words], Counter[Words]]] = {}
        slots = [gap for gap in wanted if gap.inner and len(self._all(gap)) >= MANY]
        self._uses = _uses(settled, {gap.filler for gap in slots}.union(*(self._all(gap) for gap in slots)))

    def usual(self, gap: Gap) -> bool:
        """Whether another text of the frame has the same words there: another sentence of the pattern."""
        fillers = self._all(gap)
        seen = fillers[gap.filler] if gap.inner else sum(n for f, n in fillers.items() if _same(gap, f))
        return seen > 1  # one is the text itself

    def open(self, gap: Gap) -> bool:
        """Whether the place is a slot that takes ever new words (names, numbers), so that a new one tells nothing."""
        fillers, _ = self._fillers(gap)
        return gap.inner and len(fillers) >= MANY and 2 * sum(count == 1 for count in fillers.values()) > len(fillers)

    def kindred(self, gap: Gap) -> bool:
        """Whether the place is a slot, and the words there are used elsewhere mostly as its fillers are: one that was due.

        Doubted texts count as to what stands in the slot: words of theirs that are used nowhere else speak for nobody.
        """
        fillers = self._all(gap)
        if not gap.inner or len(fillers) < MANY or gap.filler not in self._uses:
            return False
        mine = self._uses[gap.filler]
        theirs = {place for f in fillers if f != gap.filler for place in self._uses.get(f, ())}
        return mine.total() > 1 and 2 * sum(n for place, n in mine.items() if place in theirs) >= mine.total()

    def _all(self, gap: Gap) -> Counter[Words]:
        others, doubted = self._fillers(gap)
        return others + doubted

    def _fillers(self, gap: Gap) -> tuple[Counter[Words], Counter[Words]]:
        """What stands at the place in texts of the sample's frame: the others, the doubted ones."""
        key = (gap.before, gap.after, gap.around)
        if key not in self._known:
            found = (witnesses[gap.before, gap.after] for witnesses in (self._others, self._doubted))
            others, doubted = (
                Counter(text[a:b] for text, a, b in ws if len(_around(text, a, b) & gap.around) >= SHARED)
                for ws in found
            )
            self._known[key] = others, doubted
        return self._known[key]


def _uses(texts: Iterable[Words], phrases: AbstractSet[Words]) -> dict[Words, Counter[tuple[str, str]]]:
    """How often each phrase stands between which two words."""
    uses = {phrase: Counter[tuple[str, str]]() for phrase in phrases if 0 < len(phrase) <= LONGEST}
    starts = {phrase[0] for phrase in uses}
    for text in texts:
        for at, word in enumerate(text):
            if word in starts:
                for end in range(at + 1, min(at + 1 + LONGEST, len(text) + 1)):
                    if (counter := uses.get(text[at:end])) is not None:
                        counter[text[at - 1] if at else "", text[end] if end < len(text) else ""] += 1
    return uses


def _same(gap: Gap, filler: Words) -> bool:
    """The same words; at an edge, where either text may go on, as many as the sample has there, two at most."""
    if gap.inner:
        return filler == gap.filler
    if not gap.filler or not filler:
        return False
    size = min(len(gap.filler), len(gap.lost), 2)
    return filler[:size] == gap.filler[:size] if gap.before else filler[-size:] == gap.filler[-size:]


def _witnesses(texts: Iterable[Words], places: AbstractSet[tuple[str, str]]) -> dict[tuple[str, str], list[_Witness]]:
    """By place, what the texts have there: between the two words, or LONGEST words from the one on at an edge."""
    found: dict[tuple[str, str], list[_Witness]] = {place: [] for place in places}
    befores, afters = {b for b, a in places if a}, {a for b, a in places if not b}
    for text in texts:
        for at, word in enumerate(text):
            if (word, "") in found and at + 1 < len(text):
                _keep(found[word, ""], text, at + 1, min(at + 1 + LONGEST, len(text)))
            if word in afters and at:
                _keep(found["", word], text, max(0, at - LONGEST), at)
            if word in befores:
                for end in range(at + 1, min(at + 2 + LONGEST, len(text))):
                    if (witnesses := found.get((word, text[end]))) is not None:
                        _keep(witnesses, text, at + 1, end)
    return found


def _keep(witnesses: list[_Witness], text: Words, start: int, end: int) -> None:
    if len(witnesses) < WITNESSES:
        witnesses.append(_Witness(text, start, end))
