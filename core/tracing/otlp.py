"""Spans in OTLP's JSON form, into a file or to a collector, with OpenTelemetry's own environment variables.

OTLP/JSON (opentelemetry-proto 1.x): ids in hex, 64-bit integers as strings, enums as numbers. Read here:
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT (default http://localhost:4318), their _HEADERS and
_TIMEOUT, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT, and
OTEL_SDK_DISABLED. The protocol is http/json whatever OTEL_EXPORTER_OTLP_PROTOCOL says; every collector speaks it.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import msgspec

from core.errors import Refused, UsageError
from core.tracing.spans import Moment, Span, trace_id

DEFAULT = "http://localhost:4318"
BATCH = 500
"""Spans a request: collectors take 4 MB by default."""


def captures_content(environment: Mapping[str, str]) -> bool:
    """Whether what models and tools said goes along: only if the user says so."""
    value = environment.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "")
    return value.strip().lower() in ("true", "1", "span_only", "span_and_event")


def endpoint(environment: Mapping[str, str]) -> str:
    """Where traces go. A signal's own address is taken as it is; the common one gets /v1/traces. Raises UsageError."""
    own = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    common = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or DEFAULT
    address = own or common.rstrip("/") + "/v1/traces"
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).netloc:
        raise UsageError(
            f"{address!r} is no address of a collector", where="OTEL_EXPORTER_OTLP_ENDPOINT",
            next=f"Give its OTLP/HTTP address, such as {DEFAULT}",
        )  # fmt: skip
    return address


def pairs(text: str) -> dict[str, str]:
    """`a=1,b=2`, values percent-encoded: the form of OTEL headers and resource attributes."""
    split = (item.partition("=") for item in text.split(",") if "=" in item)
    return {unquote(name.strip()): unquote(value.strip()) for name, _, value in split}


def requests(run: str, found: Iterable[Span], environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """ExportTraceServiceRequests of at most `BATCH` spans."""
    resource = {
        "service.name": "intern", "service.version": metadata.version("ml-intern-tui"),
        **pairs(environment.get("OTEL_RESOURCE_ATTRIBUTES", "")), "intern.run": run,
    }  # fmt: skip
    if environment.get("OTEL_SERVICE_NAME"):
        resource["service.name"] = environment["OTEL_SERVICE_NAME"]
    for some in _batches(found):
        scope = {"scope": {"name": "intern"}, "spans": [_span(run, span) for span in some]}
        yield {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]}


def write(run: str, found: Iterable[Span], out: Path, environment: Mapping[str, str]) -> Path:
    """One request a line, as the collector's file receiver reads them. Raises OSError."""
    partial = out.with_name(out.name + ".part")
    with partial.open("wb") as file:
        for request in requests(run, found, environment):
            file.write(msgspec.json.encode(request) + b"\n")
    partial.replace(out)
    return out


def send(run: str, found: Iterable[Span], environment: Mapping[str, str]) -> tuple[str, int]:
    """Post all spans; (address, spans taken). Raises Refused where the collector does not take them."""
    address = endpoint(environment)
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        raise Refused("OpenTelemetry is switched off", where="OTEL_SDK_DISABLED", next="Unset it, or leave --send out")
    headers = _headers(environment)
    seconds = _timeout(environment)
    taken = 0
    for request in requests(run, found, environment):
        count = len(request["resourceSpans"][0]["scopeSpans"][0]["spans"])
        taken += count - _post(address, msgspec.json.encode(request), headers, seconds)
    return address, taken


def _post(address: str, body: bytes, headers: Mapping[str, str], seconds: float) -> int:
    """Spans the collector rejected of one request."""
    asked = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(asked, timeout=seconds) as answer:
            said = answer.read()
    except urllib.error.HTTPError as error:
        what = f"the collector answered {error.code}: {error.read(300).decode('utf-8', 'replace').strip()}"
        raise Refused(what, where=address, next="Does it speak OTLP over HTTP with JSON (port 4318)?") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise Refused(
            f"the collector cannot be reached: {reason}", where=address,
            next="Set OTEL_EXPORTER_OTLP_ENDPOINT, or write a file: leave --send out",
        ) from error  # fmt: skip
    return _rejected(said)


def _rejected(said: bytes) -> int:
    try:
        answer = msgspec.json.decode(said or b"{}", type=_Answer)
    except msgspec.DecodeError:
        return 0  # a collector may answer with nothing readable; its status was 200
    return int(answer.partialSuccess.rejectedSpans) if answer.partialSuccess else 0


class _Partial(msgspec.Struct):
    rejectedSpans: int | str = 0
    """A 64-bit integer: text in OTLP's JSON, though some send a number."""


class _Answer(msgspec.Struct):
    """ExportTraceServiceResponse."""

    partialSuccess: _Partial | None = None


def _headers(environment: Mapping[str, str]) -> dict[str, str]:
    common = pairs(environment.get("OTEL_EXPORTER_OTLP_HEADERS", ""))
    return common | pairs(environment.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS", ""))


def _timeout(environment: Mapping[str, str]) -> float:
    """Milliseconds in the environment, seconds here."""
    text = environment.get("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT") or environment.get("OTEL_EXPORTER_OTLP_TIMEOUT")
    try:
        return max(0.1, float(text or 10_000) / 1000)
    except ValueError:
        return 10.0


def _batches(found: Iterable[Span]) -> Iterator[list[Span]]:
    some: list[Span] = []
    for span in found:
        some.append(span)
        if len(some) == BATCH:
            yield some
            some = []
    if some:
        yield some


def _span(run: str, span: Span) -> dict[str, Any]:
    made: dict[str, Any] = {
        "traceId": trace_id(run), "spanId": span.id, "name": span.name, "kind": span.kind,
        "startTimeUnixNano": str(span.start_us * 1000), "endTimeUnixNano": str((span.end_us or span.start_us) * 1000),
        "attributes": _attributes(span.attributes),
    }  # fmt: skip
    if span.parent:
        made["parentSpanId"] = span.parent
    if span.moments:
        made["events"] = [_event(moment) for moment in span.moments]
    if span.status:
        made["status"] = {"code": span.status, "message": span.message}
    return made


def _event(moment: Moment) -> dict[str, Any]:
    return {"timeUnixNano": str(moment.ts_us * 1000), "name": moment.name, "attributes": _attributes(moment.attributes)}


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(v) for v in cast("list[Any]", value)]}}
    return {"stringValue": str(value)}
