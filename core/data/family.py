"""A copy of a sample with some words replaced, or another text of the same making? How much speaks for the copy, in nats.

"Tom has 5 apples and gets 3 more" beside a sample "Tom has 5 pears and gets 3 more" may be either. Two accounts are weighed
by how likely each makes what is seen:

copy     each of the sample's words is kept, or, one in ten, replaced by any word; now and then one is left out or put in
sibling  drawn anew from what the sample was drawn from. What that is, its kin show: the texts that have half of its
         different words. The chance that a sibling has the sample's word in a place is the share of the kin that has it there
         (for the words of a template nearly one: they prove nothing; for names and numbers small), and where it
         differs, it has what the kin have there

So a leak is told by what belongs to the one sample, its fillers, being the same together; by words where no kin has such;
and where every difference is a filler that is usual in its place, it is no leak however long the template. The log of the
ratio of the two likelihoods is the evidence (Neyman and Pearson 1933, doi 10.1098/rsta.1933.0009).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import NamedTuple

from core.data.files import stride
from core.data.text import weight

CERTAIN = math.log(20)
"""Evidence from which on it is a copy: twenty times likelier than a sibling, which outweighs a belief that one in twenty of the
texts that resemble a sample is its copy."""
EDITED = 0.1
"""Share of a copy's words that are replaced: what the check is to find."""
ASIDE = 0.1
"""Share of the edits that only leave out or put in."""
GOES_ON = 0.5
"""Chance that a replaced stretch has one more word."""
ANY_WORD, ANY_NUMBER = 1e-4, 1e-2
"""Chance of just this word (of ten thousand in use) from who replaces one, and of just this number where numbers are due."""
RESEMBLING = 0.5
"""Share of the sample's different words that a text of its kin has."""
KIN, KIN_WORDS = 200, 6_000
"""Texts of kin looked at, evenly spread, and words of them."""
MANY = 8
"""Kin with a word from which on what they have elsewhere is a rule and no accident."""
TEXTS = 3000
"""Texts among which kin is sought, evenly spread."""
LONGEST_FILLER = 8
_CELLS = 40_000
"""Words times words up to which two texts are aligned exactly."""

Words = tuple[str, ...]


