"""What to change after a diagnosis. The detectors name remedies in order, as data; this applies one to the job that failed.

Changes are relative where they can be ("*0.3"), so one line serves a model of a million parameters and one of eight billion.
"""

from __future__ import annotations

from typing import Any, NamedTuple

DEFAULTS = {"lr": 1e-5, "batch_size": 64, "grad_accum": 1, "num_generations": 8, "max_steps": 100, "temperature": 1.0}
"""What a multiplier applies to where the job left a setting to its default."""


class Remedy(NamedTuple):
    words: str
    change: dict[str, Any]
    """Settings that replace those of the failed job."""
    source: str


def first_remedy(finding: dict[str, Any], settings: dict[str, Any], used: set[str]) -> Remedy | None:
    """The first remedy of a finding that changes settings of the same method and was not used before; None if none does."""
    options: list[dict[str, Any]] = finding.get("remedies") or []
    for option in options:
        changes: dict[str, Any] = option.get("changes") or {}
        words = str(option.get("text") or "")
        if not changes or "kind" in changes or words in used:
            continue
        change = {name: _apply(name, value, settings) for name, value in changes.items()}
        return Remedy(words, change, str(option.get("source") or ""))
    return None


def _apply(name: str, value: Any, settings: dict[str, Any]) -> Any:
    if not (isinstance(value, str) and value.startswith("*")):
        return value
    before = settings.get(name)
    base = float(before if before is not None else DEFAULTS.get(name, 1.0))
    scaled = base * float(value[1:])
    return (
        float(f"{scaled:.3g}")
        if isinstance(before if before is not None else DEFAULTS.get(name, 1.0), float)
        else max(1, round(scaled))
    )


GROUP_SIGN = {
    "never_ended": "never_ends",
    "empty": "never_ends",
    "wrong_format": "wrong_format",
    "extra_text": "wrong_format",
    "near_miss": "underfitting",
    "wrong_content": "underfitting",
}
"""The recipe library's word for a group of wrong answers."""
