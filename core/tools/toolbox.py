"""How a tool is declared: its name is the function's, its description the docstring, the rest stands in `@tool`.

`effect` says what recovery may do with a call that has no result: *pure* and *idempotent* run again, *keyed* is looked
up by its effect id, *unsafe* asks. `tier` says how far the call reaches: read < workspace < network < spend < publish.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    pass

Inputs = dict[str, dict[str, Any]]


class ToolDef(NamedTuple):
    name: str
    description: str
    inputs: Inputs
    """JSON-schema fields by argument, as smolagents takes them."""
    run: Callable[..., object]
    """`run(desk, **arguments)`; returns anything msgspec can encode. Raises ToolError for what the brain should fix."""
    effect: str
    tier: str
    waits: bool = False
    """Long by its nature (it waits for a job or a person): its silence is no stall."""
    timeout_s: float | None = None
    """Longest silence before the call is given up."""
    runs: tuple[str, ...] = ()
    """Arguments that name files of the workspace whose code is run: a yes is for these files as they are."""


def tool(
    inputs: Inputs | None = None,
    *,
    effect: str = "pure",
    tier: str = "read",
    waits: bool = False,
    timeout_s: float | None = None,
    runs: tuple[str, ...] = (),
) -> Callable[[Callable[..., object]], ToolDef]:
    """Make a ToolDef of a function whose first parameter is the desk."""

    def declare(function: Callable[..., object]) -> ToolDef:
        return ToolDef(
            function.__name__, inspect.cleandoc(function.__doc__ or ""), inputs or {}, function, effect, tier, waits,
            timeout_s, runs,
        )  # fmt: skip

    return declare


def text(description: str, *, optional: bool = False) -> dict[str, Any]:
    return _field("string", description, optional)


def number(description: str, *, optional: bool = True) -> dict[str, Any]:
    return _field("number", description, optional)


def integer(description: str, *, optional: bool = True) -> dict[str, Any]:
    return _field("integer", description, optional)


def array(description: str, *, optional: bool = False) -> dict[str, Any]:
    return _field("array", description, optional)


def flag(description: str, *, optional: bool = True) -> dict[str, Any]:
    return _field("boolean", description, optional)


def mapping(description: str, *, optional: bool = True) -> dict[str, Any]:
    return _field("object", description, optional)


def _field(kind: str, description: str, optional: bool) -> dict[str, Any]:
    field: dict[str, Any] = {"type": kind, "description": description}
    return {**field, "nullable": True} if optional else field


def within(asked: int | None, usual: int, most: int) -> int:
    """How many a tool gives: the usual number where none or nonsense was asked for, never more than `most`."""
    return min(asked, most) if asked and asked > 0 else usual


def observation(value: object) -> str:
    """What the brain reads: text as it is, everything else as compact JSON with four significant digits."""
    return value if isinstance(value, str) else msgspec.json.encode(_rounded(msgspec.to_builtins(value))).decode()


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {str(k): _rounded(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
    return value