class Families:
    """Texts among which the kin of samples is sought."""

    def __init__(self, texts: Iterable[Words], resembling: Iterable[Words] = ()) -> None:
        """`texts`: of all kinds; `resembling`: those that have something in common with a sample, all of which are taken."""
        every = sorted(set(texts))
        taken = sorted({*every[:: stride(len(every), TEXTS)], *resembling})
        self._texts = [(text, frozenset(text)) for text in taken]
        self._having = Counter(word for _, different in self._texts for word in different)
        self._pairs = Counter(pair for text, _ in self._texts for pair in set(pairwise(text)))
        self._families: dict[int, _Family] = {}

    def evidence(self, index: int, sample: Sequence[str], mine: Sequence[str], own: Collection[Words] = ()) -> float:
        """How much speaks for `mine` being a copy of the sample, in nats; below zero, for a sibling.

        `index`: the sample's, by which its kin is remembered. `own`: the texts that `mine` lies in, which are no witnesses.
        """
        if index not in self._families:
            self._families[index] = _Family(tuple(sample), self._kin(sample), self._usual(sample), self._bound)
        return self._families[index].evidence(tuple(mine), own)

    def _usual(self, sample: Sequence[str]) -> list[float]:
        """By word, the share of all texts that have it: what to expect where no kin tells."""
        return [max(0.5, self._having[word]) / (len(self._texts) + 1) for word in sample]

    def _bound(self, words: Words) -> float:
        """How much likelier than by chance these words stand together, in other texts than the one they come from, in nats.

        Pointwise mutual information (Church and Hanks 1990, aclanthology.org/J90-1003): "tidal power" is drawn as one, who
        replaces words puts in any two. The characters of a script without spaces are bound within any word.
        """
        found = 0.0
        for one, next_ in pairwise(words):
            together = self._pairs[one, next_] - 1
            if together > 0 and weight((one, next_)) == 2:
                found += max(0.0, math.log(together * len(self._texts) / (self._having[one] * self._having[next_])))
        return found

    def _kin(self, sample: Sequence[str]) -> list[Words]:
        wanted = frozenset(sample)
        least, longest = RESEMBLING * len(wanted), 2 * len(sample) + 20
        found = [
            text for text, has in self._texts
            if len(text) <= longest and len(wanted & has) >= least and text != tuple(sample)
        ]  # fmt: skip
        return found[:: stride(len(found), max(MANY, min(KIN, KIN_WORDS // max(1, len(sample)))))]


class _Gap(NamedTuple):
    """Words [start, end) of the sample that a text lacks, and what it has there."""

    start: int
    end: int
    filler: Words


class _Family:
    """One sample and its kin, aligned."""

    def __init__(
        self, sample: Words, kin: Sequence[Words], usual: Sequence[float], bound: Callable[[Words], float]
    ) -> None:
        self.sample, self.kin, self.usual, self.bound = sample, kin, usual, bound
        self.having = [0] * len(sample)
        """By place in the sample, a bit for each text of kin that has its word there."""
        self.places: list[dict[int, int]] = []
        """By text of kin, where in it the places of the sample are."""
        self._fillers: dict[tuple[int, int], list[tuple[int, Words]]] = {}
        matcher = SequenceMatcher(None, b=sample, autojunk=False)
        for bit, text in enumerate(kin):
            places = _places(matcher, text, sample)
            self.places.append(places)
            for at, there in places.items():
                if text[there] == sample[at]:
                    self.having[at] |= 1 << bit

    def evidence(self, mine: Words, own: Collection[Words]) -> float:
        asked = sum(1 << bit for bit, text in enumerate(self.kin) if text != mine and text not in own)
        told = [self._told(equal, mine, asked) for equal in _alignments(mine, self.sample)]
        return max(copy for copy, _ in told) - max(sibling for _, sibling in told)

    def _told(self, equal: dict[int, int], mine: Words, asked: int) -> tuple[float, float]:
        """The log-likelihoods of a text, aligned so, as a copy and as a sibling."""
        copy, sibling = len(equal) * math.log(1 - EDITED), self._agreeing(sorted(equal), asked)
        for gap in _gaps(equal, mine, self.sample):
            words = len(gap.filler)
            one_sided = not words or gap.start == gap.end
            copy += math.log(EDITED * (ASIDE if one_sided else 1 - ASIDE)) + words * math.log(ANY_WORD)
            copy += (max(words, gap.end - gap.start) - 1) * math.log(GOES_ON)
            due = self._due(gap, asked)
            if words == gap.end - gap.start > 1:  # one filler, or one in each of several slots side by side
                single = (_Gap(gap.start + i, gap.start + i + 1, (word,)) for i, word in enumerate(gap.filler))
                due = max(due, sum(self._due(one, asked) for one in single))
            sibling += due
        return copy, sibling

    def _agreeing(self, places: Sequence[int], asked: int) -> float:
        """How likely a sibling has the sample's words here: the kin do, or do where they have its words before."""
        found = 0.0
        earlier: dict[str, int] = {}
        seen: list[tuple[int, int, int]] = []
        kin = asked.bit_count()
        for at in places:
            having = self.having[at] & asked
            # Before any kin was seen: the share of all texts; of many kin, half a one (Krichevsky and Trofimov, doi 10.1109/TIT.1981.1056331).
            prior = (MANY * self.usual[at] + kin / 2) / (MANY + kin)
            chance = (having.bit_count() + prior) / (kin + 1)
            for other, theirs, count in seen:
                # Words of one filler come together, and so does a filler with its repetition.
                if count >= MANY or other == at - 1 or earlier.get(self.sample[at]) == other:
                    chance = max(chance, ((having & theirs).bit_count() + GOES_ON) / (count + 1))
            found += math.log(min(1.0, chance))
            earlier[self.sample[at]] = at
            seen.append((at, having, having.bit_count()))
        return found

    def _due(self, gap: _Gap, asked: int) -> float:
        """How likely a sibling has just this filler: as often as the kin have it, or have a number, or a new one."""
        fillers = Counter(filler for bit, filler in self._at(gap.start, gap.end) if asked >> bit & 1)
        every = fillers.total() + 1
        numbers = sum(count for filler, count in fillers.items() if _is_number(filler))
        # A filler that is met once may be an edit, too. They tell how often a new one comes (Good 1953, doi 10.1093/biomet/40.3-4.237).
        lost = self.sample[gap.start : gap.end]
        once = sum(n == 1 and filler != lost and not _is_number(filler) for filler, n in fillers.items())
        found = math.log((once + 1) / every) + len(gap.filler) * math.log(ANY_WORD) + self.bound(gap.filler)
        if fillers[gap.filler] > 1:
            found = max(found, math.log(fillers[gap.filler] / every))
        if _is_number(gap.filler) and numbers > 1:
            found = max(found, math.log(numbers / every) + len(gap.filler) * math.log(ANY_NUMBER))
        return max(found, self._word_by_word(gap.filler, fillers, every)) if len(gap.filler) > 1 else found

    def _word_by_word(self, words: Words, fillers: Counter[Words], every: int) -> float:
        """The same where each word is usual there, and only their combination is new."""
        having: Counter[str] = Counter()
        for filler, count in fillers.items():
            having.update(dict.fromkeys(filler, count))
        numbers = sum(count for word, count in having.items() if word.isdigit())
        found = 0.0
        for word in words:
            if having[word] > 1:
                found += math.log(min(1.0, having[word] / every))
            elif word.isdigit() and numbers > 1:
                found += math.log(min(1.0, numbers / every) * ANY_NUMBER)
            else:
                return -math.inf
        return found

    def _at(self, start: int, end: int) -> list[tuple[int, Words]]:
        """By text of kin that has both ends of this stretch of the sample, what it has there; at an end of the sample, where the
        text may go on, no more words than the sample has."""
        if (start, end) not in self._fillers:
            found: list[tuple[int, Words]] = []
            for bit, (text, places) in enumerate(zip(self.kin, self.places, strict=True)):
                before = places.get(start - 1) if start else -1
                behind = places.get(end) if end < len(self.sample) else len(text)
                if before is None or behind is None:
                    continue
                filler = text[before + 1 : behind]
                filler = filler[max(0, len(filler) - end) :] if not start else filler
                filler = filler[: end - start] if end == len(self.sample) else filler
                if len(filler) <= LONGEST_FILLER:
                    found.append((bit, filler))
            self._fillers[start, end] = found
        return self._fillers[start, end]


def _is_number(filler: Words) -> bool:
    return bool(filler) and all(word.isdigit() for word in filler)


def _places(matcher: SequenceMatcher[str], text: Words, sample: Words) -> dict[int, int]:
    """Where in the text the sample's places are: equal words, and those that stand for others one by one."""
    if len(text) == len(sample) and 2 * sum(map(str.__eq__, text, sample)) >= len(sample):
        return {at: at for at in range(len(sample))}
    matcher.set_seq1(text)
    found: dict[int, int] = {}
    my_end = end = 0
    for block in matcher.get_matching_blocks():
        if block.a - my_end == block.b - end:
            found |= {end + i: my_end + i for i in range(block.a - my_end)}
        found |= {block.b + i: block.a + i for i in range(block.size)}
        my_end, end = block.a + block.size, block.b + block.size
    return found


def _alignments(mine: Words, sample: Words) -> list[dict[int, int]]:
    """By place in the sample, where `mine` has the same word: the best alignment, and word by word where that is another."""
    best = _aligned(mine, sample)
    if len(mine) != len(sample):
        return [best]
    straight = {at: at for at, (word, own) in enumerate(zip(sample, mine, strict=True)) if word == own}
    return [best] if straight == best else [best, straight]


def _aligned(mine: Words, sample: Words) -> dict[int, int]:
    """The alignment with the most words in common and the least gaps. Words of `mine` before and behind cost nothing.

    Needleman and Wunsch (doi 10.1016/0022-2836(70)90057-4): of the longest runs of equal words alone, one may lie across
    two slots.
    """
    if len(mine) * len(sample) > _CELLS:
        blocks = SequenceMatcher(None, mine, sample, autojunk=False).get_matching_blocks()
        return {b.b + i: b.a + i for b in blocks for i in range(b.size)}
    came: list[list[int]] = []
    before = [0.0] * (len(mine) + 1)
    for row, word in enumerate(sample, 1):
        now, steps = [before[0] - 1], [1]
        aside = 1.0 if row < len(sample) else 0.0
        for column, my_word in enumerate(mine, 1):
            both = before[column - 1] + (2.0 if my_word == word else -0.5)
            left_out, put_in = before[column] - 1, now[-1] - aside
            best = max(both, left_out, put_in)
            now.append(best)
            steps.append(0 if best == both else 1 if best == left_out else 2)
        came.append(steps)
        before = now
    found: dict[int, int] = {}
    row, column = len(sample), len(mine)
    while row and column:
        step = came[row - 1][column]
        if step == 0 and mine[column - 1] == sample[row - 1]:
            found[row - 1] = column - 1
        row, column = row - (step != 2), column - (step != 1)
    return found


def _gaps(equal: dict[int, int], mine: Words, sample: Words) -> list[_Gap]:
    """The stretches between equal words. At an end of the sample the text may go on: as many words count as the sample has."""
    found: list[_Gap] = []
    end, my_end = 0, 0
    for at, there in [*sorted(equal.items()), (len(sample), len(mine))]:
        filler = mine[my_end:there]
        if end == 0:
            filler = filler[max(0, len(filler) - at) :]
        elif at == len(sample):
            filler = filler[: at - end]
        if at > end or filler:
            found.append(_Gap(end, at, filler))
        end, my_end = at + 1, there + 1
    return found
