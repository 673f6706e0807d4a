"""Decisions of a person: approve, edit or deny a waiting call, answer a question, keep a note, name the run.

An approval is bound to the hash of the exact arguments. What was shown is what is decided about: a client that saw other
arguments than those waiting is refused, and an edit records both. What a command does is committed with its outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from core import events as e
from core.agent.desk import Desk
from core.agent.gate import arguments_hash

Arguments = dict[str, Any]


class Rejected(Exception):
    """A command that cannot be carried out; the text is the reason."""


def _waiting(desk: Desk, name: str) -> str:
    waiting = [a.id for a in desk.state.waiting_approvals()]
    matches = [w for w in waiting if w == name] or [w for w in waiting if name and w.startswith(name)]
    if not name and len(waiting) == 1:
        matches = waiting
    if len(matches) != 1:
        raise Rejected(f"{name or 'that'} names no waiting approval; waiting: {', '.join(waiting) or 'none'}")
    return matches[0]


def _bound(desk: Desk, arguments: Arguments) -> str:
    """The approval that is meant; a decision about other arguments than those waiting is refused."""
    name = _waiting(desk, str(arguments.get("approval") or ""))
    seen = arguments.get("arguments_hash")
    if seen and seen != desk.state.approvals[name].arguments_hash:
        raise Rejected("the arguments are not those that were shown")
    return name


def _decide(
    desk: Desk, seq: int, name: str, decision: str, reason: str, arguments: Arguments | None = None, files: dict[str, str] | None = None
) -> str:  # fmt: skip
    """`files`: the programs that a person's own arguments run; those of the request are known."""
    approval = desk.state.approvals[name]
    final = approval.arguments if arguments is None else arguments
    decided = e.ApprovalDecided(
        approval=approval.id, decision=decision, arguments=final, arguments_hash=arguments_hash(approval.tool, final),
        reason=reason, files=files,
    )  # fmt: skip
    desk.journal.emit_soon(decided, actor="user", cause=seq)
    return f"{approval.id} {decision}"


def approve(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    return _decide(desk, seq, _bound(desk, arguments), "approved", text)


def edit(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    name = _bound(desk, arguments)
    try:
        changed = msgspec.convert(arguments.get("arguments"), dict[str, Any])
    except msgspec.ValidationError as error:
        raise Rejected(f"the new arguments are no JSON object: {error}") from error
    if not changed:
        raise Rejected("there are no new arguments")
    tool = desk.state.approvals[name].tool
    problem = desk.gate.misfit(tool, changed) if desk.gate is not None else ""
    if problem:  # said to the person now, and not to the brain once it is too late to correct them
        raise Rejected(f"the new arguments do not fit: {problem}")
    files = desk.gate.programs(tool, changed) if desk.gate is not None else None
    return _decide(desk, seq, name, "edited", text, changed, files)


def deny(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    return _decide(desk, seq, _bound(desk, arguments), "denied", text)


def answer(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    waiting = [q.id for q in desk.state.questions.values() if not q.answer]
    name = str(arguments.get("question") or (waiting[0] if len(waiting) == 1 else ""))
    if name not in waiting:
        raise Rejected(f"{name or 'that'} names no open question; open: {', '.join(waiting) or 'none'}")
    if not text.strip():
        raise Rejected("there is no text to answer with")
    desk.journal.emit_soon(e.QuestionAnswered(question=name, text=text), actor="user", cause=seq)
    return f"{name} answered"


def note(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    if not text.strip():
        raise Rejected("there is no text to keep")
    desk.journal.emit_soon(e.NoteAdded(text=text), actor="user", cause=seq)
    return "noted"


def title(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    if not text.strip():
        raise Rejected("there is no title")
    desk.journal.emit_soon(e.NoteAdded(text=text, kind="title"), actor="user", cause=seq)
    return "titled"


HANDLERS: dict[str, Callable[[Desk, int, str, Arguments], str]] = {
    "approve": approve,
    "edit": edit,
    "deny": deny,
    "answer": answer,
    "note": note,
    "title": title,
}
