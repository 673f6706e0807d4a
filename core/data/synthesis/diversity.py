"""How varied texts are: numbers that fall when a source says the same thing in a few ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations, islice
from random import Random
from typing import Any

from core.data.text import same_key, words

_PAIRS = 4_000
"""Pairs compared for `likeness`."""


def diversity(prompts: Sequence[str], answers: Sequence[str]) -> dict[str, Any]:
    """Shares in [0, 1], lengths in words; empty for no rows.

    distinct_1, distinct_2: different words and word pairs among all (Li et al., arXiv 1510.03055); likeness: mean Jaccard
    of the word sets of random pairs of prompts; common_opening: the share of the commonest first three words.
    """
    if not prompts:
        return {}
    split = [words(p) for p in prompts]
    lengths = sorted(map(len, split))
    openings = Counter(" ".join(w[:3]) for w in split)
    opening, most = openings.most_common(1)[0]
    return {
        "rows": len(prompts),
        "distinct_1": _distinct(split, 1),
        "distinct_2": _distinct(split, 2),
        "likeness": _likeness([frozenset(w) for w in split]),
        "common_opening": {"words": opening, "share": round(most / len(split), 3)},
        "different_answers": round(len({same_key(a) for a in answers}) / len(answers), 3),
        "prompt_words": {"p5": lengths[len(lengths) // 20], "p50": lengths[len(lengths) // 2], "p95": lengths[-1 - len(lengths) // 20]},
    }  # fmt: skip


def _distinct(texts: Sequence[Sequence[str]], size: int) -> float:
    grams = [tuple(w[i : i + size]) for w in texts for i in range(len(w) - size + 1)]
    return round(len(set(grams)) / len(grams), 3) if grams else 0.0


def _likeness(sets: Sequence[frozenset[str]]) -> float:
    if len(sets) < 2:
        return 0.0
    r = Random(0)
    if len(sets) * (len(sets) - 1) // 2 <= _PAIRS:
        pairs = list(combinations(sets, 2))
    else:
        pairs = list(islice(((sets[a], sets[b]) for a, b in iter(lambda: r.sample(range(len(sets)), 2), None)), _PAIRS))
    return round(sum(len(a & b) / max(1, len(a | b)) for a, b in pairs) / len(pairs), 3)
