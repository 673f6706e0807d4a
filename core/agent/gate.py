"""Which tool calls may go ahead: tiers against the run's autonomy, and approvals bound to the exact arguments."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from core import events as e
from core.agent.desk import Desk
from core.errors import ToolError
from core.tools.toolbox import ToolDef

TIERS = ("read", "workspace", "network", "spend", "publish")
"""From what only looks to what the world sees."""


def arguments_hash(tool: str, arguments: dict[str, Any]) -> str:
    """Names one call exactly: an approval of other arguments does not fit."""
    return hashlib.sha256(tool.encode() + b"\0" + msgspec.json.encode(arguments, order="sorted")).hexdigest()


class Gate:
    """Lets a call through, asks a person, or refuses."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def admit(self, call: str, definition: ToolDef, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments to use. Raises ToolError where a person, or the policy of an unattended run, said no."""
        desk = self.desk
        if TIERS.index(definition.tier) <= TIERS.index(desk.settings.autonomy):
            return arguments
        digest = arguments_hash(definition.name, arguments)
        if desk.settings.unattended:
            raise ToolError(
                f"{definition.name} needs the tier {definition.tier}; this run may go up to {desk.settings.autonomy} and nobody is here to ask",
                next="Go on without it",
            )
        approval = f"approval-{call}"
        if approval not in desk.state.approvals:
            desk.emit(
                e.ApprovalRequested(
                    approval=approval, call=call, tool=definition.name, arguments=arguments, arguments_hash=digest,
                    tier=definition.tier, reason=f"tier {definition.tier} is above {desk.settings.autonomy}",
                )
            )  # fmt: skip
        desk.wait_until(lambda s: bool(s.approvals[approval].decision), None)
        decided = desk.state.approvals[approval]
        if decided.decision == "denied":
            raise ToolError(
                f"A person denied {definition.name}: {decided.why or 'no reason given'}", next="Find another way"
            )
        return decided.arguments if decided.decision == "edited" else arguments
