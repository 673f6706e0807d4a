"""Before money is spent: the price against the budget, and a person's yes where the run may not spend alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from core import events as e
from core.agent.patience import Deferred
from core.compute.protocol import Quote
from core.compute.spec import JobSpec
from core.compute.usage import dollars
from core.errors import ToolError
from core.state import Approval

if TYPE_CHECKING:
    from core.agent.desk import Desk

MAY_SPEND = ("spend", "publish")


def admit_spending(desk: Desk, spec: JobSpec, quote: Quote) -> None:
    """Return if `quote` may be spent. Raises ToolError where the budget is too small or a person said no."""
    arguments: dict[str, Any] = {
        "job": spec.job, "kind": spec.kind, "flavor": quote.flavor, "usd_per_hour": quote.usd_per_hour,
        "timeout_s": quote.timeout_s, "attempts": quote.attempts, "usd_at_most": round(quote.usd, 4),
    }  # fmt: skip
    # by its effect: the job's number may be another one when the call is carried out after other work
    by_effect = spec.effect_id.partition(":")[2] or spec.job
    reason = f"rents {quote.flavor} for up to {dollars(quote.usd)} ({dollars(quote.usd_per_hour)}/h x {quote.timeout_s / 3600:.1f} h x {quote.attempts})"
    admit_cost(
        desk, Cost(f"approval-spend-{by_effect}", "rent", f"{spec.job} on {quote.flavor}", quote.usd, arguments, f"{reason}; {quote.reason}")
    )  # fmt: skip


class Cost(NamedTuple):
    """What is about to be spent."""

    approval: str
    """Id of the question to a person, the same for the same thing after a crash."""
    tool: str
    what: str
    usd: float | None
    """At most; None where no price is known."""
    arguments: dict[str, Any]
    """What an approval is bound to."""
    reason: str
    always: bool = False
    """A person is asked whatever the run may do alone: it goes on costing when the run is over."""


def admit_cost(desk: Desk, cost: Cost) -> None:
    """Return if `cost` may be spent. Raises ToolError where the budget is too small or a person said no."""
    left = desk.settings.usd - desk.state.budget.usd_used
    price = "an unknown price" if cost.usd is None else dollars(cost.usd)
    if desk.settings.usd and cost.usd is not None and cost.usd > left:
        raise ToolError(
            f"{cost.what} may cost {price}; ${max(left, 0):.2f} of ${desk.settings.usd:.2f} are left",
            next="Ask for less, or go on with what there is",
        )
    if cost.always and desk.settings.unattended:
        raise ToolError(
            f"{cost.what} needs a person's yes in every run, and nobody is here to ask", next="Go on without"
        )
    if desk.settings.autonomy in MAY_SPEND and desk.settings.usd and not cost.always:
        return
    if desk.settings.unattended:
        raise ToolError(
            f"{cost.what} would cost up to {price} and nobody is here to ask",
            next="Start the run with --autonomy spend --usd X to let it spend alone",
        )
    _ask(desk, cost)


def _ask(desk: Desk, cost: Cost) -> None:
    if not desk.asked(cost.approval):
        digest = hashlib.sha256(msgspec.json.encode(cost.arguments, order="sorted")).hexdigest()
        desk.emit(
            e.ApprovalRequested(
                approval=cost.approval, call=desk.call, tool=cost.tool, arguments=cost.arguments, arguments_hash=digest,
                tier="spend", reason=cost.reason, cost_usd=cost.usd or 0.0,
            )
        )  # fmt: skip
    if not desk.decided(cost.approval, desk.call):
        raise Deferred(cost.approval)
    decided = desk.state.approvals[cost.approval]
    if decided.decision != "approved":
        why = decided.why or (
            "edited: a price takes only a plain yes" if decided.decision == "edited" else "no reason given"
        )
        raise ToolError(f"A person denied {cost.what}: {why}", next="Find another way")
    _still_covered(cost, decided)


_SAME = ("kind", "flavor", "teacher")
_WHAT = ("schedule", "script")
"""What a yes is for, beside the price."""


def _still_covered(cost: Cost, decided: Approval) -> None:
    """A yes is for what was shown, or less of it: a price may have gone up while the call waited. Raises ToolError."""
    changed = [k for k in (*_SAME, *_WHAT) if decided.arguments.get(k) != cost.arguments.get(k)]
    if not changed and (cost.usd or 0.0) <= decided.cost_usd + 0.005:
        return
    if set(changed) & set(_WHAT):
        raise ToolError(
            f"{cost.what} is not what the person said yes to: the {' and the '.join(changed)} changed since",
            next="Send the call again: it is asked for anew",
        )
    raise ToolError(
        f"{cost.what} would now cost up to {dollars(cost.usd or 0.0)}; the person said yes to {dollars(decided.cost_usd)}",
        next="Send the call again: the new price is then asked for",
    )
