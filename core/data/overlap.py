"""Does this text hold that evaluation sample? The judgement on one pair, with the matched span.

The kinds, the surest first:

    exact        the same characters
    normalised   the same but for case, space and sentence punctuation (operators count where there is a formula)
    ngram13      13 words in a row in common (GPT-3, arXiv 2005.14165), enough of them distinctive
    idf5         word 5-grams, weighted by how rare they are: at least .8 of the sample's weight (PostTrainBench's checker)
    edited       most of the sample's weight in the same order: a copy with some words replaced
    characters   a short sample (4 to 7 words) whose character 5-grams coincide, with the same numbers and operators
    ngram8       8 words in a row: an alert to look at, no proof

A sample of under four words is compared for equality alone: nothing else would be honest. Words of a template weigh
nothing, since all samples and all rows share them; so siblings from one template are not taken for copies.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher

import msgspec

from core.data.text import is_wordy, loose_key, operators, same_key, word_spans, words

IDF_THRESHOLD = 0.8
EDITED_THRESHOLD = 0.62
"""Share of the weight a copy with one word in ten replaced keeps with room to spare; unrelated texts stay under .3."""
SHORT, LONG = 4, 8
"""Words of a sample: under SHORT equality only, from LONG on n-grams and edits."""
CHARACTER_LIKENESS = 0.8
_RARE = 0.5
"""A word counts as distinctive when it has at least this share of the greatest weight (documents: square root of all)."""
_MAX_WORDS = 4000


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation sample found in a text."""

    kind: str
    score: float
    sample: int
    """Index into the evaluation texts."""
    start: int
    end: int
    """Span in the text, in characters."""

    @property
    def sure(self) -> bool:
        """Everything but the 8-gram alert."""
        return self.kind != "ngram8"


class Weights:
    """How much a word says about which text it is from: its inverse document frequency over samples and rows."""

    def __init__(self, frequency: Mapping[str, int], documents: int) -> None:
        self._frequency = frequency
        self._documents = max(documents, 2)
        self._top = math.log(self._documents)

    def word(self, word: str) -> float:
        """In [0, 1]: 1 for a word of one text, 0 for a word of all."""
        return max(0.0, math.log(self._documents / max(1, self._frequency.get(word, 1))) / self._top)

    def distinctive(self, found: Iterable[str]) -> int:
        """How many of these words are rare."""
        return sum(1 for w in found if self.word(w) >= _RARE)


class Sample:
    """An evaluation text with what its comparisons need, computed once."""

    def __init__(self, index: int, text: str) -> None:
        self.index = index
        self.text = text
        self.words = words(text)[:_MAX_WORDS]
        self.same = same_key(text)
        self.loose = loose_key(text)
        self.wordy = is_wordy(text)
        self.operators = operators(text)


def compare(text: str, sample: Sample, weights: Weights) -> Match | None:
    """The surest match of the sample in the text, or None."""
    if text == sample.text:
        return _match("exact", 1.0, sample, 0, len(text))
    if same_text(text, sample):
        return _match("normalised", 1.0, sample, 0, len(text))
    spans = word_spans(text)[:_MAX_WORDS]
    if len(sample.words) >= LONG:
        return _long(spans, sample, weights)
    return _short(text, spans, sample, weights) if len(sample.words) >= SHORT else None


def same_text(text: str, sample: Sample) -> bool:
    """Equal but for case, space and punctuation; operators must agree unless all punctuation was stripped."""
    if not sample.same:
        return False
    if same_key(text) == sample.same:
        return True
    if not sample.wordy or loose_key(text) != sample.loose:
        return False
    mine = operators(text)
    return mine == sample.operators or not mine or not sample.operators


def _match(kind: str, score: float, sample: Sample, start: int, end: int) -> Match:
    return Match(kind=kind, score=round(score, 3), sample=sample.index, start=start, end=end)


def _long(spans: Sequence[tuple[str, int, int]], sample: Sample, weights: Weights) -> Match | None:
    mine = [w for w, _, _ in spans]
    if len(mine) < LONG:
        return None
    matcher = SequenceMatcher(None, mine, sample.words, autojunk=False)
    blocks = [b for b in matcher.get_matching_blocks() if b.size]
    if not blocks:
        return None
    run = max(blocks, key=lambda b: b.size)
    start, end = spans[run.a][1], spans[run.a + run.size - 1][2]
    rare = weights.distinctive(mine[run.a : run.a + run.size])
    sibling = _sibling(mine, sample, blocks)
    if run.size >= 13 and rare >= 5 and not sibling:
        return _match("ngram13", min(1.0, run.size / len(sample.words)), sample, start, end)
    if not sibling and len(sample.words) >= LONG and weights.distinctive(set(sample.words)) >= 4:
        five = _five_gram_share(mine, sample.words, weights)
        whole = spans[blocks[0].a][1], spans[blocks[-1].a + blocks[-1].size - 1][2]
        if five >= IDF_THRESHOLD:
            return _match("idf5", five, sample, *whole)
        kept = _kept(sample, blocks, weights)
        if kept >= EDITED_THRESHOLD:
            return _match("edited", kept, sample, *whole)
    if run.size >= 8 and rare >= 4:
        return _match("ngram8", run.size / len(sample.words), sample, start, end)
    return None


def _kept(sample: Sample, blocks: Sequence[object], weights: Weights) -> float:
    """Share of the sample's weight in matching blocks of at least two words."""
    total = sum(weights.word(w) for w in sample.words)
    kept = 0.0
    for block in blocks:
        start, size = int(getattr(block, "b")), int(getattr(block, "size"))
        if size > 1 or len(sample.words) <= 12:
            kept += sum(weights.word(w) for w in sample.words[start : start + size])
    return kept / total if total else 0.0


def _sibling(mine: Sequence[str], sample: Sample, blocks: Sequence[object]) -> bool:
    """The same wording about other numbers: another question, not a copy.

    True when numbers are all that differs, or when over half of the sample's numbers (two at least) are others.
    """
    numbers = [i for i, w in enumerate(sample.words) if w.isdigit()]
    if not numbers:
        return False
    matched = {int(getattr(b, "b")) + i for b in blocks for i in range(int(getattr(b, "size")))}
    missing = [i for i in range(len(sample.words)) if i not in matched]
    foreign = [i for i in numbers if i not in matched]
    if not foreign:
        return False
    return len(foreign) == len(missing) or (len(numbers) > 1 and 2 * len(foreign) > len(numbers))


def _five_gram_share(mine: Sequence[str], theirs: Sequence[str], weights: Weights) -> float:
    have = {tuple(mine[i : i + 5]) for i in range(len(mine) - 4)}
    total = kept = 0.0
    for i in range(len(theirs) - 4):
        gram = tuple(theirs[i : i + 5])
        weight = sum(weights.word(w) for w in gram)
        total += weight
        kept += weight if gram in have else 0.0
    return kept / total if total else 0.0


def _short(text: str, spans: Sequence[tuple[str, int, int]], sample: Sample, weights: Weights) -> Match | None:
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
    if likeness >= CHARACTER_LIKENESS and respelt and weights.distinctive(set(sample.words)) >= 2:
        return _match("characters", likeness, sample, 0, len(text))
    return None


def _grams(text: str) -> set[str]:
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


def _jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b)
