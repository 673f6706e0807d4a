"""Fault trials: jobs run, and every so often something that carries them is killed with -9. What must hold is counted at the
end, in the log and in the jobs' folders."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.tables import TABLES
from store.log import EventLog

ROOT = Path(__file__).resolve().parents[3]
STEPS = 40
LONGEST_S = 240.0
"""For the jobs of one campaign after the last fault, on a busy machine."""

CODE = f"""
import fcntl, json, os, pathlib, sys, time
sys.path.insert(0, {str(ROOT)!r})
here = pathlib.Path('.')
with open('starts', 'a') as starts: starts.write(f'{{os.getpid()}}\\n')
lock = open('alone', 'a')
try: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    open('TWICE', 'a').write(f'{{os.getpid()}}\\n'); raise
from core.training.stream import Stream
at = here / 'step.txt'
first = int(at.read_text()) + 1 if at.exists() else 1
stream = Stream('.')
for n in range(first, {STEPS} + 1):
    stream.metric(n, {{'loss': 1 / n}})
    if n % 5 == 0:
        (here / 'step.part').write_text(str(n)); os.replace('step.part', at)
    if stream.control() == 'stop': raise SystemExit
    time.sleep(.05)
(here / 'model').mkdir(exist_ok=True); (here / 'model' / 'config.json').write_text('{{}}')
stream.result(model=str((here / 'model').resolve()))
"""
"""Saves every fifth step and goes on from there: as a training does, without its minutes of imports."""


@dataclass
class Campaign:
    """Some jobs of one place, and what may be killed there. `faults` do it and bring back what was killed, but for hosts."""

    folder: Path
    place: str
    detail: Any
    faults: dict[str, Callable[[], bool]]
    jobs: int = 3
    together: bool = False
    """Submitted as a sweep: one array on Slurm."""
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        EventLog.create(self.folder, TABLES).close()
        self.hosts = Hosts(self)

    def run(self, most: int, rng: random.Random, gap_s: tuple[float, float] = (0.2, 1.5)) -> None:
        """At most so many faults while the jobs run, then their end."""
        with self.hosts:
            while sum(self.done.values()) < most and self.hosts.lives():
                time.sleep(rng.uniform(*gap_s))
                name = rng.choice(sorted(self.faults | {"host": self.hosts.kill}))
                did = self.hosts.kill() if name == "host" else self.faults[name]()
                self.done[name] += did
            until = time.monotonic() + LONGEST_S
            while self.hosts.lives():
                assert time.monotonic() < until, f"jobs were forgotten: {self.folder}"
                time.sleep(0.05)

    def check(self) -> None:
        """No job twice, none forgotten, no metric lost or doubled. Raises AssertionError."""
        jobs = [self.folder / "jobs" / f"job-{n}" for n in range(self.jobs)]
        assert not [j for j in jobs if (j / "TWICE").exists()], "two processes of one job at once"
        with EventLog.open(self.folder, TABLES) as log:
            ends = Counter(
                (e.type, str(json.loads(e.payload)["job"]))
                for e in log.events()
                if e.type in ("job_launched", "job_finished")
            )
            rows = log.sql(
                "select job, count(*), count(distinct step) from metrics where name = 'loss' group by job"
            ).rows
        assert ends == Counter({(t, j.name): 1 for t in ("job_launched", "job_finished") for j in jobs}), ends
        assert {tuple(r) for r in rows} == {(j.name, STEPS, STEPS) for j in jobs}, rows


class Hosts:
    """The campaign's host, started again whenever it was killed."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.pid = 0

    def __enter__(self) -> Hosts:
        self._forks = subprocess.Popen(
            [sys.executable, "-m", "tests.core.compute.fault_host"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )  # fmt: skip
        self._read()
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        assert self._forks.stdin is not None
        self._forks.stdin.close()
        self._forks.wait(180)  # its end waits for that of a host; seconds, on a machine that is not busy

    def lives(self) -> bool:
        """Whether the host is at work; False once all jobs are over."""
        if not self.pid:
            return False
        with contextlib.suppress(OSError):
            if "Z" not in Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]:
                return True
        code = int(self._read())
        self.pid = 0
        assert code == 0, (self.campaign.folder / "host.log").read_text()[-3000:]
        return False

    def kill(self) -> bool:
        if not self.lives():
            return False
        os.kill(self.pid, signal.SIGKILL)
        code = int(self._read())
        self.pid = 0
        if code == 0:  # it had just come to its end
            return False
        self._start()
        return True

    def _start(self) -> None:
        c = self.campaign
        order = {
            "folder": str(c.folder),
            "place": c.place,
            "detail": c.detail,
            "jobs": c.jobs,
            "code": CODE,
            "together": c.together,
        }
        assert self._forks.stdin is not None
        self._forks.stdin.write(json.dumps(order) + "\n")
        self._forks.stdin.flush()
        self.pid = int(self._read())

    def _read(self) -> str:
        assert self._forks.stdout is not None
        return self._forks.stdout.readline().strip()


def kill_of_job(folder: Path, names: tuple[str, ...], rng: random.Random) -> bool:
    """kill -9 of processes that job.json of a running job names; False where none runs."""
    running = [p for p in sorted((folder / "jobs").glob("*/job.json")) if not (p.parent / "exit.json").exists()]
    if not running:
        return False
    described = json.loads(rng.choice(running).read_bytes())
    done = False
    for name in names:
        with contextlib.suppress(ProcessLookupError):
            stat = Path(f"/proc/{described[name]}/stat")
            if not stat.exists() or int(stat.read_text().rpartition(")")[2].split()[19]) != described[{"pid": "pid_start", "supervisor_pid": "supervisor_start"}[name]]:  # fmt: skip
                continue
            os.kill(described[name], signal.SIGKILL)
            done = True
    return done
