"""Near matches settled by what surrounds them: a leaked sample with some words replaced, or a sentence of the same pattern.

A leaked sample has one or a few altered copies, and each resembles it alone. Patterned sentences ("book a table for 4 in
Paris") come in crowds: a row shares rare wording with several samples, or a sample with several prompts. Each place where the
two differ is asked (see `slots`): where every one of them is a slot of a pattern with a filler of its own, it is no copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from core.data.kin import Kin
from core.data.overlap import BAG, Match, Sample
from core.data.slots import Gap, Patterns, gaps

NEAR = frozenset({"characters", "edited", "idf5"})
"""Kinds that say "a copy with some words replaced"."""
CROWD_SAMPLES, CROWD_PROMPTS = 3, 4
"""A row that shares rare wording with so many samples, a sample that shares it with so many different prompts."""
_UNSETTLED = NEAR | {"covered", "ngram13", "ngram8", "resembles"}


def settle(
    best: Mapping[int, Match],
    pairs: Sequence[tuple[int, int]],
    prompts: Mapping[int, str],
    samples: Mapping[int, Sample],
    around: Mapping[int, Sequence[str]],
    doubted: AbstractSet[tuple[str, ...]],
    corpus: Callable[[], AbstractSet[tuple[str, ...]]],
) -> dict[int, Match]:
    """The match of each row, settled. `pairs`: (row, sample) that share rare wording; `around`: the words of each row
    among which its match lies; `doubted`: those of the whole texts under judgement; `corpus`: words of the texts that may
    show a pattern, asked for only where something is to be settled."""
    crowded = _crowded(best, pairs, prompts)
    settled = dict(best)
    for n in crowded:
        if best[n].kind == "ngram8":  # eight words in a row are then what the pattern's sentences share
            settled[n] = msgspec.structs.replace(best[n], kind="template")
    unsettled = {n: m for n, m in best.items() if m.kind in _UNSETTLED}
    if not unsettled:
        return settled
    known = corpus()
    asked_kin = {n: m for n, m in unsettled.items() if m.kind != "ngram13"}  # thirteen words in a row need no kin
    copies = _copies(asked_kin, samples, around, Kin([*known, *doubted]) if asked_kin else Kin(()))
    asked = [n for n, m in unsettled.items() if copies.get(n) or m.kind not in ("resembles", "ngram8")]
    differing = {n: _lost(around[n], samples[best[n].sample].words) for n in asked}
    patterns = Patterns(known, doubted, [gap for each in differing.values() for gap in each])
    for n, m in unsettled.items():
        told = [
            patterns.usual(gap) or (n in crowded and patterns.open(gap)) or patterns.kindred(gap)
            for gap in differing.get(n, ())
        ]
        kind = _kind(m.kind, copies.get(n), told)
        if kind:
            settled[n] = settled[n] if kind == m.kind else msgspec.structs.replace(m, kind=kind)
        else:
            del settled[n]
    return settled


def _lost(mine: Sequence[str], theirs: Sequence[str]) -> list[Gap]:
    """The places where the second text has words that the first has nowhere: what only changed its place is not replaced."""
    missing = Counter(theirs) - Counter(mine)
    return [gap for gap in gaps(mine, theirs) if any(word in missing for word in gap.lost)]


def _kind(kind: str, copied: bool | None, told: Sequence[bool]) -> str:
    """What a match becomes; empty for none. `copied`: what the sample's kin says; `told`: by place, whether a slot is there."""
    sibling = bool(told) and all(told)
    if kind in NEAR:
        return "template" if sibling or copied is False else kind
    if kind == "ngram13":
        return "ngram8" if sibling else kind
    if kind == "covered":
        return "" if copied is False or sibling or (copied is None and any(told)) else "edited"
    if copied and not sibling:
        return "edited"
    return "" if kind == "resembles" else kind


def _copies(
    unsettled: Mapping[int, Match], samples: Mapping[int, Sample], around: Mapping[int, Sequence[str]], kin: Kin
) -> dict[int, bool]:
    """Rows whose match the sample's kin decides."""
    found: dict[int, bool] = {}
    for n, m in unsettled.items():
        sample = samples[m.sample]
        if (told := kin.copied(m.sample, sample.words, around[n])) is not None:
            bag = (Counter(sample.words) & Counter(around[n])).total()
            found[n] = told and bag >= BAG * len(sample.words)
    return found


def _crowded(best: Mapping[int, Match], pairs: Sequence[tuple[int, int]], prompts: Mapping[int, str]) -> set[int]:
    beside: dict[int, set[int]] = {}
    asking: dict[int, set[str]] = {}
    for n, i in pairs:
        beside.setdefault(n, set()).add(i)
        asking.setdefault(i, set()).add(prompts[n])
    return {n for n, m in best.items() if len(beside[n]) >= CROWD_SAMPLES or len(asking[m.sample]) >= CROWD_PROMPTS}
