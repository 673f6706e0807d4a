"""Changing a run while it goes: how far it may go alone, its budget, its brain and how hard that thinks, what is fixed.

Each change is a `settings_changed` event, so a new host and a replay know it too; it is committed with the command's outcome.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from core import events as e
from core.agent import scope
from core.agent.brain import check_brain, parse_brain
from core.agent.decisions import Rejected
from core.agent.desk import Desk
from core.agent.gate import TIERS
from core.errors import UsageError

Arguments = dict[str, Any]

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "default")
"""Words providers use for reasoning effort; `default` leaves it to the model."""


def autonomy(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    """The tier the run may go up to alone. `at_least`: raise it to that, if it is lower; it is never lowered by this."""
    if text not in TIERS:
        raise Rejected(f"{text!r} is no tier; tiers: {', '.join(TIERS)}")
    before = desk.settings.autonomy
    if arguments.get("at_least") and TIERS.index(before) >= TIERS.index(text):
        return f"the run may go up to {before} without asking already: that stays"
    desk.journal.emit_soon(e.SettingsChanged(autonomy=text), actor="user", cause=seq)
    desk.settings = msgspec.structs.replace(desk.settings, autonomy=text)
    return f"up to {text} without asking (before: up to {before})"


def budget(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    """`hours=2 usd=5 tokens=1000000 disk=20`, in the text or as arguments. 0 takes a limit away, except for hours."""
    given: dict[str, Any] = dict(arguments)
    for pair in text.split():
        name, _, value = pair.partition("=")
        given[name] = value
    wrong = sorted(given.keys() - {"hours", "usd", "tokens", "disk"})
    if wrong or not given:
        raise Rejected(f"{', '.join(wrong) or 'nothing'} is no budget; use hours=, usd=, tokens=, disk= (GB)")
    numbers = {name: _number(name, value) for name, value in given.items()}
    hours = numbers.get("hours")
    if hours is not None and hours * 3600 <= desk.clock.used_s:
        raise Rejected(
            f"{hours:g} hours are over already ({desk.clock.used_s / 3600:.2f} used); to end the run use stop"
        )
    changed = e.SettingsChanged(
        hours=hours, usd=numbers.get("usd"), disk_gb=numbers.get("disk"),
        tokens=None if "tokens" not in numbers else int(numbers["tokens"]),
    )  # fmt: skip
    desk.journal.emit_soon(changed, actor="user", cause=seq)
    if hours is not None:
        desk.clock.set_limit(hours)
        desk.settings = msgspec.structs.replace(desk.settings, hours=hours)
    if "usd" in numbers:  # what a job may cost is measured against it from now on
        desk.settings = msgspec.structs.replace(desk.settings, usd=numbers["usd"])
    return ", ".join(f"{name} {value:g}" for name, value in numbers.items())


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise Rejected(f"{name} is {value!r}, which is no number") from error
    if not math.isfinite(number) or number < 0 or (name == "hours" and number <= 0):
        raise Rejected(f"{name} cannot be {value}")
    return number


def brain(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    try:
        spec = parse_brain(text.strip())
        check_brain(spec)
    except UsageError as error:
        raise Rejected(str(error)) from error
    desk.journal.emit_soon(e.SettingsChanged(brain=str(spec)), actor="user", cause=seq)
    return f"{spec} decides from the next step on"


def effort(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    if text not in EFFORTS:
        raise Rejected(f"{text!r} is no effort; use one of {', '.join(EFFORTS)}")
    desk.journal.emit_soon(e.SettingsChanged(effort="" if text == "default" else text), actor="user", cause=seq)
    return f"{text} from the next call on"


def fix(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    """What nobody may change without asking: `method=sft max_length=2048`; an empty text frees everything."""
    try:
        fixed = scope.parse(text.split())
    except UsageError as error:
        raise Rejected(str(error)) from error
    kept = {k: v for k, v in desk.state.scope.items() if fixed or k == "blocked"}  # a benchmark's rules stay
    merged = {**kept, **fixed}
    desk.journal.emit_soon(e.SettingsChanged(scope=merged), actor="user", cause=seq)
    return ", ".join(f"{k} = {v}" for k, v in merged.items()) or "nothing is fixed"


HANDLERS: dict[str, Callable[[Desk, int, str, Arguments], str]] = {
    "autonomy": autonomy,
    "budget": budget,
    "brain": brain,
    "effort": effort,
    "fix": fix,
}
