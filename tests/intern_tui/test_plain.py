"""Plain lines, for pipes and screen readers: one an event, no control characters, and the run outlives its reader."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core import events as e
from core.fold import fold
from core.state import RunState
from intern_tui import plain
from intern_tui.plain import Lines, follow_plain, replay_plain
from store.log import EventLog
from tests.intern_tui.test_app import Host, folder, host  # noqa: F401  (fixtures)
from tests.screens import recorded


@pytest.fixture
def recorded_run(folder: Path) -> Path:  # noqa: F811
    log = EventLog.create(folder)
    log.append(recorded.appendable(recorded.events()))
    log.close()
    return folder


def test_a_replay_prints_what_happened_in_order(recorded_run: Path) -> None:
    out = io.StringIO()
    assert replay_plain(recorded_run, out=out) == 0
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("0:00:00   created: Raise the score")
    assert lines[-1].startswith("0:12:19 + run finished")
    assert any(line.startswith("0:05:42 ! job-2: entropy collapse") for line in lines)
    times = [line.split()[0] for line in lines if "paper" not in line]
    assert times[-20:] == sorted(times[-20:])


def test_metrics_are_progress_lines_every_ten_seconds_and_the_last_one(recorded_run: Path) -> None:
    out = io.StringIO()
    replay_plain(recorded_run, out=out)
    progress = [line for line in out.getvalue().splitlines() if " job-1 step " in line]
    assert len(progress) == 13
    assert "step 120 of 120: loss" in progress[-1]


def test_to_stops_at_the_event_and_speed_takes_its_time(recorded_run: Path) -> None:
    out = io.StringIO()
    replay_plain(recorded_run, out=out, to=recorded.seq_of("evaluation_finished"), speed=1000.0)
    assert out.getvalue().splitlines()[-1].startswith("0:00:40   zero-shot: 14.1 %")


def test_hostile_text_is_printed_as_harmless_text() -> None:
    stored = recorded.Recording()
    stored.add(0, e.NoteAdded(text="\x1b]0;owned\x07a\x1b[2J\nb\u202ec"))
    stored.add(1, e.MetricLogged(job="\x1b[31mj", step=1, values={"\x9b2Jloss": 1.0}))
    lines = Lines("r")
    text = "\n".join(line for event in stored.events for line in lines.of(event))
    assert text == "0:00:00   note: a bc\n0:00:01   j step 1: loss 1"


def test_an_approval_says_how_to_decide() -> None:
    lines = Lines("r1")
    text = [line for event in recorded.events() for line in lines.of(event)]
    assert any("intern approve r1 a1" in line for line in text)


def test_who_comes_later_is_told_what_waits_and_how_to_answer_too() -> None:
    r = recorded.Recording()
    r.add(0, e.RunCreated(run=recorded.RUN, goal="g", task="t", task_path="", model="m"))
    r.add(1, e.QuestionAsked(question="q1", text="Which data?", choices=["ours", "the \x1b[31mHub's"]))
    r.add(
        2,
        e.ApprovalRequested(
            call="c", approval="a9", tool="bash", arguments={}, arguments_hash="", tier="spend", reason="x"
        ),
    )
    now = [line for event in r.events for line in Lines("r1").of(event)]
    later = Lines("r1").before(fold(RunState(), r.events))
    for lines in (now, later):
        assert any(line.endswith("? answer: intern answer r1 TEXT") for line in lines)
        assert any(line.endswith("? 1. ours") for line in lines)
        assert any("2. the" in line and "\x1b" not in line for line in lines)
        assert any("intern approve r1 a9" in line for line in lines)


def test_a_live_run_is_followed_to_its_end(host: Host) -> None:  # noqa: F811
    out = io.StringIO()
    rest = recorded.appendable(recorded.events()[400:])
    threading.Timer(0.5, lambda: host.append(rest)).start()
    from core import home

    assert follow_plain(host.folder, home.socket_path(host.folder), out) == 0
    lines = out.getvalue().splitlines()
    assert "created" in lines[0]
    assert "run finished" in lines[-1]


def test_a_line_is_printed_when_its_event_comes_and_not_at_the_next_look(
    host: Host,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from core import home

    class Ends(io.StringIO):
        def write(self, text: str) -> int:
            if "at once" in text:
                raise KeyboardInterrupt
            return super().write(text)

    monkeypatch.setattr(plain, "WAIT_S", 3600.0)
    threading.Timer(0.5, lambda: host.say(e.NoteAdded(text="at once"))).start()
    assert follow_plain(host.folder, home.socket_path(host.folder), Ends()) == 130


def test_a_host_that_dies_ends_the_display_with_a_reason(host: Host) -> None:  # noqa: F811
    from core import home

    out = io.StringIO()
    threading.Timer(0.5, host.die).start()
    assert follow_plain(host.folder, home.socket_path(host.folder), out, from_start=False) == 1
    assert "intern resume" in out.getvalue().splitlines()[-1]


def test_a_broken_pipe_ends_the_display_quietly(recorded_run: Path) -> None:
    script = (
        f"from intern_tui.plain import replay_plain; from pathlib import Path;replay_plain(Path({str(recorded_run)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr.read() == b""


def test_ctrl_c_leaves_the_run_going_and_says_how_to_come_back(host: Host) -> None:  # noqa: F811
    class Interrupting(io.StringIO):
        def write(self, text: str) -> int:
            if "created" in text:
                raise KeyboardInterrupt
            return super().write(text)

    from core import home

    out = Interrupting()
    assert follow_plain(host.folder, home.socket_path(host.folder), out) == 130
    assert "intern attach" in out.getvalue()
    assert host.server.clients >= 0
    assert host.say(e.NoteAdded(text="still here")) > 0
