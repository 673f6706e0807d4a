"""A run as a session trace: the Hub's Session Trace Simple Format, which its trace viewer shows.

One JSON object a line: a header with the harness and the session, then messages (system, user, assistant with its tool
calls, tool results by call id). See huggingface.co/docs/hub/session-traces-format. The log itself is richer; this is what the
brain and the person said and what the tools answered. Control characters are taken out and secrets masked once more: the
environment may know a secret today that it did not know when the run was recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from core import events as e
from core.redact import Redactor
from core.sanitize import clean
from store.blobs import BlobStore
from store.errors import StoreError
from store.event import Event

HARNESS = "ml-intern-tui"
LARGEST = 200_000
"""Characters of one message; a longer one is cut, and says so."""


def write_trace(events: Iterable[Event], out: Path, blobs: BlobStore | None = None) -> Path:
    """Write the trace, whole or not at all. With `blobs`, long outputs are given in full instead of their previews."""
    redact = Redactor()
    partial = out.with_name(f".{out.name}.partial")
    with partial.open("wb") as file:
        for line in trace(events, blobs):
            file.write(redact(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace")) + b"\n")
    partial.replace(out)
    return out


def trace(events: Iterable[Event], blobs: BlobStore | None = None) -> Iterator[dict[str, Any]]:
    """The lines of the trace: the header first."""
    brain, system = "", ""
    for event in events:
        payload = e.payload_of(event)
        if isinstance(payload, e.RunCreated):
            brain = payload.brain
            yield _header(payload)
            yield _message(event, "user", payload.goal)
        elif isinstance(payload, e.ModelRequested):
            brain = payload.brain or brain
            if payload.system and payload.system != system:
                system = payload.system
                yield _message(event, "system", _whole(blobs, system, ""))
        elif (said := _said(event, payload, brain, blobs)) is not None:
            yield said


def _header(p: e.RunCreated) -> dict[str, Any]:
    return {
        "type": "session", "harness": HARNESS, "id": p.run, "name": clean(p.goal)[:200], "task": p.task, "model": p.model,
        "brain": p.brain, "seed": p.seed, "versions": p.versions, **({"parent": p.parent} if p.parent else {}),
    }  # fmt: skip


def _said(event: Event, payload: e.Payload, brain: str, blobs: BlobStore | None) -> dict[str, Any] | None:
    """What a message-like event says; None for all others."""
    match payload:
        case e.ModelCompleted() as p:
            calls = [
                {"id": c.id, "function": {"name": c.name, "arguments": _arguments(c.arguments)}} for c in p.tool_calls
            ]
            return _message(event, "assistant", p.text, model=brain, **({"toolCalls": calls} if calls else {}))
        case e.ToolCompleted() as p:
            return _message(event, "tool", _whole(blobs, p.digest, p.output), toolCallId=p.call)
        case e.ToolFailed() as p:
            return _message(event, "tool", f"{p.kind}: {p.error}", toolCallId=p.call)
        case e.CommandRequested() as p:
            return _message(event, "user", f"/{p.command} {p.text}".strip())
        case e.QuestionAnswered() as p if p.by == "user":
            return _message(event, "user", p.text)
        case e.ApprovalDecided() as p if event.actor == "user":
            return _message(event, "user", f"/{p.decision} {p.reason}".strip())
        case e.RunFinished() as p:
            return _message(event, "assistant", f"The run {p.status}: {p.reason}", model=brain)
        case _:
            return None


def _message(event: Event, role: str, content: str, **more: Any) -> dict[str, Any]:
    text = clean(content, newlines=True, tabs=True)
    if len(text) > LARGEST:
        text = f"{text[:LARGEST]}\n[cut: {len(text) - LARGEST:,} more characters]"
    return {"type": "message", "message": {"role": role, "content": text, "timestamp": event.ts // 1000, **more}}


def _arguments(arguments: Any) -> str:
    """The format wants a JSON string; a brain may have sent one already, or something broken."""
    return clean(arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False), newlines=True)


def _whole(blobs: BlobStore | None, digest: str, preview: str) -> str:
    """The text behind a digest, or the preview where the blob was deleted or is damaged."""
    if blobs is None or not digest:
        return preview
    try:
        return blobs.get(digest).decode("utf-8", "replace")
    except StoreError:
        return preview
