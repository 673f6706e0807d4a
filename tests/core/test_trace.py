"""The session trace: the Hub's Session Trace Simple Format, from a log with hostile text and a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import events as e
from core.trace import HARNESS, write_trace
from store.blobs import BlobStore
from store.log import EventLog

ROLES = {"user", "assistant", "system", "tool"}


def test_a_trace_is_a_header_and_messages_whose_results_name_their_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "very-secret-value-1")
    blobs = BlobStore(tmp_path)
    long = "row\n" * 3000
    with EventLog.create(tmp_path) as log:
        log.append(
            [
                e.new(p, actor=actor)
                for p, actor in [
                    (e.RunCreated(run="r-1", goal="count \x1b[2J eggs", task="t", task_path="/t", model="m"), "user"),
                    (e.ModelRequested(step=1, brain="openai:x", messages=1, characters=9, system=blobs.put(b"rules")), "agent"),
                    (e.ModelCompleted(step=1, text="look", tool_calls=[e.ToolCall(id="1.0", name="read", arguments={"a": 1}), e.ToolCall(id="1.1", name="odd", arguments="{broken")]), "agent"),
                    (e.ToolCompleted(call="1.0", tool="read", output="row…", digest=blobs.put(long.encode()), size=len(long)), "agent"),
                    (e.ToolFailed(call="1.1", tool="odd", error="very-secret-value-1 is no object", kind="usage"), "agent"),
                    (e.CommandRequested(command="steer", text="use fewer eggs"), "user"),
                    (e.ApprovalDecided(approval="a", decision="denied", reason="policy"), "host"),
                    (e.RunFinished(status="finished", reason="done"), "host"),
                ]
            ]
        )  # fmt: skip
        feed = log.subscribe(1)
        events = feed.batch(100)
    out = write_trace(events, tmp_path / "r.jsonl", blobs)
    header, *lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert (header["type"], header["harness"], header["id"]) == ("session", HARNESS, "r-1")
    assert all(line["type"] == "message" and line["message"]["role"] in ROLES for line in lines)
    messages = [line["message"] for line in lines]
    assert [m["role"] for m in messages] == ["user", "system", "assistant", "tool", "tool", "user", "assistant"]
    calls = messages[2]["toolCalls"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"a": 1}
    assert [m["toolCallId"] for m in messages if m["role"] == "tool"] == [c["id"] for c in calls]
    assert messages[3]["content"] == long, "whole, not the preview"
    assert "very-secret" not in out.read_text()
    assert "\\u001b" not in out.read_text()
    assert all(isinstance(m["timestamp"], int) for m in messages)
