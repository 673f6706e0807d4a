"""The load of the UI benchmark and the two programs that bear it: ours, and one written without a thought.

    python -m tests.benchmarks.ui_load host FOLDER RATE          writes and serves RATE events a second
    python -m tests.benchmarks.ui_load ours|naive FOLDER         draws them on the terminal it is started on
    python -m tests.benchmarks.ui_load hours                     ours, ten simulated hours as fast as it takes them

Ten of the events a second are metric rows that move two curves. Making them is the host's work, in its own process:
what an app uses is what reading, folding and drawing them costs it.
"""

from __future__ import annotations

import itertools
import math
import random
import sys
import time
from pathlib import Path
from typing import Any

from core import events as e
from core.tables import TABLES
from store.event import Event, NewEvent, now_us
from store.log import EventLog
from store.serve import LogServer

STEPS = [f"Step {word}" for word in ("alpha", "bravo", "carbon", "delta", "echo", "forest", "garden", "harbor")]
METRIC_HZ = 10
PULSE_S = 0.05
"""The host writes what is due this often."""
HOUR, HOURS = 72_000, 10
"""Events of an hour at 20 a second."""
SHOWN_S = 1.0
"""For so long nothing follows the end of an hour, so that whoever looks at the screen sees it."""
RUN = "20260101-000000-load"


class Load:
    """Events of a made-up run, without end."""

    def __init__(self, seed: int = 1) -> None:
        self.dice = random.Random(seed)
        self.train_step = 0
        self.seq = 0
        self._calls = itertools.count(1)
        self._open = ""

    def first(self) -> list[NewEvent]:
        plan = [e.PlanStep(id=str(i), title=t, status="doing" if i == 0 else "todo") for i, t in enumerate(STEPS)]
        started = [
            e.RunCreated(run=RUN, goal="carry a load", task="load", task_path="/t", model="m", hours=10),
            e.RunStarted(pid=1),
            e.PlanUpdated(steps=plan),
            e.JobLaunched(job="job-1", kind="training", method="grpo", title="grpo", effect_id="x", folder="j", planned_steps=8192),
            e.EvaluationFinished(evaluation="e1", label="base", model="m", split="dev", samples=400, score=0.2, interval=(0.16, 0.24)),
        ]  # fmt: skip
        return [e.new(p, actor="host") for p in started]

    def metric(self) -> NewEvent:
        self.train_step += 1
        part = self.train_step / 3000
        noise = self.dice.gauss(0, 0.03)
        values: dict[str, float | None] = {
            "reward": 0.2 + 0.6 * (1 - math.exp(-part)) + noise,
            "loss": 2 * math.exp(-part) + noise,
        }
        return e.new(e.MetricLogged(job="job-1", step=self.train_step, values=values), actor="job:job-1")

    def other(self) -> NewEvent:
        """A tenth of them are lines for the feed; the rest is what runs beside."""
        if self._open:  # a call ends before anything else begins, as those of an agent do
            call, self._open = self._open, ""
            return e.new(e.ToolCompleted(call=call, tool="read_file", output="", seconds=2.0), actor="agent")
        at = self.dice.random()
        if at < 0.05:
            return e.new(
                e.NoteAdded(text=f"looked at batch {self.dice.randrange(10**6)}; the longest answers end early"),
                actor="agent",
            )
        if at < 0.1:
            self._open = f"c{next(self._calls)}"
            return e.new(
                e.ToolRequested(call=self._open, tool="read_file", arguments={"path": "data/train.jsonl"}),
                actor="agent",
            )
        if at < 0.2:
            return e.new(
                e.GpuSampled(
                    index=0,
                    name="H100",
                    source="nvml",
                    util=0.8 + at / 2,
                    memory_used=60 << 30,
                    memory_total=80 << 30,
                    power_w=400 + 10 * at,
                ),
                actor="host",
            )
        return e.new(e.StepStarted(step=self.dice.randrange(1000)), actor="agent")

    def stored(self, new: NewEvent) -> Event:
        self.seq += 1
        return Event(self.seq, now_us(), new.type, new.v, new.actor, None, new.payload, new.id, "")


def host(folder: Path, rate: float) -> None:
    """The run's host: writes `rate` events a second, `METRIC_HZ` of them metrics, and serves them, until it is killed."""
    load, every, given = Load(), max(1, round(rate / METRIC_HZ)), 0
    with EventLog.create(folder, TABLES) as log, LogServer(log, folder / "host.sock"):
        log.append(load.first())
        begun = time.monotonic()
        while True:
            time.sleep(PULSE_S)
            due = int((time.monotonic() - begun) * rate) - given
            made = [load.metric() if (given + i) % every == 0 else load.other() for i in range(due)]
            if made:
                log.append(made)
            given += len(made)


