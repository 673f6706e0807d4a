"""What the agent's own machinery costs, and how fast a person is heard, on real hosts with a loopback model server.

python -m tests.benchmarks.agent_bench [--steps N] [--only overhead|commands|interrupt]

overhead   a run of 1,000 steps that write, read and look; a step's cost is the time from the server's answer to the next
           request: memory, log, snapshots, the tool itself and the client, everything but the model. Memory of the host.
commands   a real training on every core; commands one after the other: until logged (the host's reply), and until a
           second client's plain display has printed them.
interrupt  the model's endpoint hangs: from the command to the recorded end of the call.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from core import events as e
from core.session import command, open_source, state_at
from tests.core.run.quick import Quick, wait_for
from tests.servers.llm import LLMServer
from tests.servers.researchers import Answer, Capable, call, final

STEP_LIMIT_MS = 15.0
GROWTH_LIMIT_MB = 50.0
COMMAND_LIMIT_MS = 100.0
INTERRUPT_LIMIT_S = 1.0
WINDOW = 20
"""Steps on each side of the one that is told of: one step alone may meet a pause of the machine."""


def resident_mb(pid: int) -> float:
    """Memory of a process that belongs to it."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_ms(pid: int) -> float:
    """Processor time of a process so far: what a step costs, however busy the machine is."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Busy:
    """Works through `steps` steps with the tools a brain uses most, files that grow in number, answers of usual length."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.turn = 0
        self.pid = 0
        self.memory: dict[int, float] = {}
        self.cpu: list[float] = []
        self.server: LLMServer | None = None

    def __call__(self, messages: list[dict[str, Any]]) -> Answer:
        self.turn += 1
        n = self.turn
        if self.server is not None:
            self.server.requests.clear()  # a thousand copies of the transcript
        self.cpu.append(cpu_ms(self.pid))
        if n % 50 == 0:
            self.memory[n] = resident_mb(self.pid)
        if n > self.steps:
            return final()
        why = f"Step {n}: " + "what the last result means and what follows from it. " * 4
        path = f"notes/{n // 4 % 60}.md"
        return (
            call("write_file", why, path=path, content=f"{n}\n" + "a line of notes\n" * 40),
            call("read_file", why, path=path),
            call("search_recipes", why, query=f"sft learning rate {n}"),
            call("budget", why),
        )[n % 4]


