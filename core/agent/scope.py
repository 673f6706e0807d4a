"""What the person named is fixed: the method, the data, LoRA or full weights, the sequence length, the base model.

It is written down in the run's goal as data (`--fix method=sft`, or read from the goal's own words) and every training
is compared with it before it is launched. A difference needs an approval that shows it; nothing is changed in silence.
"""

from __future__ import annotations

import re
from typing import Any

from core.errors import UsageError

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


def differences(fixed: dict[str, Any], tool: str, arguments: dict[str, Any]) -> list[str]:
    """What a training would change of what is fixed, one sentence each. Other tools change nothing."""
    if not fixed or tool != "train":
        return []
    settings: dict[str, Any] = arguments.get("settings") or {}
    actual: dict[str, Any] = {
        "method": arguments.get("method"),
        "model": _other_model(str(arguments.get("model") or "base")),
        "data": arguments.get("data"),
        "lora": settings.get("lora") is not None,
        "monitoring": settings.get("eval_every") != 0,
        "max_length": settings.get("max_length"),
        "max_completion_length": settings.get("max_completion_length"),
        "seed": settings.get("seed"),
    }
    found: list[str] = []
    for name, wanted in fixed.items():
        if name == "blocked":  # look-ups; see `blocked`
            continue
        has = actual.get(name)
        # A number that is not named is the default; only a named other one changes it, and a longer one is no cut.
        if has is None or has == wanted or (name.startswith("max_") and isinstance(has, int | float) and has >= wanted):
            continue
        if name == "data" and str(has).startswith(str(wanted)):
            continue
        found.append(f"{name} would be {_shown(name, has)} instead of {_shown(name, wanted)}")
    return found


def _other_model(name: str) -> str | None:
    """A start that is not the run's own base: its jobs and its final_model come from that, so they are no difference."""
    return None if name in ("base", "final", "final_model") or re.fullmatch(r"job-\d+", name) else name


def _shown(name: str, value: Any) -> str:
    if name == "lora":
        return "LoRA" if value else "full weights"
    return ("on" if value else "off") if name == "monitoring" else str(value)
