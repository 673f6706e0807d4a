"""All comparisons of a run as one family: of many candidates one looks better by chance, so p-values are adjusted.

The family is every paired difference on the development split. Held-out scores are one comparison, made once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from core.evaluation.stats import holm
from core.state import Evaluation


def adjusted(evaluations: Iterable[Evaluation]) -> dict[str, float]:
    """{evaluation: its p-value after Holm} of those that were compared with another one."""
    return corrected({x.id: x.p_value for x in evaluations if x.split == "dev" and x.done and x.p_value is not None})


def corrected(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values of one family after Holm, under the names they came with."""
    return dict(zip(p_values, holm(list(p_values.values())), strict=True))
