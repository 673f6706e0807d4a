"""Watches jobs: their files become events, detectors read the stream as it comes, a hopeless job is stopped early.

One thread for all jobs of a run. Everything it needs to go on after a crash is in the log (how many metric rows of a job
are recorded) and in the job's folder (the stream, exit.json); so a new host picks up where the dead one stopped.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from core import events as e
from core.compute.held import InForce
from core.compute.protocol import Compute
from core.compute.spec import OPEN, JobExit, JobStatus
from core.compute.usage import charge
from core.compute.watch import MetricTail
from core.ids import stable_id
from core.journal import Journal
from core.state import Job
from core.training.detectors import Finding, Watch
from core.training.log_rows import LEARNS, guess_trainer
from core.training.signs_speed import named_error

POLL_S = 0.2
IDLE_S = 0.5
"""Between looks while no job says anything: a look reads a few files of each, and a training on all cores pays for it."""
PACE_S = 1.0
"""Between two readings of a running job's stream. A commit costs 1 to 3 ms of a core however many rows are in it: while a
training on all cores logs every step, commits are most of what a host takes from it."""


class Watched:
    """One job's stream and detectors."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.id = job.id
        self.folder = folder
        self.tail = MetricTail(folder / "metrics.jsonl")
        self.skip = job.metric_rows
        """Metric rows a host before this one has recorded already; the detectors still see them."""
        self.read = -math.inf
        """When its stream was last read, by the monotonic clock."""
        self.rows = 0
        """Rows read so far: a row keeps its number over every host, so what is said of it is said once."""
        self.started_ts = job.started_ts
        self.planned = job.planned_steps
        self.training = job.kind == "training"
        self.watch = Watch(job.method, planned_steps=self.planned, live=True) if self.training else None
        """The detectors; over a script from the first row on that tells of a training."""
        self.checkpoint = job.checkpoint
        self.result: dict[str, Any] = {}
        self.held = (folder / "held.json").exists()
        """Its code is a brain's: what it says of itself is believed within its own folder only."""
        self.sandbox = "" if self.held else "none needed"
        self.kinds: set[str] = set()
        self.noted = ""
        self.stop_reason = ""


