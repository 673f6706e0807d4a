"""What the terminal UI costs, on a pseudo-terminal of 120 x 40, beside a naive app under the same load in the same run.

    python -m tests.benchmarks.ui_bench [--quick]

CPU is the process's own user and system time over a window; bytes are all it writes to the terminal in it; a key's time
runs from writing it to reading the row it repaints. Needs textual-plotext (in the `dev` extra) for the naive app.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import fcntl
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from core.tables import TABLES
from store.event import NewEvent
from store.log import EventLog
from tests.benchmarks.ui_load import HOURS, RUN, STEPS, Load
from tests.terminal_model import TerminalModel

ROOT = Path(__file__).resolve().parents[2]
SIZE = (40, 120)
WARM_S = 4.0
LONGEST_S = 900.0
"""A long run that was not read by then is a fault."""
ANSWER_S = 10.0
"""A key not answered by then counts as this long."""


class Terminal:
    """A program on a pseudo-terminal; a thread reads what it writes, so that it never waits for us.

    With `screen`, a text counts as seen when it stands on the screen: of a changed number only the digits are written.
    Without, when it was written: this costs the machine less beside a program under load.
    """

    def __init__(self, argv: list[str], home: Path, screen: bool = False) -> None:
        self._screen = TerminalModel(SIZE[1], SIZE[0]) if screen else None
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.started = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "INTERN_HOME": str(home)}
            environment.pop("NO_COLOR", None)
            os.execve(argv[0], argv, environment)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self.process = psutil.Process(self.pid)
        self.bytes = 0
        self._recent = b""
        self._wanted = b""
        self._seen = threading.Event()
        self._at = 0.0
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                select.select([self._fd], [], [])
                chunk = os.read(self._fd, 65536)
            except OSError:
                return
            if not chunk:
                return
            now = time.monotonic()
            with self._lock:
                self.bytes += len(chunk)
                if self._screen is None:
                    self._recent = (self._recent + chunk)[-200_000:]
                else:
                    self._screen.feed(self._decode(chunk))
                    self._recent = self._screen.text().encode()
                if self._wanted and self._wanted in self._recent:
                    self._at, self._wanted = now, b""
                    self._seen.set()

    def press(self, keys: bytes, until: bytes, timeout: float = ANSWER_S) -> float:
        """Milliseconds from writing `keys` to reading `until`."""
        with self._lock:
            self._recent, self._wanted = b"", until  # seen on what is written from here on
            self._seen.clear()
        begun = time.monotonic()
        os.write(self._fd, keys)
        if not self._seen.wait(timeout):
            raise TimeoutError(f"{until!r} did not appear after {keys!r}: {self._recent[-2000:]!r}")
        return 1000 * (self._at - begun)

    def wait_for(self, text: bytes, timeout: float = 60.0) -> float:
        """Seconds from the start of the program to reading `text`."""
        with self._lock:
            if text in self._recent:
                return time.monotonic() - self.started
            self._wanted = text
            self._seen.clear()
        if not self._seen.wait(timeout):
            raise TimeoutError(f"{text!r} did not appear: {self._recent[-2000:]!r}")
        return self._at - self.started

    def cpu_s(self) -> float:
        used = self.process.cpu_times()
        return used.user + used.system

    def waited_s(self) -> float:
        """Time it was ready to run and another process had the core (Linux: the second field of schedstat)."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._reader.join()  # or it would go on reading from the next terminal, which gets the same number
        os.close(self._fd)


class Cost(NamedTuple):
    cpu: float
    """Per cent of a core."""
    kb_per_s: float
    waited: float
    """Per cent of the time it wanted a core and had none: beyond a few, the app is starved and its figures are not its own."""
    key_ms: list[float]
    resident_mb: float


