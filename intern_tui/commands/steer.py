"""Commands to a living run: words, pause, interrupt, stop, approvals, settings, single jobs."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import msgspec

from core.errors import UsageError
from core.home import find_run
from core.sanitize import one_line
from core.session import ask, command, last_state


def say(a: argparse.Namespace) -> int:
    """steer, queue."""
    seq = command(find_run(a.run), a.command, " ".join(a.text))
    print(f"{a.command} is event {seq}; the brain reads it before its next decision")
    return 0


def act(a: argparse.Namespace) -> int:
    """pause, unpause, interrupt, stop, undo, compact."""
    name = "resume" if a.command == "unpause" else a.command
    print(f"{a.command} is event {command(find_run(a.run), name)}")
    return 0


def tell(a: argparse.Namespace) -> int:
    """Commands with one text: settings, single jobs, notes, answers."""
    answer = ask(find_run(a.run), a.command, " ".join(a.text))
    done = one_line(str(answer.get("result") or ""))
    print(f"{a.command} is event {answer['seq']}" + (f": {done}" if done else ""))
    return 0


def decide(a: argparse.Namespace) -> int:
    """approve, deny."""
    arguments = {"approval": a.approval, **({"arguments_hash": a.hash} if a.hash else {})}
    print(f"{a.command} is event {command(find_run(a.run), a.command, a.reason, arguments)}")
    return 0


def edit(a: argparse.Namespace) -> int:
    """Approve with other arguments."""
    text = sys.stdin.read() if a.arguments == "-" else a.arguments
    try:
        changed = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise UsageError(
            f"The arguments are no JSON object: {error}", where="JSON", next="Quote it: '{\"lr\": 0.0001}'"
        ) from error
    arguments = {"approval": a.approval, "arguments": changed, **({"arguments_hash": a.hash} if a.hash else {})}
    print(f"edit is event {command(find_run(a.run), 'edit', a.reason, arguments)}")
    return 0


def approvals(a: argparse.Namespace) -> int:
    """What waits: calls that need a yes, questions that need an answer."""
    state = last_state(find_run(a.run))
    waiting = state.waiting_approvals()
    questions = [q for q in state.questions.values() if not q.answer]
    if a.json:
        rows = [{**msgspec.to_builtins(w), "kind": "approval"} for w in waiting]
        rows += [{**msgspec.to_builtins(q), "kind": "question"} for q in questions]
        print(msgspec.json.encode(rows).decode())
        return 0
    for w in waiting:
        print(f"{w.id}  {w.tool} ({w.tier})  event {w.seq}\n  why   {one_line(w.reason)}")
        print(f"  with  {one_line(msgspec.json.encode(w.arguments).decode())}\n  hash  {w.arguments_hash}")
        if w.files:
            print(f"  runs  {', '.join(one_line(f) for f in w.files)} (a yes is for these as they are now)")
        if w.untrusted:
            print(f"  NOTE  words in it come from outside: {', '.join(one_line(u) for u in w.untrusted)}")
    for q in questions:
        print(
            f"{q.id}  question, event {q.seq}\n  asks  {one_line(q.text)}"
            + (f"\n  from  {', '.join(q.choices)}" if q.choices else "")
        )
    if not waiting and not questions:
        print("nothing waits")
    return 0
