"""A run as lines: for pipes, logs, slow terminals and screen readers. The feed and the words of the screens.

One line an event that matters: elapsed time, a sign, the text. Signs: `+` good, `!` bad, `?` waits for a person.
Metrics come as a progress line every ten seconds of a job at most. No cursor movement, no colour; every line is
flushed. A broken pipe or Ctrl-C ends the display and leaves the run going.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from core import events as e
from core.describe import describe, telling
from core.sanitize import one_line
from core.state import RunState
from intern_tui.feed import LiveFeed, open_source
from screens.text import clock, number
from store.event import Event
from store.source import EventSource

PROGRESS_S = 10.0
"""Least time between two progress lines of one job."""
WAIT_S = 1.0
"""Longest sleep without news; what comes is printed as it comes."""
SIGNS = {"good": "+", "bad": "!", "waiting": "?", "info": " "}
HEADLINES = ("reward", "dev_score", "loss", "eval_loss", "kl", "entropy")


class Lines:
    """Turns events into lines; remembers only what it needs for that."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.start_us = 0
        self.status = ""
        self._planned: dict[str, int] = {}
        self._last_progress: dict[str, int] = {}

    def of(self, event: Event) -> list[str]:
        """No line, or one, or more where a person has to know how to answer."""
        payload = e.payload_of(event)
        self._remember(event, payload)
        if isinstance(payload, e.MetricLogged):
            return self._progress(event, payload)
        if not telling(event, payload):
            return []
        text, level = describe(event, payload)
        lines = [self._line(event, SIGNS.get(level, " "), text)]
        if isinstance(payload, e.ApprovalRequested):
            lines += self._decide(event.ts, payload.approval)
        elif isinstance(payload, e.QuestionAsked):
            lines += self._answer(event.ts, payload.choices)
        return lines

    def before(self, state: RunState) -> list[str]:
        """Lines for what happened before a snapshot, as far as the state still knows it."""
        self.start_us = state.created_ts
        lines = [self._words(f.ts, SIGNS.get(f.level, " "), f.text) for f in state.feed]
        for a in state.waiting_approvals():
            lines += self._decide(a.ts, a.id)
        for q in state.questions.values():
            if not q.answer:
                lines += self._answer(q.ts, q.choices)
        if state.finished_ts:
            self.status = state.status
        self._planned = {job.id: job.planned_steps for job in state.jobs.values() if job.planned_steps}
        return lines

    def _decide(self, ts: int, approval: str) -> list[str]:
        how = f"decide: intern approve {self.run} {approval}, or intern deny {self.run} {approval}; what it is: intern approvals {self.run}"
        return [self._words(ts, "?", how)]

    def _answer(self, ts: int, choices: Sequence[str]) -> list[str]:
        offered = [self._words(ts, "?", f"{i}. {choice}") for i, choice in enumerate(choices, 1)]
        return [*offered, self._words(ts, "?", f"answer: intern answer {self.run} TEXT")]

    def _remember(self, event: Event, payload: e.Payload) -> None:
        if not self.start_us:
            self.start_us = event.ts
        if isinstance(payload, e.JobLaunched) and payload.planned_steps:
            self._planned[payload.job] = payload.planned_steps
        if isinstance(payload, e.RunFinished):
            self.status = payload.status

    def _progress(self, event: Event, p: e.MetricLogged) -> list[str]:
        last = self._last_progress.get(p.job)
        planned = self._planned.get(p.job)
        final = planned is not None and p.step >= planned
        if last is not None and not final and 0 <= event.ts - last < PROGRESS_S * 1e6:
            return []
        known = [n for n in HEADLINES if n in p.values]
        shown = known or list(p.values)
        if not shown:
            return []
        self._last_progress[p.job] = event.ts
        values = ", ".join(f"{name.replace('_', ' ')} {number(p.values[name])}" for name in shown[:4])
        of = f" of {planned}" if planned else ""
        return [self._line(event, " ", f"{p.job} step {p.step}{of}: {values}")]

    def _line(self, event: Event, sign: str, text: str) -> str:
        return self._words(event.ts, sign, text)

    def _words(self, ts: int, sign: str, text: str) -> str:
        return f"{clock((ts - self.start_us) / 1e6)} {sign} {one_line(text)}"


class Printer:
    """Writes whole lines at once and flushes; a reader that went away ends the display, not the run."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        reconfigure = getattr(out, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal without UTF-8 gets question marks, not a crash

    def __call__(self, lines: Iterable[str]) -> None:
        text = "".join(line + "\n" for line in lines)
        if text:
            self._out.write(text)
            self._out.flush()


def follow_plain(folder: Path, socket_path: Path, out: TextIO | None = None, *, from_start: bool = True) -> int:
    """Print a live run until it ends. 0 finished, 1 failed or stopped or its host is gone, 130 for Ctrl-C."""
    feed = LiveFeed(folder, socket_path, snapshot=not from_start)
    with _display(folder.name, out) as (printer, result):
        try:
            feed.start()
            result.code = _follow(feed, Lines(folder.name), printer)
        finally:
            feed.close()
    return result.code


def _follow(feed: LiveFeed, lines: Lines, printer: Printer) -> int:
    said = ""
    while True:
        update = feed.drain(500)
        if update.state is not None:
            printer(lines.before(update.state))
        for event in update.events:
            printer(lines.of(event))
        if update.events:
            continue
        if lines.status:
            return 0 if lines.status == "finished" else 1
        if update.link.kind in ("gone", "reconnecting") and update.link.note != said:
            said = update.link.note
            printer([f"-- {one_line(said)}"])
        if update.link.kind == "gone":
            return 1
        feed.wait(WAIT_S)


def replay_plain(folder: Path, socket_path: Path | None = None, out: TextIO | None = None, *,
                 to: int | None = None, speed: float | None = None) -> int:  # fmt: skip
    """Print a recorded run, at once or at `speed` times its own pace, up to event `to`. Raises StoreError."""
    source = open_source(folder, socket_path)
    with _display(folder.name, out, live=False) as (printer, result):
        try:
            _replay(source, Lines(folder.name), printer, to, speed)
        finally:
            source.close()
    return result.code


def _replay(source: EventSource, lines: Lines, printer: Printer, to: int | None, speed: float | None) -> None:
    before = 0
    for event in source.events(1, to if to is not None else source.last[0]):
        if speed and before:
            time.sleep(max(0.0, (event.ts - before) / 1e6 / speed))
        before = max(before, event.ts)
        printer(lines.of(event))


class Result:
    """The exit code a display ends with."""

    code = 0


@contextlib.contextmanager
def _display(run: str, out: TextIO | None, live: bool = True) -> Iterator[tuple[Printer, Result]]:
    """Ctrl-C and a broken pipe end the display in order."""
    stream = out if out is not None else sys.stdout
    result = Result()
    try:
        yield Printer(stream), result
    except KeyboardInterrupt:
        result.code = 130
        if live:
            with contextlib.suppress(BrokenPipeError):
                print(f"\nThe run goes on. Come back with: intern attach {run}", file=stream, flush=True)
    except BrokenPipeError:
        # The interpreter flushes stdout once more at its end: give it somewhere to write to.
        if stream is sys.stdout:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
