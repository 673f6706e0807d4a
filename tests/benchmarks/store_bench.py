"""What the event log costs, beside SQLite on the same disk in the same minute.

    python -m tests.benchmarks.store_bench [--quick] [--folder DIR]

Every measure interleaves its baseline with itself, round by round, so that a machine that is busy for a while is busy
for both. Mixed events are those of a recorded run with its numbers drawn anew (`tests.benchmarks.mixed`).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import msgspec

from core.fold import Folder
from core.snapshots import EVERY, NAME, state_from
from core.state import STATE_VERSION, to_bytes
from core.tables import TABLES
from store.event import NewEvent, canonical
from store.log import EventLog
from store.mark import MarkFile, read_mark
from store.reader import LogFile
from store.serve import LogServer
from store.snapshots import Snapshots
from tests.benchmarks.mixed import MixedRun

ROOT = Path(__file__).resolve().parents[2]
SENTENCE = (
    "the reward rises while entropy falls so the policy has learned the format and not the task try a lower "
    "learning rate with more data from longer answers and compare held out accuracy before the next step"
)
WORDS = SENTENCE.split()


class Texts:
    """Events of a tool's text: 60 words, 350 characters."""

    def __init__(self, seed: int = 1) -> None:
        self.dice = random.Random(seed)

    def events(self, count: int) -> list[NewEvent]:
        return [self._event(k) for k in range(count)]

    def _event(self, k: int) -> NewEvent:
        text = " ".join(self.dice.choices(WORDS, k=60))
        payload = {"call": f"call-{k}", "seconds": round(self.dice.random() * 9, 3), "text": text, "tool": "read"}
        return NewEvent("tool_completed", canonical(payload), "agent", cause=max(k, 1))


class Line(msgspec.Struct):
    """One line of the table."""

    measure: str
    ours: str
    baseline: str
    ratio: str
    target: str
    reached: bool


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def _sqlite(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, ts, id, type, v, actor, cause, payload)"
    )
    yield connection
    connection.close()


_INSERT = "INSERT INTO events (ts, id, type, v, actor, cause, payload) VALUES (?, ?, ?, ?, ?, ?, ?)"


def _sqlite_append(connection: sqlite3.Connection, e: NewEvent) -> None:
    connection.execute(_INSERT, (e.ts, e.id, e.type, e.v, e.actor, e.cause, e.payload))


def bench_append(folder: Path, quick: bool) -> list[Line]:
    """Durable appends, chain on, against SQLite's single commits of the same events."""
    texts, mixed = Texts(), MixedRun(folder)
    lines = _appends(folder / "plain", quick, texts.events, "", judged=True)
    return lines + _appends(folder / "typed", quick, mixed.events, ", mixed", judged=False)


def _appends(
    folder: Path, quick: bool, make: Callable[[int], list[NewEvent]], kind: str, *, judged: bool
) -> list[Line]:
    batch_s: list[float] = []
    single_s: list[float] = []
    sqlite_s: list[float] = []
    with EventLog.create(folder, TABLES) as log, _sqlite(folder / "baseline.db") as db:
        for _ in range(10 if quick else 40):
            batch = make(1000)
            batch_s.append(_timed(lambda batch=batch: log.append(batch)) / 1000)
            for ours, theirs in zip(make(25), make(25), strict=True):
                single_s.append(_timed(lambda ours=ours: log.append([ours])))
                sqlite_s.append(_timed(lambda theirs=theirs: _sqlite_append(db, theirs)))
    base = 1 / statistics.median(sqlite_s)
    batches, singles = 1 / statistics.median(batch_s), 1 / statistics.median(single_s)
    shown = f"SQLite FULL, single {base:,.0f}/s"
    lines = [
        _ratio(
            f"durable append, batches of 1,000{kind}", f"{batches:,.0f}/s", shown, batches / base, 40, at_least=True
        ),
        _ratio(f"durable single append{kind}", f"{singles:,.0f}/s", shown, singles / base, 0.25, at_least=True),
    ]
    return lines if judged else [msgspec.structs.replace(x, target="", reached=True) for x in lines]


def _ratio(measure: str, ours: str, base: str, ratio: float, limit: float, *, at_least: bool) -> Line:
    sign = "at least" if at_least else "at most"
    reached = ratio >= limit if at_least else ratio <= limit
    return Line(measure, ours, base, f"{ratio:.2f}x", f"{sign} {limit:g}x", reached)


def _limit(measure: str, value: float, limit: float, unit: str) -> Line:
    return Line(measure, f"{value:,.1f} {unit}", "", "", f"at most {limit:g} {unit}", value <= limit)


_LOG_READER = """
import sys, time
from pathlib import Path
from store.client import RemoteLog
feed = RemoteLog(Path(sys.argv[1])).subscribe(1)
print("ready", flush=True)
while not feed.ended:
    for event in feed.batch(100, 5):
        print((time.time_ns() // 1000 - event.ts), flush=False)
sys.stdout.flush()
"""

