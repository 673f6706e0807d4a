"""One logged dict of any trainer or reporter, made into (train step, metrics, time).

Reporters add prefixes (`train/`, `eval/`), nest the metrics, print numbers as strings and spell NaN in five ways. Rows of
a console log carry no step at all; `Steps` counts or reckons them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple, cast

Row = tuple[int, dict[str, float]]

_WORDS = {
    "nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf, "-nan": math.nan,
    "+inf": math.inf,
}  # fmt: skip
_STEPS = ("step", "global_step", "_step", "train/global_step", "trainer/global_step", "steps")
_TIMES = ("ts", "timestamp", "_timestamp", "time", "wall_time", "created_at")
_NOT_METRICS = frozenset((*_STEPS, *_TIMES, "kind", "_runtime", "run_id", "run"))
_NESTS = ("values", "metrics", "logs", "log", "data")
_HELD = re.compile(r"^(eval|val|valid|validation|dev|test)/")
_OLD_REWARD = re.compile(r"rewards/(?!(chosen|rejected|margins|accuracies)$)[^/]+")
"""GRPO's reward functions before TRL 0.16, which has `/mean` and `/std` after the name."""
_OTHER_LINES = ("plan", "checkpoint", "note", "result")
"""Lines of our own stream that hold no metrics."""
LEARNS = ("loss", "reward", "rewards/chosen", "rewards/margins")
"""Metrics that a row about train steps holds; evaluation rows do not."""


class Entry(NamedTuple):
    """A row as read; `step` and `at` (seconds) are None where the row does not say."""

    step: int | None
    values: dict[str, float]
    at: float | None = None

    @property
    def of_training(self) -> bool:
        return any(name in self.values for name in LEARNS)


def number(raw: Any) -> float | None:
    """A metric value as a float, also from a string that spells one; None if it is no number."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int | float):
        return float(raw)
    if not isinstance(raw, str) or len(raw) > 40:
        return None
    word = raw.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    try:
        return float(word)
    except ValueError:
        return None


def entry(raw: Any) -> Entry | None:
    """One logged dict; None if it holds no metrics."""
    if not isinstance(raw, dict):
        return None
    fields = cast(dict[str, Any], raw)
    if fields.get("kind") in _OTHER_LINES:
        return None
    payload = fields.get("payload")
    if isinstance(payload, dict):  # an event of ours, as `intern events --json` prints it
        if fields.get("type") != "metric_logged":
            return None
        fields = cast(dict[str, Any], payload)
    metrics = _metrics(fields)
    values: dict[str, float] = {}
    for name, value in metrics.items():
        found = number(value)
        if found is not None and name not in _NOT_METRICS and not name.startswith(("profiling/", "system/", "system.")):
            values[plain(name)] = found
    values |= _made_null(metrics, values)
    if not values:
        return None
    step = next((s for n in _STEPS if (s := number(fields.get(n, metrics.get(n)))) is not None), None)
    if step is not None and not math.isfinite(step):
        step = None
    return Entry(None if step is None else int(step), values, _time(fields))


def _made_null(metrics: dict[str, Any], values: dict[str, float]) -> dict[str, float]:
    """A loss of null beside a number that is logged with it: writers of strict JSON make null of NaN."""
    beside = "grad_norm" in values or "learning_rate" in values
    return {name: math.nan for name in ("loss", "reward") if beside and metrics.get(name, 0) is None}


def _metrics(fields: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a row: nested under a common name (with those that were not finite), or the row itself."""
    for name in _NESTS:
        nested = fields.get(name)
        if isinstance(nested, dict):
            metrics = cast(dict[str, Any], nested)
            broken = fields.get("nonfinite")
            names = cast(list[Any], broken) if isinstance(broken, list) else []
            return metrics | {str(n): math.nan for n in names}
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict) and name in ("train", "eval"):
            flat |= {f"{name}/{k}": v for k, v in cast(dict[str, Any], value).items()}
        else:
            flat[name] = value
    return flat


def plain(name: str) -> str:
    """Without the prefix that reporters add, in the newest names: `train/loss` is loss, `eval/loss` is eval_loss."""
    name = name.removeprefix("train/")
    if _OLD_REWARD.fullmatch(name):
        return f"{name}/mean"
    return _HELD.sub("eval_", name)


