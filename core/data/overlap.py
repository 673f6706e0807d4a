"""Does this text hold that evaluation sample? The judgement on one pair, with the matched span.

The kinds, the surest first:

    exact        the same characters
    normalised   the same but for case, space and sentence punctuation (operators count where there is a formula)
    ngram13      13 words in a row in common (GPT-3, arXiv 2005.14165), not a template's
    idf5         word 5-grams, weighted by how rare they are: at least .8 of the sample's weight (PostTrainBench's checker)
    edited       most of the sample's words, in order: a copy with some of them replaced
    contained    a short sample (4 to 7 words), word for word, as a sentence of its own within a longer text
    one_word     a short sample but for one word (replaced, left out, put in) or for the order (see `brief`)
    characters   a short sample (4 to 7 words) whose character 5-grams coincide, with the same numbers and operators
    ngram8       8 words in a row: an alert to look at, no proof
    template     another text made as a sample was: counted, no alert

`ngram13`, `idf5`, `edited` and `characters` are decided by what surrounds them (see `family`): a text that may as well be made
by the same template gets the lower kind that the match names.

A sample of under four words is compared for equality alone: nothing else would be honest. What many samples and
rows share (a template, an instruction) counts for nothing, so siblings from one template are not taken for copies.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import msgspec

from core.data.text import is_wordy, loose_key, operators, same_key, squashed, weight, word_spans, words

IDF_THRESHOLD = 0.8
BAG = 0.7
"""Share of the sample's words, in any order, below which no copy with one word in ten edited falls: of eight words, one is
an eighth, and where a piece is several characters of a script without spaces, it is more."""
COVERED = 0.6
"""Share of the sample's words, in order and in runs of two or more, from which a longer text is asked, too."""
SHORT, LONG = 4, 8
"""Words of a sample: under SHORT equality only, from LONG on n-grams and edits."""
CHARACTER_LIKENESS = 0.8
_MAX_WORDS = 4000
_PLACES = 50
"""Places of one triple that are looked at: what stands oftener tells no place."""
_BEFORE = re.compile(r"(?:\A|\n|[^\w\s,-]|_)\s*\Z")
_BEHIND = re.compile(r"\s*(?:\Z|[^\w\s,-]|_)|[^\S\n]*\n")
"""What stands before a sentence of its own, and behind one."""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation sample found in a text."""

    kind: str
    score: float
    sample: int
    """Index into the evaluation texts."""
    start: int
    end: int
    """Span in the text, in characters."""
    otherwise: str | None = None
    """The kind where it turns out to be a sibling; None for a match that needs no asking."""

    @property
    def sure(self) -> bool:
        """A copy of the sample."""
        return self.kind not in ("ngram8", "template")

    @property
    def alert(self) -> bool:
        """To be looked at, no proof."""
        return self.kind == "ngram8"


class Rarity:
    """How many texts (samples and different training rows) hold an n-gram; what a template repeats is not rare."""

    def __init__(self, texts: Iterable[Sequence[str]], samples: Iterable[Sequence[str]]) -> None:
        """`texts`: the words of every text counted; `samples`: those whose n-grams are of interest."""
        samples = list(samples)
        threes = {g for words_ in samples for g in ngrams(words_, 3)}
        fives = {g for words_ in samples for g in ngrams(words_, 5)}
        self._frequency: Counter[tuple[str, ...]] = Counter()
        self.documents = 0
        for words_ in texts:
            self.documents += 1
            found = threes.intersection(ngrams(words_, 3))
            self._frequency.update(found)
            if len(found) >= 3:  # a run of five words is three triples: most texts have none
                self._frequency.update(fives.intersection(ngrams(words_, 5)))
        self._limit = max(5, 0.01 * self.documents)

    def rare(self, words_: Sequence[str]) -> list[tuple[str, ...]]:
        """The word triples of a text that few texts hold."""
        return [g for g in ngrams(words_, 3) if self._frequency[g] <= self._limit]

    def weight(self, gram: tuple[str, ...]) -> float:
        """Inverse document frequency, in nats."""
        return math.log((self.documents + 1) / max(1, self._frequency[gram]))


def ngrams(words_: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """All runs of `size` words."""
    return list(zip(*(words_[i:] for i in range(size)), strict=False))


class Sample:
    """An evaluation text with what its comparisons need, computed once."""

    def __init__(self, index: int, text: str) -> None:
        self.index = index
        self.text = text
        self.words = words(text)[:_MAX_WORDS]
        self.size = weight(self.words)
        self.same = same_key(text)
        self.loose = loose_key(text)
        self.squashed = squashed(text)
        self.wordy = is_wordy(text)
        self.operators = operators(text)
        self.matcher = SequenceMatcher(None, b=self.words, autojunk=False)


class Text:
    """A text that is compared with many samples: its words and where each triple of them stands, computed once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = word_spans(text)
        self.words = [w for w, _, _ in self.spans]
        self._places: dict[tuple[str, ...], list[int]] = {}

    @cached_property
    def same(self) -> str:
        return same_key(self.text)

    def window(self, sample: Sample) -> tuple[int, int]:
        """The words [start, end) in which the sample lies if the text has it: all, or of a longer text the stretch with the
        most of the sample's triples in the sample's order."""
        size = len(sample.words)
        if len(self.words) <= 2 * size + 40:
            return 0, len(self.words)
        if not self._places:
            for at, gram in enumerate(ngrams(self.words, 3)):
                self._places.setdefault(gram, []).append(at)
        step = max(4, size // 2)
        hits = Counter(
            (place - at) // step
            for at, gram in enumerate(ngrams(sample.words, 3))
            for place in self._places.get(gram, ())[:_PLACES]
        )
        best = max(hits, key=lambda b: (hits[b] + hits[b + 1], -b), default=0)
        slack = 4 + size // 10
        return max(0, best * step - slack), min(len(self.words), (best + 2) * step + size + slack)


def compare(text: Text, sample: Sample, rarity: Rarity) -> Match | None:
    """The surest match of the sample in the text, or None."""
    if text.text == sample.text:
        return _match("exact", 1.0, sample, 0, len(text.text))
    if _same_text(text, sample):
        return _match("normalised", 1.0, sample, 0, len(text.text))
    if sample.size >= LONG:
        start, end = text.window(sample)
        return _long(text.spans[start:end], sample, rarity)
    if sample.size < SHORT:
        return None
    return _short(text.text, text.spans, sample, rarity) or _contained(text, sample, rarity)


def _same_text(text: Text, sample: Sample) -> bool:
    """Equal but for case, space and punctuation; operators must agree but for those that were stripped with it."""
    if len(text.text) > 4 * len(sample.text) + 20 or len(sample.text) > 4 * len(text.text) + 20 or not sample.same:
        return False
    if text.same == sample.same:
        return True
    if not sample.wordy or "".join(text.words) != sample.squashed:
        return False
    mine = operators(text.text)
    return _left_of(mine, sample.operators) or _left_of(sample.operators, mine)


def _left_of(few: str, all_: str) -> bool:
    """Whether the first is the second with some characters taken out."""
    rest = iter(all_)
    return all(char in rest for char in few)


def _match(kind: str, score: float, sample: Sample, start: int, end: int, otherwise: str | None = None) -> Match:
    return Match(kind=kind, score=round(score, 3), sample=sample.index, start=start, end=end, otherwise=otherwise)


def _long(spans: Sequence[tuple[str, int, int]], sample: Sample, rarity: Rarity) -> Match | None:
    mine = [w for w, _, _ in spans]
    if weight(mine) < LONG:
        return None
    blocks = _blocks(mine, sample)
    if not blocks:
        return None
    run = max(blocks, key=lambda b: b.size)
    start, end = spans[run.mine][1], spans[run.mine + run.size - 1][2]
    size = weight(mine[run.mine : run.mine + run.size])
    in_run = len(rarity.rare(mine[run.mine : run.mine + run.size]))
    alert = size >= 8 and in_run >= 4
    if not _sibling(mine, sample, blocks):
        covered, bag = _covered(sample, blocks), (Counter(sample.words) & Counter(mine)).total() / len(sample.words)
        if size >= 13 and in_run >= 5:
            otherwise = "ngram8" if covered >= COVERED else None  # with less in common it is no text of the same making
            return _match("ngram13", min(1.0, run.size / len(sample.words)), sample, start, end, otherwise)
        if bag >= BAG or covered >= COVERED:
            five = _five_gram_share(mine, sample.words, rarity)
            kind, score = ("idf5", five) if five >= IDF_THRESHOLD else ("edited", bag)
            whole = spans[blocks[0].mine][1], spans[blocks[-1].mine + blocks[-1].size - 1][2]
            return _match(kind, score, sample, *whole, "ngram8" if alert else "template")
    return _match("ngram8", run.size / len(sample.words), sample, start, end) if alert else None


class _Block(NamedTuple):
    """A run of equal words: where in the text, where in the sample, how many."""

    mine: int
    theirs: int
    size: int


def _blocks(mine: Sequence[str], sample: Sample) -> list[_Block]:
    sample.matcher.set_seq1(mine)
    return [_Block(b.a, b.b, b.size) for b in sample.matcher.get_matching_blocks() if b.size]


def _sibling(mine: Sequence[str], sample: Sample, blocks: Sequence[_Block]) -> bool:
    """The same wording about other numbers: another question, not a copy.

    True when numbers in the place of numbers are all that differs, or a third of the sample's numbers (of two at least);
    and when over half of the sample's numbers are missing while the text has others.
    """
    numbers_left = Counter(w for w in sample.words if w.isdigit()) - Counter(w for w in mine if w.isdigit())
    if not numbers_left:  # in another order at most
        return False
    exchanged = _exchanged(mine, sample.words, blocks)
    missing = len(sample.words) - sum(b.size for b in blocks)
    numbers = sum(w.isdigit() for w in sample.words)
    if exchanged and (exchanged == missing or (numbers > 1 and 3 * exchanged >= numbers)):
        return True
    ours, theirs = ({w for w in words_ if w.isdigit()} for words_ in (mine, sample.words))
    return bool(ours - theirs) and 2 * len(theirs - ours) > len(theirs)


def _covered(sample: Sample, blocks: Sequence[_Block]) -> float:
    return sum(b.size for b in blocks if b.size > 1) / len(sample.words)


def _exchanged(mine: Sequence[str], theirs: Sequence[str], blocks: Sequence[_Block]) -> int:
    """Numbers of the sample in whose place, between two equal runs, the text has other numbers."""
    count = 0
    for before, after in pairwise(blocks):
        old = [w for w in theirs[before.theirs + before.size : after.theirs] if w.isdigit()]
        new = [w for w in mine[before.mine + before.size : after.mine] if w.isdigit()]
        count += min(len(old), len(new))
    return count


def _five_gram_share(mine: Sequence[str], theirs: Sequence[str], rarity: Rarity) -> float:
    have = set(ngrams(mine, 5))
    grams = ngrams(theirs, 5)
    total = sum(rarity.weight(g) for g in grams)
    return sum(rarity.weight(g) for g in grams if g in have) / total if total else 0.0


def _short(text: str, spans: Sequence[tuple[str, int, int]], sample: Sample, rarity: Rarity) -> Match | None:
    """Four to seven words: character 5-grams, and no word of weight may differ beyond its spelling."""
    mine = [w for w, _, _ in spans]
    if abs(len(mine) - len(sample.words)) > 1 or operators(text) != sample.operators:
        return None
    if sorted(w for w in mine if w.isdigit()) != sorted(w for w in sample.words if w.isdigit()):
        return None
    likeness = _jaccard(_grams(" ".join(mine)), _grams(sample.loose))
    rest = list((Counter(sample.words) - Counter(mine)).elements())
    new = list((Counter(mine) - Counter(sample.words)).elements())
    respelt = all(any(SequenceMatcher(None, w, x).ratio() >= 0.75 for x in new) for w in rest)
    if likeness >= CHARACTER_LIKENESS and respelt and rarity.rare(sample.words):
        return _match("characters", likeness, sample, 0, len(text), "template")
    return None


def _contained(text: Text, sample: Sample, rarity: Rarity) -> Match | None:
    """All the sample's words in a row, with a sentence's or a line's edge before and behind, and the same operators.

    Within somebody's sentence the same few words prove nothing.
    """
    size = len(sample.words)
    first = sample.words[0]
    for at, word in enumerate(text.words):
        if word == first and text.words[at : at + size] == sample.words and (size > 5 or rarity.rare(sample.words)):
            start, end = text.spans[at][1], text.spans[at + size - 1][2]
            edges = _BEFORE.search(text.text[:start][-8:] if start else ""), _BEHIND.match(text.text[end : end + 8])
            if all(edges) and _left_of(operators(text.text[start:end]), sample.operators):
                return _match("contained", 1.0, sample, start, end)
    return None


def _grams(text: str) -> set[str]:
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


def _jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b)
