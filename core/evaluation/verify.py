"""Whether a completion answers the question, decided by a program.

The same check serves a development score, a GRPO reward and the filter of self-generated samples, so it must be at
least as strict as the evaluation it stands for: what passes here should pass there. No model judges anything here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec

from core import install
from core.errors import NotFound

Kind = Literal["exact", "numeric", "choice", "regex", "json", "contains", "schema", "code", "reasoning_gym"]

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
_LETTER = re.compile(r"(?<![A-Za-z0-9])\(?([A-Z])\)?(?![A-Za-z0-9])")
_FENCE = re.compile(r"^```[A-Za-z]*\s*\n?(.*?)\n?```$", re.DOTALL)


class VerifierSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How completions of one task are checked."""

    kind: Kind
    tolerance: float = 1e-6
    """Numeric: the largest absolute difference that still counts as equal."""
    pattern: str | None = None
    """Regex: where the answer stands in the completion; group 1 if there is one, else the whole match. The last
    match counts. Without a pattern the gold answer itself is the pattern and must match the whole completion."""
    ignore_case: bool = False
    schema: dict[str, Any] | None = None
    """Schema: the JSON Schema (draft 2020-12) that a completion has to satisfy, such as a tool call's; where a row's gold
    answer is JSON itself, its values have to agree too."""
    dataset: str | None = None
    """reasoning_gym: the name of the generator whose scorer judges; the gold answer is its entry as JSON."""
    reason: str = ""
    """Why this kind was chosen, for the report."""


def check(spec: VerifierSpec, completion: str, answer: str) -> bool:
    """True if `completion` (without its stop token) gives `answer`."""
    if spec.ignore_case:
        completion, answer = completion.casefold(), answer.casefold()
    if spec.kind == "numeric":
        return _same_number(completion, answer, spec.tolerance)
    if spec.kind == "choice":
        return _choice(completion) == _choice(answer) and _choice(answer) is not None
    if spec.kind == "regex":
        return _regex(spec, completion, answer)
    if spec.kind == "json":
        return _same_json(completion, answer)
    if spec.kind == "schema":
        return _fits_schema(spec, completion, answer)
    if spec.kind == "code":
        from core.evaluation.code_check import passes

        return passes(completion, answer)
    if spec.kind == "reasoning_gym":
        return gym_score(spec.dataset or "", completion, answer) >= 1.0
    if spec.kind == "contains":
        return bool(answer.strip()) and answer.strip() in completion
    return completion.strip() == answer.strip()


def score(spec: VerifierSpec, completion: str, answer: str) -> float:
    """A graded score in [0, 1]: 1 exactly when `check` is true.

    Only JSON has parts that are right or wrong by themselves; a wrong object earns at most one half for the share of
    its members that agree. reasoning-gym's scorers grade by themselves. All other kinds are 0 or 1: a smooth reward for
    text invites rewards without answers.
    """
    if spec.kind == "reasoning_gym":
        return gym_score(spec.dataset or "", completion, answer)
    if check(spec, completion, answer):
        return 1.0
    if spec.kind != "json":
        return 0.0
    given, gold = parse_json(completion), parse_json(answer)
    if given is msgspec.UNSET or gold is msgspec.UNSET:
        return 0.0
    have, want = set(_leaves(given)), set(_leaves(gold))
    return 0.5 * len(have & want) / max(len(have | want), 1)