def _time(fields: Mapping[str, Any]) -> float | None:
    for name in _TIMES:
        raw = fields.get(name)
        found = number(raw)
        if found is not None and math.isfinite(found):
            return found / 1000 if found > 1e11 else found  # milliseconds since 1970
        if isinstance(raw, str):
            try:
                return datetime.fromisoformat(raw.replace("Z", "+00:00")).timestamp()
            except ValueError:
                continue
    return None


def with_steps(entries: Iterable[Entry], total: int | None = None) -> list[Entry]:
    """Every entry with a train step.

    Where no row says its step (a console log), steps are reckoned from the epochs of a training whose length is known
    (`total`), else rows are counted; an evaluation belongs to the row before it.
    """
    rows = list(entries)
    if any(r.step is not None for r in rows):
        last = 0
        filled: list[Entry] = []
        for row in rows:
            last = row.step if row.step is not None else last + row.of_training
            filled.append(row._replace(step=last))
        return filled
    epochs = [e for r in rows if r.of_training and (e := r.values.get("epoch")) is not None and math.isfinite(e)]
    ended = any("train_runtime" in r.values for r in rows)
    scale = total / epochs[-1] if total and ended and epochs and epochs[-1] > 0 else None
    count, filled = 0, []
    for row in rows:
        epoch = row.values.get("epoch")
        if scale is not None and epoch is not None and math.isfinite(epoch):
            count = max(count, round(epoch * scale))
        elif row.of_training:
            count += 1
        filled.append(row._replace(step=count))
    return filled


def last_training(entries: list[Entry]) -> list[Entry]:
    """Without what a restart did over again.

    A training resumed from a checkpoint logs some steps twice: the later ones count. A file to which a second training
    was appended starts again at its first steps: the last training is the one asked about.
    """
    kept: list[Entry] = []
    highest = -1
    for row in entries:
        step = row.step or 0
        if row.of_training and step < highest:
            kept = [k for k in kept if (k.step or 0) < step]
        if row.of_training:
            highest = step  # equal steps: one step told in two rows
        kept.append(row)
    return kept


def in_order(entries: list[Entry]) -> list[Entry]:
    """By train step where the writer lost the order: no step stands twice, and it is no second training that begins anew.

    Rows of one step keep their order; those that are the same in everything stand once.
    """
    rows = [row for i, row in enumerate(entries) if i == 0 or row != entries[i - 1]]
    steps = [row.step or 0 for row in rows if row.of_training]
    falls = [i for i, (a, b) in enumerate(pairwise(steps), 1) if b < a]
    if not falls or (len(falls) == 1 and steps[falls[0]] <= steps[0]):
        return rows
    told = [step for i, step in enumerate(steps) if i == 0 or step != steps[i - 1]]
    return sorted(rows, key=lambda row: row.step or 0) if len(set(told)) == len(told) else rows


def with_step_times(entries: list[Entry]) -> list[Entry]:
    """Seconds a train step, reckoned from the rows' times where the trainer does not log them.

    Evaluations between two rows are not training: their stretch is left out. Times that come in bursts (a reporter that
    flushes now and then) say nothing and are not used.
    """
    if any("step_time" in row.values for row in entries):
        return entries
    before: Entry | None = None
    out: list[Entry] = []
    found: list[float] = []
    for row in entries:
        if not row.of_training:
            before = None if any(k.startswith("eval_") or k.startswith("dev_") for k in row.values) else before
            out.append(row)
            continue
        if before is not None and row.at is not None and before.at is not None:
            steps, seconds = (row.step or 0) - (before.step or 0), row.at - before.at
            if steps > 0 and seconds >= 0:
                found.append(seconds)
                row = row._replace(values=row.values | {"step_time": seconds / steps, "silence": seconds})
        before = row
        out.append(row)
    bursts = sum(seconds < 1e-3 for seconds in found) > 0.1 * len(found)
    return entries if bursts or len(found) < 5 else out


def guess_trainer(rows: Iterable[Row]) -> str:
    """The method, from the names of its metrics."""
    names = {name for _, values in rows for name in values}
    if names & {"rewards/chosen", "rewards/accuracies", "rewards/margins", "eval_rewards/margins"}:
        return "dpo"
    grouped = {"reward", "frac_reward_zero_std", "completions/mean_length", "objective/kl", "objective/scores"}
    if names & grouped or any(name.startswith(("rewards/", "completions/", "clip_ratio")) for name in names):
        return "grpo"
    return "reward" if names & {"min_reward", "max_reward", "margin"} else "sft"
