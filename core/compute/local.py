"""Jobs as processes of this machine, each under a supervisor of its own that outlives whoever started it.

Everything is in the job's folder, so a new host finds all jobs again by looking: launch.json (what was asked), job.json
(who runs), exit.json (how it ended).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from core.compute.launcher import DEFAULT_ENV, JOB, SPIN_ENV, SUPERVISOR, job_argv, job_env, waiting
from core.compute.logs import read_chunk
from core.compute.machine import busy_cores, cores
from core.compute.once import same_effect, write_once
from core.compute.spec import JobExit, JobSpec, JobStatus, LogChunk
from core.compute.warm import IMPORT_WAIT_S, ForkServer, can_fork
from core.errors import JobError, NotFound
from core.home import boot_id as this_boot
from core.home import process_started, write_json
from core.tracking.target import store_folder
from store.faults import point

_START_WAIT_S = 10.0
T = TypeVar("T")

LIGHT = frozenset({"inspect", "prepare"})
"""Kinds of job that do not import torch: they never wait for the fork server."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """launch.json: the resolved command for the supervisor."""

    job: str
    kind: str
    effect_id: str
    argv: tuple[str, ...]
    env: dict[str, str]
    time_limit_s: float | None = None
    memory_limit_bytes: int | None = None


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """job.json, as the supervisor writes it."""

    supervisor_pid: int
    supervisor_start: int | None = None
    pid: int
    pid_start: int | None = None
    boot_id: str = ""
    started: float = 0.0


class LocalCompute:
    """Runs jobs under `jobs_folder` (one folder a job)."""

    def __init__(self, jobs_folder: str | Path, python: str = sys.executable) -> None:
        self.jobs_folder = Path(jobs_folder)
        self.python = python
        self._children: list[subprocess.Popen[bytes]] = []
        self._warm: ForkServer | None = None
        self._choosing = threading.Lock()

    def warm_up(self) -> None:
        """Import torch and TRL once, in the background, for all trainings and evaluations of this run."""
        if can_fork():
            self.jobs_folder.mkdir(parents=True, exist_ok=True)
            # TRL imports Trackio, which looks where its store is once and for all
            store = {"TRACKIO_DIR": str(store_folder(self.jobs_folder.parent).absolute())}
            count = cores()
            # the last minute's load: this moment's is the start of our own host and screen
            env = DEFAULT_ENV | store | waiting(count, os.getloadavg()[0], count)
            self._warm = ForkServer(self.python, self.jobs_folder / "forkserver.log", env)

    def close(self) -> None:
        """Let the fork server go. Jobs are not touched."""
        if self._warm is not None:
            self._warm.close()
            self._warm = None

    def submit(self, spec: JobSpec) -> JobStatus:
        """Start the job, or find it if its effect id was submitted before. Returns when the process is up.

        Raises JobError if the supervisor does not report within seconds.
        """
        known = self.find_by_effect(spec.effect_id)
        if known is not None:
            folder = Path(known.folder)
            begun = (folder / "job.json").exists() or (folder / "exit.json").exists()
            if begun:
                return known
            # A host that died between writing launch.json and starting the supervisor left a job that never began: it begins
            # as it is asked for now, on the devices that are its own today.
            if spec.job == known.job:
                write_json(folder / "launch.json", self._launch(spec))
            return self._supervise(known.job, folder)
        folder = Path(spec.folder)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_once(folder / "launch.json", msgspec.json.encode(self._launch(spec)))
        except FileExistsError as error:
            return same_effect(self.find_by_effect(spec.effect_id), folder, error)
        point("job_written")
        return self._supervise(spec.job, folder)

    def ask_checkpoint(self, job: str) -> None:
        """Ask a training for a checkpoint; it writes one after its present train step and goes on."""
        (self._folder(job) / "control").write_text("checkpoint\n", encoding="utf-8")

    def pause(self, job: str) -> None:
        """End a job so that it can go on from its last checkpoint: marked as paused first, then killed."""
        (self._folder(job) / "paused").touch()
        status = self.inspect(job)
        if status.pid is not None:  # a sandbox's guard takes its tree down, which it could not if it were killed
            held = (self._folder(job) / "held.json").exists()
            _signal_group(status, signal.SIGTERM if held else signal.SIGKILL)

    def resume(self, job: str, changes: dict[str, Any]) -> JobStatus:
        """Start an ended job again in its own folder, with `changes` to its spec. Raises JobError if it still runs."""
        if self.inspect(job).state in ("queued", "running"):
            raise JobError(f"{job} still runs", where=str(self._folder(job)), next="Pause it first")
        folder = self._folder(job)
        spec = msgspec.json.decode((folder / "spec.json").read_bytes())
        partial = folder / "spec.json.partial"
        partial.write_bytes(msgspec.json.format(msgspec.json.encode({**spec, **changes})))
        partial.replace(folder / "spec.json")
        for name in ("job.json", "control", "stopping", "cancel", "paused", "exit.json"):
            (folder / name).unlink(missing_ok=True)
        return self._supervise(job, folder)

    def _supervise(self, job: str, folder: Path) -> JobStatus:
        """Start the supervisor. A second one for the same folder ends at once, so this may be repeated."""
        supervisor = None if self._start_warm(folder) else self._start_cold(folder)
        return self._wait_for_start(job, folder, supervisor)

    def _start_warm(self, folder: Path) -> bool:
        """Have the fork server start it: only jobs of ours, never a script of somebody else's, which gets a clean process."""
        launch = _read(folder / "launch.json", Launch)
        ours = launch is not None and launch.kind != "script" and launch.argv[2:3] == (str(JOB),)
        if self._warm is None or launch is None or not ours:
            return False
        several = launch.kind not in LIGHT and launch.env.get("OMP_NUM_THREADS") != "1"
        with self._choosing:
            if several and not self._warm.waits_as(
                launch.env
            ):  # libgomp reads it at import, which a new server does again
                self._warm = self._warm.again({name: launch.env.get(name, "") for name in SPIN_ENV})
            server = self._warm
        return server.start_job(folder, 0.0 if launch.kind in LIGHT else IMPORT_WAIT_S)

    def _start_cold(self, folder: Path) -> subprocess.Popen[bytes]:
        supervisor = subprocess.Popen(
            [self.python, "-I", "-S", str(SUPERVISOR), str(folder)],  # standard library only: no packages to look for
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )
        self._children.append(supervisor)
        return supervisor

    def inspect(self, job: str) -> JobStatus:
        """What is known of a job. `lost` if its supervisor is gone without a word on how it ended."""
        self._reap()
        folder = self._folder(job)
        launch = _read(folder / "launch.json", Launch)
        if launch is None:
            raise NotFound(f"no job {job}", where=str(folder), next="List the run's jobs folder.")
        running = _read(folder / "job.json", Running)
        # A job whose supervisor was killed still runs: lost is one of which nothing lives, or it would be started twice.
        supervised = running is not None and (
            _lives(running.supervisor_pid, running.supervisor_start, running.boot_id)
            or _lives(running.pid, running.pid_start, running.boot_id)
        )
        # exit.json last: a job that ends while we look is then seen as ended, not as lost
        end = _read(folder / "exit.json", JobExit)
        state = _state(running, supervised, end, folder)
        return JobStatus(
            job=job, state=state, folder=str(folder), effect_id=launch.effect_id, argv=launch.argv, exit=end,
            pid=running.pid if running else None, pid_start=running.pid_start if running else None,
            supervisor_pid=running.supervisor_pid if running else None,
        )  # fmt: skip

    def logs(self, job: str, cursor: int = 0, limit: int = 65_536) -> LogChunk:
        """log.txt from byte `cursor` on, at most `limit` bytes."""
        ended = self.inspect(job).state not in ("queued", "running")
        return read_chunk(self._folder(job) / "log.txt", cursor, limit, ended=ended)

    def cancel(self, job: str, grace_s: float = 10.0) -> JobStatus:
        """Ask the job to stop (it saves its model); SIGTERM after `grace_s`, then SIGKILL. Blocks until it is over."""
        self.inspect(job)  # says so where there is no such job
        folder = self._folder(job)
        (folder / "cancel").touch()
        (folder / "control").write_text("stop\n", encoding="utf-8")
        for wait_s, number in ((grace_s, signal.SIGTERM), (5.0, signal.SIGKILL), (5.0, None)):
            status = self._wait_for_end(job, wait_s)
            if status.state not in ("queued", "running") or status.pid is None:
                return status
            if number is not None:
                _signal_group(status, number)
        return self.inspect(job)

    def find_by_effect(self, effect_id: str) -> JobStatus | None:
        """The job that was submitted under an effect id, or None."""
        if not self.jobs_folder.is_dir():
            return None
        for path in sorted(self.jobs_folder.glob("*/launch.json")):
            launch = _read(path, Launch)
            if launch is not None and launch.effect_id == effect_id:
                return self.inspect(path.parent.name)
        return None

    def wait(self, job: str, timeout_s: float) -> JobStatus:
        """Block until the job is over or the time is up; for tests and tools, the host polls."""
        return self._wait_for_end(job, timeout_s)

    def _launch(self, spec: JobSpec) -> Launch:
        several = spec.slots > 1 and spec.kind not in LIGHT  # the others have no threads that wait: no need to look
        wait = waiting(spec.slots, busy_cores(), cores()) if several else {}
        return Launch(
            job=spec.job, kind=spec.kind, effect_id=spec.effect_id, argv=job_argv(self.python, spec), env=wait | job_env(spec),
            time_limit_s=spec.time_limit_s, memory_limit_bytes=spec.memory_limit_bytes,
        )  # fmt: skip

    def _folder(self, job: str) -> Path:
        return self.jobs_folder / job

    def _reap(self) -> None:
        """Collect supervisors that ended, or they would stay as zombies of this process."""
        self._children = [child for child in self._children if child.poll() is None]

    def _wait_for_start(self, job: str, folder: Path, supervisor: subprocess.Popen[bytes] | None) -> JobStatus:
        until = time.monotonic() + _START_WAIT_S
        while time.monotonic() < until:
            if (folder / "job.json").exists() or (folder / "exit.json").exists():
                return self.inspect(job)
            # One that ended in order without a word found another at work on the folder: that one will speak.
            gone = supervisor.poll() not in (None, 0) if supervisor else not (self._warm and self._warm.lives())
            if gone and not (folder / "exit.json").exists():
                break
            time.sleep(0.01)
        raise JobError("the job's supervisor did not start it", where=str(folder), next="See launch.json there.")

    def _wait_for_end(self, job: str, seconds: float) -> JobStatus:
        until = time.monotonic() + seconds
        while True:
            status = self.inspect(job)
            if status.state not in ("queued", "running") or time.monotonic() >= until:
                return status
            time.sleep(0.05)


