"""Documentation: the installed libraries first."""

from __future__ import annotations

from core.agent.desk import Desk
from core.libraries.lookup import LIBRARIES, look_up
from core.tools.toolbox import text, tool


@tool({"name": text(f"A dotted name in {', '.join(LIBRARIES)}, such as trl.GRPOConfig or peft.LoraConfig")})
def read_api(desk: Desk, name: str) -> object:
    """Signature, fields with defaults and docstring of a public object of the installed training libraries."""
    return look_up(name)


TOOLS = [read_api]
