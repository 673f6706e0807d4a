"""A person's yes before a model is loaded that brings code with it: once for each repository and revision."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

import msgspec

from core import events as e
from core.agent.patience import Deferred
from core.errors import ToolError
from core.training.trust import SAYS, Risk, local_folder, origin, risks

if TYPE_CHECKING:
    from core.agent.desk import Desk
    from core.state import RunState


_ASKING = threading.Lock()
"""The look at the benchmark and the agent may want the same model at the same time: it is asked for once."""


def admit_model(desk: Desk, model: str, *, deferrable: bool = True) -> tuple[Risk, ...]:
    """What may be trusted of a model: nothing where nothing is needed. Raises ToolError where a person, or nobody, says no.

    Raises Deferred where a tool call waits for a person too long; what is no call of the brain (not `deferrable`) waits on.

    Autonomy never stands for this yes: it is about what a run may do, not about whose code it runs.
    """
    folder = local_folder(model)
    found = risks(folder) if folder is not None else ()
    if folder is None or not found:
        return ()
    said = origin(folder)
    what = f"{said.repository} at revision {said.revision[:12]} {' and '.join(SAYS[r] for r in found)}"
    arguments = {"repository": said.repository, "revision": said.revision, "risks": list(found)}
    digest = hashlib.sha256(msgspec.json.encode(arguments, order="sorted")).hexdigest()
    approval = f"approval-trust-{digest[:12]}"
    call = desk.call if deferrable else ""
    with _ASKING:
        if not desk.asked(approval):
            if desk.settings.unattended:
                raise ToolError(
                    f"{what}, and nobody is here to ask", next="Take a model with safetensors and no code of its own"
                )
            desk.emit(
                e.ApprovalRequested(
                    approval=approval, call=call, tool="trust", arguments=arguments, arguments_hash=digest,
                    tier="trust", reason=what,
                )
            )  # fmt: skip
    if not deferrable:
        desk.wait_until(lambda s: approval in s.approvals and bool(s.approvals[approval].decision), None)
    elif not desk.decided(approval, call):
        raise Deferred(approval)
    decided = desk.state.approvals[approval]
    if decided.decision != "approved":
        raise ToolError(
            f"A person denied loading {said.repository}: {decided.why or 'no reason given'}", next="Take another model"
        )
    return found


def approved_risks(state: RunState) -> tuple[Risk, ...]:
    """What a person approved in this run of any model: a model trained from one with code carries that code along."""
    said = [a for a in state.approvals.values() if a.tool == "trust" and a.decision == "approved"]
    return tuple(r for r in SAYS if any(r in a.arguments.get("risks", ()) for a in said))
