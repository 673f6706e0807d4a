"""Near matches settled by what surrounds them: a leaked sample with some words replaced, or a sentence of the same pattern.

A leaked sample has one or a few altered copies, and each resembles it alone. Patterned sentences ("book a table for 4 in
Paris") come in crowds: a row shares rare wording with several samples, or a sample with several prompts. Each place where the
two differ is asked (see `slots`): where every one of them is a slot of a pattern with a filler of its own, it is no copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from core.data.overlap import Match, Sample
from core.data.slots import Patterns, gaps
from core.data.text import words

NEAR = frozenset({"characters", "edited", "idf5"})
"""Kinds that say "a copy with some words replaced"."""
CROWD_SAMPLES, CROWD_PROMPTS = 3, 4
"""A row that shares rare wording with so many samples, a sample that shares it with so many different prompts."""
_SIBLING = {"ngram13": "ngram8"}
"""What a match becomes when all that differs is a pattern's: `template`, or where 13 words in a row agree still an alert."""


def settle(
    best: Mapping[int, Match],
    pairs: Sequence[tuple[int, int]],
    prompts: Mapping[int, str],
    samples: Mapping[int, Sample],
    corpus: Callable[[], AbstractSet[tuple[str, ...]]],
) -> dict[int, Match]:
    """The match of each row, settled. `pairs`: (row, sample) that share rare wording; `corpus`: words of the texts that
    may show a pattern, asked for only where something is to be settled."""
    crowded = _crowded(best, pairs, prompts)
    settled = dict(best)
    for n in crowded:
        if best[n].kind == "ngram8":  # eight words in a row are then what the pattern's sentences share
            settled[n] = msgspec.structs.replace(best[n], kind="template")
    near = {n: m for n, m in best.items() if m.kind in NEAR or m.kind in ("covered", "ngram13")}
    if not near:
        return settled
    mine = {n: words(prompts[n]) for n in near}
    differing = {n: gaps(mine[n], samples[m.sample].words) for n, m in near.items()}
    doubted = {tuple(w) for w in mine.values()}
    patterns = Patterns(corpus(), doubted, [gap for each in differing.values() for gap in each])
    for n, m in near.items():
        told = [
            patterns.usual(gap) or (n in crowded and patterns.open(gap)) or patterns.kindred(gap)
            for gap in differing[n]
        ]
        if m.kind == "covered":
            if not told or any(told):
                del settled[n]
            else:
                settled[n] = msgspec.structs.replace(m, kind="edited")
        elif told and all(told):
            settled[n] = msgspec.structs.replace(m, kind=_SIBLING.get(m.kind, "template"))
    return settled


def _crowded(best: Mapping[int, Match], pairs: Sequence[tuple[int, int]], prompts: Mapping[int, str]) -> set[int]:
    beside: dict[int, set[int]] = {}
    asking: dict[int, set[str]] = {}
    for n, i in pairs:
        beside.setdefault(n, set()).add(i)
        asking.setdefault(i, set()).add(prompts[n])
    return {n for n, m in best.items() if len(beside[n]) >= CROWD_SAMPLES or len(asking[m.sample]) >= CROWD_PROMPTS}
