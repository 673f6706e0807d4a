"""Asking over HTTP: every fault of a host ends in an answer or a typed error, never in a hang or half a text."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from core.literature.errors import PaperMissing, RateLimited, SourceBroken, SourceRefused, Unreachable
from core.literature.limiter import Limiter, SystemClock
from core.literature.web import USER_AGENT, Politeness, Web, retry_after_s
from tests.servers.clock import FakeClock
from tests.servers.loopback import Answer, Fault, Loopback, Request


class Hello(Loopback):
    """Answers every path."""

    def respond(self, request: Request) -> Answer:
        return Answer(b"hello " * 1000, content_type="text/plain")


@pytest.fixture
def server() -> Iterator[Hello]:
    with Hello() as running:
        yield running


def test_every_request_says_who_asks(web: Web, server: Hello) -> None:
    assert web.get(server.url).body.startswith(b"hello")
    assert server.requests[0].headers["user-agent"] == USER_AGENT


def test_after_429_the_host_is_left_alone_as_long_as_it_says(web: Web, server: Hello, clock: FakeClock) -> None:
    server.break_next(Fault(status=429, headers={"Retry-After": "7"}))
    begun = clock.now()
    assert web.get(server.url).body
    assert clock.now() - begun >= 7
    assert server.asked() == 2


def test_a_retry_after_date_is_understood(clock: FakeClock) -> None:
    later = format_datetime(datetime.fromtimestamp(clock.now() + 30, UTC), usegmt=True)
    assert retry_after_s(later, clock.now()) == pytest.approx(30, abs=1)
    assert retry_after_s("soon", clock.now()) is None


def test_a_long_retry_after_is_refused_at_once_and_remembered_for_other_runs(web: Web, server: Hello) -> None:
    server.break_next(Fault(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(RateLimited) as caught:
        web.get(server.url)
    assert caught.value.wait_s == 3600
    with pytest.raises(RateLimited):
        web.get(server.url)
    assert server.asked() == 1, "the second call must not reach a host that asked for an hour of peace"


def test_server_errors_are_tried_again_and_then_told(web: Web, server: Hello) -> None:
    server.break_next(Fault(status=502), times=2)
    assert web.get(server.url).body
    server.break_next(Fault(status=500), times=4)
    with pytest.raises(SourceBroken, match="HTTP 500"):
        web.get(server.url)
    assert server.asked() == 3 + 4


def test_a_host_that_says_429_for_ever_ends_as_rate_limited(web: Web, server: Hello) -> None:
    server.break_next(Fault(status=429), times=10)
    with pytest.raises(RateLimited):
        web.get(server.url)
    assert server.asked() == 4


@pytest.mark.parametrize(
    ("status", "error"), [(404, PaperMissing), (410, PaperMissing), (403, SourceRefused), (400, SourceRefused)]
)
def test_a_refusal_is_not_tried_again(web: Web, server: Hello, status: int, error: type[Exception]) -> None:
    server.break_next(Fault(status=status))
    with pytest.raises(error):
        web.get(server.url)
    assert server.asked() == 1


def test_silence_ends_in_unreachable_after_all_tries(web: Web, server: Hello) -> None:
    server.break_next(Fault(silent=True), times=4)
    with pytest.raises(Unreachable):
        web.get(server.url)
    assert server.asked() == 4


def test_a_server_that_drips_bytes_cannot_hold_us(server: Hello, tmp_path) -> None:
    patient = Web(Limiter(tmp_path), Politeness(timeout_s=0.3, tries=1))
    server.break_next(Fault(drip=True))
    with pytest.raises(Unreachable, match="too long"):
        patient.get(server.url)


def test_half_a_body_is_never_taken_for_the_whole(web: Web, server: Hello) -> None:
    server.break_next(Fault(truncate=100), times=2)
    assert len(web.get(server.url).body) == 6000
    server.break_next(Fault(truncate=100), times=4)
    with pytest.raises(SourceBroken, match="broke off"):
        web.get(server.url)


def test_a_body_without_end_is_cut_by_refusal(server: Hello, tmp_path, clock: FakeClock) -> None:
    small = Web(Limiter(tmp_path, clock=clock), Politeness(max_bytes=1000))
    with pytest.raises(SourceRefused, match="larger"):
        small.get(server.url)


def test_redirects_are_followed_but_not_for_ever_nor_out_of_http(web: Web, server: Hello) -> None:
    server.break_next(Fault(status=302, headers={"Location": "/elsewhere"}))
    assert web.get(server.url).url.endswith("/elsewhere")
    server.break_next(Fault(status=302, headers={"Location": "/again"}), times=20)
    with pytest.raises(SourceBroken, match="redirects"):
        web.get(server.url)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_out_of_http_is_refused(web: Web, server: Hello, target: str) -> None:
    server.break_next(Fault(status=302, headers={"Location": target}))
    with pytest.raises(SourceRefused, match="http"):
        web.get(server.url)


def test_a_key_never_travels_to_another_host(web: Web, server: Hello) -> None:
    with Hello() as other:
        server.break_next(Fault(status=302, headers={"Location": f"{other.url}/there"}))
        web.get(server.url, headers={"x-api-key": "secret"})
        assert server.requests[0].headers["x-api-key"] == "secret"
        assert "x-api-key" not in other.requests[0].headers


def test_a_closed_port_is_unreachable(web: Web) -> None:
    with Hello() as gone:
        address = gone.url
    with pytest.raises(Unreachable):
        web.get(address)


def test_a_host_that_was_never_reached_costs_no_turn(web: Web, clock: FakeClock) -> None:
    with Hello() as gone:
        address, host = gone.url, gone.host
    with pytest.raises(Unreachable):
        web.get(address)
    slept = sum(clock.slept)
    with web.limiter.turn(host):
        assert sum(clock.slept) == slept


def test_a_retry_after_without_a_zone_means_gmt_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        now = datetime(2031, 11, 29, 12, 0, tzinfo=UTC).timestamp()
        assert retry_after_s("Sat, 29 Nov 2031 12:00:30", now) == pytest.approx(30)
        assert retry_after_s("Sat, 29 Nov 2031 12:00:30 -0000", now) == pytest.approx(30)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_silent_host_is_met_once_and_then_left_alone(server: Hello, tmp_path) -> None:
    """Six sources of a text, each of them tried four times to the end of its time-out, would take a quarter of an hour."""

    class Patient(SystemClock):
        def sleep(self, seconds: float) -> None:
            raise AssertionError("no pause: nothing is tried again")

    clock = Patient()
    slow = Web(
        Limiter(tmp_path, clock=clock, intervals_s={server.host: 0.0}), Politeness(timeout_s=0.3, patience_s=0.2)
    )
    server.break_next(Fault(silent=True), times=10)
    for _ in range(3):
        with pytest.raises(Unreachable):
            slow.get(server.url)
    assert server.asked() == 1


def test_a_host_at_rest_is_asked_again_after_a_minute(web: Web, server: Hello, clock: FakeClock) -> None:
    server.break_next(Fault(silent=True), times=4)
    with pytest.raises(Unreachable):
        web.get(server.url)
    with pytest.raises(Unreachable, match="a moment ago"):
        web.get(server.url)
    clock.time += 61
    assert web.get(server.url).body


def test_a_body_that_comes_packed_unasked_is_unpacked(web: Web, server: Hello) -> None:
    packed = gzip.compress(b"<h1>Title</h1>" * 100)
    told = {"Content-Encoding": "gzip"}
    server.break_next(Fault(body=packed, headers=told, content_type="text/html"))
    assert web.get(server.url).text() == "<h1>Title</h1>" * 100
    server.break_next(Fault(body=packed[:-20], headers=told, content_type="text/html"), times=4)
    with pytest.raises(SourceBroken):
        web.get(server.url)
    server.break_next(Fault(body=packed, headers=told, content_type="application/x-eprint-tar"))
    assert web.get(server.url).body == packed, "an archive is unpacked by who knows its bounds"


def test_a_packed_body_without_end_is_refused(server: Hello, tmp_path, clock: FakeClock) -> None:
    small = Web(Limiter(tmp_path, clock=clock), Politeness(max_bytes=100_000))
    server.break_next(Fault(body=gzip.compress(b"x" * 5_000_000), headers={"Content-Encoding": "gzip"}))
    with pytest.raises(SourceRefused, match="unpacked"):
        small.get(server.url)


@pytest.mark.parametrize(
    ("kind", "body", "read"),
    [
        ("text/html; charset=ISO-8859-1", "Größe".encode("latin-1"), "Größe"),
        ("text/html", "<meta charset='windows-1252'>naïve".encode("cp1252"), "<meta charset='windows-1252'>naïve"),
        ("text/html; charset=utf-8", "Größe".encode(), "Größe"),
        ("text/plain; charset=punycode", b"abc-def", "abc-def"),
        ("text/plain; charset=cp9999", "é".encode(), "é"),
    ],
)
def test_a_text_is_read_in_the_encoding_it_names(web: Web, server: Hello, kind: str, body: bytes, read: str) -> None:
    server.break_next(Fault(body=body, content_type=kind))
    assert web.get(server.url).text() == read