def _state(running: Running | None, supervised: bool, end: JobExit | None, folder: Path) -> Any:
    if end is not None:
        if end.reason in ("finished", "time_limit") and end.exit_code == 0:
            return "done"
        return "cancelled" if end.reason == "cancelled" else "failed"
    if running is None:
        age = time.time() - (folder / "launch.json").stat().st_mtime
        return "queued" if age < _START_WAIT_S else "lost"
    return "running" if supervised else "lost"


def _lives(pid: int, start: int | None, boot_id: str) -> bool:
    """Whether exactly that process still runs: same boot, same pid, same start time, not a zombie."""
    now = this_boot()
    if boot_id and now and boot_id != now:
        return False
    found = process_started(pid)
    return found is not None and (start is None or found == start)


def _signal_group(status: JobStatus, number: int) -> None:
    """Signal the job's process group, unless its pid has passed to another process."""
    if status.pid is None or (status.pid_start is not None and _start_time(status.pid) != status.pid_start):
        return
    try:
        os.killpg(status.pid, number)
    except ProcessLookupError:
        return


def _start_time(pid: int) -> int | None:
    """Also of a zombie, unlike `process_started`: what it leaves in its group still has to be signalled."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise JobError(f"a damaged file: {error}", where=str(path), next="Look at the job's folder.") from error
