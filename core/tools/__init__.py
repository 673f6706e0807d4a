"""What a brain can do. One file a subject; every tool is a function of the desk and its arguments."""

from __future__ import annotations

from core.tools.toolbox import ToolDef


def all_tools() -> list[ToolDef]:
    """Every tool, in the order in which research uses them."""
    from core.tools import (
        brief,
        compare,
        conclude,
        data,
        documentation,
        evaluate,
        files,
        helper,
        hub,
        literature,
        publish,
        schedule,
        script,
        shell,
        sweep,
        synthesis,
        train,
    )

    modules = (
        brief,
        literature,
        documentation,
        hub,
        helper,
        data,
        synthesis,
        evaluate,
        train,
        sweep,
        compare,
        script,
        conclude,
        files,
        shell,
        publish,
        schedule,
    )
    return [definition for module in modules for definition in module.TOOLS]
