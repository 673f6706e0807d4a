# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""One question to a brain outside any run: does it answer with a tool call?"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from smolagents.models import ChatMessage, MessageRole

from core.agent.agent import DeclaredTool
from core.agent.patience import Beat
from core.agent.recorded import call_in_text
from core.tools import all_tools


class Probe(NamedTuple):
    tool: str
    """The tool it called; empty for text."""
    input_tokens: int
    output_tokens: int
    cost_usd: float


def one_call(model: Any) -> Probe:
    """Ask for read_task. Raises whatever the provider's client raises."""
    tools = [DeclaredTool(t) for t in all_tools() if t.name in ("read_task", "budget")]
    asked = cast(Any, [{"type": "text", "text": "Call the tool read_task now, without arguments."}])
    answer = model.answer([ChatMessage(role=MessageRole.USER, content=asked)], Beat(), tools_to_call_from=tools)
    found = answer.tool_calls or call_in_text(answer.content if isinstance(answer.content, str) else "")
    usage = answer.token_usage
    given, written = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
    price = model.price.of(given, written, answer.cached_tokens) if model.price else 0.0
    return Probe(str(found[0].function.name) if found else "", given, written, answer.cost_usd or price)
