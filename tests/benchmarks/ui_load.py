"""The load of the UI benchmark and the two programs that bear it: ours, and one written without a thought.

    python -m tests.benchmarks.ui_load ours|naive RATE [SCREEN]

Both make the same events in the same way (RATE a second, ten metric rows a second among them that move two curves) and
draw on the terminal they are started on.
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
from store.event import Event, NewEvent, now_us

STEPS = [f"Step {word}" for word in ("alpha", "bravo", "carbon", "delta", "echo", "forest", "garden", "harbor")]
METRIC_HZ = 10
RUN = "20260101-000000-load"


class Load:
    """Events of a made-up run, without end."""

    def __init__(self, seed: int = 1) -> None:
        self.dice = random.Random(seed)
        self.train_step = 0
        self.seq = 0
        self._calls = itertools.count(1)

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
        at = self.dice.random()
        if at < 0.05:
            return e.new(
                e.NoteAdded(text=f"looked at batch {self.dice.randrange(10**6)}; the longest answers end early"),
                actor="agent",
            )
        if at < 0.1:
            return e.new(
                e.ToolRequested(call=f"c{next(self._calls)}", tool="read_file", arguments={"path": "data/train.jsonl"}),
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
        return Event(self.seq, new.id, now_us(), new.type, new.v, new.actor, None, new.payload, "")


class Tap:
    """Gives the events that are due: `rate` a second, `METRIC_HZ` of them metrics."""

    def __init__(self, rate: float) -> None:
        self.load = Load()
        self.rate = rate
        self.every = max(1, round(rate / METRIC_HZ))
        self.given = 0
        self.begun = 0.0

    def due(self, limit: int) -> list[Event]:
        if not self.begun:
            self.begun = time.monotonic()
            return [self.load.stored(n) for n in self.load.first()]
        count = min(limit, int((time.monotonic() - self.begun) * self.rate) - self.given)
        made = [
            self.load.stored(self.load.metric() if (self.given + i) % self.every == 0 else self.load.other())
            for i in range(max(count, 0))
        ]
        self.given += len(made)
        return made


def ours(rate: float, screen: str) -> None:
    from intern_tui.app import InternApp
    from intern_tui.feed import Update
    from intern_tui.opening import quiet_animations
    from intern_tui.session import Session
    from screens.view import Link

    tap = Tap(rate)

    class TapFeed:
        def start(self) -> None: ...
        def close(self) -> None: ...
        def source(self) -> Any:
            raise NotImplementedError

        def command(self, command: str, text: str, arguments: dict[str, Any]) -> dict[str, Any]:
            return {"ok": True, "seq": 0}

        def drain(self, limit: int) -> Update:
            return Update(None, tap.due(limit), Link("live"))

    quiet_animations()
    InternApp(Session(Path(f"/runs/{RUN}"), TapFeed(), "live"), first=screen).run()


def naive(rate: float) -> None:
    """What one writes first: a RichLog, two plotext plots, a repaint an event."""
    from textual.app import App, ComposeResult
    from textual.widgets import OptionList, RichLog
    from textual_plotext import PlotextPlot

    from core.describe import describe
    from core.events import payload_of

    class Naive(App[None]):
        CSS = "Screen { layout: grid; grid-size: 2 2; }"
        BINDINGS = [("j", "move(1)", "down"), ("k", "move(-1)", "up"), ("q", "quit", "quit")]  # noqa: RUF012

        def compose(self) -> ComposeResult:
            yield OptionList(*STEPS)
            yield PlotextPlot(id="reward")
            yield RichLog()
            yield PlotextPlot(id="loss")

        def on_mount(self) -> None:
            self.tap = Tap(rate)
            self.points: dict[str, list[float]] = {"reward": [], "loss": []}
            self.set_interval(0.02, self.look)

        def look(self) -> None:
            for event in self.tap.due(10_000):
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
    which, rate = sys.argv[1], float(sys.argv[2])
    naive(rate) if which == "naive" else ours(rate, sys.argv[3] if len(sys.argv) > 3 else "mission")
