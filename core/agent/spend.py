"""Before money is spent: the price against the budget, and a person's yes where the run may not spend alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from core import events as e
from core.agent.patience import Deferred
from core.compute.protocol import Quote
from core.compute.spec import JobSpec
from core.errors import ToolError

if TYPE_CHECKING:
    from core.agent.desk import Desk

MAY_SPEND = ("spend", "publish")


def admit_spending(desk: Desk, spec: JobSpec, quote: Quote) -> None:
    """Return if `quote` may be spent. Raises ToolError where the budget is too small or a person said no."""
    left = desk.settings.usd - desk.state.budget.usd_used
    if desk.settings.usd and quote.usd > left:
        raise ToolError(
            f"{spec.job} may cost ${quote.usd:.2f} on {quote.flavor}; ${max(left, 0):.2f} of ${desk.settings.usd:.2f} are left",
            next="Ask for less time or a smaller model, or go on with what there is",
        )
    if desk.settings.autonomy in MAY_SPEND and desk.settings.usd:
        return
    if desk.settings.unattended:
        raise ToolError(
            f"{spec.job} would cost up to ${quote.usd:.2f} and nobody is here to ask",
            next="Start the run with --autonomy spend --usd X to let it spend alone",
        )
    _ask(desk, spec, quote)


def _ask(desk: Desk, spec: JobSpec, quote: Quote) -> None:
    # by its effect: the job's number may be another one when the call is carried out after other work
    approval = f"approval-spend-{spec.effect_id.partition(':')[2] or spec.job}"
    arguments = {
        "job": spec.job, "kind": spec.kind, "flavor": quote.flavor, "usd_per_hour": quote.usd_per_hour,
        "timeout_s": quote.timeout_s, "attempts": quote.attempts, "usd_at_most": round(quote.usd, 4),
    }  # fmt: skip
    if approval not in desk.state.approvals:
        digest = hashlib.sha256(msgspec.json.encode(arguments, order="sorted")).hexdigest()
        reason = f"rents {quote.flavor} for up to ${quote.usd:.2f} (${quote.usd_per_hour:.2f}/h x {quote.timeout_s / 3600:.1f} h x {quote.attempts})"
        desk.emit(
            e.ApprovalRequested(
                approval=approval, call=desk.call, tool="rent", arguments=arguments, arguments_hash=digest, tier="spend",
                reason=f"{reason}; {quote.reason}", cost_usd=quote.usd,
            )
        )  # fmt: skip
    if not desk.decided(approval, desk.call):
        raise Deferred(approval)
    decided = desk.state.approvals[approval]
    if decided.decision == "denied":
        raise ToolError(
            f"A person denied renting {quote.flavor}: {decided.why or 'no reason given'}", next="Find another way"
        )
