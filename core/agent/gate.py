"""Which tool calls may go ahead: tiers against the run's autonomy, and approvals bound to the exact arguments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from core import events as e
from core.agent import blocked, scope
from core.agent.desk import Desk
from core.agent.patience import Deferred
from core.agent.programs import files_run
from core.errors import ToolError
from core.state import Approval, OpenCall
from core.tools.toolbox import ToolDef

TIERS = ("read", "workspace", "network", "spend", "publish")
"""From what only looks to what the world sees."""


def arguments_hash(tool: str, arguments: dict[str, Any]) -> str:
    """Names one call exactly: an approval of other arguments does not fit."""
    return hashlib.sha256(tool.encode() + b"\0" + msgspec.json.encode(arguments, order="sorted")).hexdigest()


class Denied(ToolError):
    """A person or a policy said no."""

    kind = "refused"


class OutcomeUnknown(ToolError):
    """Nobody knows whether the call took effect."""

    kind = "unknown_outcome"


class Gate:
    """Lets a call through, asks a person, or refuses. Raises Deferred where a person is asked and nobody answers."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.sources: Callable[[dict[str, Any]], list[str]] = lambda arguments: []
        """Set by the agent: text from outside that took part in a call's arguments."""
        self.check: Callable[[str, dict[str, Any]], tuple[str, dict[str, Any]]] = lambda tool, arguments: (
            "",
            arguments,
        )
        """Set by the agent: what is wrong with a call's arguments, and the arguments without empty ones."""
        self.runs: Callable[[str], tuple[str, ...]] = lambda tool: ()
        """Set by the agent: arguments of a tool that name programs."""

    def admit(self, call: str, definition: ToolDef, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments to use. Raises ToolError where a person, or the policy of an unattended run, said no."""
        self._forbid(definition, arguments)
        reason = self._reason(definition, arguments)
        if not reason:
            return arguments
        if self.desk.settings.unattended:
            raise Denied(f"{reason}, and nobody is here to ask", next="Go on without it")
        admitted = self._ask(f"approval-{call}", call, definition, arguments, reason)
        if admitted != arguments:  # a person's own, which they may have written with an error
            self._forbid(definition, admitted)
            problem, admitted = self.check(definition.name, admitted)
            if problem:
                raise Denied(f"The arguments as a person changed them do not fit: {problem}", next="Ask again")
        return admitted

    def _forbid(self, definition: ToolDef, arguments: dict[str, Any]) -> None:
        forbidden = blocked.reason(self.desk.state.scope.get("blocked") or [], definition.name, arguments)
        if forbidden:  # the rules of a benchmark are nobody's to loosen during a run, a person's edit included
            raise Denied(forbidden, next="Go on without it")

    def misfit(self, tool: str, arguments: dict[str, Any]) -> str:
        """Why a person's new arguments of a waiting call cannot be carried out; empty where they can."""
        return self.check(tool, arguments)[0]

    def announce(self, call: str, definition: ToolDef, arguments: dict[str, Any]) -> None:
        """Ask already while calls before this one are under way; `admit` waits for the answer."""
        if self.desk.settings.unattended or f"approval-{call}" in self.desk.state.approvals:
            return
        if blocked.reason(self.desk.state.scope.get("blocked") or [], definition.name, arguments):
            return  # it will be refused: nobody is asked about it
        reason = self._reason(definition, arguments)
        digest = arguments_hash(definition.name, arguments)
        if reason and not any(a.arguments_hash == digest for a in self.desk.state.waiting_approvals()):
            self._request(f"approval-{call}", call, definition, arguments, reason)

    def repeat(self, call: OpenCall, definition: ToolDef, arguments: dict[str, Any]) -> None:
        """A call whose outcome is unknown, because the host died in it: a person says whether it is done again, each
        time anew.

        Raises OutcomeUnknown where nobody does.
        """
        why = f"the host died while {definition.name} was under way; it may have taken effect, wholly or in part"
        unknown = OutcomeUnknown(
            f"Outcome unknown: {why}", next="Look at what it left before you decide whether to do it again"
        )
        if self.desk.settings.unattended:
            raise unknown
        try:
            self._ask(call.repeat_approval, call.call, definition, arguments, f"do it again? {why}")
        except Denied as error:
            raise unknown from error

    def asks(self, definition: ToolDef, arguments: dict[str, Any]) -> bool:
        """Whether a person has to be asked."""
        return not self.desk.settings.unattended and bool(self._reason(definition, arguments))

    def _reason(self, definition: ToolDef, arguments: dict[str, Any]) -> str:
        """Why the call needs a person; empty where it needs none."""
        line = self.desk.settings.autonomy
        if TIERS.index(definition.tier) > TIERS.index(line):
            return f"{definition.name} needs the tier {definition.tier}; this run may go up to {line}"
        changed = scope.differences(self.desk.state.scope, definition.name, arguments, self.desk.state.datasets)
        return f"{definition.name} differs from what was asked for: " + "; ".join(changed) if changed else ""

    def _request(self, approval: str, call: str, definition: ToolDef, arguments: dict[str, Any], reason: str) -> None:
        digest = arguments_hash(definition.name, arguments)
        self.desk.emit(
            e.ApprovalRequested(
                approval=approval, call=call, tool=definition.name, arguments=arguments, arguments_hash=digest,
                tier=definition.tier, reason=reason, untrusted=self.sources(arguments),
                files=self._files(definition.runs, arguments),
            )
        )  # fmt: skip

    def _ask(
        self, approval: str, call: str, definition: ToolDef, arguments: dict[str, Any], reason: str
    ) -> dict[str, Any]:
        desk = self.desk
        twin = self.twin(call, arguments_hash(definition.name, arguments))
        if twin:  # a yes to each of them would do the thing twice
            raise Denied(f"{TWIN} ({twin})", next="Do not send it again; its result comes as a message")
        if not desk.asked(approval):
            self._request(approval, call, definition, arguments, reason)
        if not desk.decided(approval, call):
            raise Deferred(approval)
        decided = desk.state.approvals[approval]
        if decided.decision not in ("approved", "edited"):
            raise Denied(
                f"A person denied {definition.name}: {decided.why or 'no reason given'}", next="Find another way"
            )
        changed = self.changed(decided, call, definition)
        if changed:
            raise Denied(
                f"{', '.join(changed[:5])} {CHANGED} a person was asked about {definition.name}", next="Ask again"
            )
        if decided.decision == "edited":
            return decided.arguments
        if decided.arguments_hash != arguments_hash(definition.name, arguments):
            raise Denied(f"The approval of {definition.name} was given for other arguments", next="Ask again")
        return arguments

    def changed(self, decided: Approval, call: str, definition: ToolDef) -> list[str]:
        """Programs of the workspace that are not those a person said yes to: work goes on while a call waits. One that came
        since counts too, for it may stand in the way of a module that was meant."""
        now = self._files(definition.runs, decided.arguments)
        return [name for name in {**decided.files, **now} if decided.files.get(name) != now.get(name)]

    def programs(self, tool: str, arguments: dict[str, Any]) -> dict[str, str]:
        """What of the workspace the call would run, with digests: for arguments that a person wrote."""
        return self._files(self.runs(tool), arguments)

    def _files(self, runs: tuple[str, ...], arguments: dict[str, Any]) -> dict[str, str]:
        return files_run(self.desk.folder / "workspace", runs, arguments)

    def twin(self, call: str, digest: str) -> str:
        """The approval for which the very same call waits already; empty where none does."""
        state = self.desk.state
        waiting = {c.call: c.approval for c in state.open_calls.values() if c.approval and c.call != call}
        same = [a for a in state.waiting_approvals() if a.call in waiting and a.arguments_hash == digest]
        return same[0].id if same else ""


CHANGED = "changed since"
TWIN = "The same call waits for a person already"
