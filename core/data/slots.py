"""Told apart: a copy with some words replaced, and another sentence made by the same pattern.

"Book a table for four in Rome at noon" against a sample "Book a table for four in Paris at noon" may be either. What
tells is the place where they differ: in patterned data the words around it ("in _ at") stand around many different
words all over the data; the place is a slot. A copy that somebody reworded differs at places that are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

FILLERS = 8
"""Different words met between the same two neighbours from which the place counts as a slot."""
LONGEST = 5
"""Words of the longest filler looked for."""
_EDGE = ""

Context = tuple[str, str]
"""The words before and after a place."""


def gaps(mine: Sequence[str], theirs: Sequence[str]) -> list[Context]:
    """Where the second text has words that the first lacks. The edge of a text counts as a neighbour."""
    found: list[Context] = []
    blocks = SequenceMatcher(None, mine, theirs, autojunk=False).get_matching_blocks()
    ends = [0, *(b.b + b.size for b in blocks)]
    starts = [b.b for b in blocks]
    for their_end, their_start in zip(ends, starts, strict=False):
        if their_start > their_end:
            before = theirs[their_end - 1] if their_end else _EDGE
            after = theirs[their_start] if their_start < len(theirs) else _EDGE
            found.append((before, after))
    return found


def slots(texts: Iterable[Sequence[str]], contexts: set[Context]) -> set[Context]:
    """The contexts that surround at least FILLERS different runs of words in the texts."""
    befores = {before for before, _ in contexts}
    fillers: dict[Context, set[tuple[str, ...]]] = {context: set() for context in contexts}
    for text in texts:
        framed = [_EDGE, *text, _EDGE]
        for at, before in enumerate(framed[:-1]):
            if before in befores:
                for end in range(at + 2, min(at + 2 + LONGEST, len(framed))):
                    if (context := (before, framed[end])) in fillers and len(fillers[context]) < FILLERS:
                        fillers[context].add(tuple(framed[at + 1 : end]))
    return {context for context, seen in fillers.items() if len(seen) >= FILLERS}


