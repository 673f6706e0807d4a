"""What the person named is fixed: the method, the data, LoRA or full weights, the sequence length, the base model.

It is written down in the run's goal as data (`--fix method=sft`, or read from the goal's own words) and every training
is compared with it before it is launched. A difference needs an approval that shows it; nothing is changed in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from core.errors import UsageError
from core.state import Dataset
from core.training.spec import TrainSpec

FIELDS = ("method", "data", "model", "lora", "max_length", "max_completion_length", "seed", "monitoring")
"""What can be fixed. `lora`: true for adapters, false for full weights."""

_WORDS: tuple[tuple[str, str, Any], ...] = (
    (r"\bfull[- ](?:weights?|fine[- ]?tun\w*|parameters?)\b|\bno lora\b|\bwithout lora\b", "lora", False),
    (r"\b(?:with|use|using|via) q?lora\b", "lora", True),
    (r"\b(?:only|just) (?:use )?sft\b|\bsft only\b", "method", "sft"),
    (r"\b(?:only|just) (?:use )?grpo\b|\bgrpo only\b", "method", "grpo"),
)
_LENGTH = re.compile(r"\b(?:max(?:imum)?[ _-]?(?:seq(?:uence)?[ _-]?)?length|sequence length|context length)\s*(?:of|=|:|is)?\s*(\d{2,7})\b", re.I)  # fmt: skip


def from_goal(goal: str) -> dict[str, Any]:
    """What the goal's words fix without doubt; a person sees it in the run's first event and can change it."""
    found: dict[str, Any] = {}
    for pattern, field, value in _WORDS:
        if re.search(pattern, goal, re.I):
            found[field] = value
    length = _LENGTH.search(goal)
    if length:
        found["max_length"] = int(length.group(1))
    return found


def parse(pairs: list[str]) -> dict[str, Any]:
    """`field=value` pairs of the command line. Raises UsageError."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in FIELDS:
            raise UsageError(f"{pair!r} fixes nothing", where="--fix", next="Use FIELD=VALUE with " + ", ".join(FIELDS))
        found[name] = _value(name, value)
    return found


def _value(name: str, text: str) -> Any:
    if name in ("lora", "monitoring"):
        if text.lower() not in ("true", "false", "yes", "no", "on", "off"):
            raise UsageError(f"{name} is {text!r}", where="--fix", next="Use true or false")
        return text.lower() in ("true", "yes", "on")
    if name in ("max_length", "max_completion_length", "seed"):
        if not text.isdigit():
            raise UsageError(f"{name} is {text!r}", where="--fix", next="Give a whole number")
        return int(text)
    return text


def differences(
    fixed: dict[str, Any], tool: str, arguments: dict[str, Any], datasets: Mapping[str, Dataset] | None = None
) -> list[str]:
    """What a call would change of what is fixed, one sentence each. `datasets`: what the run knows, with their sources.

    A training is compared field by field. A script of the brain's own cannot be: nothing in its arguments says what it
    does. Preparing data may not put other rows under the name of the data that is fixed.
    """
    wanted = {
        name: value for name, value in fixed.items() if name != "blocked"
    }  # that is about look-ups; see `blocked`
    if not wanted:
        return []
    known = datasets or {}
    if tool == "run_script":
        return _unknown(wanted, arguments)
    if tool in ("prepare_data", "sample_and_verify", "synthesize_data"):
        return _renamed(wanted, arguments, known)
    if tool in ("sweep", "compare"):
        return _of_sweep(wanted, arguments, known)
    return _of_training(wanted, arguments, known) if tool == "train" else []


def _of_sweep(wanted: dict[str, Any], arguments: dict[str, Any], known: Mapping[str, Dataset]) -> list[str]:
    """What any of its trainings would change, each difference once."""
    common: dict[str, Any] = arguments.get("settings") or {}
    each = [cast(dict[str, Any], v) for v in cast(list[Any], arguments.get("vary") or []) if isinstance(v, dict)]
    found = [d for v in each for d in _of_training(wanted, {**arguments, "settings": common | v}, known)]
    return list(dict.fromkeys(found))