def wait_for(socket: Path) -> None:
    """Until the host listens."""
    while not socket.exists():
        time.sleep(0.05)


def ours(folder: Path, screen: str) -> None:
    from intern_tui.app import InternApp
    from intern_tui.feed import LiveFeed
    from intern_tui.opening import quiet_animations
    from intern_tui.session import Session

    wait_for(folder / "host.sock")
    quiet_animations()
    InternApp(Session(folder, LiveFeed(folder, folder / "host.sock"), "live"), first=screen).run()


def hours(screen: str) -> None:
    """Our app through ten simulated hours of 20 events a second, as fast as it takes them; the plan says the hour."""
    from intern_tui import session
    from intern_tui.app import InternApp
    from intern_tui.feed import Update
    from intern_tui.opening import quiet_animations
    from screens.view import Link

    load, given, shown_until = Load(), 0, 0.0

    class HoursFeed:
        def start(self) -> None: ...
        def close(self) -> None: ...
        def source(self) -> Any:
            raise NotImplementedError

        def command(self, command: str, text: str, arguments: dict[str, Any]) -> dict[str, Any]:
            return {"ok": True, "seq": 0}

        def drain(self, limit: int) -> Update:
            nonlocal given, shown_until
            if time.monotonic() < shown_until:
                return Update(None, [], Link("live"))
            limit = min(limit, HOUR - given % HOUR)
            made = load.first() if not given else []
            for _ in range(min(limit, HOURS * HOUR - given) - len(made)):
                made.append(load.metric() if len(made) % 2 else load.other())
            before, given = given // HOUR, given + len(made)
            if given // HOUR > before:
                shown_until = time.monotonic() + SHOWN_S
                made.append(
                    e.new(
                        e.PlanUpdated(steps=[e.PlanStep(id="1", title=f"hour {given // HOUR} is over")]), actor="agent"
                    )
                )
            return Update(None, [load.stored(n) for n in made], Link("live"))

    session.FOLD_BUDGET_S = 0.8
    quiet_animations()
    InternApp(session.Session(Path(f"/runs/{RUN}"), HoursFeed(), "live"), first=screen).run()


def naive(folder: Path) -> None:
    """What one writes first: a RichLog, two plotext plots, a repaint an event. It reads the events as ours does."""
    from textual.app import App, ComposeResult
    from textual.widgets import OptionList, RichLog
    from textual_plotext import PlotextPlot

    from core.describe import describe
    from core.events import payload_of
    from intern_tui.feed import LiveFeed

    class Naive(App[None]):
        CSS = "Screen { layout: grid; grid-size: 2 2; }"
        BINDINGS = [("j", "move(1)", "down"), ("k", "move(-1)", "up"), ("q", "quit", "quit")]  # noqa: RUF012

        def compose(self) -> ComposeResult:
            yield OptionList(*STEPS)
            yield PlotextPlot(id="reward")
            yield RichLog()
            yield PlotextPlot(id="loss")

        def on_mount(self) -> None:
            wait_for(folder / "host.sock")
            self.feed = LiveFeed(folder, folder / "host.sock")
            self.feed.start()
            self.points: dict[str, list[float]] = {"reward": [], "loss": []}
            self.set_interval(0.02, self.look)

        def look(self) -> None:
            for event in self.feed.drain(10_000).events:
                self.query_one(RichLog).write(f"{event.seq} {event.type} {describe(event, payload_of(event))[0]}")
                payload = payload_of(event)
                if isinstance(payload, e.MetricLogged):
                    self.draw(payload)

        def draw(self, payload: e.MetricLogged) -> None:
            for name, values in self.points.items():
                values.append(payload.values[name] or 0.0)
                plot = self.query_one(f"#{name}", PlotextPlot)
                plot.plt.clear_data()
                plot.plt.title(name)
                plot.plt.plot(values)
                plot.refresh()

        def action_move(self, by: int) -> None:
            options = self.query_one(OptionList)
            options.highlighted = ((options.highlighted or 0) + by) % len(STEPS)

    Naive().run()


if __name__ == "__main__":
    which, *rest = sys.argv[1:]
    if which == "host":
        host(Path(rest[0]), float(rest[1]))
    elif which == "naive":
        naive(Path(rest[0]))
    elif which == "hours":
        hours(rest[0] if rest else "mission")
    else:
        ours(Path(rest[0]), rest[1] if len(rest) > 1 else "mission")
