"""What a model does wrong: wrong answers sorted into kinds, with counts and examples.

A score says how many answers are wrong, not why; the remedy depends on why. Answers that never end want a stop token,
a wrong format wants supervised examples, near misses want reward. The kinds are seen from the answers and the gold
alone: nothing here knows a task. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from core.evaluation.verify import last_number, parse_json

ErrorKind = Literal[
    "never_ended", "empty", "extra_text", "refusal", "arithmetic", "wrong_format", "near_miss", "wrong_content"
]

KINDS: tuple[ErrorKind, ...] = (
    "never_ended",
    "empty",
    "extra_text",
    "refusal",
    "arithmetic",
    "wrong_format",
    "near_miss",
    "wrong_content",
)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One answered question, as `samples.jsonl` holds it."""

    id: str
    prompt: str
    answer: str
    completion: str
    correct: bool
    tokens: int = 0
    ended: bool = True
    score: float | None = None
    """In [0, 1], where a sample's score is more than right or wrong."""

    @property
    def value(self) -> float:
        return float(self.correct) if self.score is None else self.score


class ErrorGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Wrong answers of one kind."""

    kind: ErrorKind
    count: int
    share: float
    """Of all answers, right ones included."""
    gold_inside: int
    """How many of them hold the right answer somewhere: knowledge is there, the form is not."""
    examples: tuple[Sample, ...]


class ErrorReport(msgspec.Struct, frozen=True, kw_only=True):
    """All wrong answers of one evaluation."""

    n: int
    wrong: int
    ended_share: float
    groups: tuple[ErrorGroup, ...]
    """The largest first; empty kinds are left out."""

    @property
    def main(self) -> ErrorKind | None:
        """The most frequent kind of error."""
        return self.groups[0].kind if self.groups else None


def analyse(samples: Sequence[Sample], examples: int = 3) -> ErrorReport:
    """Groups the wrong answers of an evaluation."""
    shape = gold_shape([s.answer for s in samples])
    found: dict[ErrorKind, list[Sample]] = {}
    for sample in samples:
        if not sample.correct:
            found.setdefault(classify(sample, shape), []).append(sample)
    groups = [
        ErrorGroup(
            kind=kind,
            count=len(rows),
            share=len(rows) / len(samples),
            gold_inside=sum(_holds_gold(r) for r in rows),
            examples=tuple(rows[:examples]),
        )
        for kind, rows in found.items()
    ]
    groups.sort(key=lambda g: (-g.count, KINDS.index(g.kind)))
    n = len(samples)
    ended = sum(s.ended for s in samples) / n if n else 0.0
    return ErrorReport(n=n, wrong=sum(g.count for g in groups), ended_share=ended, groups=tuple(groups))


def classify(sample: Sample, shape: str) -> ErrorKind:
    """The kind of one wrong answer. Order matters: an answer that never ended is that first, whatever it says."""
    text, gold = sample.completion.strip(), sample.answer.strip()
    if not sample.ended:
        return "never_ended"
    if not text:
        return "empty"
    if _holds_gold(sample):
        return "extra_text"
    if _REFUSAL.search(text):
        return "refusal"
    if wrong_equation(text):
        return "arithmetic"
    if not fits_shape(text, shape):
        return "wrong_format"
    return "near_miss" if _near(text, gold, shape) else "wrong_content"


_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)|i (?:can(?:no|')?t|cannot|won't|will not) (?:help|assist|answer|provide|comply|do that)"
    r"|as an ai\b|(?:is|are) not able to (?:help|assist))",
    re.I,
)
"""How models decline, in English; the answer to a question that asks for such words holds the gold and is no refusal."""
_NUMBER = r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_SIGNS = ("+", "-", "*", "/", "×", "÷", "^")
_EQUATION = re.compile(rf"(?<![\w.+*/×÷^-])({_NUMBER})\s*([-+*/×÷])\s*({_NUMBER})\s*=\s*\$?({_NUMBER})(?![\w%]|\.\d)")


def wrong_equation(text: str) -> str:
    """The first equation of two numbers in a text that does not hold, as written there; "" if all do.

    A result is right if it is the value rounded to as many places as it has. Longer chains are not looked at.
    """
    for found in _EQUATION.finditer(text):
        if text[: found.start()].rstrip().endswith(_SIGNS):
            continue  # the end of a longer chain
        left, sign, right, result = (found[1], found[2], found[3], found[4])
        value = _calculate(float(left.replace(",", "")), sign, float(right.replace(",", "")))
        given = float(result.replace(",", ""))
        places = len(result.partition(".")[2])
        if value is not None and abs(value - given) > 0.5000001 * 10.0**-places:
            return found[0]
        if value is not None and not places and value == int(value) and value != given:
            return found[0]
    return ""


def _calculate(a: float, sign: str, b: float) -> float | None:
    if sign in "/÷":
        return a / b if b else None
    return a + b if sign == "+" else a - b if sign == "-" else a * b


def gold_shape(answers: Sequence[str]) -> str:
    """What nine in ten gold answers look like: `json`, `number`, `letter`, `word` (no space) or `text`."""
    for shape in ("json", "number", "letter", "word"):
        if answers and sum(fits_shape(a.strip(), shape) for a in answers) >= 0.9 * len(answers):
            return shape
    return "text"


def fits_shape(text: str, shape: str) -> bool:
    """True if a stripped text looks like that."""
    if shape == "json":
        return isinstance(parse_json(text), (dict, list))
    if shape == "number":
        return re.fullmatch(r"[-+]?[\d,]*\.?\d+", text) is not None
    if shape == "letter":
        return re.fullmatch(r"\(?[A-Za-z]\)?\.?", text) is not None
    if shape == "word":
        return re.fullmatch(r"[^\W_]+", text) is not None
    return True


def edit_distance(a: str, b: str, limit: int = 3) -> int:
    """Levenshtein distance, or `limit` if it is that much or more."""
    if abs(len(a) - len(b)) >= limit:
        return limit
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        previous, row = row, [i]
        for j, right in enumerate(b, start=1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (left != right)))
        if min(row) >= limit:
            return limit
    return min(row[-1], limit)


def _holds_gold(sample: Sample) -> bool:
    """The right answer stands in the text on its own, not as a piece of a longer word or number."""
    gold = sample.answer.strip()
    return bool(gold) and re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", sample.completion) is not None


def _near(text: str, gold: str, shape: str) -> bool:
    """A number off by at most two or 2 %, JSON with one wrong member, or a text one or two letters away."""
    if shape == "number":
        given, wanted = last_number(text), last_number(gold)
        return given is not None and wanted is not None and abs(given - wanted) <= max(2.0, 0.02 * abs(wanted))
    if shape == "json":
        return _json_near(parse_json(text), parse_json(gold))
    # Of a short word two letters are most of it.
    return edit_distance(text, gold) <= (1 if len(gold) < 5 else 2)


def _json_near(given: object, gold: object) -> bool:
    have, want = _members(given), _members(gold)
    return have.keys() == want.keys() and sum(have[k] != want[k] for k in want) == 1


def _members(value: object, path: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        items = list(value.items())  # pyright: ignore
    elif isinstance(value, list):
        items = list(enumerate(value))  # pyright: ignore
    else:
        return {path: value}
    out: dict[str, object] = {}
    for key, item in items:  # pyright: ignore
        out |= _members(item, f"{path}/{key}")  # pyright: ignore
    return out