def guess_verifier(answers: Sequence[str]) -> VerifierSpec:
    """The strictest check that suits a sample of gold answers (the training data may be flawed: 90 % decide)."""
    stripped = [a.strip() for a in answers if a.strip()]
    if not stripped:
        return VerifierSpec(kind="exact", reason="no gold answers to look at")
    if _mostly(isinstance(parse_json(a), (dict, list)) for a in stripped):
        return VerifierSpec(kind="json", reason="the gold answers are JSON objects or lists")
    if _mostly(re.fullmatch(r"\(?[A-J]\)?\.?", a) is not None for a in stripped):
        return VerifierSpec(kind="choice", reason="the gold answers are single letters")
    if _mostly("####" in a for a in stripped):
        return VerifierSpec(kind="numeric", reason="the gold answers end in `#### number` after a working")
    lengths = sorted(len(a) for a in stripped)
    if lengths[len(lengths) // 2] > 40 and _mostly(bool(_NUMBER.search(a[-20:])) for a in stripped):
        return VerifierSpec(kind="numeric", reason="the gold answers are long and end in a number")
    # Short numbers stay `exact`: an evaluation that reads the last number accepts everything the strict check does.
    return VerifierSpec(kind="exact", reason="the gold answers are short texts without a common structure")


def last_number(text: str) -> float | None:
    """The last number in a text, thousands separators removed; None without one."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def parse_json(text: str) -> object:
    """The value of a text that is JSON and nothing else (a surrounding code fence is allowed), or UNSET."""
    text = text.strip()
    fenced = _FENCE.match(text)
    try:
        return msgspec.json.decode((fenced.group(1) if fenced else text).encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return msgspec.UNSET


def _same_number(completion: str, answer: str, tolerance: float) -> bool:
    given, gold = last_number(completion), last_number(answer)
    if given is None or gold is None or not math.isfinite(given):
        return False
    return abs(given - gold) <= tolerance


def _choice(text: str) -> str | None:
    """The letter a text settles on: the last one that stands alone."""
    found = _LETTER.findall(text.upper() if len(text.strip()) <= 3 else text)
    return found[-1] if found else None


def _regex(spec: VerifierSpec, completion: str, answer: str) -> bool:
    flags = re.DOTALL | (re.IGNORECASE if spec.ignore_case else 0)
    if spec.pattern is None:
        return re.fullmatch(answer.strip(), completion.strip(), flags) is not None
    found = list(re.finditer(spec.pattern, completion, flags))
    if not found:
        return False
    last = found[-1]
    return (last.group(1) if last.re.groups else last.group(0)).strip() == answer.strip()


def _same_json(completion: str, answer: str) -> bool:
    given, gold = parse_json(completion), parse_json(answer)
    return gold is not msgspec.UNSET and _canonical(given) == _canonical(gold)


def _fits_schema(spec: VerifierSpec, completion: str, answer: str) -> bool:
    """The completion is JSON that the schema allows and, where there is a gold object, agrees with it."""
    given, gold = parse_json(completion), parse_json(answer)
    if given is msgspec.UNSET:
        return False
    has_gold = isinstance(gold, (dict, list))
    if has_gold and _canonical(given) != _canonical(cast(object, gold)):
        return False
    try:
        from jsonschema import Draft202012Validator
    except ImportError as error:
        raise NotFound(
            "the verifier `schema` needs jsonschema", where="verifier", next="pip install jsonschema"
        ) from error
    validator: Any = Draft202012Validator(spec.schema or {})
    return bool(validator.is_valid(given))


def gym_score(dataset: str, completion: str, entry: str) -> float:
    """reasoning-gym's own score of an answer to an entry (its `score_answer`), in [0, 1]."""
    try:
        import reasoning_gym  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]
    except ImportError as error:
        raise NotFound(
            "the verifier `reasoning_gym` needs reasoning-gym", where="verifier", next=install.command("gym")
        ) from error
    gym: Any = reasoning_gym
    scorer = _GYMS.get(dataset) or _GYMS.setdefault(dataset, gym.create_dataset(dataset, size=1, seed=0))
    return float(scorer.score_answer(completion.strip(), msgspec.json.decode(entry.encode())))


_GYMS: dict[str, Any] = {}


def _canonical(value: object) -> str:
    """Text equality instead of ==, because Python calls True equal to 1 and 4 equal to 4.0 inside containers."""
    if value is msgspec.UNSET:
        return ""
    return msgspec.json.encode(value, order="deterministic").decode()


def _leaves(value: object, path: str = "") -> list[tuple[str, str]]:
    """(path, value) of each scalar in a JSON value."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{path}.{key}")]  # pyright: ignore
    if isinstance(value, list):
        return [leaf for i, item in enumerate(value) for leaf in _leaves(item, f"{path}[{i}]")]  # pyright: ignore
    return [(path, _canonical(value))]


def _mostly(flags: object, share: float = 0.9) -> bool:
    values = [bool(f) for f in flags]  # pyright: ignore
    return sum(values) >= share * len(values)
