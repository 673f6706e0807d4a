"""The label audit finds wrong labels by what models say, and leaves right ones alone, even where the model is weak."""

from __future__ import annotations

import math
import random

from core.data.noise import Label, both, fold_of, from_completions, from_losses


def _world(seed: int, skill: float) -> tuple[list[Label], set[str], dict[str, list[str]], dict[str, float]]:
    """1,000 rows, 10 % wrong labels; a model that is right with a probability spread around `skill`."""
    r = random.Random(seed)
    rows, wrong, completions, losses = [], set(), {}, {}
    for i in range(1000):
        truth, key = str(r.randint(100, 999)), f"{i:016x}"
        label = str(int(truth) + 1) if r.random() < 0.1 else truth
        if label != truth:
            wrong.add(key)
        p = min(0.98, max(0.05, r.gauss(skill, 0.15)))
        completions[key] = [truth if r.random() < p else str(r.randint(100, 999)) for _ in range(8)]
        losses[key] = abs(r.gauss(0.3, 0.2)) if label == truth else r.gauss(4.0, 0.8)
        rows.append(Label(id=key, answer=label))
    return rows, wrong, completions, losses


def test_agreement_on_another_answer_finds_wrong_labels() -> None:
    rows, wrong, completions, _ = _world(1, skill=0.85)
    found = {s.id for s in from_completions(rows, completions)}
    precision, recall = len(found & wrong) / len(found), len(found & wrong) / len(wrong)
    print(f"completions: precision {precision:.1%}, recall {recall:.1%}")
    assert precision > 0.95
    assert recall > 0.6


def test_a_weak_model_does_not_condemn_good_labels() -> None:
    rows, wrong, completions, _ = _world(2, skill=0.3)
    found = {s.id for s in from_completions(rows, completions)}
    assert len(found - wrong) < 0.01 * len(rows)


def test_losses_out_of_fold_find_wrong_labels_and_both_audits_agree() -> None:
    rows, wrong, completions, losses = _world(3, skill=0.85)
    losses[rows[0].id] = math.nan
    by_loss = from_losses(rows, losses)
    found = {s.id for s in by_loss} - {rows[0].id}
    assert len(found & wrong) > 0.85 * len(wrong - {rows[0].id})
    assert len(found - wrong) < 0.02 * len(rows)
    merged = both(from_completions(rows, completions), by_loss)
    assert {s.id for s in merged} <= wrong | {rows[0].id}
    assert merged == sorted(merged, key=lambda s: (-s.confidence, s.id))


def test_no_evidence_is_no_suspicion_and_folds_are_stable() -> None:
    rows = [Label(id="a", answer="1"), Label(id="b", answer="2")]
    assert from_completions(rows, {"a": ["2", "2"]}) == []
    assert from_losses(rows, {}) == []
    assert fold_of("a", 4) == fold_of("a", 4)
    assert {fold_of(str(i), 4) for i in range(50)} == {0, 1, 2, 3}
