"""Whether evaluate.py gives its score as a share (0 to 1, the contract) or in percent (0 to 100).

A number above 1 can only be percent; one from 0 to 1 may be either, and a gain from 0.8 (percent) to 0.35 (a share) would be
an artefact. So what an output says of its scale is kept apart from the number, holds for all scores of a run once it is
known, and two that contradict each other are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from core.errors import EvaluationError

Scale = Literal["", "fraction", "percent"]
"""Empty: nothing says which. It is then taken as the contract has it, as a share, until something does."""

SAY_SO = 'Say in task.toml what evaluate.py gives: scale = "percent" or scale = "fraction"'

_RATE = re.compile(r"acc|exact|match|pass|win_?rate|f1|precision|recall|correct|solve|percent|pct|%", re.I)
"""Names of what cannot be above 1. A `score` may be a judge's mark of ten."""

_PERCENT = re.compile(r"percent|pct|%", re.I)
_UNIT_KEYS = ("unit", "units", "scale")
_NEAR = 0.005


def is_rate(key: str) -> bool:
    """Whether a key names a share of all samples: above 1 it can only count in percent."""
    return bool(_RATE.search(key))


def said_by(value: float, key: str, raw: Mapping[str, Any], *, n: int | None, mean: float | None) -> Scale:
    """What one output says of the scale of its `value`. `n`: samples, where it says how many; `mean`: of its samples' own
    results, where it lists them."""
    if _PERCENT.search(key) or any(_PERCENT.search(str(raw.get(k) or "")) for k in _UNIT_KEYS) or value > 1:
        return "percent"
    if mean is not None:
        share, percent = abs(value - mean) <= _NEAR, abs(value / 100 - mean) <= _NEAR
        if share != percent:
            return "fraction" if share else "percent"
    if n and value > 0 and is_count_of(value, n) and not is_count_of(value / 100, n):
        return "fraction"
    return ""


def is_count_of(share: float, n: int) -> bool:
    """Whether so large a share of `n` samples can be a whole number of them, as far as its digits tell."""
    digits = len(f"{share:.12f}".rstrip("0").partition(".")[2])
    slack = max(1e-6, 0.5 * 10.0**-digits) * n
    count = share * n
    return round(count) >= 1 and abs(count - round(count)) <= slack


def settle(known: Scale, said: Scale, value: float, where: str | Path) -> Scale:
    """The scale that holds from now on. Raises EvaluationError where a score contradicts those before it."""
    if known and said and known != said:
        raise EvaluationError(
            f"a score of {value:g} is on another scale than those before it: they are {_NAMES[known]}, it is {_NAMES[said]}",
            where=str(where),
            next=f"It was not kept, because a difference between the two would mean nothing. {SAY_SO}",
        )
    return said or known


_NAMES = {"fraction": "shares (0 to 1)", "percent": "percent (0 to 100)"}