def python(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


@contextlib.contextmanager
def hosted(home: Path, rate: int) -> Iterator[Path]:
    """A host that writes `rate` events a second; its run's folder."""
    folder = Path(tempfile.mkdtemp(dir=home)) / "r"
    log = (home / "host.txt").open("wb")
    process = subprocess.Popen(python("tests.benchmarks.ui_load", "host", str(folder), str(rate)), cwd=ROOT, stderr=log)
    try:
        yield folder
    finally:
        process.kill()
        process.wait()
        log.close()


def cost(which: str, rate: int, home: Path, window_s: float, keys: int) -> Cost:
    """Bear the load for a while, then answer keys under it."""
    with hosted(home, rate) as folder:
        return _cost(python("tests.benchmarks.ui_load", which, str(folder)), home, window_s, keys)


def _cost(argv: list[str], home: Path, window_s: float, keys: int) -> Cost:
    terminal = Terminal(argv, home)
    try:
        terminal.wait_for(STEPS[2].encode())
        time.sleep(WARM_S)
        cpu, written, waited = terminal.cpu_s(), terminal.bytes, terminal.waited_s()
        time.sleep(window_s)
        used, wrote, waited = terminal.cpu_s() - cpu, terminal.bytes - written, terminal.waited_s() - waited
        times: list[float] = []
        if keys:
            terminal.press(b"j", STEPS[0].encode(), 60)  # brings the cursor in
        for i in range(keys):
            key, row = (b"j", STEPS[1]) if i % 2 == 0 else (b"k", STEPS[0])
            try:
                times.append(terminal.press(key, row.encode()))
            except TimeoutError:  # it does not keep up with its load: that is its figure
                times.append(1000 * ANSWER_S)
                break
            time.sleep(0.05 + 0.037 * (i % 5))
        resident = terminal.process.memory_info().rss / 1e6
        return Cost(100 * used / window_s, wrote / window_s / 1000, 100 * waited / window_s, times, resident)
    finally:
        terminal.close()


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


def long_log(folder: Path, count: int) -> None:
    """A finished run of `count` events at 28 a second: ten hours for a million."""
    folder.mkdir(parents=True)
    load, start, made = Load(), time.time_ns() // 1000 - int(count * 36e3), 0
    with EventLog.create(folder, TABLES) as log:
        while made < count:
            batch = (
                load.first()
                if made == 0
                else [load.metric() if i % 20 < 16 else load.other() for i in range(min(10_000, count - made))]
            )
            log.append(
                [
                    NewEvent(n.type, n.payload, n.actor, n.cause, n.v, n.id, start + (made + i) * 36_000)
                    for i, n in enumerate(batch)
                ]
            )
            made += len(batch)


class Took(NamedTuple):
    """How long something took on the clock, and how much of a core it used: on a busy machine only the second says much."""

    wall_s: float
    cpu_s: float


def first_paint(home: Path, argv: list[str], text: str) -> Took:
    """From the start of the program until `text` stands on the screen."""
    terminal = Terminal(argv, home, screen=True)
    try:
        return Took(terminal.wait_for(text.encode(), LONGEST_S), terminal.cpu_s())
    finally:
        terminal.close()


def middle(times: list[Took]) -> str:
    return f"{statistics.median(t.wall_s for t in times):.2f} s, CPU {statistics.median(t.cpu_s for t in times):.2f} s"


def seeks(home: Path, count: int) -> list[Took]:
    """From Enter in the go-to box to the place on the timeline, all over the run."""
    terminal = Terminal(python("intern_tui", "replay", RUN), home, screen=True)
    try:
        terminal.wait_for(f"#{count}".encode(), LONGEST_S)
        times: list[Took] = []
        for i in range(30):
            seq = 1 + (i * 0.618 % 1) * count
            terminal.press(b"t", b"Go to", LONGEST_S)
            os.write(terminal._fd, str(int(seq)).encode())
            time.sleep(0.2)
            used = terminal.cpu_s()
            wall_ms = terminal.press(b"\r", f"#{int(seq)}".encode(), LONGEST_S)
            times.append(Took(wall_ms / 1000, terminal.cpu_s() - used))
            time.sleep(0.1)
        return times
    finally:
        terminal.close()


def ten_hours(home: Path) -> list[float]:
    """Resident MB after each second simulated hour, of events at 20 a second as fast as they can be taken."""
    terminal = Terminal(python("tests.benchmarks.ui_load", "hours"), home, screen=True)
    try:
        sizes: list[float] = []
        for hour in range(2, HOURS + 1, 2):
            terminal.wait_for(f"hour {hour} ".encode(), 1200)
            sizes.append(terminal.process.memory_info().rss / 1e6)
        return sizes
    finally:
        terminal.close()


def loads(home: Path, quick: bool) -> None:
    """CPU, bytes and keys under load, ours beside the naive app."""
    window_s, keys = (4.0, 30) if quick else (10.0, 150)
    print(f"{'':<34}{'CPU %':>8}{'kB/s':>9}{'starved %':>11}{'key p50':>9}{'p99 ms':>9}{'MB':>7}")
    line("naive, 200 events/s", cost("naive", 200, home, window_s, keys))
    for rate in (20, 200, 2000):
        line(f"Mission, {rate} events/s", cost("ours", rate, home, window_s, keys))


def memory(home: Path, quick: bool) -> None:
    """Resident size over ten simulated hours."""
    mb = ten_hours(home)
    print(f"resident after 2, 4, 6, 8, 10 simulated hours: {', '.join(f'{m:.0f}' for m in mb)} MB", flush=True)


def first_paints(home: Path, quick: bool) -> None:
    """The list of runs, and a long run: never read before, read before, and anywhere in it."""
    count = 50_000 if quick else 1_000_000
    if not (home / "runs" / RUN).exists():
        begun = time.monotonic()
        long_log(home / "runs" / RUN, count)
        print(f"(a log of {count} events was written in {time.monotonic() - begun:.0f} s)", flush=True)
    subprocess.run(python("intern_tui", "--help"), cwd=ROOT, capture_output=True, check=True)
    paints = [first_paint(home, python("intern_tui"), "Runs: 1") for _ in range(5)]
    print(f"first paint of intern: {middle(paints)} (of 5)", flush=True)
    replay = python("intern_tui", "replay", RUN)
    shutil.rmtree(home / "cache", ignore_errors=True)
    cold = first_paint(home, replay, STEPS[2])
    print(f"first paint of {count} events, never read before: {middle([cold])}", flush=True)
    print(f"  until it was read whole: {middle([first_paint(home, replay, f'#{count}')])}", flush=True)
    again = [first_paint(home, replay, f"#{count}") for _ in range(5)]
    print(f"  read before: {middle(again)} (of 5)", flush=True)
    places = seeks(home, count)
    for name, values in (("clock", [p.wall_s for p in places]), ("CPU", [p.cpu_s for p in places])):
        print(
            f"seek, {name}: p50 {1000 * quantile(values, 0.5):.0f} ms, longest {1000 * max(values):.0f} ms (of {len(places)})",
            flush=True,
        )


PARTS = {"load": loads, "memory": memory, "long": first_paints}


def report(quick: bool, parts: list[str], kept: Path | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        for name in parts:
            PARTS[name](kept if kept is not None and name == "long" else home, quick)


def line(name: str, c: Cost) -> None:
    print(
        f"{name:<34}{c.cpu:>8.1f}{c.kb_per_s:>9.1f}{c.waited:>11.0f}"
        f"{quantile(c.key_ms, 0.5):>9.1f}{quantile(c.key_ms, 0.99):>9.1f}{c.resident_mb:>7.0f}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="short windows and a run of 50,000 events")
    parser.add_argument("--only", choices=[*PARTS], help="one part alone")
    parser.add_argument("--home", type=Path, help="keep the long run here, and take it from here if it is there")
    a = parser.parse_args()
    report(a.quick, [a.only] if a.only else [*PARTS], a.home)
