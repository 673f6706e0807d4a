"""A run as OpenTelemetry traces: names of the GenAI conventions, OTLP's JSON, nothing said without being asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.tracing.otlp import endpoint, pairs
from core.tracing.spans import Span, spans
from intern_tui.cli import main
from store.event import Event
from store.log import EventLog
from tests.screens import recorded


class Collector(HTTPServer):
    """Takes what it is sent; `answer` is (status, body)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self.answer = (200, b'{"partialSuccess":{}}')


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((self.path, dict(self.headers), body))
        self.send_response(self.server.answer[0])
        self.end_headers()
        self.wfile.write(self.server.answer[1])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    folder = tmp_path / "runs" / recorded.RUN
    folder.mkdir(parents=True)
    with EventLog.create(folder) as log:
        log.append(recorded.appendable(recorded.events()))
    return folder


def log(*payloads: e.Payload) -> list[Event]:
    """Events of a run, a second apart."""
    start = 1_790_000_000_000_000
    created = e.RunCreated(run="r", goal="g", task="t", task_path="/t", model="/m", brain="openai:qwen@http://x/v1")
    said = [created, *payloads]
    return [
        Event(seq=i, id=str(i), ts=start + i * 1_000_000, type=p.type, v=1, actor="agent", cause=None, payload=e.encode(p), hash="")
        for i, p in enumerate(said, 1)
    ]  # fmt: skip


CALL = [
    e.ModelRequested(step=1, brain="openai:qwen@http://x/v1", messages=1, characters=10),
    e.ModelFailed(step=1, error="429", attempt=1),
    e.ModelCompleted(
        step=1, text="SECRET plan", tool_calls=[e.ToolCall(id="c1", name="train", arguments={"lr": 1})],
        input_tokens=100, output_tokens=7, cached_tokens=60,
    ),
    e.ToolRequested(call="c1", tool="train", arguments={"lr": "SECRET"}, effect="keyed", effect_id="r:c1", step=1),
    e.JobLaunched(job="job-1", kind="training", method="sft", title="t", effect_id="r:c1", folder="/f", config={"lr": 0.1}),
    e.ToolCompleted(call="c1", tool="train", output="SECRET"),
]  # fmt: skip


def named(found: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in found}


def test_calls_are_spans_by_the_genai_conventions() -> None:
    found = named(
        spans(log(*CALL, e.JobFailed(job="job-1", reason="crashed"), e.RunFinished(status="finished", reason="")))
    )
    agent, chat, tool, job = (
        found["invoke_agent intern"],
        found["chat qwen"],
        found["execute_tool train"],
        found["job sft"],
    )
    assert chat.parent == tool.parent == agent.id
    assert job.parent == tool.id, "a job hangs on the call that launched it"
    assert {k: chat.attributes[k] for k in chat.attributes if k.startswith("gen_ai")} == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "qwen",
        "gen_ai.conversation.id": "r", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 60, "gen_ai.response.finish_reasons": ["tool_calls"],
    }  # fmt: skip
    assert tool.attributes["gen_ai.tool.call.id"] == "c1"
    assert [m.name for m in chat.moments] == ["exception"], "an attempt that failed is within its call"
    assert (job.status, job.message) == (2, "crashed")
    assert (chat.end_us or 0) - chat.start_us == 2_000_000
    assert agent.attributes["intern.status"] == "finished"


def test_what_was_said_is_left_out_unless_it_is_asked_for() -> None:
    assert "SECRET" not in repr(spans(log(*CALL)))
    found = named(spans(log(*CALL), content=True))
    assert json.loads(found["chat qwen"].attributes["gen_ai.output.messages"])[0]["parts"][1] == {
        "type": "tool_call", "id": "c1", "name": "train", "arguments": {"lr": 1},
    }  # fmt: skip
    assert found["execute_tool train"].attributes["gen_ai.tool.call.result"] == "SECRET"


def test_what_a_killed_host_left_open_ends_with_the_last_event_and_says_so() -> None:
    events = log(*CALL[:4])
    found = spans(events)
    assert [s.end_us is not None and s.end_us <= events[-1].ts for s in found] == [True] * 3
    assert named(found)["execute_tool train"].attributes["intern.open"] is True
    again = spans(log(*CALL[:1], CALL[0]))
    assert [s.attributes.get("error.type") for s in again if s.name == "chat qwen"] == ["no_answer", None]


def test_an_evaluation_is_a_result_on_its_job() -> None:
    score = e.EvaluationFinished(evaluation="x", label="sft", model="/m", split="dev", samples=10, score=0.5, interval=(0.2, 0.8), job="job-1")  # fmt: skip
    (moment,) = named(spans(log(*CALL, score)))["job sft"].moments
    assert (moment.name, moment.attributes["gen_ai.evaluation.score.value"]) == ("gen_ai.evaluation.result", 0.5)


def test_a_file_is_otlp_json_and_the_same_every_time(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outs = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for out in outs:
        assert main(["export", "last", "--to", "otel", "--out", str(out)]) == 0
        assert capsys.readouterr().out.strip() == str(out)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    requests = [json.loads(line) for line in outs[0].read_text().splitlines()]
    found = [s for r in requests for x in r["resourceSpans"] for y in x["scopeSpans"] for s in y["spans"]]
    assert len({s["spanId"] for s in found}) == len(found) > 3
    ids = {s["spanId"] for s in found}
    for span in found:
        assert len(span["traceId"]) == 32
        assert len(span["spanId"]) == 16
        assert span.get("parentSpanId") in ids | {None}
        assert int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"]) > 10**18
    assert sum("parentSpanId" not in s for s in found) == 1, "one root"


def test_it_goes_to_the_collector_only_when_told_to(run: Path, tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert main(["export", "last", "--to", "otel", "--out", str(tmp_path / "x")]) == 0
    assert collector.got == [], "an address in the environment alone sends nothing"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "lab")
    assert main(["export", "last", "--to", "otel", "--send"]) == 0
    (path, headers, body), *_ = collector.got
    assert (path, headers["X-Key"]) == ("/v1/traces", "a b")
    resource = {a["key"]: a["value"] for a in body["resourceSpans"][0]["resource"]["attributes"]}
    assert resource["service.name"] == {"stringValue": "lab"}
    assert "spans taken by" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "code"), [((503, b"busy"), 4), ((200, b'{"partialSuccess":{"rejectedSpans":"2"}}'), 1)]
)
def test_a_collector_that_takes_it_badly_is_said(run: Path, collector: Collector, answer: tuple[int, bytes], code: int, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    collector.answer = answer
    assert main(["export", "last", "--to", "otel", "--send"]) == code


def test_nobody_listens(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/x")
    assert main(["export", "last", "--to", "otel", "--send"]) == 4
    assert "cannot be reached" in capsys.readouterr().err
    assert main(["export", "last", "--to", "html", "--send"]) == 2


def test_addresses_and_pairs_as_opentelemetry_has_them() -> None:
    assert endpoint({}) == "http://localhost:4318/v1/traces"
    assert endpoint({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1/"}) == "http://c:1/v1/traces"
    assert endpoint({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/own"}) == "http://c:1/own"
    assert pairs("a=1, b=x%2Cy,bad") == {"a": "1", "b": "x,y"}