def _of_training(wanted: dict[str, Any], arguments: dict[str, Any], known: Mapping[str, Dataset]) -> list[str]:
    settings: dict[str, Any] = arguments.get("settings") or {}
    data = arguments.get("data")
    actual: dict[str, Any] = {
        "method": arguments.get("method"),
        "model": _other_model(str(arguments.get("model") or "base")),
        "data": data,
        "lora": settings.get("lora") is not None,
        "monitoring": _monitored(settings),
        "max_length": settings.get("max_length"),
        "max_completion_length": settings.get("max_completion_length"),
        "seed": settings.get("seed"),
    }
    found: list[str] = []
    for name, value in wanted.items():
        has = actual.get(name)
        # A number that is not named is the fixed one; only a named other one changes it, and a longer one is no cut.
        if has is None or _same(has, value) or (name.startswith("max_") and _is_number(has) and has >= value):
            continue
        if name == "data" and comes_from(str(data), str(value), known):
            continue
        found.append(f"{name} would be {_shown(name, has)} instead of {_shown(name, value)}")
    return found


def _unknown(wanted: dict[str, Any], arguments: dict[str, Any]) -> list[str]:
    """A script of the brain's own: what is fixed, and what its settings say of it."""
    settings: dict[str, Any] = arguments.get("settings") or {}
    said = {**settings, **{k: v for k in ("data", "model") if (v := arguments.get(k)) is not None}}
    told = [f"{k} = {said[k]} in its settings" for k in wanted if k in said]
    kept = ", ".join(f"{k} = {_shown(k, v)}" for k, v in wanted.items())
    return [f"{arguments.get('file')} is a script of the brain's own, and nothing holds it to {kept}", *told]


def _renamed(wanted: dict[str, Any], arguments: dict[str, Any], known: Mapping[str, Dataset]) -> list[str]:
    """Other rows under the name of the data that is fixed."""
    value, name = wanted.get("data"), arguments.get("name")
    before = known.get(str(name))
    if value is None or name != value or before is None or not before.prepared:
        return []
    sources = [str(x) for x in arguments.get("sources") or [arguments.get("data") or "a generator"]]
    same = len(sources) == len(before.sources) and all(
        _names(one, other) or _names(other, one)
        for one, other in zip(sorted(sources), sorted(before.sources), strict=True)
    )
    return [] if same else [f"data {name}, which is fixed, would be made anew from {', '.join(sources)}"]


def comes_from(data: str, wanted: str, known: Mapping[str, Dataset]) -> bool:
    """Whether all rows of `data` come from `wanted`: it itself, or made of nothing else, over any number of preparations."""
    open_, seen = [data], set[str]()
    while open_:
        name = open_.pop()
        if _names(name, wanted) or name in seen:
            continue
        seen.add(name)
        sources = known[name].sources if name in known else []
        if not sources:
            return False
        open_ += sources
    return True


def _names(name: str, wanted: str) -> bool:
    return name == wanted or name.endswith("/" + wanted)


def _monitored(settings: dict[str, Any]) -> bool:
    """Whether development scores are taken while it trains. So many steps between two that none is taken are the same as
    none."""
    every, samples = settings.get("eval_every"), settings.get("eval_samples")
    steps = settings.get("max_steps") or _STEPS
    if samples is not None and (not _is_number(samples) or samples <= 0):
        return False
    return every is None or (_is_number(every) and 0 < every <= steps)


_STEPS = next(field.default for field in msgspec.structs.fields(TrainSpec) if field.name == "max_steps")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(has: Any, value: Any) -> bool:
    """Equal and of one kind: True is not the seed 1."""
    return has == value and isinstance(has, bool) == isinstance(value, bool)


def _other_model(name: str) -> str | None:
    """A start that is not the run's own base: its jobs and its final_model come from that, so they are no difference."""
    return None if name in ("base", "final", "final_model") or re.fullmatch(r"job-\d+", name) else name


def _shown(name: str, value: Any) -> str:
    if name == "lora":
        return "LoRA" if value else "full weights"
    return ("on" if value else "off") if name == "monitoring" else str(value)
