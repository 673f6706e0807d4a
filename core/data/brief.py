"""Short texts that differ in one word: a copy somebody edited, or another question of the same form.

"Who first described basalt?" and "Who first described saffron?" differ in one word of four, as a copy with a tenth of its
words replaced may. What tells is how the other texts use that place: where several differ from the sample just there, or
the new word stands between the same neighbours elsewhere, or nearly every text has another word there, it is a slot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from core.data.text import weight, word_spans, words

LONGEST = 17
"""Words of a text that is looked at."""
SHORTEST = 4
FRAME = 3
"""Different texts with all words but one in common from which on (more than) the place of that one is a slot."""
MANY = 8
"""Different words between two neighbours from which on the place may take any."""


class Uses:
    """Which words stand between which neighbours in short texts; a text's edge is a neighbour too."""

    def __init__(self, texts: Iterable[Sequence[str]]) -> None:
        self._fillers: dict[tuple[str, str], Counter[str]] = {}
        for text in {tuple(t) for t in texts if len(t) <= LONGEST}:
            for before, word, after in zip(("", *text), text, (*text[1:], ""), strict=False):
                self._fillers.setdefault((before, after), Counter())[word] += 1

    def due(self, text: Sequence[str], at: int) -> bool:
        """Whether the word at this place of a text (one of those counted) was to be expected there."""
        place = (text[at - 1] if at else "", text[at + 1] if at + 1 < len(text) else "")
        found = self._fillers.get(place, Counter())
        return found[text[at]] > 1 or (len(found) >= MANY and 2 * sum(n == 1 for n in found.values()) > len(found))


def edited(text: str, sample: str, texts: int, uses: Uses) -> bool:
    """Whether the first is the second with one word replaced, left out, put in, or in another order.

    `texts`: how many different texts have the words that both have (see `sieve`).
    """
    mine, theirs = words(text), words(sample)
    new, gone = list((Counter(mine) - Counter(theirs)).elements()), list((Counter(theirs) - Counter(mine)).elements())
    if weight(mine) < SHORTEST - 1 or weight(theirs) < SHORTEST or len(new) > 1 or len(gone) > 1:
        return False
    if any(w.isdigit() for w in (*new, *gone)):  # another number makes another question
        return False
    if not new and not gone:
        return True
    if texts > FRAME:
        return False
    if not new or not gone:
        return True
    if _is_name(text, new[0]) and _is_name(sample, gone[0]):  # and so does another name
        return False
    return not uses.due(mine, mine.index(new[0]))


def _is_name(text: str, word: str) -> bool:
    """Whether a word is written with a capital within the text, as names are."""
    spans = word_spans(text)
    return any(w == word and at > 0 and text[start].isupper() for at, (w, start, _) in enumerate(spans))