class JobWatcher:
    """Follows every running job of the state. `poll` does one round; `run` does rounds until stopped."""

    def __init__(
        self, journal: Journal, compute: Compute, run_folder: Path, take_up: Callable[[str], bool] = lambda _: False
    ) -> None:
        """`take_up` starts a lost job again and says whether it could."""
        self.take_up = take_up
        self.journal = journal
        self.compute = compute
        self.run_folder = run_folder
        self._watched: dict[str, Watched] = {}
        self._news = True
        """Whether the last look found anything new."""
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(POLL_S if self._news else IDLE_S):
            self._news = False
            self.poll(PACE_S)

    def stop(self) -> None:
        self._stopped.set()

    def poll(self, pace_s: float = 0.0) -> None:
        """Read what is new of every running job that was not read within `pace_s` seconds; record ends."""
        for job in self.journal.read(lambda s: [j for j in s.jobs.values() if j.status == "running"]):
            watched = self._watched.get(job.id)
            if watched is None:
                self._news = True
                folder = self.run_folder / "jobs" / job.id  # not the recorded path: a run folder may have moved
                watched = self._watched[job.id] = Watched(job, folder)
            # The status first: rows that were written before the end are then all read below.
            status = self.compute.inspect(job.id)
            if status.state not in OPEN or time.monotonic() - watched.read >= pace_s:
                watched.read = time.monotonic()
                self._read(watched)
            else:
                self._news = True  # or the next look, and with it the job's end, would come later for it
            self._listen(watched)
            self._see_sandbox(watched)
            if status.pid is not None and job.pid is None:  # its turn in the queue has come
                self.journal.emit(e.JobAttached(job=job.id, pid=status.pid))
            if status.note:
                self._note(watched, status.note)
            if status.state not in OPEN:
                self._end(watched, status)

    def _read(self, watched: Watched) -> None:
        payloads: list[e.Payload] = []
        for row in watched.tail.read():
            self._news = True
            watched.rows += 1
            kind = row.get("kind")
            if kind == "metric":
                values: dict[str, float] = row.get("values") or {}
                step = int(row.get("step") or 0)
                if watched.skip > 0:
                    watched.skip -= 1
                else:
                    payloads.append(_metric(watched.id, step, values))
                if watched.watch is None and any(name in values for name in LEARNS):
                    watched.watch = Watch(guess_trainer([(step, values)]), planned_steps=watched.planned, live=True)
                if watched.watch is not None:
                    findings = watched.watch.feed(step, values)
                    if findings:
                        self.journal.emit_many(payloads)
                        payloads = []
                        self._diagnose(watched, findings)
            elif kind == "plan" and watched.planned is None:
                steps = row.get("max_steps")
                watched.planned = steps if isinstance(steps, int) and steps > 0 else None
            elif kind == "checkpoint" and self._owns(watched, str(row.get("path"))):
                watched.checkpoint = str(row.get("path"))
                saved = e.CheckpointSaved(job=watched.id, path=watched.checkpoint, step=int(row.get("step") or 0))
                self.journal.emit_many(payloads)
                payloads = []
                self._say_once(watched, saved)
            elif kind == "result":
                watched.result = {k: v for k, v in row.items() if k != "kind"}
                if row.get("model") and self._owns(watched, str(row["model"])):
                    watched.checkpoint = str(row["model"])
            elif kind == "note":
                self._say_once(watched, e.NoteAdded(text=f"{watched.id}: {row.get('text')}"))
        self.journal.emit_many(payloads)

    def _owns(self, watched: Watched, path: str) -> bool:
        """Whether a checkpoint that a job names is its own. A script could name any folder of the machine, or put a link to
        one into its own: it would be read and copied with the host's rights."""
        if not watched.held or is_within(Path(path), watched.folder):
            return True
        self._say_once(
            watched, e.NoteAdded(text=f"{watched.id} names {path} as its model, which is not its own: left out")
        )
        return False

    def _say_once(self, watched: Watched, payload: e.Payload) -> None:
        """Record what a row says; a host after this one reads the row again and records nothing."""
        key = f"{watched.id}:{watched.rows}:{payload.type}".encode()
        self.journal.emit(payload, id=stable_id(watched.started_ts, str(self.run_folder.name).encode() + key))

    def _note(self, watched: Watched, text: str) -> None:
        """What its place says of a job, once: a host after this one hears the same words."""
        if text == watched.noted:
            return
        watched.noted = text
        name = f"{self.run_folder.name}:{watched.id}:note:{text}".encode()
        self.journal.emit(e.NoteAdded(text=f"{watched.id}: {text}"), id=stable_id(watched.started_ts, name))

    def _see_sandbox(self, watched: Watched) -> None:
        """How a job with code of a brain is held, once it said so."""
        if watched.sandbox:
            return
        try:
            found = msgspec.json.decode((watched.folder / "sandbox.json").read_bytes(), type=InForce)
        except (OSError, msgspec.DecodeError):
            return
        watched.sandbox = found.level
        name = f"{self.run_folder.name}:{watched.id}:sandbox:{found.level}".encode()
        held = e.SandboxProbed(level=found.level, reason=found.reason, job=watched.id, network=found.reach)
        self.journal.emit(held, id=stable_id(watched.started_ts, name))

    def _listen(self, watched: Watched) -> None:
        """A training that says nothing for long is stalled: its heartbeat tells."""
        if not watched.training or watched.watch is None:
            return
        try:
            age = time.time() - (watched.folder / "heartbeat").stat().st_mtime
        except OSError:
            return  # not begun yet
        self._diagnose(watched, watched.watch.quiet(age))

    def _diagnose(self, watched: Watched, findings: list[Finding]) -> None:
        known = self.journal.read(
            lambda s: {f.kind: f.stopped for f in s.failures if f.job == watched.id and f.severity == "failing"}
        )
        for finding in findings:
            key = f"{finding.kind}:{finding.severity}" + (":hopeless" if finding.hopeless else "")
            if key in watched.kinds:
                continue
            worse = finding.hopeless and not known.get(finding.kind)  # what failed is now beyond hope: it is said again
            if finding.kind in known and finding.severity == "failing" and not worse:
                if known[finding.kind]:  # a host before this one said so and died before it could stop the job
                    self._stop_early(watched, finding)
                continue
            watched.kinds.add(key)
            stop = finding.hopeless and not watched.stop_reason
            name = f"{self.run_folder.name}:{watched.id}:{key}"
            self.journal.emit(
                e.FailureDiagnosed(
                    job=watched.id, kind=finding.kind, first_step=finding.first_step, severity=finding.severity,
                    confidence=finding.confidence, evidence=list(finding.evidence),
                    causes=[*self._beside(watched, finding), *finding.causes],
                    remedies=[r.text for r in finding.remedies], stopped=stop,
                    options=[msgspec.to_builtins(r) for r in finding.remedies],
                ),
                id=stable_id(watched.started_ts, name.encode()),
            )  # fmt: skip
            if stop:
                self._stop_early(watched, finding)

    def _beside(self, watched: Watched, finding: Finding) -> list[str]:
        """What the stream alone cannot tell of a training that got slower: other jobs of the run that have begun since."""
        if finding.kind != "throughput_drop":
            return []
        others = self.journal.read(
            lambda s: [j.id for j in s.running_jobs() if j.id != watched.id and j.started_ts > watched.started_ts]
        )
        return [f"{', '.join(others)} of this run began beside it"] if others else []

    def _stop_early(self, watched: Watched, finding: Finding) -> None:
        if watched.stop_reason:
            return
        watched.stop_reason = f"{finding.kind.replace('_', ' ')} from step {finding.first_step}: stopped early"
        threading.Thread(target=self.compute.cancel, args=(watched.id,), daemon=True).start()

    def _end(self, watched: Watched, status: JobStatus) -> None:
        seconds = status.exit.seconds if status.exit else 0.0
        usd, what = charge(watched.folder, seconds)
        if usd:
            self.journal.emit(e.BudgetCharged(kind="usd", amount=usd, what=f"{watched.id}: {what}", job=watched.id))
        if (watched.folder / "paused").exists() and status.state != "done":
            self.journal.emit(e.JobPaused(job=watched.id, checkpoint=watched.checkpoint, seconds=seconds))
            del self._watched[watched.id]
            return
        if status.state == "lost" and self.take_up(watched.id):
            del self._watched[watched.id]
            return
        log_tail = self._log_tail(watched)
        late = status.exit is not None and status.exit.reason == "time_limit"
        if (
            watched.watch is not None and status.state != "cancelled" and not late
        ):  # the signal that ends it is no crash
            exit_code = status.exit.exit_code if status.exit else None
            self._diagnose(watched, watched.watch.finish(exit_code, log_tail))
        job = self.journal.state.jobs[watched.id]
        if status.state == "done" and job.kind == "training" and not self._has_checkpoint(watched):
            reason = "it ended without an error but saved no checkpoint"
            self.journal.emit(e.JobFailed(job=job.id, reason=reason, exit_code=0, seconds=seconds, log_tail=log_tail))
        elif status.state == "done":
            self.journal.emit(
                e.JobFinished(job=job.id, seconds=seconds, checkpoint=watched.checkpoint, result=watched.result)
            )
        elif status.state == "cancelled":
            reason = watched.stop_reason or "asked to stop"
            self.journal.emit(e.JobCancelled(job=job.id, reason=reason, seconds=seconds))
        elif status.state == "lost":
            reason = f"lost: {status.reason or 'its supervisor is gone and left no word on how it ended'}"
            self.journal.emit(e.JobFailed(job=job.id, reason=reason, seconds=seconds, log_tail=log_tail))
        else:
            code = status.exit.exit_code if status.exit else None
            reason = why_failed(status.exit, log_tail)
            self.journal.emit(
                e.JobFailed(job=job.id, reason=reason, exit_code=code, seconds=seconds, log_tail=log_tail)
            )
        del self._watched[watched.id]

    def _has_checkpoint(self, watched: Watched) -> bool:
        return bool(watched.checkpoint) and (Path(watched.checkpoint) / "config.json").exists()

    def _log_tail(self, watched: Watched) -> str:
        try:
            data = (watched.folder / "log.txt").read_bytes()
        except OSError:
            return ""
        return data[-3000:].decode("utf-8", "replace")


def why_failed(end: JobExit | None, log_tail: str) -> str:
    """Why a job failed, in a line: how it ended, and what its log says of that.

    A job that its time limit ended says nothing of it: the last line of its log is whatever it was doing.
    """
    if end is not None and end.reason == "time_limit":
        return f"time_limit: it was ended by its time limit after {end.seconds:.0f} s, before it was done"
    reason = end.reason if end else "failed"
    said = named_error([line.strip() for line in log_tail.splitlines() if line.strip()])
    return f"{reason}: {said[0][:200]}" if said else reason


def is_within(folder: Path, root: Path) -> bool:
    """Whether a folder and all that is in it really lie below `root`, wherever links lead."""
    real = root.resolve()
    try:
        return folder.resolve().is_relative_to(real) and all(
            p.resolve().is_relative_to(real) for p in folder.rglob("*") if p.is_symlink()
        )
    except (OSError, RuntimeError):  # a link that leads to itself
        return False


def _metric(job: str, step: int, values: dict[str, float]) -> e.MetricLogged:
    finite = {k: (v if math.isfinite(v) else None) for k, v in values.items()}
    return e.MetricLogged(job=job, step=step, values=finite, nonfinite=[k for k, v in finite.items() if v is None])