def overhead(folder: Path, steps: int) -> list[tuple[str, float, float]]:
    busy = Busy(steps)
    with Quick(folder) as quick, LLMServer(busy) as server:
        busy.server = server
        run = quick.create(f"openai:t@{server.url}", hours=2.0)
        busy.pid = quick.start(run)
        quick.ended()  # no model was measured, so the run counts as failed
        state = state_at(run)
        assert state.step == steps + 1, state.reason + (run / "host.log").read_text()[-2000:]
        gaps = [1000 * (later[0] - earlier[1]) for earlier, later in zip(server.times, server.times[1:], strict=False)]
    found: list[tuple[str, float, float]] = []
    for at in (10, 100, steps // 2, steps - WINDOW):
        near = gaps[max(0, at - WINDOW) : at + WINDOW]
        found.append((f"own time of a step, around step {at}, median, ms", statistics.median(near), STEP_LIMIT_MS))
        first, last = max(0, at - WINDOW), min(len(busy.cpu) - 1, at + WINDOW)
        each = (busy.cpu[last] - busy.cpu[first]) / (last - first)
        found.append((f"processor time of the host a step, around step {at}, mean, ms", each, STEP_LIMIT_MS))
    later = [mb for step, mb in busy.memory.items() if step > 100]
    growth = max(later) - busy.memory[100]
    found.append(
        (f"host memory, most of it from step 100 ({busy.memory[100]:.0f} MB) on, MB more", growth, GROWTH_LIMIT_MB)
    )
    print(f"{steps} steps, {state.seq} events")
    return found


class Training(Capable):
    """Starts one long training and waits for it."""

    def steps(self, good: list[Any]) -> list[Any]:
        def train(steps: int) -> Answer:
            settings = {"max_steps": steps, "batch_size": 64, "eval_every": 0}
            return call("train", method="sft", data="clean", model="base", title=f"{steps} steps", settings=settings)

        def wait() -> Answer:
            return call("wait_for_jobs", jobs=[good[-1]["job"]])

        return [*super().steps(good)[:3], lambda: train(10), wait, lambda: train(100_000), wait]


class Display(threading.Thread):
    """`intern attach --plain` of another person: when each word was printed."""

    def __init__(self, run: Path, env: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, float] = {}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "intern_tui", "attach", run.name, "--plain"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=os.environ | env, text=True,
        )  # fmt: skip
        self.start()

    def run(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            for word in line.split():
                if word.startswith("word-"):
                    self.seen.setdefault(word, time.monotonic())


def commands(folder: Path, times: int) -> list[tuple[str, float, float]]:
    with Quick(folder) as quick, LLMServer(Training()) as server:
        quick.task, quick.python = Path("pocket/addition"), sys.executable
        run = quick.create(f"openai:t@{server.url}", hours=1.0)
        quick.start(run)
        wait_for(run, lambda s: any(j.method == "sft" and j.step >= 15 for j in s.jobs.values()), 300)
        display = Display(run, quick.env)
        logged, shown = list[float](), list[float]()
        try:
            command(run, "note", "word-first")
            while "word-first" not in display.seen:
                time.sleep(0.01)
            for i in range(times):
                began = time.monotonic()
                command(run, "note", f"word-{i}")
                logged.append(1000 * (time.monotonic() - began))
                while f"word-{i}" not in display.seen and time.monotonic() < began + 5:
                    time.sleep(0.001)
                shown.append(1000 * (display.seen.get(f"word-{i}", began + 5) - began))
                time.sleep(0.05)
            assert any(j.status == "running" for j in state_at(run).jobs.values()), "the training ended too early"
        finally:
            with contextlib.suppress(Exception):
                command(run, "stop")
            quick.ended()
            display.process.terminate()
            display.process.wait()
    return [
        (f"a command until logged, of {times}, p50, ms", percentile(logged, 0.5), COMMAND_LIMIT_MS),
        ("a command until logged, p99, ms", percentile(logged, 0.99), COMMAND_LIMIT_MS),
        ("a command until another client shows it, p50, ms", percentile(shown, 0.5), COMMAND_LIMIT_MS),
        ("a command until another client shows it, p99, ms", percentile(shown, 0.99), COMMAND_LIMIT_MS),
    ]


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def interrupt(folder: Path, times: int = 5) -> list[tuple[str, float, float]]:
    took: list[float] = []
    with Quick(folder) as quick:
        for _ in range(times):
            with LLMServer(lambda m: final(), faults=[("stall", 30)]) as server:
                run = quick.create(f"openai:t@{server.url}")
                quick.start(run)
                wait_for(run, lambda s: s.doing == "thinking")
                asked = command(run, "interrupt", "go on")
                quick.ended()
            source = open_source(run)
            with contextlib.closing(source):
                events = list(source.events(1))
            ended = next(x for x in events if x.type == e.ModelFailed.type and x.seq > asked)
            took.append((ended.ts - events[asked - 1].ts) / 1e6)
    return [(f"interrupt while the endpoint hangs, longest of {times}, s", max(took), INTERRUPT_LIMIT_S)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--commands", type=int, default=300)
    parser.add_argument("--only", choices=("overhead", "commands", "interrupt"))
    given = parser.parse_args()
    load = Path("/proc/loadavg").read_text().split()[0]
    print(f"load average at the start {load}, {os.cpu_count()} cores")
    rows: list[tuple[str, float, float]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        parts = {
            "overhead": lambda: overhead(Path(folder) / "a", given.steps),
            "interrupt": lambda: interrupt(Path(folder) / "b"),
            "commands": lambda: commands(Path(folder) / "c", given.commands),
        }
        for name, part in parts.items():
            if given.only in (None, name):
                rows += part()
    for what, value, limit in rows:
        print(f"{what:75} {value:9.2f}  (at most {limit:g}) {'' if value <= limit else '  MISSED'}")


if __name__ == "__main__":
    main()
