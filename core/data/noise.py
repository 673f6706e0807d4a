"""Which labels are probably wrong, from what models say about the rows. Pure: no model, no file.

Two kinds of evidence. Completions: several answers sampled from a model that was not trained on the row; when they
agree on
another answer more than is usual for rows of this data, the label is suspect (confident learning, arXiv 1911.00068: the
threshold is the model's own mean confidence, not a constant). Losses: of the label under a model trained on the other
folds.
Either way the model must not have seen the row: `fold_of` assigns folds by the id, so copies of a prompt stay together.

What is found is a suspicion with a confidence, to be audited or excluded by id; a model that is wrong on a whole kind
of
question is confident there too.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import msgspec

MIN_COMPLETIONS = 4


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One row to audit."""

    id: str
    answer: str


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """A row whose label is doubted."""

    id: str
    answer: str
    confidence: float
    """In [0, 1]; an ordering more than a probability."""
    suggested: str | None
    """The answer most completions agree on, where there are completions."""
    reason: str

    @property
    def key(self) -> str:
        """The form `PrepareOptions.exclude` takes, so that other answers to the prompt stay."""
        return f"{self.id}:{self.answer}"


def fold_of(row: str, folds: int, seed: int = 0) -> int:
    """The fold (0 to folds - 1) of a row id."""
    return int(hashlib.sha256(f"{seed}:{row}".encode()).hexdigest()[:12], 16) % folds


def from_completions(
    rows: Sequence[Label], completions: Mapping[str, Sequence[str]], normalise: Callable[[str], str] = str.strip
) -> list[Suspicion]:
    """Rows whose sampled completions (by row id, from a model that did not see the row) agree on another answer.

    Confident learning with open answers: a row is off when the share of its best other answer reaches the mean share
    that agreeing rows give their own label, and its own label's share is under that mean. The confidence is the lower
    95 % bound (Wilson) of the best answer's share, less the label's share. Most suspicious first.
    """
    shares = {
        i: _shares([normalise(c) for c in found]) for i, found in completions.items() if len(found) >= MIN_COMPLETIONS
    }
    judged = [(row, shares[row.id], normalise(row.answer)) for row in rows if row.id in shares]
    agreeing = [s[label] for _, s, label in judged if label == _best(s)]
    if not agreeing:
        return []
    usual = sum(agreeing) / len(agreeing)
    found: list[Suspicion] = []
    for row, share, label in judged:
        best = _best(share)
        own = share.get(label, 0.0)
        if best != label and share[best] >= usual and own < usual:
            count = len(completions[row.id])
            confidence = max(0.0, _lower_bound(share[best], count) - own)
            reason = f"{round(share[best] * count)} of {count} completions say otherwise, {round(own * count)} agree"
            found.append(
                Suspicion(id=row.id, answer=row.answer, confidence=round(confidence, 4), suggested=best, reason=reason)
            )
    return sorted(found, key=lambda s: (-s.confidence, s.id))


def from_losses(rows: Sequence[Label], losses: Mapping[str, float], deviations: float = 4.0) -> list[Suspicion]:
    """Rows whose label costs a model that did not see them far more than labels usually cost.

    `losses`: mean loss a token of the label, by `Suspicion.key` ("id:answer") or id. Suspect from `deviations` robust
    deviations over the median (of labels of about the same length) on; a loss that is not finite is suspect outright.
    """
    known = [
        (row, losses[k])
        for row in rows
        for k in [f"{row.id}:{row.answer}" if f"{row.id}:{row.answer}" in losses else row.id]
        if k in losses
    ]
    groups: dict[int, list[float]] = {}
    for row, loss in known:
        if math.isfinite(loss):
            groups.setdefault(_length_class(row.answer), []).append(loss)
    everything = [loss for group in groups.values() for loss in group]
    found: list[Suspicion] = []
    for row, loss in known:
        group = groups.get(_length_class(row.answer), [])
        z = _deviations(loss, group if len(group) >= 30 else everything)
        if z >= deviations:
            confidence = 1.0 if math.isinf(z) else 1.0 - math.exp(-(z - deviations + 1) / deviations)
            found.append(
                Suspicion(
                    id=row.id,
                    answer=row.answer,
                    confidence=round(confidence, 4),
                    suggested=None,
                    reason=f"loss {loss:.2f}, {z:.1f} robust deviations over the median",
                )
            )
    return sorted(found, key=lambda s: (-s.confidence, s.id))


def both(first: Sequence[Suspicion], second: Sequence[Suspicion]) -> list[Suspicion]:
    """Rows that two independent audits doubt, confidences combined (1 - product of the doubts)."""
    other = {s.key: s for s in second}
    merged = [
        msgspec.structs.replace(
            s,
            confidence=round(1 - (1 - s.confidence) * (1 - o.confidence), 4),
            reason=f"{s.reason}; {o.reason}",
            suggested=s.suggested or o.suggested,
        )
        for s in first
        if (o := other.get(s.key))
    ]
    return sorted(merged, key=lambda s: (-s.confidence, s.id))


def _shares(answers: Sequence[str]) -> dict[str, float]:
    return {a: c / len(answers) for a, c in Counter(answers).items()}


def _best(shares: Mapping[str, float]) -> str:
    return min(shares, key=lambda a: (-shares[a], a))


def _lower_bound(share: float, n: int) -> float:
    """Lower end of the 95 % Wilson interval."""
    z = 1.96
    centre = share + z * z / (2 * n)
    return (centre - z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))) / (1 + z * z / n)


def _length_class(answer: str) -> int:
    return int(math.log2(len(answer) + 1))


def _deviations(loss: float, others: Sequence[float]) -> float:
    if not math.isfinite(loss):
        return math.inf
    if not others:
        return 0.0
    middle = median(others)
    spread = 1.4826 * median(abs(x - middle) for x in others)
    # Half a nat is the least spread assumed: among near-zero losses a tiny excess is no sign of anything.
    return (loss - middle) / max(spread, 0.5)