_SQLITE_READER = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
seen = 0
print("ready", flush=True)
while True:
    rows = db.execute("SELECT seq, ts, type, payload FROM events WHERE seq > ? ORDER BY seq", (seen,)).fetchall()
    now = time.time_ns() // 1000
    for row in rows:
        seen = row[0]
        if row[2] == "end":
            sys.stdout.flush()
            sys.exit()
        print(now - row[1], flush=False)
    time.sleep(0.005)
"""


def _readers(code: str, path: Path) -> list[subprocess.Popen[str]]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    readers = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(4)
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    return readers


def _paced(count: int, append: Callable[[NewEvent], object], run: MixedRun) -> None:
    """`count` events at 200 a second, each with the moment of its writing in `ts`."""
    start = time.perf_counter()
    for k in range(count):
        time.sleep(max(0.0, start + k / 200 - time.perf_counter()))
        append(msgspec.structs.replace(run.events(1)[0], ts=time.time_ns() // 1000))


def bench_latency(folder: Path, quick: bool) -> list[Line]:
    """From before the append until a reader in another process holds the event; four readers."""
    rounds = 3 if quick else 12
    run = MixedRun(folder)
    log = EventLog.create(folder / "latency", TABLES)
    server = LogServer(log, folder / "latency.sock")
    with _sqlite(folder / "latency.db") as db:
        ours, theirs = _readers(_LOG_READER, server.socket_path), _readers(_SQLITE_READER, folder / "latency.db")
        for _ in range(rounds):  # while one side works, the other's readers are stopped: a poller would slow both
            _send(theirs, signal.SIGSTOP)
            _paced(200, lambda event: log.append([event]), run)
            time.sleep(0.1)
            _send(theirs, signal.SIGCONT)
            _send(ours, signal.SIGSTOP)
            _paced(200, lambda event: _sqlite_append(db, event), run)
            time.sleep(0.1)
            _send(ours, signal.SIGCONT)
        _sqlite_append(db, NewEvent("end", b"{}", "bench"))
        log.close()
        mine, other = _collect(ours), _collect(theirs)
    server.close()
    lines: list[Line] = []
    for name, at, limit in (("p50", 50, 0.7), ("p99", 99, 1.2)):
        a, b = _percentile(mine, at) / 1000, _percentile(other, at) / 1000
        lines.append(
            _ratio(
                f"event to reader, {name}, 200/s, 4 readers",
                f"{a:.2f} ms",
                f"SQLite polled {b:.2f} ms",
                a / b,
                limit,
                at_least=False,
            )
        )
    return lines


def _send(readers: list[subprocess.Popen[str]], what: signal.Signals) -> None:
    for reader in readers:
        reader.send_signal(what)


def _collect(readers: list[subprocess.Popen[str]]) -> list[int]:
    return [int(line) for reader in readers for line in reader.communicate(timeout=60)[0].split()]


def _percentile(values: list[int], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def make_large(folder: Path, count: int) -> None:
    """A log of `count` events, laid down by SQL in seconds; its chain is not real, its size and shape are."""
    EventLog.create(folder).close()
    with duckdb.connect(str(folder / "log.duckdb"), config={"threads": 2}) as connection:
        connection.execute(
            """INSERT INTO event_log SELECT i, (1790000000000 + i)::UBIGINT << 16 | 28672, 9223372036854775809, 0,
            'note_added', 1, 'agent', NULL, format('{{"text":"step {} grad_norm {:.6f} loss {:.4f}"}}', i, random(),
            random()), hash(i) FROM range(1, ? + 1) t(i)""",
            [count],
        )
        short = connection.execute("SELECT hash FROM event_log WHERE seq = ?", [count]).fetchall()[0][0]
    mark = read_mark(folder).mark
    MarkFile(folder, msgspec.structs.replace(mark, seq=count, hash=f"{short:016x}" + "0" * 48, seal=None)).close()


def bench_large(folder: Path, quick: bool) -> list[Line]:
    """Tail and opening: a large log against a small one."""
    big = 1_000_000 if quick else 10_000_000
    make_large(folder / "small", 10_000)
    make_large(folder / "big", big)
    with LogFile.open(folder / "small") as small, LogFile.open(folder / "big") as large:
        event = large.get(big - 200)
        assert event is not None
        Snapshots(folder / "big").save("state", 1, event.seq, event.hash, os.urandom(200_000))
        times: dict[str, list[float]] = {"small": [], "large": []}
        for _ in range(60):
            times["small"].append(_timed(lambda: small.tail(100)))
            times["large"].append(_timed(lambda: large.tail(100)))
    a, b = statistics.median(times["large"]) * 1e3, statistics.median(times["small"]) * 1e3
    opening = statistics.median(_timed(lambda: _open_and_show(folder / "big")) for _ in range(7)) * 1e3
    return [
        _ratio(f"tail of 100 rows at {big:,} events", f"{a:.2f} ms", f"at 10,000 {b:.2f} ms", a / b, 2, at_least=False),
        _limit(f"open {big:,} events, snapshot and what follows it", opening, 150, "ms"),
    ]


def _open_and_show(folder: Path) -> None:
    with LogFile.open(folder) as log:
        snapshot = Snapshots(folder).nearest("state", 1, log)
        assert snapshot is not None
        assert len(list(log.events(snapshot.seq + 1))) == 200


def bench_million(folder: Path, quick: bool) -> list[Line]:
    """A million mixed events: how large, how fast to read whole, how fast to reach a point."""
    count = 200_000 if quick else 1_000_000
    run, target = MixedRun(folder), folder / "million"
    with EventLog.create(target, TABLES) as log:
        for _ in range(count // 1000):
            log.append(run.events(1000))
    size = (target / "log.duckdb").stat().st_size / count
    with LogFile.open(target) as log:
        scale = 1_000_000 / count
        reads: list[float] = []
        folds: list[float] = []
        loops: list[float] = []
        for _ in range(3):
            loops.append(_timed(_additions))
            reads.append(_timed(lambda: sum(1 for _ in log.spans(1, None, TABLES))) * scale)
            folds.append(_timed(lambda: Folder().follow(log)) * scale)
        snapshots = Snapshots(target)
        at = Folder()
        for event in log.events():
            at.apply(event)
            if event.seq % EVERY == 0:
                snapshots.save(NAME, STATE_VERSION, event.seq, event.hash, to_bytes(at.state))
        dice = random.Random(5)
        points = [_timed(lambda: state_from(log, target, dice.randrange(1, count))) for _ in range(30)]
    return [
        _limit("size of a million mixed events", size, 60, "MB"),
        Line(
            "full fold of a million mixed events",
            f"{statistics.median(folds):.1f} s",
            f"10 M additions in Python {statistics.median(loops):.2f} s",
            f"{statistics.median(folds) / statistics.median(loops):.2f}x",
            "at most 2.5 s",
            statistics.median(folds) <= 2.5,
        ),
        Line("  of this, reading", f"{statistics.median(reads):.1f} s", "", "", "", True),
        _limit("state at a random point of a million events", statistics.median(points) * 1e3, 100, "ms"),
    ]


def _additions() -> int:
    """What the same machine does in the same minute, for who compares figures in seconds."""
    total = 0
    for k in range(10_000_000):
        total += k
    return total


def bench_series(folder: Path, quick: bool) -> list[Line]:
    """A million points of one metric to 500 buckets, as a chart asks for it."""
    EventLog.create(folder / "series", TABLES).close()
    with duckdb.connect(str(folder / "series" / "log.duckdb")) as connection:
        connection.execute("INSERT INTO log_shapes VALUES ('metrics', 0, ['loss', 'step_time'], [1, 2])")
        connection.execute(
            """INSERT INTO metrics_rows (seq, job, step, shape, f0, d1)
            SELECT i, 'job-3', i, 0, 2 / sqrt(i) + random() * 0.1, random() FROM range(1, 1000001) t(i)"""
        )
    mark = read_mark(folder / "series").mark
    MarkFile(folder / "series", msgspec.structs.replace(mark, seal=None)).close()
    with LogFile.open(folder / "series") as log:
        which = {"job": "job-3", "name": "loss"}
        assert sum(bucket.n for bucket in log.series("metrics", "step", "value", which)) == 1_000_000
        times = [_timed(lambda: log.series("metrics", "step", "value", which)) for _ in range(5 if quick else 25)]
    return [_limit("1 M metric points to 500 buckets", statistics.median(times) * 1e3, 15, "ms")]


BENCHES = (bench_append, bench_latency, bench_series, bench_large, bench_million)


def main() -> int:
    """Run every measure and print one table. Exit code 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller logs, fewer rounds: a minute instead of several")
    parser.add_argument("--folder", type=Path, help="where to write (default: the temporary folder)")
    parser.add_argument("--only", help="run the measures whose name contains this")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="store-bench-", dir=options.folder))
    try:
        benches = [bench for bench in BENCHES if (options.only or "") in bench.__name__]
        lines = [line for bench in benches for line in bench(folder, options.quick)]
    finally:
        shutil.rmtree(folder)
    _print(lines)
    return 0 if all(line.reached for line in lines) else 1


def _print(lines: list[Line]) -> None:
    rows = [("measure", "ours", "baseline", "ratio", "target", "")]
    rows += [
        (x.measure, x.ours, x.baseline, x.ratio, x.target, ("ok" if x.reached else "MISSED") if x.target else "")
        for x in lines
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(6)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
